//! One side of a scripted session: what it sent, what its program covers of that, and what waits
//! to be written to it.

use std::collections::VecDeque;

use crate::{Side, Step};

/// What a step has promised about bytes that have not all arrived yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Owed {
    /// Nothing: bytes are shown.
    #[default]
    Nothing,
    /// So many more pass on unseen.
    Forward(u64),
    /// So many more are swallowed.
    Discard(u64),
    /// All pass on until the lease ends.
    Rest,
}

/// One side.
#[derive(Debug, Default)]
pub(super) struct Way {
    /// Sent, and not read by the host yet.
    pub(super) unread: VecDeque<u8>,
    /// The test has said that nothing comes behind `unread`.
    pub(super) sent_all: bool,
    /// Read, and to be written to the other side.
    pub(super) passing: Vec<u8>,
    /// Read, and not covered by any step.
    pub(super) uncovered: Vec<u8>,
    /// The next so many bytes were to be forwarded on a lease that is gone: they are swallowed,
    /// ahead of whatever the program says.
    pub(super) skip: u64,
    /// So many steps at the end of the program stand behind those bytes.
    pub(super) behind_skip: usize,
    pub(super) owed: Owed,
    /// Steps that have not been carried out.
    pub(super) program: VecDeque<Step>,
    /// The plugin's own bytes to this side, and those that went ahead of them.
    pub(super) own: Vec<u8>,
    /// The host has read the end.
    pub(super) ended: bool,
    /// `on-eof` has been called during this lease.
    pub(super) end_told: bool,
    /// It ended in the middle of a `forward`, whose bytes have gone as far as they had come.
    pub(super) cut: bool,
    /// How many uncovered bytes the plugin was last shown, and did not cover.
    pub(super) shown: usize,
}

impl Way {
    /// Puts steps in front of the program.
    pub(super) fn go_first(&mut self, steps: Vec<Step>) {
        for step in steps.into_iter().rev() {
            self.program.push_front(step);
        }
    }

    /// Lets so many uncovered bytes pass.
    pub(super) fn pass(&mut self, count: usize) {
        self.passing.extend(self.uncovered.drain(..count));
    }

    /// Puts steps at the end of the program.
    pub(super) fn go_last(&mut self, steps: impl IntoIterator<Item = Step>) {
        let before = self.program.len();
        self.program.extend(steps);
        if self.skip > 0 {
            self.behind_skip += self.program.len() - before;
        }
    }

    /// Whether the next step stands behind bytes that are to be skipped and have not come.
    pub(super) fn waits_for_skip(&self) -> bool {
        self.skip > 0 && !self.program.is_empty() && self.program.len() <= self.behind_skip
    }

    /// Whether steps that wait have more for the client, of the upstream's or of the plugin's own.
    pub(super) fn says_more(&self) -> bool {
        self.will_forward() || self.sends_to_client()
    }

    /// Whether steps that wait have more of the plugin's own for the client.
    pub(super) fn sends_to_client(&self) -> bool {
        let to_client = |step: &Step| matches!(step, Step::Send((Side::Client, _)));
        self.program.iter().any(to_client)
    }

    /// Whether the next thing that its program does is to send something to the client.
    pub(super) fn answers_next(&self) -> bool {
        self.owed == Owed::Nothing
            && !self.waits_for_skip()
            && matches!(self.program.front(), Some(Step::Send((Side::Client, _))))
    }

    /// Whether steps that wait are to pass bytes on.
    pub(super) fn will_forward(&self) -> bool {
        let forwards = |step: &Step| matches!(step, Step::Forward(_) | Step::ForwardIdempotent(_));
        matches!(self.owed, Owed::Forward(_)) || self.program.iter().any(forwards)
    }

    /// Whether the program covers bytes that have not come, or will.
    pub(super) fn covers_more(&self) -> bool {
        let discards = |step: &Step| matches!(step, Step::Discard(_));
        self.cut
            || self.will_forward()
            || matches!(self.owed, Owed::Discard(_))
            || self.program.iter().any(discards)
    }

    /// Whether the program has more to say to the upstream.
    pub(super) fn speaks_to_upstream(&self) -> bool {
        let speaks = |step: &Step| matches!(step, Step::Send((Side::Upstream, _)));
        self.program.iter().any(speaks)
    }

    /// Whether the program is to put a tag on the connection.
    pub(super) fn retags(&self) -> bool {
        let retags = |step: &Step| matches!(step, Step::Retag(_));
        self.program.iter().any(retags)
    }

    /// Swallows what is to be skipped, as far as it is here.
    pub(super) fn do_skip(&mut self) {
        let now = up_to(self.skip, self.uncovered.len());
        self.uncovered.drain(..now);
        self.skip -= now as u64;
        if self.skip == 0 {
            self.behind_skip = 0;
        }
    }

    /// What is left of the client's program once its lease is gone: steps that need it are left
    /// out, and bytes that were to be forwarded have nowhere to go, but keep their place in the
    /// stream. Behind a `release` the program knows that it has no lease.
    pub(super) fn go_on_without_lease(&mut self) {
        if let Owed::Forward(left) | Owed::Discard(left) = self.owed {
            self.skip = self.skip.saturating_add(left);
        }
        self.owed = Owed::Nothing;
        let release = |step: &Step| matches!(step, Step::Release(_));
        let with_lease = self.program.iter().position(release);
        let behind = match with_lease {
            Some(at) => self.program.split_off(at + 1),
            None => VecDeque::new(),
        };
        let program = std::mem::take(&mut self.program);
        self.program = program.into_iter().filter_map(without_lease).collect();
        self.program.extend(behind);
        while let Some(Step::Discard(count)) = self.program.front() {
            self.skip = self.skip.saturating_add(*count);
            self.program.pop_front();
        }
        self.behind_skip = self.program.len();
        self.passing.clear();
        self.shown = 0;
        self.end_told = false;
        self.cut = false;
    }

    /// What was promised of this side will not come, nor what stands behind it: its end passes, and
    /// whoever reads it will know what half a message is worth.
    pub(super) fn cut_short(&mut self) {
        self.owed = Owed::Rest;
        self.program.clear();
        self.cut = true;
    }
}

fn without_lease(step: Step) -> Option<Step> {
    match step {
        Step::Forward(count) | Step::ForwardIdempotent(count) => Some(Step::Discard(count)),
        Step::ForwardRest | Step::Release(_) | Step::Retag(_) | Step::Send((Side::Upstream, _)) => {
            None
        }
        other @ (Step::Discard(_)
        | Step::Send(_)
        | Step::Lease(_)
        | Step::Deadline(_)
        | Step::Close(_)) => Some(other),
    }
}

/// `left`, but at most as many as there are.
pub(super) fn up_to(left: u64, there: usize) -> usize {
    usize::try_from(left).unwrap_or(usize::MAX).min(there)
}
