//! What one instance may use: memory, and time per call.
//!
//! Both remember that they said no, since the trap that follows does not tell why.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use wasmtime::{ResourceLimiter, UpdateDeadline};

use super::hooks::TimeLimit;
use super::ticker::ticks;
use crate::config::PluginLimits;

/// Native stack that guest code may use.
pub(super) const MAX_STACK: usize = 512 << 10;
/// Steps that one call may return.
pub(super) const MAX_STEPS: usize = 4096;
/// Bytes that one call may hand to the host: results, log lines, bytes to write. Grows with
/// `limits.max-shown`, so that a plugin can send on what it was shown.
const MIN_COPY: usize = 4 << 20;
/// The same under these limits.
pub(super) fn most_copied(limits: &PluginLimits) -> usize {
    MIN_COPY.max(limits.max_shown.saturating_mul(4))
}

/// Core instances in one component instance. The module, the adapter and what joins them are
/// about five.
const MAX_CORE_INSTANCES: usize = 64;
/// Linear memories in one instance.
const MAX_MEMORIES: usize = 8;
/// Tables in one instance.
const MAX_TABLES: usize = 64;
/// Starting, `describe` and `configure` may parse and build tables, so they get this many times
/// `limits.hook`.
pub(super) const SETUP_TIME: u32 = 20;
/// Handles of resources that an instance may have besides one for each of its sessions: as many
/// as wasmtime allows by itself.
pub(super) const SPARE_HANDLES: usize = 100_000;
/// The longest identity that the contract allows.
pub(super) const MAX_IDENTITY: usize = 1 << 10;
/// The longest secret that the contract allows.
pub(super) const MAX_SECRET: usize = 64 << 10;
/// The longest farewell of a deadline that the contract allows.
pub(super) const MAX_FAREWELL: usize = 64 << 10;
/// The longest tag that the contract allows.
pub(super) const MAX_TAG: usize = 64 << 10;
/// What an entry of a table weighs.
const TABLE_ENTRY: u64 = 16;

/// `limits.memory` of one instance.
#[derive(Debug)]
pub(super) struct MemoryLimit {
    limit: u64,
    used: u64,
    /// What `used` grew by last, in case the growth then fails.
    granted: u64,
    refused: bool,
}

impl MemoryLimit {
    pub(super) fn new(limit: u64) -> Self {
        Self {
            limit,
            used: 0,
            granted: 0,
            refused: false,
        }
    }

    /// How many bytes it has.
    pub(super) fn used(&self) -> u64 {
        self.used
    }

    /// How many more it may have.
    pub(super) fn left(&self) -> u64 {
        self.limit.saturating_sub(self.used)
    }

    /// The limit, if memory has been refused since the last [`MemoryLimit::forget`].
    pub(super) fn refused(&self) -> Option<u64> {
        self.refused.then_some(self.limit)
    }

    /// A plugin may get along without memory that it was refused; only a trap in the same call
    /// is blamed on the refusal.
    pub(super) fn forget(&mut self) {
        self.refused = false;
    }

    fn grow(&mut self, bytes: u64) -> bool {
        self.granted = 0;
        match self.used.checked_add(bytes) {
            Some(used) if used <= self.limit => {
                self.used = used;
                self.granted = bytes;
                true
            }
            _ => {
                self.refused = true;
                false
            }
        }
    }

    fn take_back(&mut self) {
        self.used -= self.granted;
        self.granted = 0;
    }
}

impl ResourceLimiter for MemoryLimit {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        // Past the module's own maximum is the module's own affair.
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        Ok(self.grow(desired.saturating_sub(current) as u64))
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.take_back();
        Ok(())
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        let entries = desired.saturating_sub(current) as u64;
        Ok(self.grow(entries.saturating_mul(TABLE_ENTRY)))
    }

    fn table_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.take_back();
        Ok(())
    }

    fn instances(&self) -> usize {
        MAX_CORE_INSTANCES
    }

    fn tables(&self) -> usize {
        MAX_TABLES
    }

    fn memories(&self) -> usize {
        MAX_MEMORIES
    }
}

/// Ends guest code that ran past its limit.
#[derive(Debug, thiserror::Error)]
#[error("ran past its limit")]
pub(super) struct Overrun;

/// The limit on the time of one synchronous call.
///
/// Half of it is wall time, which costs nothing to watch. Then the thread's processor time is
/// looked at, and the other half must really have been used: a worker that the machine kept
/// waiting does not end the sessions of a plugin that did nothing wrong.
#[derive(Debug)]
pub(super) struct CallTime {
    limit: TimeLimit,
    half: Duration,
    half_ticks: u64,
    /// Processor time of the thread when the first half was over.
    mark: Option<Duration>,
}

impl CallTime {
    pub(super) fn new(limit: TimeLimit) -> Self {
        let half = limit.duration() / 2;
        Self {
            limit,
            half,
            half_ticks: ticks(half),
            mark: None,
        }
    }

    pub(super) fn limit(&self) -> TimeLimit {
        self.limit
    }

    /// Starts the time of a call; returns the ticks until [`CallTime::elapsed`] wants to be
    /// asked. One more than the half, since the first may be about to pass.
    pub(super) fn start(&mut self) -> u64 {
        self.mark = None;
        self.half_ticks.saturating_add(1)
    }

    /// The ticks are over: go on for some more, or end.
    pub(super) fn elapsed(&mut self) -> wasmtime::Result<UpdateDeadline> {
        let now = thread_time();
        let Some(mark) = self.mark else {
            self.mark = Some(now);
            return Ok(UpdateDeadline::Continue(self.half_ticks));
        };
        match self.half.checked_sub(now.saturating_sub(mark)) {
            Some(left) if !left.is_zero() => Ok(UpdateDeadline::Continue(ticks(left))),
            _ => Err(Overrun.into()),
        }
    }
}

/// Processor time that this thread has used.
fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u32::try_from(time.tv_nsec).unwrap_or(0);
    Duration::new(seconds, nanos)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn memories_and_tables_count_together_until_the_limit() {
        let mut limit = MemoryLimit::new(100 * TABLE_ENTRY);
        assert!(limit.memory_growing(0, 800, None).unwrap());
        assert!(limit.table_growing(0, 50, None).unwrap());
        assert_eq!(limit.refused(), None);
        assert!(!limit.table_growing(50, 51, None).unwrap());
        assert_eq!(limit.refused(), Some(1600));
        limit.forget();
        assert_eq!(limit.refused(), None);
    }

    #[test]
    fn growth_that_fails_is_given_back() {
        let mut limit = MemoryLimit::new(1000);
        assert!(limit.memory_growing(0, 1000, None).unwrap());
        let error = wasmtime::Error::msg("no memory");
        limit.memory_grow_failed(error).unwrap();
        assert!(limit.memory_growing(0, 1000, None).unwrap());
    }

    #[test]
    fn growth_past_the_modules_own_maximum_is_not_our_refusal() {
        let mut limit = MemoryLimit::new(1000);
        assert!(!limit.memory_growing(0, 200, Some(100)).unwrap());
        assert_eq!(limit.refused(), None);
        assert!(!limit.memory_growing(0, usize::MAX, None).unwrap());
        assert_eq!(limit.refused(), Some(1000));
    }

    #[test]
    fn a_call_that_was_kept_waiting_goes_on_and_one_that_computes_ends() {
        let limit = Duration::from_millis(40);
        let mut time = CallTime::new(TimeLimit::Hook(limit));
        assert_eq!(time.start(), 21);
        assert!(matches!(time.elapsed(), Ok(UpdateDeadline::Continue(20))));
        // The ticks went by, but this thread did nothing.
        assert!(matches!(time.elapsed(), Ok(UpdateDeadline::Continue(_))));
        let (began, used) = (Instant::now(), thread_time());
        while thread_time() - used < limit / 2 {
            assert!(began.elapsed() < Duration::from_secs(60));
        }
        let error = time.elapsed().map(drop).unwrap_err();
        assert!(error.is::<Overrun>());
        time.start();
        assert!(time.elapsed().is_ok(), "the next call has its own time");
    }
}
