//! The load: what clients do, and what it is measured by.
//!
//! One thread and one epoll, so that it costs little beside what is measured; replies are compared
//! with what is expected, byte for byte, since a relay that mixes them up is not fast.

pub(super) mod bulk;
pub(super) mod delay;
pub(super) mod idle;
pub(super) mod poll;
pub(super) mod requests;
pub(super) mod sessions;

use std::time::Duration;

use hdrhistogram::Histogram;

/// A request, and the reply that has to come.
#[derive(Debug, Clone)]
pub(super) struct Exchange {
    pub(super) request: Vec<u8>,
    pub(super) reply: Vec<u8>,
}

impl Exchange {
    /// So many of them at once.
    pub(super) fn repeated(&self, times: usize) -> Self {
        Self {
            request: self.request.repeat(times),
            reply: self.reply.repeat(times),
        }
    }
}

/// What one run has brought.
#[derive(Debug)]
pub(super) struct Outcome {
    /// Requests answered, or sessions ended, in the window that was measured.
    pub(super) count: u64,
    /// The same in all, the warm-up included.
    pub(super) all: u64,
    /// The length of that window.
    pub(super) elapsed: Duration,
    /// Processor time of the relay in it.
    pub(super) cpu: Duration,
    /// Nanoseconds from when a request was due until its reply was there.
    pub(super) latencies: Histogram<u64>,
}

impl Outcome {
    pub(super) fn per_second(&self) -> f64 {
        self.count as f64 / self.elapsed.as_secs_f64()
    }

    /// Microseconds of the relay's processor time for each.
    pub(super) fn cpu_micros(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.count as f64
    }

    /// Microseconds, at a percentile.
    pub(super) fn micros_at(&self, percentile: f64) -> f64 {
        self.latencies.value_at_percentile(percentile) as f64 / 1e3
    }
}

/// Up to a minute in nanoseconds, to three digits.
fn histogram() -> anyhow::Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, 60_000_000_000, 3)?)
}

fn record(latencies: &mut Histogram<u64>, time: Duration) {
    latencies.saturating_record(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX).max(1));
}
