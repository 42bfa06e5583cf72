//! The host's side: an engine with the dealt plugin, and around it what the driver does, in the
//! driver's order, with sockets that take everything at once.

use std::collections::VecDeque;
use std::task::{Context, Poll};

use leaseway::contract as host;
use leaseway::copy::{BufferPool, Passing, Room};
use leaseway::plugin::{Fault, SessionHooks};
use leaseway::session::{End, Engine, EngineLimits, Failure, LeaseFacts, Loss};
use leaseway_sdk as sdk;

use super::dealt::{Deal, Dealt, REPLY, measure};
use super::{Event, Lease, LeaseEnd, Seen, busy, text};

/// The dealt plugin, in the host's types.
struct Hooks {
    has: host::Hooks,
    dealt: Dealt,
}

impl SessionHooks for Hooks {
    fn has(&self) -> host::Hooks {
        self.has
    }
    fn choose_upstream(&mut self, bytes: &[u8]) -> Result<host::Choice, Fault> {
        Ok(match self.dealt.choose_upstream(bytes) {
            sdk::Choice::NeedMore => host::Choice::NeedMore,
            sdk::Choice::Lease(request) => host::Choice::Lease(host::LeaseRequest {
                target: request.target.map(to_target),
                then: to_steps(request.then),
            }),
            sdk::Choice::Share(share) => host::Choice::Share(host::Share {
                target: share.target.map(to_target),
                requests: share.requests.into_iter().map(to_request).collect(),
            }),
            sdk::Choice::Answer(steps) => host::Choice::Answer(to_steps(steps)),
        })
    }
    fn on_leased(&mut self, lease: &host::Leased) -> Result<Vec<host::Step>, Fault> {
        let host::Leased {
            tag,
            endpoint,
            identity,
            ..
        } = lease;
        Ok(to_steps(self.dealt.on_leased(tag, endpoint, identity)))
    }
    fn on_lease_failed(&mut self, why: &host::LeaseError) -> Result<Vec<host::Step>, Fault> {
        Ok(to_steps(self.dealt.on_lease_failed(&from_error(why))))
    }
    fn on_data(&mut self, origin: host::Side, data: &[u8]) -> Result<Vec<host::Step>, Fault> {
        Ok(to_steps(self.dealt.on_data(from_side(origin), data)))
    }
    fn on_eof(&mut self, origin: host::Side) -> Result<Vec<host::Step>, Fault> {
        Ok(to_steps(self.dealt.on_eof(from_side(origin))))
    }
    fn pool_return(&mut self, outcome: host::LeaseOutcome) -> Result<host::Disposition, Fault> {
        let outcome = sdk::LeaseOutcome {
            reason: match outcome.reason {
                host::EndReason::ClientClosed => sdk::EndReason::ClientClosed,
                host::EndReason::ClientError => sdk::EndReason::ClientError,
                host::EndReason::PluginClose => sdk::EndReason::PluginClose,
                host::EndReason::Timeout => sdk::EndReason::Timeout,
                host::EndReason::Drain => sdk::EndReason::Drain,
            },
            sent: outcome.sent,
            received: outcome.received,
        };
        Ok(to_disposition(self.dealt.pool_return(outcome)))
    }
    fn on_request_failed(
        &mut self,
        why: &host::LeaseError,
        replies: u32,
    ) -> Result<Vec<u8>, Fault> {
        Ok(self.dealt.on_request_failed(&from_error(why), replies))
    }
    fn poll_fault(&mut self, _: &mut Context<'_>) -> Poll<Fault> {
        Poll::Pending
    }
}

/// What one end sends, and whether that is all.
#[derive(Default)]
struct Source {
    bytes: VecDeque<u8>,
    ended: bool,
}

/// The session's part of a shared connection, which nobody else is on.
#[derive(Default)]
struct Shared {
    /// Replies that each request under way has still to get.
    under_way: VecDeque<u32>,
    /// Bytes that are still to come of the reply that has begun.
    rest: usize,
    /// What has come, and is not with the session yet.
    mail: Vec<u8>,
    finished: u32,
    /// It has broken: what is under way fails.
    broken: Option<&'static str>,
}

impl Shared {
    fn settle(&mut self) {
        while self.under_way.front() == Some(&0) {
            self.under_way.pop_front();
            self.finished += 1;
        }
    }

    /// The upstream has sent this.
    fn deal_out(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && self.broken.is_none() {
            if self.rest == 0 {
                if self.under_way.is_empty() {
                    self.broken = Some("it sent bytes that nobody had asked for");
                    return;
                }
                // All that is here is measured at once, and none of it counts if that fails.
                if measure(bytes).is_err() {
                    self.broken = Some("no reply");
                    return;
                }
                self.rest = REPLY;
            }
            let count = self.rest.min(bytes.len());
            self.mail.extend(&bytes[..count]);
            bytes = &bytes[count..];
            self.rest -= count;
            if self.rest == 0 {
                if let Some(replies) = self.under_way.front_mut() {
                    *replies -= 1;
                }
                self.settle();
            }
        }
    }
}

#[derive(Clone, Copy)]
enum Lending {
    Grant,
    Hold,
    Fail,
}

/// One session.
pub(crate) struct Host {
    engine: Engine,
    hooks: Hooks,
    buffers: BufferPool,
    client: Source,
    upstream: Source,
    from_client: usize,
    from_upstream: usize,
    lending: Lending,
    draining: bool,
    deadline: Option<host::Deadline>,
    shared: Shared,
    to_client: Vec<u8>,
    to_upstream: Vec<u8>,
    leases: Vec<Lease>,
}

impl Host {
    pub(crate) fn new(deal: &Deal, max_shown: usize, upstream_first: bool) -> Self {
        let has = to_hooks(deal.has);
        let chooses = has.contains(host::Hooks::CHOOSE_UPSTREAM);
        let limits = EngineLimits {
            max_shown,
            replay_limit: 64 << 10,
            calls_a_turn: u32::MAX,
        };
        // The SDK knows nothing of how bytes pass that nobody is shown.
        let buffers = BufferPool::new();
        buffers.refuse_pipes();
        let default = (!chooses).then(|| to_target(sdk::Target::new("default")));
        let mut session = Self {
            engine: Engine::new(
                has,
                limits,
                std::rc::Rc::default(),
                default.map(std::sync::Arc::new),
            ),
            hooks: Hooks {
                has,
                dealt: Dealt::new(deal),
            },
            buffers,
            client: Source::default(),
            upstream: Source::default(),
            from_client: 0,
            from_upstream: 0,
            lending: Lending::Hold,
            draining: false,
            deadline: None,
            shared: Shared::default(),
            to_client: Vec::new(),
            to_upstream: Vec::new(),
            leases: Vec::new(),
        };
        if upstream_first || !chooses {
            session.engine.start(&mut session.hooks);
        }
        session.settle();
        session
    }

    /// How the plugin broke its contract, if that ended the session.
    pub(crate) fn misuse(&self) -> Option<String> {
        match self.engine.end() {
            Some(End::Misuse(what)) => Some(what.clone()),
            _ => None,
        }
    }

    /// Whether this can happen to the session as it stands.
    pub(crate) fn may(&self, event: &Event) -> bool {
        match event {
            Event::Client(_) | Event::ClientEof => !self.client.ended,
            Event::Upstream(_) => {
                self.is_sharing() || (self.engine.holds_lease() && !self.upstream.ended)
            }
            Event::UpstreamEof => self.engine.holds_lease() && !self.upstream.ended,
            Event::Lose => self.is_sharing() || self.engine.holds_lease(),
            Event::Grant | Event::Fail => self.waits(),
            Event::Deadline => self.deadline.is_some(),
            Event::ClientError
            | Event::GrantLeases
            | Event::HoldLeases
            | Event::FailLeases
            | Event::Timeout
            | Event::Drain => true,
        }
    }

    fn waits(&self) -> bool {
        self.engine.is_asking()
    }

    fn is_sharing(&self) -> bool {
        !self.shared.under_way.is_empty()
    }

    fn leased(&mut self) {
        self.upstream = Source::default();
        let identity = self.last().identity.clone();
        // As the pool hands on what one lease has left to the next.
        let unpooled = self.last().unpooled;
        let before = self.leases.iter().rfind(|lease| {
            let kept = matches!(lease.end, LeaseEnd::Kept | LeaseEnd::Reset);
            kept && lease.identity == identity && !unpooled
        });
        let retagged = before
            .filter(|lease| lease.end == LeaseEnd::Kept)
            .and_then(|lease| lease.retagged.clone());
        let tag = retagged.clone().unwrap_or_else(|| "tag".to_owned());
        self.last().end = LeaseEnd::Held;
        self.last().retagged = retagged;
        let facts = LeaseFacts {
            tag: tag.as_bytes(),
            // No replay, whatever the pool would say.
            fresh: true,
            endpoint: "127.0.0.1:1",
        };
        self.engine.leased(facts, &mut self.hooks);
    }

    fn failed(&mut self, why: host::LeaseError) {
        self.last().end = LeaseEnd::Failed;
        self.engine.lease_failed(why, &mut self.hooks);
    }

    fn last(&mut self) -> &mut Lease {
        self.leases.last_mut().expect("there has been a lease")
    }

    /// Everything that can be done, as the driver does it.
    fn settle(&mut self) {
        loop {
            let mut round = self.settle_lease();
            // Requests are taken as soon as they are there, which the driver need not do.
            round |= self.share();
            round |= self.flush(host::Side::Upstream);
            round |= self.share();
            round |= self.flush(host::Side::Client);
            round |= self.share();
            round |= self.fill(host::Side::Upstream);
            round |= self.fill(host::Side::Client);
            round |= self.shut();
            if !round {
                break;
            }
        }
        if let Some(deadline) = self.engine.take_deadline() {
            self.deadline = deadline;
        }
        if self.engine.end().is_some() {
            self.deadline = None;
        }
        self.engine.settle(&self.buffers);
    }

    fn settle_lease(&mut self) -> bool {
        let mut moved = false;
        if let Some(giveback) = self.engine.take_giveback() {
            moved = true;
            if let Some(tag) = giveback.retag {
                self.last().retagged = Some(tag.escape_ascii().to_string());
            }
            let unpooled = self.last().unpooled;
            let has_reset = self.hooks.has.contains(host::Hooks::RESET);
            self.last().end = match (giveback.disposition, giveback.unclean) {
                _ if unpooled => LeaseEnd::Closed,
                (host::Disposition::Close, _) => LeaseEnd::Closed,
                (_, Some(_)) => LeaseEnd::Doubted,
                (host::Disposition::Keep, None) => LeaseEnd::Kept,
                (host::Disposition::Reset, None) if has_reset => LeaseEnd::Reset,
                (host::Disposition::Reset, None) => LeaseEnd::Closed,
            };
        }
        if let Some((target, fresh)) = self.engine.take_ask() {
            assert!(!fresh, "nothing can be replayed here");
            self.leases.push(Lease {
                identity: target.identity.clone(),
                unpooled: target.unpooled,
                sent: String::new(),
                received: 0,
                retagged: None,
                end: LeaseEnd::Waiting,
            });
            if self.draining {
                // As the pool answers then.
                self.failed(host::LeaseError::Draining);
                return true;
            }
            match self.lending {
                Lending::Grant => self.leased(),
                Lending::Hold => return moved,
                Lending::Fail => self.failed(to_error(busy())),
            }
            moved = true;
        }
        moved
    }

    /// Takes what has come on the shared connection, and hands it requests.
    fn share(&mut self) -> bool {
        if self.engine.end().is_some() {
            self.shared = Shared::default();
            return false;
        }
        let mut mail = std::mem::take(&mut self.shared.mail);
        let finished = std::mem::take(&mut self.shared.finished);
        let mut moved = !mail.is_empty() || finished > 0;
        if let Some(why) = self.shared.broken.take() {
            moved = true;
            let Shared {
                under_way, rest, ..
            } = std::mem::take(&mut self.shared);
            // The same on what was the last connection's mail, as the driver does.
            self.engine.replied(&mut mail, finished, &mut self.hooks);
            let mut cut = rest > 0;
            for replies in under_way {
                let failure = Failure {
                    why: host::LeaseError::Lost(why.to_owned()),
                    replies,
                    cut: std::mem::take(&mut cut),
                };
                self.engine.request_failed(failure, &mut self.hooks);
            }
        } else if moved {
            self.engine.replied(&mut mail, finished, &mut self.hooks);
        }
        let Some((_, requests, bytes)) = self.engine.requests() else {
            return moved;
        };
        let length: u32 = requests.iter().map(|request| request.length).sum();
        self.to_upstream.extend(&bytes[..length as usize]);
        let replies = requests.iter().map(|request| request.replies);
        self.shared.under_way.extend(replies);
        let count = requests.len();
        self.engine.requests_taken(count, &mut self.hooks);
        self.shared.settle();
        true
    }

    fn flush(&mut self, side: host::Side) -> bool {
        let mut moved = false;
        while self.engine.has_output(side) {
            let (own, passing) = self.engine.output(side);
            let Passing::Memory(passing) = passing else {
                unreachable!("there are no pipes");
            };
            let bytes = [own, passing].concat();
            match side {
                host::Side::Client => self.to_client.extend(&bytes),
                host::Side::Upstream => {
                    self.last().sent += &bytes.escape_ascii().to_string();
                    self.to_upstream.extend(&bytes);
                }
            }
            self.engine.wrote(side, bytes.len());
            moved = true;
        }
        if moved {
            self.engine.run(&mut self.hooks);
        }
        moved
    }

    fn fill(&mut self, side: host::Side) -> bool {
        if !self.engine.wants_read(side) {
            return false;
        }
        let source = match side {
            host::Side::Client => &mut self.client,
            host::Side::Upstream => &mut self.upstream,
        };
        if source.bytes.is_empty() {
            if !source.ended {
                return false;
            }
            self.engine.ended(side);
        } else {
            let Room::Memory(space) = self.engine.room(side, &self.buffers) else {
                unreachable!("there are no pipes");
            };
            let count = space.len().min(source.bytes.len());
            for (to, byte) in space.iter_mut().zip(source.bytes.drain(..count)) {
                *to = byte;
            }
            self.engine.filled(side, count);
            if side == host::Side::Upstream {
                self.last().received += count as u64;
            }
        }
        self.engine.run(&mut self.hooks);
        true
    }

    fn shut(&mut self) -> bool {
        let mut moved = false;
        if self.engine.upstream_end_is_loss() {
            let why = "the upstream closed the connection";
            self.engine.upstream_lost(lost(why), &mut self.hooks);
            moved = true;
        }
        for side in [host::Side::Upstream, host::Side::Client] {
            if self.engine.wants_shutdown(side) {
                self.engine.was_shut(side);
                self.engine.run(&mut self.hooks);
                moved = true;
            }
        }
        moved
    }
}

impl Host {
    pub(crate) fn happen(&mut self, event: &Event) {
        if let Some(lending) = lending(event) {
            // No wake-up comes of that.
            self.lending = lending;
            return;
        }
        if self.draining {
            self.engine.drain(&mut self.hooks);
        }
        match *event {
            Event::Client(count) => {
                let bytes = text(b'a', &mut self.from_client, count);
                self.client.bytes.extend(bytes);
            }
            Event::ClientEof => self.client.ended = true,
            Event::ClientError => self.engine.client_broke(&mut self.hooks),
            Event::Upstream(count) => {
                let bytes = text(b'A', &mut self.from_upstream, count);
                match self.is_sharing() {
                    true => self.shared.deal_out(&bytes),
                    false => self.upstream.bytes.extend(bytes),
                }
            }
            Event::UpstreamEof => self.upstream.ended = true,
            Event::Lose if self.is_sharing() => self.shared.broken = Some("reset by peer"),
            Event::Lose => {
                let why = "reset by peer";
                self.engine.upstream_lost(lost(why), &mut self.hooks);
            }
            Event::Grant => self.leased(),
            Event::Fail => self.failed(to_error(busy())),
            Event::Timeout => self.engine.expire("idle-timeout", &mut self.hooks),
            Event::Deadline => {
                if let Some(deadline) = self.deadline.take() {
                    self.engine.deadline_passed(&deadline, &mut self.hooks);
                }
            }
            Event::Drain => {
                self.draining = true;
                self.engine.drain(&mut self.hooks);
                if self.waits() {
                    // As the pool dismisses who stands in line.
                    self.failed(host::LeaseError::Draining);
                }
            }
            Event::GrantLeases | Event::HoldLeases | Event::FailLeases => {}
        }
        self.settle();
    }

    pub(crate) fn seen(&self) -> Seen {
        Seen {
            calls: self.hooks.dealt.calls.clone(),
            to_client: self.to_client.escape_ascii().to_string(),
            to_upstream: self.to_upstream.escape_ascii().to_string(),
            leases: self.leases.iter().map(Lease::told).collect(),
            leased: self.engine.holds_lease(),
            waiting: self.waits(),
            deadline: self
                .deadline
                .as_ref()
                .map(|deadline| format!("{} {}", deadline.ms, deadline.farewell.len())),
            end: self.engine.end().map(name),
        }
    }
}

fn lost(why: &str) -> Loss<'_> {
    Loss {
        why,
        delivered: true,
        tag: b"",
    }
}

fn lending(event: &Event) -> Option<Lending> {
    match event {
        Event::GrantLeases => Some(Lending::Grant),
        Event::HoldLeases => Some(Lending::Hold),
        Event::FailLeases => Some(Lending::Fail),
        _ => None,
    }
}

fn name(end: &End) -> String {
    match end {
        End::Plugin(why) => format!("plugin-close {why:?}"),
        End::ShownLimit(limit) => format!("max-shown {limit}"),
        other => other.name().to_owned(),
    }
}

fn from_side(side: host::Side) -> sdk::Side {
    match side {
        host::Side::Client => sdk::Side::Client,
        host::Side::Upstream => sdk::Side::Upstream,
    }
}

fn to_side(side: sdk::Side) -> host::Side {
    match side {
        sdk::Side::Client => host::Side::Client,
        sdk::Side::Upstream => host::Side::Upstream,
    }
}

fn to_disposition(disposition: sdk::Disposition) -> host::Disposition {
    match disposition {
        sdk::Disposition::Keep => host::Disposition::Keep,
        sdk::Disposition::Reset => host::Disposition::Reset,
        sdk::Disposition::Close => host::Disposition::Close,
    }
}

fn to_target(target: sdk::Target) -> host::Target {
    host::Target {
        group: target.group,
        endpoint: target.endpoint,
        identity: target.identity,
        secret: target.secret,
        affinity: target.affinity,
        unpooled: target.unpooled,
    }
}

fn to_request(request: sdk::Request) -> host::Request {
    host::Request {
        length: request.length,
        replies: request.replies,
        idempotent: request.idempotent,
    }
}

fn to_steps(steps: Vec<sdk::Step>) -> Vec<host::Step> {
    let step = |step| match step {
        sdk::Step::Forward(count) => host::Step::Forward(count),
        sdk::Step::ForwardIdempotent(count) => host::Step::ForwardIdempotent(count),
        sdk::Step::ForwardRest => host::Step::ForwardRest,
        sdk::Step::Discard(count) => host::Step::Discard(count),
        sdk::Step::Send((to, bytes)) => host::Step::Send((to_side(to), bytes)),
        sdk::Step::Lease(target) => host::Step::Lease(to_target(target)),
        sdk::Step::Release(disposition) => host::Step::Release(to_disposition(disposition)),
        sdk::Step::Retag(tag) => host::Step::Retag(tag),
        sdk::Step::Deadline(deadline) => {
            host::Step::Deadline(deadline.map(|deadline| host::Deadline {
                ms: deadline.ms,
                farewell: deadline.farewell,
            }))
        }
        sdk::Step::Close(why) => host::Step::Close(why),
    };
    steps.into_iter().map(step).collect()
}

fn to_hooks(hooks: sdk::Hooks) -> host::Hooks {
    [
        (sdk::Hooks::CHOOSE_UPSTREAM, host::Hooks::CHOOSE_UPSTREAM),
        (sdk::Hooks::ON_LEASED, host::Hooks::ON_LEASED),
        (sdk::Hooks::ON_LEASE_FAILED, host::Hooks::ON_LEASE_FAILED),
        (sdk::Hooks::ON_DATA, host::Hooks::ON_DATA),
        (sdk::Hooks::ON_EOF, host::Hooks::ON_EOF),
        (sdk::Hooks::POOL_RETURN, host::Hooks::POOL_RETURN),
        (sdk::Hooks::RESET, host::Hooks::RESET),
        (sdk::Hooks::REPLIES, host::Hooks::REPLIES),
        (
            sdk::Hooks::ON_REQUEST_FAILED,
            host::Hooks::ON_REQUEST_FAILED,
        ),
    ]
    .into_iter()
    .filter(|(hook, _)| hooks & *hook == *hook)
    .fold(host::Hooks::empty(), |all, (_, hook)| all | hook)
}

/// Only what is told in these tests.
fn from_error(error: &host::LeaseError) -> sdk::LeaseError {
    match error {
        host::LeaseError::Lost(why) => sdk::LeaseError::Lost(why.clone()),
        host::LeaseError::WaitTimeout(why) => sdk::LeaseError::WaitTimeout(why.clone()),
        host::LeaseError::Draining => sdk::LeaseError::Draining,
        other => panic!("nobody told {other:?}"),
    }
}

fn to_error(error: sdk::LeaseError) -> host::LeaseError {
    match error {
        sdk::LeaseError::WaitTimeout(why) => host::LeaseError::WaitTimeout(why),
        other => panic!("nobody tells {other:?}"),
    }
}
