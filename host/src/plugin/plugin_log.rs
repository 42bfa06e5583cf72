//! The log lines of one plugin on one worker: how many it may write, and what was left out.
//!
//! Shared by all its instances there: a fault gives a plugin a fresh instance, and must not give it
//! fresh lines. The worker calls [`PluginLog::tell_left_out`] once in a while, so that what was left
//! out is told even when nothing more is said.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::fault_log::{FaultLog, LeftOut};
use super::hooks::Fault;

/// Lines that a plugin may write on one worker in one [`WINDOW`].
pub(super) const MAX_LINES: u32 = 100;
/// See [`MAX_LINES`].
const WINDOW: Duration = Duration::from_secs(1);

/// The log of one plugin on one worker.
#[derive(Debug)]
pub(super) struct PluginLog {
    plugin: Arc<str>,
    /// What has been written of late. One thread uses it; the lock is for wasmtime, which wants
    /// to be able to move a store.
    recent: Mutex<Recent>,
}

#[derive(Debug, Default)]
struct Recent {
    lines: LineBudget,
    faults: FaultLog,
}

impl PluginLog {
    pub(super) fn new(plugin: Arc<str>) -> Arc<Self> {
        Arc::new(Self {
            plugin,
            recent: Mutex::default(),
        })
    }

    /// The plugin's name in the config.
    pub(super) fn plugin(&self) -> &str {
        &self.plugin
    }

    /// Whether the plugin may write one more line. If not, it is counted.
    pub(super) fn may_write(&self, now: Instant) -> bool {
        let mut recent = self.recent();
        let left_out = recent.lines.take_left_out(now);
        let may = recent.lines.may_write(now);
        drop(recent);
        self.tell_lines(left_out);
        may
    }

    /// A fault has ended this many sessions; none when it was in a conversation.
    pub(super) fn fault(&self, fault: &Fault, sessions: usize, now: Instant) {
        let Some(left_out) = self.recent().faults.note(fault.hook(), fault.reason(), now) else {
            return;
        };
        tracing::error!(
            plugin = self.plugin(),
            hook = fault.hook(),
            reason = fault.reason(),
            sessions,
            left_out,
            "plugin fault: {fault}"
        );
    }

    /// Tells what has been left out, once its time is over.
    pub(super) fn tell_left_out(&self, now: Instant) {
        let mut recent = self.recent();
        let lines = recent.lines.take_left_out(now);
        let faults = recent.faults.take_left_out(now);
        drop(recent);
        self.tell_lines(lines);
        self.tell_faults(faults);
    }

    fn tell_lines(&self, left_out: u64) {
        if left_out > 0 {
            tracing::warn!(
                target: "leaseway::plugin", plugin = self.plugin(),
                "{left_out} log lines left out: a plugin may write {MAX_LINES} a second on each worker"
            );
        }
    }

    fn tell_faults(&self, faults: Vec<LeftOut>) {
        for LeftOut { kind, count } in faults {
            let (hook, reason) = kind;
            tracing::error!(
                plugin = self.plugin(),
                hook,
                reason,
                left_out = count,
                "plugin fault: {count} more in {hook}, left out here"
            );
        }
    }

    /// Two counters, which are sound even if a holder panicked.
    fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for PluginLog {
    fn drop(&mut self) {
        let recent = std::mem::take(&mut *self.recent());
        self.tell_lines(recent.lines.left_out);
        self.tell_faults(recent.faults.into_left_out());
    }
}

#[derive(Debug, Default)]
struct LineBudget {
    window: Option<Instant>,
    lines: u32,
    left_out: u64,
}

impl LineBudget {
    fn may_write(&mut self, now: Instant) -> bool {
        if self.is_over(now) {
            self.window = Some(now);
            self.lines = 0;
        }
        if self.lines < MAX_LINES {
            self.lines += 1;
            return true;
        }
        self.left_out += 1;
        false
    }

    fn take_left_out(&mut self, now: Instant) -> u64 {
        if self.is_over(now) {
            std::mem::take(&mut self.left_out)
        } else {
            0
        }
    }

    fn is_over(&self, now: Instant) -> bool {
        self.window
            .is_none_or(|window| now.saturating_duration_since(window) >= WINDOW)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_past_the_budget_are_counted_until_the_window_is_over() {
        let start = Instant::now();
        let mut budget = LineBudget::default();
        let written = (0..150).filter(|_| budget.may_write(start)).count();
        assert_eq!(written, 100);
        assert_eq!(budget.take_left_out(start + WINDOW / 2), 0);
        assert_eq!(budget.take_left_out(start + WINDOW), 50);
        assert_eq!(budget.take_left_out(start + WINDOW), 0, "told once");
        assert!(budget.may_write(start + WINDOW));
    }
}
