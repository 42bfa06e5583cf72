//! What the relay counted. All names of its metrics that the demo reads are here.

use std::time::Duration;

use leaseway_tests::metrics::Metrics;

const OPENED: &str = "leaseway_pool_connections_opened_total";
const LEASES: &str = "leaseway_leases_total";
const REUSED: (&str, &str) = ("reused", "true");
const REPLAYS: &str = "leaseway_replays_total";
const CALLS: &str = "leaseway_plugin_calls_total";
const CALL_SECONDS: &str = "leaseway_plugin_call_seconds_sum";
const TIMED_CALLS: &str = "leaseway_plugin_call_seconds_count";

/// One scrape, in the demo's own words.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Figures {
    /// Connections to the upstream.
    pub(super) opened: u64,
    /// Loans of a connection to a session.
    pub(super) leases: u64,
    /// Those that did not have to dial.
    pub(super) reused: u64,
    /// Leases that were moved to a fresh connection because the first one was dead.
    pub(super) replays: u64,
    /// Calls of plugin hooks.
    pub(super) calls: u64,
    /// Time of a call on average; none without calls.
    pub(super) per_call: Option<Duration>,
}

impl Figures {
    pub(super) fn of(metrics: &Metrics) -> Self {
        let timed = metrics.sum(TIMED_CALLS);
        Self {
            opened: whole(metrics.sum(OPENED)),
            leases: whole(metrics.sum(LEASES)),
            reused: whole(metrics.sum_where(LEASES, &[REUSED])),
            replays: whole(metrics.sum(REPLAYS)),
            calls: whole(metrics.sum(CALLS)),
            per_call: (timed > 0.0)
                .then(|| Duration::try_from_secs_f64(metrics.sum(CALL_SECONDS) / timed).ok())
                .flatten(),
        }
    }
}

/// Counters are whole, and far below what a float holds exactly.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn whole(value: f64) -> u64 {
    value.round().max(0.0) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scrape_is_read_by_name() {
        let figures = Figures::of(&Metrics::parse(
            "leaseway_pool_connections_opened_total{group=\"a\"} 20\n\
             leaseway_leases_total{group=\"a\",reused=\"true\"} 80\n\
             leaseway_leases_total{group=\"a\",reused=\"false\"} 20\n\
             leaseway_replays_total 3\n\
             leaseway_plugin_calls_total{hook=\"on-data\"} 10\n\
             leaseway_plugin_call_seconds_sum 0.5\n\
             leaseway_plugin_call_seconds_count 10\n",
        ));
        assert_eq!(
            (figures.opened, figures.leases, figures.reused),
            (20, 100, 80)
        );
        assert_eq!((figures.replays, figures.calls), (3, 10));
        assert_eq!(figures.per_call, Some(Duration::from_millis(50)));
    }
}
