//! Faults in the log: each is counted, but not each gets a line.

use std::cell::Cell;
use std::time::{Duration, Instant};

use super::hooks::Fault;

/// A plugin that faults over and over gets new instances, but one line in this time.
const INTERVAL: Duration = Duration::from_secs(1);

/// The log lines on the faults of one plugin on one worker.
#[derive(Debug, Default)]
pub(super) struct FaultLog {
    last: Cell<Option<Instant>>,
    left_out: Cell<u64>,
}

impl FaultLog {
    /// A fault has ended this many sessions; none when it was in a conversation.
    pub(super) fn write(&self, plugin: &str, fault: &Fault, sessions: usize) {
        let recent = |last: Instant| last.elapsed() < INTERVAL;
        if self.last.get().is_some_and(recent) {
            self.left_out.set(self.left_out.get() + 1);
            return;
        }
        self.last.set(Some(Instant::now()));
        let left_out = self.left_out.take();
        tracing::error!(
            plugin,
            hook = fault.hook(),
            reason = fault.reason(),
            sessions,
            left_out,
            "plugin fault: {fault}"
        );
    }
}
