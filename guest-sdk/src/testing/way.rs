//! One direction of a scripted session: bytes that came, and steps that wait for more.

use std::collections::VecDeque;

use crate::Step;

/// One direction: the bytes that come from one side, and its program.
#[derive(Default)]
pub(super) struct Way {
    /// Arrived, and not covered by any step.
    pub(super) uncovered: Vec<u8>,
    /// Steps that have not been carried out.
    pub(super) program: VecDeque<Step>,
    /// There is something that the hook has not been shown.
    pub(super) news: bool,
    /// Copied without being shown, once the program is through.
    pub(super) plain: bool,
    /// No more will come.
    pub(super) eof: bool,
    /// The end has been passed on, or `on-eof` has been called.
    pub(super) eof_done: bool,
    /// Bytes that were promised to a lease which ended before they came: swallowed on arrival.
    pub(super) skip: u64,
}

impl Way {
    /// Whether steps that are left would cover bytes.
    pub(super) fn owes(&self) -> bool {
        self.owed() > 0
    }

    pub(super) fn owed(&self) -> u64 {
        self.program
            .iter()
            .map_while(|step| match step {
                Step::Forward(n) | Step::ForwardIdempotent(n) | Step::Discard(n) => Some(*n),
                Step::Send(_) => Some(0),
                _ => None,
            })
            .fold(0, u64::saturating_add)
    }
}
