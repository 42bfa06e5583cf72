//! What the host does with one session, in memory.
//!
//! The same state machine as the host's engine, with what the host's driver does around it and
//! without what no plugin sees (replay, sockets that take their time). `host/tests/sdk_agrees`
//! holds the two against each other. `ScriptedSession` joins this to a plugin; steps that the
//! host would refuse panic, so that a plugin's test fails there.

use super::hooked::Hooked;
use super::record::{Lease, LeaseEnd, SessionEnd};
use super::sharing::Sharing;
use super::way::{Owed, Way};
use crate::{
    Deadline, Disposition, EndReason, Hooks, LeaseError, LeaseOutcome, Leased, Side, Target,
};

/// The most that the host reads at once, if `max-shown` is not more.
const BUFFER_SIZE: usize = 16 << 10;

/// What happens to a lease that is asked for.
pub(super) enum Lending {
    Grant,
    Hold,
    Fail(LeaseError),
}

/// The host's side of one session.
pub(super) struct Relay {
    hooks: Hooks,
    pub(super) default_target: Target,
    speaks_first: Side,
    pub(super) lending: Lending,
    pub(super) max_shown: usize,
    pub(super) tag: Vec<u8>,
    /// Since which lease: what those before it have put on is on other connections.
    pub(super) tagged_at: usize,
    pub(super) to_client: Vec<u8>,
    pub(super) to_upstream: Vec<u8>,
    /// The client's half-close has reached an upstream.
    pub(super) upstream_saw_eof: bool,
    pub(super) leases: Vec<Lease>,
    pub(super) end: Option<SessionEnd>,
    pub(super) client: Way,
    pub(super) upstream: Way,
    /// A lease has been asked for, and `lending` not been looked at.
    pub(super) asked: bool,
    /// The client's half-close has reached the upstream of this lease.
    pub(super) half_closed: bool,
    pub(super) barren_leases: u32,
    pub(super) draining: bool,
    /// The plugin's own time limit.
    pub(super) deadline: Option<Deadline>,
    /// The target that the plugin has named last.
    pub(super) named: Option<Target>,
    pub(super) sharing: Sharing,
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
            tagged_at: 0,
            to_client: Vec::new(),
            to_upstream: Vec::new(),
            upstream_saw_eof: false,
            leases: Vec::new(),
            end: None,
            client: Way::default(),
            upstream: Way::default(),
            asked: false,
            half_closed: false,
            barren_leases: 0,
            draining: false,
            deadline: None,
            named: None,
            sharing: Sharing::default(),
        }
    }

    pub(super) fn way(&self, side: Side) -> &Way {
        match side {
            Side::Client => &self.client,
            Side::Upstream => &self.upstream,
        }
    }

    pub(super) fn way_mut(&mut self, side: Side) -> &mut Way {
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
        self.end.is_none() && self.lease_end() == Some(&LeaseEnd::Waiting)
    }

    pub(super) fn current(&mut self) -> &mut Lease {
        match self.leases.last_mut() {
            Some(lease) => lease,
            None => panic!("there is no lease"),
        }
    }

    // What happens.

    /// The session has been accepted.
    pub(super) fn accept(&mut self, plugin: &mut dyn Hooked) {
        if self.speaks_first == Side::Upstream || !self.has(Hooks::CHOOSE_UPSTREAM) {
            let chosen = self.choose(plugin);
            self.settle_result(chosen, plugin);
            self.run(plugin);
        }
    }

    pub(super) fn arrive(&mut self, side: Side, bytes: &[u8]) {
        if self.end.is_some() {
            return;
        }
        if side == Side::Upstream && !self.held() && !self.sharing.is_quiet() {
            return self.sharing.unread.extend(bytes);
        }
        assert!(
            side == Side::Client || self.held(),
            "the test lets the upstream send \"{}\", but no connection is leased",
            bytes.escape_ascii()
        );
        let way = self.way_mut(side);
        assert!(!way.sent_all, "the test lets a side send after its end");
        way.unread.extend(bytes);
    }

    pub(super) fn eof(&mut self, side: Side) {
        if self.end.is_some() {
            return;
        }
        assert!(
            side == Side::Client || self.held(),
            "no connection is leased that could be closed"
        );
        self.way_mut(side).sent_all = true;
    }

    pub(super) fn client_broke(&mut self, plugin: &mut dyn Hooked) {
        self.client.ended = true;
        self.finish(SessionEnd::ClientError, plugin);
        self.client.own.clear();
        self.upstream.passing.clear();
    }

    pub(super) fn grant(&mut self, plugin: &mut dyn Hooked) {
        assert!(self.waiting(), "the session waits for no lease");
        let target = self.current().target.clone();
        let before = self.leases.iter().enumerate().rfind(|(_, lease)| {
            let kept = matches!(
                lease.end,
                LeaseEnd::Returned(Disposition::Keep | Disposition::Reset)
            );
            kept && lease.target.identity == target.identity && lease.target.group == target.group
        });
        // What is opened for one lease is never of an earlier one, which would have been closed.
        let before = before.filter(|_| !target.unpooled);
        let fresh = before.is_none();
        let retagged = before
            .filter(|(at, _)| *at >= self.tagged_at)
            .filter(|(_, lease)| lease.end == LeaseEnd::Returned(Disposition::Keep))
            .and_then(|(_, lease)| lease.retagged.clone());
        let tag = retagged.clone().unwrap_or_else(|| self.tag.clone());
        let lease = self.current();
        lease.retagged = retagged;
        lease.end = LeaseEnd::Held;
        self.client.end_told = false;
        self.client.shown = 0;
        if self.has(Hooks::ON_LEASED) {
            let steps = plugin.on_leased(&Leased {
                tag,
                fresh,
                endpoint: target.endpoint.unwrap_or_else(|| "127.0.0.1:1".into()),
                identity: target.identity,
            });
            self.client.go_first(steps);
        }
        self.run(plugin);
    }

    pub(super) fn fail(&mut self, why: LeaseError, plugin: &mut dyn Hooked) {
        assert!(self.waiting(), "the session waits for no lease");
        self.current().end = LeaseEnd::Failed(why.clone());
        // The steps behind a `lease` are dropped with it.
        self.client.program.clear();
        self.client.behind_skip = 0;
        let told = self.tell_lease_failed(why, plugin);
        self.settle_result(told, plugin);
        self.run(plugin);
    }

    pub(super) fn lose(&mut self, why: &str, plugin: &mut dyn Hooked) {
        if !self.held() && !self.sharing.is_quiet() {
            self.lose_shared(why, plugin);
            return self.run(plugin);
        }
        assert!(self.held(), "no connection is leased that could be lost");
        let told = self.lost(why, plugin);
        self.settle_result(told, plugin);
        self.run(plugin);
    }

    /// The host shuts down: the session ends as soon as it holds no lease.
    pub(super) fn drain(&mut self, plugin: &mut dyn Hooked) {
        self.draining = true;
        if self.waiting() {
            self.fail(LeaseError::Draining, plugin);
        } else if !self.held() && self.sharing.is_quiet() {
            self.finish(SessionEnd::Drain, plugin);
        }
    }

    /// The plugin's deadline passes.
    pub(super) fn deadline_passes(&mut self, plugin: &mut dyn Hooked) {
        if self.end.is_some() {
            return;
        }
        let Some(deadline) = self.deadline.take() else {
            panic!("the session has no deadline that could pass");
        };
        let may_speak = self.is_between_messages();
        self.finish(SessionEnd::Deadline, plugin);
        if may_speak {
            let ahead = std::mem::take(&mut self.upstream.passing);
            self.client.own.extend(ahead);
            self.client.own.extend(deadline.farewell);
        }
    }

    /// Whether what the client gets next would not stand in the middle of anything.
    fn is_between_messages(&self) -> bool {
        self.upstream.owed != Owed::Rest
            && !self.upstream.says_more()
            && !self.client.sends_to_client()
            && self.sharing.is_quiet()
    }

    fn settle_result(&mut self, result: Result<(), SessionEnd>, plugin: &mut dyn Hooked) {
        if let Err(end) = result {
            self.finish(end, plugin);
        }
    }

    /// Ends the session, giving back a connection that it still holds. The first end counts.
    pub(super) fn finish(&mut self, end: SessionEnd, plugin: &mut dyn Hooked) {
        if self.end.is_some() {
            return;
        }
        if self.held() {
            let disposition = match reason(&end) {
                Some(reason) if self.doubt().is_none() && self.has(Hooks::POOL_RETURN) => {
                    let lease = self.current();
                    plugin.pool_return(LeaseOutcome {
                        reason,
                        sent: lease.sent.len() as u64,
                        received: lease.received,
                    })
                }
                _ => Disposition::Close,
            };
            self.give_back(disposition);
        }
        self.asked = false;
        self.deadline = None;
        self.sharing = Sharing::default();
        self.client.program.clear();
        self.client.uncovered.clear();
        self.client.passing.clear();
        self.client.owed = Owed::Nothing;
        self.end = Some(end);
    }

    // What follows.

    /// A session that is woken looks first whether it may go on.
    pub(super) fn wake(&mut self, plugin: &mut dyn Hooked) {
        if self.draining && !self.held() && !self.waiting() && self.sharing.is_quiet() {
            self.finish(SessionEnd::Drain, plugin);
        }
    }

    /// Everything that follows from what has happened, in the order of the host's driver.
    pub(super) fn settle(&mut self, plugin: &mut dyn Hooked) {
        loop {
            let mut moved = self.lend(plugin);
            moved |= self.deal_out(plugin);
            moved |= self.flush(Side::Upstream, plugin);
            moved |= self.flush(Side::Client, plugin);
            moved |= self.fill(Side::Upstream, plugin);
            moved |= self.fill(Side::Client, plugin);
            moved |= self.pass_ends(plugin);
            if !moved {
                return;
            }
        }
    }

    fn lend(&mut self, plugin: &mut dyn Hooked) -> bool {
        if !std::mem::take(&mut self.asked) {
            return false;
        }
        match &self.lending {
            _ if self.draining => self.fail(LeaseError::Draining, plugin),
            Lending::Grant => self.grant(plugin),
            Lending::Hold => {}
            Lending::Fail(why) => self.fail(why.clone(), plugin),
        }
        true
    }

    fn flush(&mut self, side: Side, plugin: &mut dyn Hooked) -> bool {
        if side == Side::Upstream && !self.held() {
            return false;
        }
        let mut bytes = std::mem::take(&mut self.way_mut(side).own);
        bytes.append(&mut self.way_mut(other(side)).passing);
        if bytes.is_empty() {
            return false;
        }
        match side {
            Side::Client => self.to_client.extend(bytes),
            Side::Upstream => {
                self.current().sent.extend_from_slice(&bytes);
                self.to_upstream.extend(bytes);
            }
        }
        self.run(plugin);
        true
    }

    fn fill(&mut self, side: Side, plugin: &mut dyn Hooked) -> bool {
        if !self.wants_read(side) {
            return false;
        }
        let most = self.max_shown.max(BUFFER_SIZE);
        let way = self.way_mut(side);
        let count = way.unread.len().min(most - way.uncovered.len());
        if count == 0 && !way.sent_all {
            return false;
        }
        way.ended = count == 0;
        way.uncovered.extend(way.unread.drain(..count));
        if side == Side::Upstream && count > 0 {
            self.current().received += count as u64;
            self.barren_leases = 0;
        }
        self.run(plugin);
        true
    }

    fn pass_ends(&mut self, plugin: &mut dyn Hooked) -> bool {
        if self.upstream_end_is_loss() {
            self.lose("the upstream closed the connection", plugin);
            return true;
        }
        if !self.passes_half_close() {
            return false;
        }
        self.half_closed = true;
        self.upstream_saw_eof = true;
        self.run(plugin);
        true
    }
}

/// The other side.
pub(super) fn other(side: Side) -> Side {
    match side {
        Side::Client => Side::Upstream,
        Side::Upstream => Side::Client,
    }
}

/// The reason as `pool-return` hears it; none when the plugin is not asked any more.
fn reason(end: &SessionEnd) -> Option<EndReason> {
    match end {
        SessionEnd::ClientClosed => Some(EndReason::ClientClosed),
        SessionEnd::ClientError => Some(EndReason::ClientError),
        SessionEnd::Plugin(_) => Some(EndReason::PluginClose),
        SessionEnd::Timeout | SessionEnd::Deadline => Some(EndReason::Timeout),
        SessionEnd::Drain => Some(EndReason::Drain),
        SessionEnd::UpstreamClosed
        | SessionEnd::ReplyCut(_)
        | SessionEnd::LeaseFailed(_)
        | SessionEnd::MaxShown(_) => None,
    }
}
