//! The relay engine: one session as a state machine that knows no sockets.
//!
//! The driver tells it what happened (bytes, ends, leases, limits) and then carries out what it
//! wants: reads and writes (`passage`), a lease, a release. Everything a plugin may ask for is
//! decided here and in `pump` (who is shown what), `steps` (what each step does) and `ending`. Never
//! waits, never fails: whatever goes wrong becomes the session's [`End`].

use std::rc::Rc;
use std::sync::Arc;

use super::end::End;
use super::half::{Half, Owed};
use super::held::{Asked, Held, LeaseState, Replay};
use super::sharing::Sharing;
use super::targets::{Named, Targets};
use crate::contract::{
    Deadline, Disposition, Hooks, LeaseError, Leased, Side, Target, lease_error_text,
};
use crate::copy::{Buffer, BufferPool};
use crate::plugin::SessionHooks;

/// Leases in a row that moved no byte, after which the plugin is taken to run in circles.
pub(super) const MAX_BARREN_LEASES: u32 = 16;

/// Bytes of a plugin's own that wait for a side, past which its next `send` waits too.
pub(super) const OUTPUT_HIGH_WATER: usize = 256 << 10;

/// The limits of a session that the engine keeps.
#[derive(Debug, Clone, Copy)]
pub struct EngineLimits {
    /// Uncovered bytes of one side that are kept to be shown.
    pub max_shown: usize,
    /// Bytes kept per lease to be sent again.
    pub replay_limit: usize,
    /// How often the plugin is shown the client's bytes before [`Engine::take_turn`]: what it leaves
    /// of them is shown again each time, so that many small messages cost a call and a copy each.
    pub calls_a_turn: u32,
}

/// A connection that the session gives back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Giveback {
    /// What the plugin wants.
    pub disposition: Disposition,
    /// Why the host cannot vouch for the connection; none: it is clean.
    pub unclean: Option<&'static str>,
    /// The tag that the plugin has put on it; none: it keeps its own.
    pub retag: Option<Box<[u8]>>,
}

/// A connection that has broken or ended for good.
#[derive(Debug, Clone, Copy)]
pub struct Loss<'a> {
    /// How.
    pub why: &'a str,
    /// Whether any byte of this lease may have reached the upstream.
    pub delivered: bool,
    /// The tag that it had when it was leased.
    pub tag: &'a [u8],
}

/// What the session's connection is, once the pool has lent it.
#[derive(Debug, Clone, Copy)]
pub struct LeaseFacts<'a> {
    /// The connection's tag.
    pub tag: &'a [u8],
    /// Opened for this lease.
    pub fresh: bool,
    /// The endpoint's address.
    pub endpoint: &'a str,
}

/// One session. See the module's text.
#[derive(Debug)]
pub struct Engine {
    pub(super) has: Hooks,
    pub(super) limits: EngineLimits,
    pub(super) client: Half,
    pub(super) upstream: Half,
    pub(super) lease: LeaseState,
    /// What the session leases when the plugin does not choose.
    pub(super) default_target: Option<Arc<Target>>,
    pub(super) giveback: Option<Giveback>,
    /// The request for a lease has not been handed to the driver yet.
    pub(super) ask_pending: bool,
    pub(super) barren_leases: u32,
    pub(super) draining: bool,
    /// Calls for the client's bytes that are left in this turn.
    pub(super) calls_left: u32,
    /// There are bytes of the client that the plugin was not shown for want of calls.
    pub(super) waits_for_turn: bool,
    /// The plugin is waiting for more bytes before it can choose.
    pub(super) choosing: bool,
    /// How often it has chosen.
    pub(super) choices: u64,
    /// The target that the plugin has named last. Behind the lease, which may be the last but this to hold it.
    pub(super) named: Named,
    /// What goes to shared connections.
    pub(super) sharing: Sharing,
    /// The plugin has set a deadline, or lifted it, and the driver does not know yet.
    pub(super) deadline: Option<Box<Option<Deadline>>>,
    pub(super) end: Option<End>,
}

impl Engine {
    /// A session that has just been accepted. With `default_target` the plugin is not asked to
    /// choose.
    pub fn new(
        has: Hooks,
        limits: EngineLimits,
        targets: Rc<Targets>,
        default_target: Option<Arc<Target>>,
    ) -> Self {
        Self {
            has,
            limits,
            client: Half::new(),
            upstream: Half::new(),
            lease: LeaseState::None,
            default_target,
            giveback: None,
            ask_pending: false,
            barren_leases: 0,
            draining: false,
            calls_left: limits.calls_a_turn,
            waits_for_turn: false,
            choosing: false,
            choices: 0,
            named: Named::new(targets),
            sharing: Sharing::default(),
            deadline: None,
            end: None,
        }
    }

    /// The session starts before the client has sent anything: the upstream speaks first.
    pub fn start(&mut self, hooks: &mut dyn SessionHooks) {
        if let Err(end) = self.choose(hooks) {
            self.finish(end, hooks);
        }
        self.run(hooks);
    }

    // What the driver is to do.

    /// How the session ended, once it has; what is left then is to write what still waits for
    /// the client.
    pub fn end(&self) -> Option<&End> {
        self.end.as_ref()
    }

    /// A connection to give back, before anything else is done.
    pub fn take_giveback(&mut self) -> Option<Giveback> {
        self.giveback.take()
    }

    /// A lease to ask for, once: the target, and whether it must be a fresh connection.
    pub fn take_ask(&mut self) -> Option<(&Arc<Target>, bool)> {
        if !std::mem::take(&mut self.ask_pending) {
            return None;
        }
        match &self.lease {
            LeaseState::Asked(asked) => Some((&asked.target, asked.replaces.is_some())),
            LeaseState::None | LeaseState::Held(_) => None,
        }
    }

    /// The plugin's deadline from now on, where that has changed; none: there is none any more.
    pub fn take_deadline(&mut self) -> Option<Option<Deadline>> {
        self.deadline.take().map(|deadline| *deadline)
    }

    /// Whether a lease that was asked for is still wanted.
    pub fn is_asking(&self) -> bool {
        matches!(self.lease, LeaseState::Asked(_))
    }

    /// Whether a connection is held.
    pub fn holds_lease(&self) -> bool {
        matches!(self.lease, LeaseState::Held(_))
    }

    /// Whether the plugin waits for the client to finish what it has begun.
    pub fn is_choosing(&self) -> bool {
        self.choosing && self.client.uncovered() > 0
    }

    /// How often the plugin has chosen: what it waits for is something else each time.
    pub fn choices(&self) -> u64 {
        self.choices
    }

    /// Whether a connection is held in the middle of something that is expected to go on: bytes
    /// that a step has covered and that have not come, that wait to be written, or that the plugin
    /// has left until there is no room for more, although nothing was sent that could have a reply.
    /// Plain copies have neither beginning nor end.
    pub fn is_midway(&self) -> bool {
        let LeaseState::Held(held) = &self.lease else {
            let sharing = &self.sharing;
            let unread = !sharing.is_quiet() && self.has_output(Side::Client);
            return sharing.waits_for_room() || unread;
        };
        let owes = |half: &Half| matches!(half.owed, Owed::Forward(_) | Owed::Discard(_));
        let is_full = self.client.uncovered() >= self.limits.max_shown;
        !self.copies_plainly()
            && (owes(&self.client)
                || owes(&self.upstream)
                || (is_full && held.sent == 0)
                || self.has_output(Side::Client)
                || self.has_output(Side::Upstream))
    }

    /// Whether one side has ended and the session goes on for the other.
    pub fn is_half_closed(&self) -> bool {
        self.client.ended || self.upstream.ended || self.client.shut
    }

    /// Whether bytes of this side are wanted.
    pub fn wants_read(&self, side: Side) -> bool {
        let half = self.half(side);
        if self.end.is_some() || half.ended || (side == Side::Upstream && !self.holds_lease()) {
            return false;
        }
        // Uncovered bytes gather also under a step, while a dead connection is being replaced.
        half.passing == 0 && half.uncovered() < self.limits.max_shown
    }

    /// Whether the client has said anything yet.
    pub fn client_has_spoken(&self) -> bool {
        self.client.spoke
    }

    /// Whether the client has said all that it will say.
    pub fn client_has_ended(&self) -> bool {
        self.client.ended
    }

    /// Whether this side is to be told, once, that it gets no more. A client that has itself ended
    /// hears of the end of its session by the close, which comes at once.
    pub fn wants_shutdown(&self, side: Side) -> bool {
        let from = self.half(other(side));
        let ends = match side {
            Side::Upstream => self.holds_lease() && from.owed == Owed::Rest && from.ended,
            Side::Client if self.end.is_some() => !self.client.ended,
            Side::Client => self.copies_plainly() && self.holds_lease() && from.ended,
        };
        ends && !self.half(side).shut
            && from.uncovered() == 0
            && from.passing == 0
            && self.half(side).output.is_empty()
    }

    /// Gives back the storage of buffers that have run empty.
    pub fn settle(&mut self, pool: &BufferPool) {
        for half in [&mut self.client, &mut self.upstream] {
            half.input.settle(pool);
            half.output.settle(pool);
        }
    }

    /// Makes the session small for a wait that may be long.
    pub fn park(&mut self, pool: &BufferPool) {
        self.client.input.park(pool);
    }

    // What the driver has seen.

    /// Bytes were read into [`Engine::room`].
    pub fn filled(&mut self, side: Side, count: usize) {
        let half = self.half_mut(side);
        half.hungry = half.input.filled(count);
        half.spoke |= count > 0;
        if side == Side::Upstream && count > 0 {
            self.barren_leases = 0;
            if let LeaseState::Held(held) = &mut self.lease {
                held.received += count as u64;
                if held.recording() {
                    held.replay = Replay::Off;
                    self.client.drop_kept();
                }
            }
        }
    }

    /// Bytes of [`Engine::output`] were written.
    pub fn wrote(&mut self, side: Side, count: usize) {
        let own = self.half_mut(side).output.wrote(count);
        let passed = (count - own).min(self.half(other(side)).passing);
        match side {
            Side::Client => self.upstream.passed(passed),
            Side::Upstream if self.client.is_piped() => self.client.passed(passed),
            Side::Upstream => self.client_bytes_left(passed),
        }
    }

    /// Passing bytes of the client have left for the upstream.
    fn client_bytes_left(&mut self, count: usize) {
        self.client.passing -= count;
        self.client.kept += count;
        let limit = self.limits.replay_limit;
        let keep = match &self.lease {
            LeaseState::Held(Held {
                replay: Replay::Recording { prefix, .. },
                ..
            }) => prefix.len() + self.client.kept + self.client.passing <= limit,
            _ => false,
        };
        if !keep {
            self.client.drop_kept();
            if let LeaseState::Held(held) = &mut self.lease {
                held.replay = Replay::Off;
            }
        }
    }

    /// A write to the upstream failed. What it has sent before it broke is still read.
    pub fn upstream_write_failed(&mut self) {
        if let LeaseState::Held(held) = &mut self.lease {
            held.write_failed = true;
        }
        self.upstream.output.clear();
        self.swallow_unwritable();
    }

    /// Once writing has failed, bytes for the upstream are as good as sent: kept if they may be
    /// sent again, dropped otherwise.
    pub(super) fn swallow_unwritable(&mut self) {
        if matches!(&self.lease, LeaseState::Held(held) if held.write_failed) {
            self.upstream.output.clear();
            self.client_bytes_left(self.client.passing);
        }
    }

    /// A side will send no more.
    pub fn ended(&mut self, side: Side) {
        self.half_mut(side).ended = true;
    }

    /// We have told a side that it gets no more.
    pub fn was_shut(&mut self, side: Side) {
        self.half_mut(side).shut = true;
    }

    /// The upstream's side has broken or ended for good.
    pub fn upstream_lost(&mut self, loss: Loss<'_>, hooks: &mut dyn SessionHooks) {
        if !self.holds_lease() {
            return;
        }
        self.upstream.ended = true;
        let result = self.lose(loss, hooks);
        self.settle_result(result, hooks);
        self.run(hooks);
    }

    /// The client's connection broke: nothing more can be read from it or written to it.
    pub fn client_broke(&mut self, hooks: &mut dyn SessionHooks) {
        self.client.ended = true;
        self.finish(End::ClientBroke, hooks);
        self.client.output.clear();
        self.upstream.input.truncate(0);
        self.upstream.passing = 0;
    }

    /// The lease that was asked for is there. False if it is not taken: in place of a dead connection
    /// it has another tag than the plugin was told. Then it is given back at once.
    pub fn leased(&mut self, facts: LeaseFacts<'_>, hooks: &mut dyn SessionHooks) -> bool {
        let asked = match std::mem::replace(&mut self.lease, LeaseState::None) {
            LeaseState::Asked(asked) => asked,
            other @ (LeaseState::None | LeaseState::Held(_)) => {
                self.lease = other;
                return false;
            }
        };
        let Asked { target, replaces } = asked;
        let first = replaces.is_none();
        let (sent, retag) = match replaces {
            None => (0, None),
            Some(dead) if dead.told.as_deref().is_none_or(|told| told == facts.tag) => {
                (dead.sent, dead.retag)
            }
            Some(dead) => {
                self.not_replaced(&dead.why, hooks);
                return false;
            }
        };
        let leased = (first && self.has.contains(Hooks::ON_LEASED)).then(|| Leased {
            tag: facts.tag.to_vec(),
            fresh: facts.fresh,
            endpoint: facts.endpoint.to_owned(),
            identity: target.identity.clone(),
        });
        let replay = if facts.fresh || !first {
            Replay::Off
        } else {
            Replay::Recording {
                prefix: Vec::new(),
                safe: true,
            }
        };
        self.lease = LeaseState::Held(Held {
            target,
            sent,
            received: 0,
            retag,
            replay,
            write_failed: false,
        });
        self.upstream.ended = false;
        self.upstream.shut = false;
        if first {
            self.client.end_told = false;
            self.client.shown = 0;
        }
        if let Some(leased) = leased {
            match hooks.on_leased(&leased) {
                Ok(steps) => self.client.go_first(steps),
                Err(fault) => self.finish(End::Fault(fault), hooks),
            }
        }
        self.run(hooks);
        true
    }

    /// The lease that was asked for cannot be had.
    pub fn lease_failed(&mut self, why: LeaseError, hooks: &mut dyn SessionHooks) {
        let LeaseState::Asked(asked) = std::mem::replace(&mut self.lease, LeaseState::None) else {
            return;
        };
        let why = match asked.replaces {
            Some(dead) => LeaseError::Lost(format!(
                "{}; no replacement: {}",
                dead.why,
                lease_error_text(&why)
            )),
            None => why,
        };
        if matches!(why, LeaseError::Lost(_)) {
            self.leave_connection();
        } else {
            // The steps behind a `lease` are dropped with it.
            self.client.steps.clear();
            self.client.behind_skip = 0;
        }
        let result = self.tell_lease_failed(why, hooks);
        self.settle_result(result, hooks);
        self.run(hooks);
    }

    /// A time limit has passed; `name` is its name in the config.
    pub fn expire(&mut self, name: &'static str, hooks: &mut dyn SessionHooks) {
        self.finish(End::Timeout(name), hooks);
    }

    /// The host does not wait any longer: the session ends now.
    pub fn stop(&mut self, hooks: &mut dyn SessionHooks) {
        self.finish(End::Drain, hooks);
    }

    /// The host shuts down: the session ends as soon as it holds no lease.
    pub fn drain(&mut self, hooks: &mut dyn SessionHooks) {
        self.draining = true;
        if !self.holds_lease() && !self.is_asking() && self.sharing.is_quiet() {
            self.finish(End::Drain, hooks);
        }
    }

    /// The plugin's instance has died, in this session's call or in another's.
    pub fn faulted(&mut self, fault: crate::plugin::Fault, hooks: &mut dyn SessionHooks) {
        self.finish(End::Fault(fault), hooks);
    }

    // What the parts of the engine share.

    pub(super) fn half(&self, side: Side) -> &Half {
        match side {
            Side::Client => &self.client,
            Side::Upstream => &self.upstream,
        }
    }

    pub(super) fn half_mut(&mut self, side: Side) -> &mut Half {
        match side {
            Side::Client => &mut self.client,
            Side::Upstream => &mut self.upstream,
        }
    }

    /// Both sides pass unseen until the lease ends.
    pub(super) fn copies_plainly(&self) -> bool {
        self.client.owed == Owed::Rest && self.upstream.owed == Owed::Rest
    }

    pub(super) fn settle_result(&mut self, result: Result<(), End>, hooks: &mut dyn SessionHooks) {
        if let Err(end) = result {
            self.finish(end, hooks);
        }
    }
}

/// The other side.
pub(super) fn other(side: Side) -> Side {
    match side {
        Side::Client => Side::Upstream,
        Side::Upstream => Side::Client,
    }
}

// Kept small on purpose: every idle session has one.
const _: () = assert!(std::mem::size_of::<Engine>() <= 768);
const _: () = assert!(std::mem::size_of::<Buffer>() <= 48);
