//! The engine's main loop: which bytes are covered, which are shown, and what an end of one side
//! means.

use std::sync::Arc;

use super::end::End;
use super::engine::{Engine, Giveback, Loss, MAX_BARREN_LEASES, other};
use super::half::Owed;
use super::held::{Asked, Dead, LeaseState, Replay};
use super::steps::misuse;
use crate::contract::{Choice, Disposition, Hooks, LeaseError, Side, Target};
use crate::plugin::SessionHooks;

impl Engine {
    /// Does everything that can be done without another event.
    pub fn run(&mut self, hooks: &mut dyn SessionHooks) {
        self.swallow_unwritable();
        while self.end.is_none() {
            let progress = self
                .advance(Side::Client, hooks)
                .and_then(|client| Ok(client | self.advance(Side::Upstream, hooks)?));
            self.swallow_unwritable();
            match progress {
                Ok(true) => {}
                Ok(false) => break,
                Err(end) => self.finish(end, hooks),
            }
        }
    }

    /// Other sessions have had their turn: goes on where the last one has ended.
    pub fn take_turn(&mut self, hooks: &mut dyn SessionHooks) {
        self.calls_left = self.limits.calls_a_turn;
        if std::mem::take(&mut self.waits_for_turn) {
            self.run(hooks);
        }
    }

    /// Whether there is more to do as soon as others have had a turn.
    pub fn waits_for_turn(&self) -> bool {
        self.waits_for_turn && self.end.is_none()
    }

    /// Runs one side until it needs something from outside. True if anything changed.
    fn advance(&mut self, side: Side, hooks: &mut dyn SessionHooks) -> Result<bool, End> {
        let mut progressed = false;
        loop {
            if side == Side::Client && self.sharing.holds_up() {
                return Ok(progressed);
            }
            match (side, &self.lease) {
                (Side::Client, LeaseState::Asked(_)) => return Ok(progressed),
                (Side::Upstream, LeaseState::None | LeaseState::Asked(_)) => return Ok(progressed),
                _ => {}
            }
            progressed |= self.cover(side);
            if self.half(side).owed != Owed::Nothing {
                return Ok(progressed | self.ended_while_owed(side, hooks)?);
            }
            if self.half(side).waits_for_skip() {
                let half = self.half(side);
                if half.ended && half.uncovered() == 0 {
                    return Err(End::ClientClosed);
                }
                return Ok(progressed);
            }
            if let Some(step) = self.half_mut(side).steps.pop_front() {
                match self.execute(side, step)? {
                    None => progressed = true,
                    Some(blocked) => {
                        self.half_mut(side).steps.push_front(blocked);
                        return Ok(progressed);
                    }
                }
                continue;
            }
            if side == Side::Upstream && self.client.answers_next() {
                // It has waited for the reply that has just gone, and not for the next one.
                return Ok(progressed);
            }
            if !self.show(side, hooks)? {
                if self.waits_for_turn {
                    return Ok(progressed);
                }
                return Ok(progressed | self.ended_when_shown(side, hooks)?);
            }
            progressed = true;
        }
    }

    /// Applies what a step has promised to bytes that are here. True if there were any.
    fn cover(&mut self, side: Side) -> bool {
        let half = self.half_mut(side);
        half.do_skip();
        let uncovered = half.uncovered();
        if uncovered == 0 {
            return false;
        }
        let forwarded = !matches!(half.owed, Owed::Discard(_));
        let here = |left: u64| up_to(left, uncovered);
        let covered = match half.owed {
            Owed::Nothing => return false,
            Owed::Rest => {
                half.passing += uncovered;
                uncovered
            }
            Owed::Forward(left) => {
                let now = here(left);
                half.passing += now;
                half.owed = remaining(left, now, Owed::Forward);
                now
            }
            Owed::Discard(left) => {
                // Bytes in front of those to be swallowed have to go first.
                if half.passing > 0 {
                    return false;
                }
                let now = here(left);
                half.owed = remaining(left, now, Owed::Discard);
                self.keep_in_prefix();
                self.half_mut(side).input.consume(now);
                now
            }
        };
        self.half_mut(side).shown = 0;
        self.half_mut(other(side)).shown = 0;
        if side == Side::Client {
            self.barren_leases = 0;
            if forwarded && let LeaseState::Held(held) = &mut self.lease {
                held.sent += covered as u64;
            }
        }
        covered > 0
    }

    /// Moves the client's kept bytes out of its input, so that those behind them can go.
    pub(super) fn keep_in_prefix(&mut self) {
        if self.client.kept == 0 {
            return;
        }
        if let LeaseState::Held(held) = &mut self.lease
            && let Replay::Recording { prefix, .. } = &mut held.replay
        {
            prefix.extend_from_slice(&self.client.input.bytes()[..self.client.kept]);
        }
        self.client.drop_kept();
    }

    /// Shows the plugin what it has not decided about. True if that changed anything.
    fn show(&mut self, side: Side, hooks: &mut dyn SessionHooks) -> Result<bool, End> {
        let uncovered = self.half(side).uncovered();
        if side == Side::Client && !self.upstream.steps.is_empty() {
            // A reply is taken as gone that has not: what the client sends must not be forwarded
            // ahead of a release that waits.
            return Ok(false);
        }
        if !self.holds_lease() {
            if self.draining && self.sharing.is_quiet() {
                return Err(End::Drain);
            }
            if let Some(choice) = self.sharing.take_held() {
                self.chosen(choice)?;
                return Ok(true);
            }
            if self.draining {
                return Ok(false);
            }
            if uncovered <= self.client.shown {
                return self.full_or_waiting(uncovered);
            }
            if !self.takes_call(side) {
                return Ok(false);
            }
            self.choose(hooks)?;
            return Ok(true);
        }
        if !self.has.contains(Hooks::ON_DATA) {
            self.copy_rest(side);
            return Ok(true);
        }
        if uncovered <= self.half(side).shown {
            return match side {
                Side::Client => Ok(false),
                Side::Upstream => self.full_or_waiting(uncovered),
            };
        }
        if !self.takes_call(side) {
            return Ok(false);
        }
        self.half_mut(side).shown = uncovered;
        let steps = hooks
            .on_data(side, self.half(side).uncovered_bytes())
            .map_err(End::Fault)?;
        if steps.is_empty() && side == Side::Upstream && uncovered >= self.limits.max_shown {
            return Err(End::ShownLimit(self.limits.max_shown));
        }
        let changed = !steps.is_empty();
        self.half_mut(side).add_steps(steps);
        Ok(changed)
    }

    /// Counts a call for the client's bytes. False if there is none left in this turn. Those for the
    /// upstream's are not counted: it is the operator's, and its end must not overtake its bytes.
    fn takes_call(&mut self, side: Side) -> bool {
        if side == Side::Upstream {
            return true;
        }
        self.waits_for_turn = self.calls_left == 0;
        self.calls_left = self.calls_left.saturating_sub(1);
        !self.waits_for_turn
    }

    /// All of these bytes have been shown, and the plugin has left them: if there is no room for
    /// more, none will come.
    fn full_or_waiting(&self, uncovered: usize) -> Result<bool, End> {
        if uncovered >= self.limits.max_shown {
            return Err(End::ShownLimit(self.limits.max_shown));
        }
        Ok(false)
    }

    /// Whether the upstream's program is unfinished: bytes that it covers have not come.
    fn reply_under_way(&self) -> bool {
        matches!(self.upstream.owed, Owed::Forward(_) | Owed::Discard(_))
            || !self.upstream.steps.is_empty()
    }

    /// Asks the plugin where to go, or goes where sessions go that are not asked.
    pub(super) fn choose(&mut self, hooks: &mut dyn SessionHooks) -> Result<(), End> {
        if let Some(target) = &self.default_target {
            return self.ask(Arc::clone(target));
        }
        let uncovered = self.client.uncovered();
        self.client.shown = uncovered;
        let choice = hooks
            .choose_upstream(self.client.uncovered_bytes())
            .map_err(End::Fault)?;
        if let Choice::NeedMore = choice {
            self.choosing = true;
            if uncovered >= self.limits.max_shown {
                return Err(End::ShownLimit(self.limits.max_shown));
            }
            return Ok(());
        }
        self.choosing = false;
        match self
            .sharing
            .hold(choice, self.named.last().map(|last| &**last))
        {
            Some(choice) => self.chosen(choice),
            None => Ok(()),
        }
    }

    /// Carries out what the plugin has chosen.
    fn chosen(&mut self, choice: Choice) -> Result<(), End> {
        self.choices += 1;
        match choice {
            Choice::NeedMore => {}
            Choice::Share(share) => self.share(share)?,
            Choice::Lease(request) => {
                self.client.add_steps(request.then);
                let target = self.named(request.target)?;
                self.ask(target)?;
            }
            Choice::Answer(steps) => {
                if steps.is_empty() {
                    return Err(End::Misuse(
                        "choose-upstream answered with no steps".to_owned(),
                    ));
                }
                self.client.add_steps(steps);
            }
        }
        Ok(())
    }

    /// The target of a choice: what the plugin names, or what it has named last.
    pub(super) fn named(&mut self, target: Option<Target>) -> Result<Arc<Target>, End> {
        if let Some(target) = target {
            self.named.name(target);
        }
        match self.named.last() {
            Some(target) => Ok(Arc::clone(target)),
            None => Err(misuse("the first choice of a session without a target")),
        }
    }

    /// Starts to wait for a lease.
    pub(super) fn ask(&mut self, target: Arc<Target>) -> Result<(), End> {
        self.barren_leases += 1;
        if self.barren_leases > MAX_BARREN_LEASES {
            return Err(End::Misuse(format!(
                "{MAX_BARREN_LEASES} leases in a row moved no byte"
            )));
        }
        self.lease = LeaseState::Asked(Asked {
            target,
            replaces: None,
        });
        self.ask_pending = true;
        Ok(())
    }

    /// A side has ended while a step still owed some of its bytes.
    fn ended_while_owed(&mut self, side: Side, hooks: &mut dyn SessionHooks) -> Result<bool, End> {
        let half = self.half(side);
        if !half.ended || half.uncovered() > 0 {
            return Ok(false);
        }
        match (side, half.owed) {
            (_, Owed::Nothing) => Ok(false),
            // What it sent before may still have replies.
            (Side::Client, Owed::Forward(_)) if self.has.contains(Hooks::ON_EOF) => {
                self.client.cut_short();
                Ok(true)
            }
            (Side::Client, Owed::Forward(_) | Owed::Discard(_)) => Err(End::ClientClosed),
            // Perhaps it was dead before anything arrived: `lose` will tell.
            (_, Owed::Rest) if self.may_replace() => Ok(false),
            (Side::Client, Owed::Rest) => {
                // The half-close goes to the upstream, whose side ends the session.
                match &self.lease {
                    LeaseState::Held(held) if held.write_failed && self.upstream.ended => {
                        Err(End::UpstreamClosed)
                    }
                    _ => Ok(false),
                }
            }
            (Side::Upstream, Owed::Forward(_) | Owed::Discard(_)) => {
                // Nothing is sent again once it has replied, so that its tag does not matter.
                let loss = Loss {
                    why: "the upstream closed the connection in mid-reply",
                    delivered: true,
                    tag: &[],
                };
                self.lose(loss, hooks)?;
                Ok(true)
            }
            (Side::Upstream, Owed::Rest) => {
                // A plain copy goes on until the client ends too; where the plugin still reads
                // the client, the end of the upstream is the end.
                let gone = matches!(&self.lease, LeaseState::Held(held) if held.write_failed);
                if !self.copies_plainly() || gone || (self.client.ended && self.client.passing == 0)
                {
                    return Err(End::UpstreamClosed);
                }
                Ok(false)
            }
        }
    }

    /// A side has ended and the plugin has seen all of it.
    fn ended_when_shown(&mut self, side: Side, hooks: &mut dyn SessionHooks) -> Result<bool, End> {
        if !self.half(side).ended {
            return Ok(false);
        }
        if side == Side::Upstream {
            // The driver tells whether anything was delivered, through `upstream_lost`.
            return Ok(false);
        }
        if self.reply_under_way() || !self.sharing.is_quiet() {
            return Ok(false);
        }
        if !self.holds_lease() || !self.has.contains(Hooks::ON_EOF) {
            return Err(End::ClientClosed);
        }
        if std::mem::replace(&mut self.client.end_told, true) {
            return Ok(false);
        }
        let steps = hooks.on_eof(Side::Client).map_err(End::Fault)?;
        let changed = !steps.is_empty();
        self.client.add_steps(steps);
        Ok(changed)
    }

    /// Whether the driver has to report the end of the upstream's side through `upstream_lost`:
    /// it has ended, and no plain copy passes that on, or it has ended before its first byte.
    pub fn upstream_end_is_loss(&self) -> bool {
        self.holds_lease()
            && self.upstream.ended
            && (self.may_replace() || self.upstream.owed != Owed::Rest)
            && self.upstream.steps.is_empty()
    }

    /// Whether an end that [`Engine::upstream_end_is_loss`] asks about is none after all: that of a
    /// plain copy, whose bytes have arrived, so that nothing is sent again and the half-close
    /// passes as it would on a fresh connection.
    pub fn passes_end_on(&mut self, delivered: bool) -> bool {
        let LeaseState::Held(held) = &mut self.lease else {
            return false;
        };
        let again = matches!(&held.replay, Replay::Recording { safe, .. } if *safe || !delivered);
        if again || self.upstream.owed != Owed::Rest || held.write_failed {
            return false;
        }
        held.replay = Replay::Off;
        self.client.drop_kept();
        true
    }

    /// Whether the lease is of a reused connection that has not replied yet.
    fn may_replace(&self) -> bool {
        matches!(&self.lease, LeaseState::Held(held) if held.recording())
    }

    /// The connection is gone. Replaces it unseen where that is safe, and else tells the plugin.
    pub(super) fn lose(&mut self, loss: Loss<'_>, hooks: &mut dyn SessionHooks) -> Result<(), End> {
        let Loss {
            why,
            delivered,
            tag,
        } = loss;
        let LeaseState::Held(held) = &mut self.lease else {
            return Ok(());
        };
        if let Replay::Recording { prefix, safe } = &mut held.replay
            && (*safe || !delivered)
            && !self.draining
        {
            let mut prefix = std::mem::take(prefix);
            let target = Arc::clone(&held.target);
            let dead = Dead {
                why: why.to_owned(),
                sent: held.sent,
                told: self.has.contains(Hooks::ON_LEASED).then(|| tag.to_vec()),
                retag: held.retag.take(),
            };
            self.giveback = Some(Giveback {
                disposition: Disposition::Close,
                unclean: Some("replaced"),
                retag: None,
            });
            self.upstream.output.clear();
            self.upstream.output.take_over(&mut prefix);
            self.client.passing += self.client.kept;
            self.client.kept = 0;
            self.upstream.ended = false;
            self.lease = LeaseState::Asked(Asked {
                target,
                replaces: Some(Box::new(dead)),
            });
            self.ask_pending = true;
            return Ok(());
        }
        if self.client.cut {
            // Who has closed its side in the middle of a request is told nothing more: most have gone.
            return Err(End::ClientClosed);
        }
        if self.upstream.owed == Owed::Rest {
            return Err(End::UpstreamClosed);
        }
        if self.upstream.says_more() {
            // The plugin takes this reply for done, and the client may have got a part of it:
            // whatever were sent now would be taken for the rest.
            return Err(End::ReplyCut(why.to_owned()));
        }
        self.give_back(Disposition::Close);
        self.tell_lease_failed(LeaseError::Lost(why.to_owned()), hooks)
    }

    /// Lets the plugin say sorry.
    pub(super) fn tell_lease_failed(
        &mut self,
        why: LeaseError,
        hooks: &mut dyn SessionHooks,
    ) -> Result<(), End> {
        if !self.has.contains(Hooks::ON_LEASE_FAILED) {
            return Err(End::NoLease(why));
        }
        self.client.shown = 0;
        let steps = hooks.on_lease_failed(&why).map_err(End::Fault)?;
        if steps.is_empty() {
            return Err(End::NoLease(why));
        }
        self.client.go_first(steps);
        Ok(())
    }
}

/// `left`, but at most as many as there are.
pub(super) fn up_to(left: u64, there: usize) -> usize {
    usize::try_from(left).unwrap_or(usize::MAX).min(there)
}

fn remaining(left: u64, now: usize, owed: fn(u64) -> Owed) -> Owed {
    match left - now as u64 {
        0 => Owed::Nothing,
        left => owed(left),
    }
}
