//! Which bytes are covered, which are shown, and what an end of one side means: the part of
//! [`Relay`] that the host has in `session/pump.rs`.

use super::hooked::{Hooked, check_target};
use super::record::{Lease, LeaseEnd, SessionEnd};
use super::relay::Relay;
use super::way::{Owed, up_to};
use crate::{Choice, Hooks, LeaseError, Side, Target};

/// Leases in a row that move no byte, after which a plugin is taken to run in circles.
const MAX_BARREN_LEASES: u32 = 16;

impl Relay {
    /// Does everything that can be done without another event.
    pub(super) fn run(&mut self, plugin: &mut dyn Hooked) {
        while self.end.is_none() {
            let progress = self
                .advance(Side::Client, plugin)
                .and_then(|client| Ok(client | self.advance(Side::Upstream, plugin)?));
            match progress {
                Ok(true) => {}
                Ok(false) => break,
                Err(end) => self.finish(end, plugin),
            }
        }
    }

    /// Runs one side until it needs something from outside. True if anything changed.
    fn advance(&mut self, side: Side, plugin: &mut dyn Hooked) -> Result<bool, SessionEnd> {
        let mut progressed = false;
        loop {
            let held_up = side == Side::Client && self.sharing.holds_up();
            if held_up || self.waiting() || (side == Side::Upstream && !self.held()) {
                return Ok(progressed);
            }
            progressed |= self.cover(side);
            if self.way(side).owed != Owed::Nothing {
                return Ok(progressed | self.ended_while_owed(side, plugin)?);
            }
            if self.way(side).waits_for_skip() {
                let way = self.way(side);
                if way.ended && way.uncovered.is_empty() {
                    return Err(SessionEnd::ClientClosed);
                }
                return Ok(progressed);
            }
            if let Some(step) = self.way_mut(side).program.pop_front() {
                if let Some(blocked) = self.execute(side, step)? {
                    self.way_mut(side).program.push_front(blocked);
                    return Ok(progressed);
                }
                progressed = true;
                continue;
            }
            if side == Side::Upstream && self.client.answers_next() {
                return Ok(progressed);
            }
            if !self.show(side, plugin)? {
                return Ok(progressed | self.ended_when_shown(side, plugin)?);
            }
            progressed = true;
        }
    }

    /// Applies what a step has promised to bytes that are here. True if there were any.
    fn cover(&mut self, side: Side) -> bool {
        let way = self.way_mut(side);
        way.do_skip();
        let here = way.uncovered.len();
        if here == 0 {
            return false;
        }
        match way.owed {
            Owed::Nothing => return false,
            Owed::Rest => way.pass(here),
            Owed::Forward(left) => {
                let now = up_to(left, here);
                way.pass(now);
                way.owed = remaining(left, now, Owed::Forward);
            }
            Owed::Discard(left) => {
                // Bytes in front of those to be swallowed have to go first.
                if !way.passing.is_empty() {
                    return false;
                }
                let now = up_to(left, here);
                way.uncovered.drain(..now);
                way.owed = remaining(left, now, Owed::Discard);
            }
        }
        self.client.shown = 0;
        self.upstream.shown = 0;
        if side == Side::Client {
            self.barren_leases = 0;
        }
        true
    }

    /// Shows the plugin what it has not decided about. True if that changed anything.
    fn show(&mut self, side: Side, plugin: &mut dyn Hooked) -> Result<bool, SessionEnd> {
        let uncovered = self.way(side).uncovered.len();
        if side == Side::Client && !self.upstream.program.is_empty() {
            return Ok(false);
        }
        if !self.held() {
            if self.draining && self.sharing.is_quiet() {
                return Err(SessionEnd::Drain);
            }
            if let Some(choice) = self.sharing.take_held() {
                self.chosen(choice);
                return Ok(true);
            }
            if self.draining {
                return Ok(false);
            }
            if uncovered <= self.client.shown {
                return self.full_or_waiting(uncovered);
            }
            self.choose(plugin)?;
            return Ok(true);
        }
        if !self.has(Hooks::ON_DATA) {
            self.way_mut(side).owed = Owed::Rest;
            return Ok(true);
        }
        if uncovered <= self.way(side).shown {
            return match side {
                Side::Client => Ok(false),
                Side::Upstream => self.full_or_waiting(uncovered),
            };
        }
        self.way_mut(side).shown = uncovered;
        let steps = plugin.on_data(side, &self.way(side).uncovered);
        if steps.is_empty() && side == Side::Upstream && uncovered >= self.max_shown {
            return Err(SessionEnd::MaxShown(self.max_shown));
        }
        let changed = !steps.is_empty();
        self.way_mut(side).program.extend(steps);
        Ok(changed)
    }

    /// All of these bytes have been shown, and the plugin has left them: if there is no room for
    /// more, none will come.
    fn full_or_waiting(&self, uncovered: usize) -> Result<bool, SessionEnd> {
        if uncovered >= self.max_shown {
            return Err(SessionEnd::MaxShown(self.max_shown));
        }
        Ok(false)
    }

    /// Whether the upstream's program is unfinished: bytes that it covers have not come.
    fn reply_under_way(&self) -> bool {
        matches!(self.upstream.owed, Owed::Forward(_) | Owed::Discard(_))
            || !self.upstream.program.is_empty()
    }

    /// Asks the plugin where to go, or goes where sessions go that are not asked.
    pub(super) fn choose(&mut self, plugin: &mut dyn Hooked) -> Result<(), SessionEnd> {
        if !self.has(Hooks::CHOOSE_UPSTREAM) {
            self.ask(self.default_target.clone());
            return Ok(());
        }
        let uncovered = self.client.uncovered.len();
        self.client.shown = uncovered;
        let choice = plugin.choose_upstream(&self.client.uncovered);
        if let Choice::NeedMore = choice {
            if uncovered >= self.max_shown {
                return Err(SessionEnd::MaxShown(self.max_shown));
            }
        } else if let Some(choice) = self.sharing.hold(choice, self.named.as_ref()) {
            self.chosen(choice);
        }
        Ok(())
    }

    /// Carries out what the plugin has chosen.
    fn chosen(&mut self, choice: Choice) {
        match choice {
            Choice::NeedMore => {}
            Choice::Share(share) => self.share(share),
            Choice::Lease(request) => {
                self.client.program.extend(request.then);
                let target = self.named(request.target);
                self.ask(target);
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

    /// The target of a choice: what the plugin names, or what it has named last.
    pub(super) fn named(&mut self, target: Option<Target>) -> Target {
        if let Some(target) = target {
            check_target(&target);
            self.named = Some(target);
        }
        match &self.named {
            Some(target) => target.clone(),
            None => panic!("the first choice of a session without a target"),
        }
    }

    /// Starts to wait for a lease.
    pub(super) fn ask(&mut self, target: Target) {
        check_target(&target);
        self.barren_leases += 1;
        assert!(
            self.barren_leases <= MAX_BARREN_LEASES,
            "{MAX_BARREN_LEASES} leases in a row moved no byte"
        );
        self.leases.push(Lease {
            target,
            sent: Vec::new(),
            received: 0,
            retagged: None,
            end: LeaseEnd::Waiting,
        });
        self.asked = true;
    }

    /// A side has ended while a step still owed some of its bytes.
    fn ended_while_owed(
        &mut self,
        side: Side,
        plugin: &mut dyn Hooked,
    ) -> Result<bool, SessionEnd> {
        let way = self.way(side);
        if !way.ended || !way.uncovered.is_empty() {
            return Ok(false);
        }
        match (side, way.owed) {
            (_, Owed::Nothing) => Ok(false),
            // What it sent before may still have replies.
            (Side::Client, Owed::Forward(_)) if self.has(Hooks::ON_EOF) => {
                self.client.cut_short();
                Ok(true)
            }
            (Side::Client, Owed::Forward(_) | Owed::Discard(_)) => Err(SessionEnd::ClientClosed),
            // The half-close goes to the upstream, whose side ends the session.
            (Side::Client, Owed::Rest) => Ok(false),
            (Side::Upstream, Owed::Forward(_) | Owed::Discard(_)) => {
                let why = "the upstream closed the connection in mid-reply";
                self.lost(why, plugin)?;
                Ok(true)
            }
            (Side::Upstream, Owed::Rest) => {
                // A plain copy goes on until the client ends too; where the plugin still reads
                // the client, the end of the upstream is the end.
                let copies_plainly = self.client.owed == Owed::Rest;
                if !copies_plainly || (self.client.ended && self.client.passing.is_empty()) {
                    return Err(SessionEnd::UpstreamClosed);
                }
                Ok(false)
            }
        }
    }

    /// A side has ended and the plugin has seen all of it.
    fn ended_when_shown(
        &mut self,
        side: Side,
        plugin: &mut dyn Hooked,
    ) -> Result<bool, SessionEnd> {
        // The end of the upstream's side is a loss, and noticed where that is due.
        if side == Side::Upstream
            || !self.client.ended
            || self.reply_under_way()
            || !self.sharing.is_quiet()
        {
            return Ok(false);
        }
        if !self.held() || !self.has(Hooks::ON_EOF) {
            return Err(SessionEnd::ClientClosed);
        }
        if std::mem::replace(&mut self.client.end_told, true) {
            return Ok(false);
        }
        let steps = plugin.on_eof(Side::Client);
        let changed = !steps.is_empty();
        self.client.program.extend(steps);
        Ok(changed)
    }

    /// Whether the end of the upstream's side is a loss: no plain copy passes it on.
    pub(super) fn upstream_end_is_loss(&self) -> bool {
        self.held()
            && self.upstream.ended
            && self.upstream.owed != Owed::Rest
            && self.upstream.program.is_empty()
    }

    /// The connection is gone.
    pub(super) fn lost(&mut self, why: &str, plugin: &mut dyn Hooked) -> Result<(), SessionEnd> {
        if self.client.cut {
            // Who has closed its side in the middle of a request is told nothing more: most have gone.
            self.leave_connection(LeaseEnd::Lost);
            return Err(SessionEnd::ClientClosed);
        }
        if self.upstream.owed == Owed::Rest {
            self.leave_connection(LeaseEnd::Lost);
            return Err(SessionEnd::UpstreamClosed);
        }
        let cut = self.upstream.says_more();
        self.leave_connection(LeaseEnd::Lost);
        if cut {
            // The plugin takes this reply for done, and the client may have got a part of it.
            return Err(SessionEnd::ReplyCut(why.to_owned()));
        }
        self.tell_lease_failed(LeaseError::Lost(why.to_owned()), plugin)
    }

    /// Lets the plugin say sorry.
    pub(super) fn tell_lease_failed(
        &mut self,
        why: LeaseError,
        plugin: &mut dyn Hooked,
    ) -> Result<(), SessionEnd> {
        if !self.has(Hooks::ON_LEASE_FAILED) {
            return Err(SessionEnd::LeaseFailed(why));
        }
        self.client.shown = 0;
        let steps = plugin.on_lease_failed(&why);
        if steps.is_empty() {
            return Err(SessionEnd::LeaseFailed(why));
        }
        self.client.go_first(steps);
        Ok(())
    }

    /// Whether bytes of this side are wanted.
    pub(super) fn wants_read(&self, side: Side) -> bool {
        let way = self.way(side);
        if self.end.is_some() || way.ended || (side == Side::Upstream && !self.held()) {
            return false;
        }
        way.passing.is_empty() && way.uncovered.len() < self.max_shown
    }

    /// Whether the upstream is to be told, once, that it gets no more.
    pub(super) fn passes_half_close(&self) -> bool {
        self.held()
            && !self.half_closed
            && self.client.owed == Owed::Rest
            && self.client.ended
            && self.client.uncovered.is_empty()
            && self.client.passing.is_empty()
            && self.upstream.own.is_empty()
    }
}

fn remaining(left: u64, now: usize, owed: fn(u64) -> Owed) -> Owed {
    match left - now as u64 {
        0 => Owed::Nothing,
        left => owed(left),
    }
}
