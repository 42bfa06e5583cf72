//! One side of a session: what it sent, what the plugin's steps cover of it, and what waits to be
//! written to it.
//!
//! Layout of `input`: `kept | passing | uncovered`. Kept bytes were written to a reused upstream
//! connection that has not replied yet, and may have to be written again; passing bytes are to be
//! written to the other side; uncovered bytes are the plugin's to decide about, but for those that
//! a lost lease has left to be skipped.

use std::collections::VecDeque;

use crate::contract::{Side, Step};
use crate::copy::{Buffer, BufferPool};

use super::pump::up_to;

/// What a step has promised about bytes that have not all arrived yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owed {
    /// Nothing: bytes are shown.
    Nothing,
    /// So many more pass on unseen.
    Forward(u64),
    /// So many more are swallowed.
    Discard(u64),
    /// All pass on until the lease ends.
    Rest,
}

/// Bytes that wait to be written to a side, apart from those that pass through.
#[derive(Debug, Default)]
pub(super) struct Output {
    bytes: Vec<u8>,
    written: usize,
}

impl Output {
    pub(super) fn pending(&self) -> &[u8] {
        &self.bytes[self.written..]
    }

    pub(super) fn is_empty(&self) -> bool {
        self.written == self.bytes.len()
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        // What never runs quite empty must not grow by all that it ever held.
        if self.written > self.bytes.len() / 2 {
            self.bytes.drain(..self.written);
            self.written = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// [`Output::push`], and leaves nothing in `bytes` but perhaps storage.
    pub(super) fn take_over(&mut self, bytes: &mut Vec<u8>) {
        if self.is_empty() {
            std::mem::swap(&mut self.bytes, bytes);
            self.written = 0;
        } else {
            self.push(bytes);
        }
        bytes.clear();
    }

    /// Takes note of a write.
    pub(super) fn wrote(&mut self, count: usize) -> usize {
        let taken = count.min(self.bytes.len() - self.written);
        self.written += taken;
        taken
    }

    /// Gives the storage back once all has gone.
    pub(super) fn settle(&mut self, pool: &BufferPool) {
        if self.is_empty() && self.bytes.capacity() > 0 {
            self.written = 0;
            pool.give_output(std::mem::take(&mut self.bytes));
        }
    }

    pub(super) fn clear(&mut self) {
        self.bytes = Vec::new();
        self.written = 0;
    }
}

/// One side of a session.
#[derive(Debug)]
pub(super) struct Half {
    /// Bytes that this side sent: `kept | passing | uncovered`.
    pub(super) input: Buffer,
    pub(super) kept: usize,
    pub(super) passing: usize,
    /// The next so many bytes were to be forwarded on a lease that is gone: they are swallowed,
    /// ahead of whatever the program says.
    pub(super) skip: u64,
    /// So many steps at the end of the program stand behind those bytes.
    pub(super) behind_skip: usize,
    pub(super) owed: Owed,
    /// The rest of the program that the plugin returned for this side's bytes.
    pub(super) steps: VecDeque<Step>,
    /// The plugin's own bytes to this side.
    pub(super) output: Output,
    /// This side will send no more.
    pub(super) ended: bool,
    /// The plugin has been told so during this lease.
    pub(super) end_told: bool,
    /// It ended in the middle of a `forward`, whose bytes have gone as far as they had come.
    pub(super) cut: bool,
    /// We have told this side that it gets no more.
    pub(super) shut: bool,
    /// The last read has filled all its room: there is more.
    pub(super) hungry: bool,
    /// It has sent something.
    pub(super) spoke: bool,
    /// Uncovered bytes that the plugin was last shown, and did not cover.
    pub(super) shown: usize,
}

impl Half {
    pub(super) fn new() -> Self {
        Self {
            input: Buffer::default(),
            kept: 0,
            passing: 0,
            skip: 0,
            behind_skip: 0,
            owed: Owed::Nothing,
            steps: VecDeque::new(),
            output: Output::default(),
            ended: false,
            end_told: false,
            cut: false,
            shut: false,
            hungry: false,
            spoke: false,
            shown: 0,
        }
    }

    /// Bytes that no step has covered.
    pub(super) fn uncovered(&self) -> usize {
        self.input.len() - self.kept - self.passing
    }

    pub(super) fn uncovered_bytes(&self) -> &[u8] {
        let bytes = self.input.bytes();
        bytes.get(self.kept + self.passing..).unwrap_or_default()
    }

    /// Passing bytes that are in memory: all of them, but for those in a pipe.
    pub(super) fn passing_bytes(&self) -> &[u8] {
        let bytes = self.input.bytes();
        bytes
            .get(self.kept..self.kept + self.passing)
            .unwrap_or_default()
    }

    /// Whether what passes is in a pipe, or was until just now.
    pub(super) fn is_piped(&self) -> bool {
        self.passing > 0 && self.input.bytes().is_empty()
    }

    /// Passing bytes have gone to the other side.
    pub(super) fn passed(&mut self, count: usize) {
        // A pipe knows by itself what has left it.
        if !self.is_piped() {
            self.input.consume(count);
        }
        self.passing -= count;
    }

    /// Puts what the plugin has returned at the end of the program; mostly it is all of it, and
    /// keeps the memory that it came in.
    pub(super) fn add_steps(&mut self, steps: Vec<Step>) {
        if self.steps.is_empty() {
            self.steps = steps.into();
        } else {
            self.steps.extend(steps);
        }
    }

    /// Puts steps in front of the program.
    pub(super) fn go_first(&mut self, steps: Vec<Step>) {
        if self.steps.is_empty() {
            return self.add_steps(steps);
        }
        for step in steps.into_iter().rev() {
            self.steps.push_front(step);
        }
    }

    /// Puts steps at the end of the program.
    pub(super) fn go_last(&mut self, steps: impl IntoIterator<Item = Step>) {
        let before = self.steps.len();
        self.steps.extend(steps);
        if self.skip > 0 {
            self.behind_skip += self.steps.len() - before;
        }
    }

    /// Whether the next step stands behind bytes that are to be skipped and have not come.
    pub(super) fn waits_for_skip(&self) -> bool {
        self.skip > 0 && !self.steps.is_empty() && self.steps.len() <= self.behind_skip
    }

    /// Whether the next thing that its program does is to send something to the client.
    pub(super) fn answers_next(&self) -> bool {
        self.owed == Owed::Nothing
            && !self.waits_for_skip()
            && matches!(self.steps.front(), Some(Step::Send((Side::Client, _))))
    }

    /// Whether steps that wait have more for the client, of the upstream's or of the plugin's own.
    pub(super) fn says_more(&self) -> bool {
        self.will_forward() || self.sends_to_client()
    }

    /// Whether steps that wait have more of the plugin's own for the client.
    pub(super) fn sends_to_client(&self) -> bool {
        let to_client = |step: &Step| matches!(step, Step::Send((Side::Client, _)));
        self.steps.iter().any(to_client)
    }

    /// Whether steps that wait are to pass bytes on.
    pub(super) fn will_forward(&self) -> bool {
        matches!(self.owed, Owed::Forward(_))
            || self
                .steps
                .iter()
                .any(|step| matches!(step, Step::Forward(_) | Step::ForwardIdempotent(_)))
    }

    /// Whether the program covers bytes that have not come, or will.
    pub(super) fn covers_more(&self) -> bool {
        self.cut
            || self.will_forward()
            || matches!(self.owed, Owed::Discard(_))
            || self
                .steps
                .iter()
                .any(|step| matches!(step, Step::Discard(_)))
    }

    /// Whether the program has more to say to the upstream.
    pub(super) fn speaks_to_upstream(&self) -> bool {
        self.steps
            .iter()
            .any(|step| matches!(step, Step::Send((Side::Upstream, _))))
    }

    /// Forgets the bytes kept for replay.
    pub(super) fn drop_kept(&mut self) {
        self.input.consume(self.kept);
        self.kept = 0;
    }

    /// Forgets the bytes that no step has covered.
    pub(super) fn drop_uncovered(&mut self) {
        self.input.truncate(self.kept + self.passing);
        self.shown = 0;
    }

    /// Whether the program is to put a tag on the connection.
    pub(super) fn retags(&self) -> bool {
        let retags = |step: &Step| matches!(step, Step::Retag(_));
        self.steps.iter().any(retags)
    }

    /// Swallows what is to be skipped, as far as it is here.
    pub(super) fn do_skip(&mut self) {
        if self.skip > 0 {
            // Nothing is kept or passing: those went with the lease, and new ones stand behind.
            let now = up_to(self.skip, self.uncovered());
            self.input.consume(now);
            self.skip -= now as u64;
            if self.skip == 0 {
                self.behind_skip = 0;
            }
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
        self.shown = 0;
        self.end_told = false;
        self.cut = false;
        self.behind_skip = 0;
        // As nearly always. Its storage would stay for as long as the session is idle.
        if self.steps.is_empty() {
            self.steps = VecDeque::new();
            return;
        }
        let release = |step: &Step| matches!(step, Step::Release(_));
        let with_lease = self.steps.iter().position(release);
        let behind = match with_lease {
            Some(at) => self.steps.split_off(at + 1),
            None => VecDeque::new(),
        };
        let steps = std::mem::take(&mut self.steps);
        self.steps = steps.into_iter().filter_map(without_lease).collect();
        self.steps.extend(behind);
        while let Some(Step::Discard(count)) = self.steps.front() {
            self.skip = self.skip.saturating_add(*count);
            self.steps.pop_front();
        }
        self.behind_skip = self.steps.len();
    }

    /// What was promised of this side will not come, nor what stands behind it: its end passes, and
    /// whoever reads it will know what half a message is worth.
    pub(super) fn cut_short(&mut self) {
        self.owed = Owed::Rest;
        self.steps.clear();
        self.cut = true;
    }

    /// Forgets the upstream's bytes and its program: the connection is gone.
    pub(super) fn forget_connection(&mut self) {
        self.drop_uncovered();
        self.owed = Owed::Nothing;
        self.steps.clear();
        self.output.clear();
        self.ended = false;
        self.shut = false;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_output_that_never_runs_empty_does_not_grow() {
        let mut output = Output::default();
        output.push(&[b'x'; 100]);
        for round in 0..10_000_u32 {
            output.push(&round.to_le_bytes());
            output.wrote(4);
            assert_eq!(output.pending().len(), 100);
        }
        assert!(output.bytes.len() <= 400, "{}", output.bytes.len());
        let last = 9_999_u32.to_le_bytes();
        assert_eq!(output.pending()[96..], last);
    }
}
