//! Which faults get a line in the log: each is counted, but not each is told.
//!
//! Pure: decides by the time it is given. [`PluginLog`](super::plugin_log::PluginLog) writes.

use std::time::{Duration, Instant};

/// A plugin that faults over and over gets new instances, but one line of a kind in this time.
const INTERVAL: Duration = Duration::from_secs(1);

/// Hook and reason: a fault of another kind is news.
pub(super) type Kind = (&'static str, &'static str);

/// The faults of one plugin on one worker that have been told of late.
#[derive(Debug, Default)]
pub(super) struct FaultLog {
    /// At most one for each hook and reason, of which there are few.
    told: Vec<Told>,
}

#[derive(Debug)]
struct Told {
    kind: Kind,
    last: Instant,
    left_out: u64,
}

/// Faults of a kind that got no line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LeftOut {
    pub(super) kind: Kind,
    pub(super) count: u64,
}

impl FaultLog {
    /// A fault. If it is to be told, how many of its kind have been left out before it.
    pub(super) fn note(
        &mut self,
        hook: &'static str,
        reason: &'static str,
        now: Instant,
    ) -> Option<u64> {
        let kind = (hook, reason);
        let Some(told) = self.told.iter_mut().find(|told| told.kind == kind) else {
            self.told.push(Told {
                kind,
                last: now,
                left_out: 0,
            });
            return Some(0);
        };
        if !told.is_over(now) {
            told.left_out += 1;
            return None;
        }
        told.last = now;
        Some(std::mem::take(&mut told.left_out))
    }

    /// What has been left out and waits for longer than the interval.
    pub(super) fn take_left_out(&mut self, now: Instant) -> Vec<LeftOut> {
        let over = self.told.iter_mut().filter(|told| told.is_over(now));
        over.filter_map(Told::take).collect()
    }

    /// All that has been left out.
    pub(super) fn into_left_out(mut self) -> Vec<LeftOut> {
        self.told.iter_mut().filter_map(Told::take).collect()
    }
}

impl Told {
    fn is_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.last) >= INTERVAL
    }

    fn take(&mut self) -> Option<LeftOut> {
        let count = std::mem::take(&mut self.left_out);
        let kind = self.kind;
        (count > 0).then_some(LeftOut { kind, count })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_of_another_kind_is_told_within_the_interval() {
        let now = Instant::now();
        let mut log = FaultLog::default();
        assert_eq!(log.note("on-data", "trap", now), Some(0));
        assert_eq!(log.note("on-data", "trap", now), None);
        assert_eq!(log.note("probe", "trap", now), Some(0));
        assert_eq!(log.note("on-data", "deadline", now), Some(0));
        assert_eq!(log.note("on-data", "trap", now + INTERVAL), Some(1));
    }

    #[test]
    fn what_was_left_out_is_told_though_faults_have_stopped() {
        let now = Instant::now();
        let mut log = FaultLog::default();
        for _ in 0..4 {
            log.note("on-data", "trap", now);
        }
        let kind = ("on-data", "trap");
        assert_eq!(log.take_left_out(now), []);
        let left_out = log.take_left_out(now + INTERVAL);
        assert_eq!(left_out, [LeftOut { kind, count: 3 }]);
        assert_eq!(log.take_left_out(now + INTERVAL), [], "told once");
        log.note("on-data", "trap", now);
        assert_eq!(log.into_left_out(), [LeftOut { kind, count: 1 }]);
    }
}
