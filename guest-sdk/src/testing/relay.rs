//! What the host does with the steps of one session, by the contract's rules and in memory.
//!
//! A state machine without a plugin: bytes and events go in, [`Relay::next`] says which hook is
//! to be called, and what the hook answered goes back in. `ScriptedSession` joins it to a
//! plugin. It panics where the contract says "an error", so that a plugin's test fails there.

use super::record::{Lease, LeaseEnd, SessionEnd};
use super::way::Way;
use crate::{
    Choice, Disposition, EndReason, Hooks, LeaseError, LeaseOutcome, Leased, Side, Step, Target,
};

/// A hook to call, with what it is to be given.
pub(super) enum Call {
    ChooseUpstream(Vec<u8>),
    OnLeased(Leased),
    OnLeaseFailed(LeaseError),
    OnData(Side, Vec<u8>),
    OnEof(Side),
    PoolReturn(LeaseOutcome),
}

/// What happens to a lease that is asked for.
pub(super) enum Lending {
    Grant,
    Hold,
    Fail(LeaseError),
}

/// The host's side of one session.
pub(super) struct Relay {
    hooks: Hooks,
    default_target: Target,
    speaks_first: Side,
    pub(super) lending: Lending,
    pub(super) max_shown: usize,
    pub(super) tag: Vec<u8>,
    pub(super) to_client: Vec<u8>,
    pub(super) to_upstream: Vec<u8>,
    pub(super) client_saw_eof: bool,
    pub(super) upstream_saw_eof: bool,
    pub(super) leases: Vec<Lease>,
    pub(super) end: Option<SessionEnd>,
    pub(super) client: Way,
    pub(super) upstream: Way,
    /// `choose-upstream` has been called, or the first lease asked for without it.
    opened: bool,
    /// A call that goes before everything else.
    pub(super) pending: Option<Call>,
}

impl Relay {
    pub(super) fn new(hooks: Hooks, default_target: Target, speaks_first: Side) -> Self {
        Self {
            hooks,
            default_target,
            speaks_first,
            lending: Lending::Grant,
            max_shown: 64 * 1024,
            tag: Vec::new(),
            to_client: Vec::new(),
            to_upstream: Vec::new(),
            client_saw_eof: false,
            upstream_saw_eof: false,
            leases: Vec::new(),
            end: None,
            client: Way::default(),
            upstream: Way::default(),
            opened: false,
            pending: None,
        }
    }

    pub(super) fn way(&mut self, side: Side) -> &mut Way {
        match side {
            Side::Client => &mut self.client,
            Side::Upstream => &mut self.upstream,
        }
    }

    pub(super) fn has(&self, hook: Hooks) -> bool {
        self.hooks & hook == hook
    }

    fn lease_end(&self) -> Option<&LeaseEnd> {
        self.leases.last().map(|lease| &lease.end)
    }

    pub(super) fn held(&self) -> bool {
        self.lease_end() == Some(&LeaseEnd::Held)
    }

    pub(super) fn waiting(&self) -> bool {
        self.lease_end() == Some(&LeaseEnd::Waiting)
    }

    pub(super) fn current(&mut self) -> &mut Lease {
        match self.leases.last_mut() {
            Some(lease) => lease,
            None => panic!("there is no lease"),
        }
    }

    // What happens.

    pub(super) fn arrive(&mut self, side: Side, bytes: &[u8]) {
        if self.end.is_some() {
            return;
        }
        if side == Side::Upstream {
            assert!(
                self.held(),
                "the test lets the upstream send {:?}, but no connection is leased",
                bytes.escape_ascii().to_string()
            );
            self.current().received += bytes.len() as u64;
        }
        let way = self.way(side);
        assert!(!way.eof, "the test lets a side send after its end");
        let skipped = way.skip.min(bytes.len() as u64);
        way.skip -= skipped;
        // At most as many as there are bytes, so it fits.
        way.uncovered.extend_from_slice(&bytes[skipped as usize..]);
        way.news = true;
    }

    pub(super) fn eof(&mut self, side: Side) {
        self.way(side).eof = true;
    }

    pub(super) fn grant(&mut self) {
        assert!(self.waiting(), "the session waits for no lease");
        let target = self.current().target.clone();
        let fresh = !self.leases.iter().any(|lease| {
            let kept = matches!(
                lease.end,
                LeaseEnd::Returned(Disposition::Keep | Disposition::Reset)
            );
            kept && lease.target.identity == target.identity && lease.target.group == target.group
        });
        self.current().end = LeaseEnd::Held;
        // Without the hook that would look at them, bytes are copied plainly.
        let plain = !self.has(Hooks::ON_DATA);
        self.upstream = Way {
            // Steps behind a `lease` of the upstream's program.
            program: std::mem::take(&mut self.upstream.program),
            plain,
            ..Way::default()
        };
        self.client.plain = plain;
        self.client.news = true;
        if self.has(Hooks::ON_LEASED) {
            self.pending = Some(Call::OnLeased(Leased {
                tag: self.tag.clone(),
                fresh,
                endpoint: target.endpoint.unwrap_or_else(|| "127.0.0.1:1".into()),
                identity: target.identity,
            }));
        }
    }

    pub(super) fn fail(&mut self, why: LeaseError) {
        assert!(self.waiting(), "the session waits for no lease");
        self.current().end = LeaseEnd::Failed(why.clone());
        self.client.program.clear();
        self.upstream.program.clear();
        self.lease_failed(why);
    }

    pub(super) fn lose(&mut self, why: LeaseError) {
        assert!(self.held(), "no connection is leased that could be lost");
        self.current().end = LeaseEnd::Lost;
        self.drop_client_program();
        self.drop_upstream();
        self.lease_failed(why);
    }

    fn lease_failed(&mut self, why: LeaseError) {
        if self.has(Hooks::ON_LEASE_FAILED) {
            self.pending = Some(Call::OnLeaseFailed(why));
        } else {
            self.finish(SessionEnd::LeaseFailed(why));
        }
    }

    /// Ends the session; a lease that it still holds goes through `pool-return`.
    pub(super) fn finish(&mut self, end: SessionEnd) {
        if self.end.is_some() {
            return;
        }
        let reason = match &end {
            SessionEnd::ClientClosed => EndReason::ClientClosed,
            SessionEnd::ClientError => EndReason::ClientError,
            SessionEnd::Timeout => EndReason::Timeout,
            SessionEnd::Drain => EndReason::Drain,
            SessionEnd::Plugin(_) | SessionEnd::LeaseFailed(_) | SessionEnd::MaxShown(_) => {
                EndReason::PluginClose
            }
        };
        self.end = Some(end);
        if !self.held() {
            return;
        }
        if self.has(Hooks::POOL_RETURN) {
            let lease = self.current();
            let outcome = LeaseOutcome {
                reason,
                sent: lease.sent.len() as u64,
                received: lease.received,
            };
            self.pending = Some(Call::PoolReturn(outcome));
        } else {
            self.give_back(Disposition::Close, None);
        }
    }

    // What hooks answer.

    pub(super) fn chosen(&mut self, choice: Choice) {
        match choice {
            Choice::NeedMore => self.asked_for_more(Side::Client),
            Choice::Lease(request) => {
                self.client.program.push_back(Step::Lease(request.target));
                self.client.program.extend(request.then);
            }
            Choice::Answer(steps) => {
                assert!(
                    !steps.is_empty(),
                    "`choose-upstream` answered with no steps"
                );
                self.client.program.extend(steps);
            }
        }
    }

    pub(super) fn leased(&mut self, steps: Vec<Step>) {
        for step in steps.into_iter().rev() {
            self.client.program.push_front(step);
        }
    }

    pub(super) fn lease_failure_answered(&mut self, why: LeaseError, steps: Vec<Step>) {
        if steps.is_empty() {
            self.finish(SessionEnd::LeaseFailed(why));
        }
        self.client.program.extend(steps);
    }

    pub(super) fn answered(&mut self, side: Side, steps: Vec<Step>) {
        if steps.is_empty() {
            self.asked_for_more(side);
        }
        self.way(side).program.extend(steps);
    }

    pub(super) fn returned(&mut self, disposition: Disposition) {
        self.give_back(disposition, None);
    }

    fn asked_for_more(&mut self, side: Side) {
        let shown = self.way(side).uncovered.len();
        if shown >= self.max_shown {
            self.finish(SessionEnd::MaxShown(shown));
        }
    }

    // What follows.

    /// Carries out what can be carried out, up to the next hook to call.
    pub(super) fn next(&mut self) -> Option<Call> {
        loop {
            if let Some(call) = self.pending.take() {
                return Some(call);
            }
            if self.end.is_some() {
                return None;
            }
            if self.run(Side::Client) | self.run(Side::Upstream) {
                continue;
            }
            let call = if self.held() {
                self.show_leased()
            } else if self.waiting() {
                None
            } else {
                self.show_unleased()
            };
            if call.is_some() {
                return call;
            }
            if self.pending.is_none() && self.end.is_none() && self.at_rest() {
                return None;
            }
        }
    }

    /// Nothing more happens unless something arrives.
    fn at_rest(&self) -> bool {
        self.waiting()
            || self.held()
            || !matches!(self.client.program.front(), Some(Step::Lease(_)))
    }

    fn show_unleased(&mut self) -> Option<Call> {
        if !self.client.program.is_empty() {
            if self.client.eof {
                self.finish(SessionEnd::ClientClosed);
            }
            return None;
        }
        let choose = self.has(Hooks::CHOOSE_UPSTREAM);
        let at_accept = !self.opened && (!choose || self.speaks_first == Side::Upstream);
        let more = self.client.news && !self.client.uncovered.is_empty();
        if at_accept || more {
            self.opened = true;
            self.client.news = false;
            if choose {
                return Some(Call::ChooseUpstream(self.client.uncovered.clone()));
            }
            let lease = Step::Lease(self.default_target.clone());
            self.client.program.push_back(lease);
        } else if self.client.eof {
            self.finish(SessionEnd::ClientClosed);
        }
        None
    }

    fn show_leased(&mut self) -> Option<Call> {
        // While the upstream's side has steps left, nothing of the client's is shown.
        let reply_under_way = !self.upstream.program.is_empty();
        for side in [Side::Client, Side::Upstream] {
            if side == Side::Client && reply_under_way {
                continue;
            }
            let way = self.way(side);
            if way.news && !way.uncovered.is_empty() && way.program.is_empty() && !way.plain {
                way.news = false;
                return Some(Call::OnData(side, way.uncovered.clone()));
            }
        }
        if self.upstream.eof && !self.upstream.eof_done {
            self.upstream.eof_done = true;
            if self.upstream.plain {
                self.client_saw_eof = true;
            } else {
                self.lose(LeaseError::Lost("the upstream closed it".into()));
                return None;
            }
        }
        if self.client.eof && !self.client.eof_done && !reply_under_way {
            self.client.eof_done = true;
            if self.client.plain && self.client.program.is_empty() {
                self.upstream_saw_eof = true;
            } else if self.has(Hooks::ON_EOF) {
                return Some(Call::OnEof(Side::Client));
            } else {
                self.finish(SessionEnd::ClientClosed);
            }
        }
        if self.client_saw_eof && self.client.eof {
            self.finish(SessionEnd::ClientClosed);
        }
        None
    }
}
