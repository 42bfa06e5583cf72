//! The load: what clients do, and what it is measured by.
//!
//! One thread and one epoll, so that it costs little beside what is measured; replies are compared
//! with what is expected, byte for byte, since a relay that mixes them up is not fast. On PostgreSQL the
//! clients are those of pgbench, and over HTTP those of wrk, processes of their own.

pub(super) mod bulk;
pub(super) mod delay;
pub(super) mod idle;
pub(super) mod login;
pub(super) mod pgbench;
pub(super) mod poll;
pub(super) mod requests;
pub(super) mod sessions;
pub(super) mod wrk;

use std::time::Duration;

use hdrhistogram::Histogram;

use super::series::Spread;

/// Beyond the time that a process of its own is to run: what starting, connecting and ending may take.
const GRACE: Duration = Duration::from_secs(20);

/// So much time as those processes take it: in seconds, at least one.
fn whole_seconds(time: Duration) -> f64 {
    time.as_secs_f64().ceil().max(1.0)
}

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
    /// The same by the slice of time that it was due in; empty where nothing is due at a rate.
    pub(super) slices: Vec<Vec<u64>>,
}

/// The length of a slice.
const SLICE: Duration = Duration::from_millis(100);

/// With fewer requests than this a slice has no 99th percentile.
const ENOUGH: usize = 200;

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

impl Outcome {
    /// Takes note of a request's time, by how long after the start of the window it was due.
    pub(super) fn record_due(&mut self, offset: Duration, took: Duration) {
        let slice = (offset.as_nanos() / SLICE.as_nanos()) as usize;
        if self.slices.len() <= slice {
            self.slices.resize_with(slice + 1, Vec::new);
        }
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.slices[slice].push(nanos);
    }

    /// The 99th percentile of each slice, and of these the median: a machine that stops for a
    /// moment, which is nobody's doing, spoils a few slices and not the figure.
    pub(super) fn quiet_p99_micros(&self) -> Option<f64> {
        let p99 = |slice: &Vec<u64>| {
            let mut sorted = slice.clone();
            sorted.sort_unstable();
            sorted[sorted.len() * 99 / 100] as f64 / 1e3
        };
        let slices = self.slices.iter().filter(|slice| slice.len() >= ENOUGH);
        let all: Vec<f64> = slices.map(p99).collect();
        Spread::of(&all).map(|spread| spread.median)
    }
}

/// Up to a minute in nanoseconds, to three digits.
fn histogram() -> anyhow::Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, 60_000_000_000, 3)?)
}

fn record(latencies: &mut Histogram<u64>, time: Duration) {
    latencies.saturating_record(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX).max(1));
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_in_which_nothing_goes_does_not_spoil_the_quiet_percentile() {
        let mut outcome = Outcome {
            count: 0,
            all: 0,
            elapsed: Duration::ZERO,
            cpu: Duration::ZERO,
            latencies: histogram().unwrap(),
            slices: Vec::new(),
        };
        assert_eq!(outcome.quiet_p99_micros(), None);
        for millis in 0..1000_u64 {
            for n in 0..10 {
                // Ten a millisecond, of which one takes 50 us; but for one slice that stands still.
                let took = match (millis, n) {
                    (300..400, _) => Duration::from_millis(80),
                    (_, 0) => Duration::from_micros(50),
                    _ => Duration::from_micros(20),
                };
                outcome.record_due(Duration::from_millis(millis), took);
            }
        }
        assert_eq!(outcome.quiet_p99_micros(), Some(50.0));
    }
}
