//! What plugins do, counted: calls, their time, faults, instances and sessions.
//!
//! Each worker counts in a shard of its own, so counting costs an uncontended atomic add; the
//! shards are summed when somebody asks.

use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::hooks::Fault;
use super::store::{REFUSALS, Usage};

/// Calls into a plugin, each kind counted apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hook {
    Instantiate,
    Describe,
    Configure,
    Construct,
    ChooseUpstream,
    OnLeased,
    OnLeaseFailed,
    OnData,
    OnEof,
    PoolReturn,
    OnRequestFailed,
    Measure,
    Drop,
    Connect,
    Reset,
    Probe,
}

/// All of [`Hook`], in the order of their discriminants.
const HOOKS: [Hook; 16] = [
    Hook::Instantiate,
    Hook::Describe,
    Hook::Configure,
    Hook::Construct,
    Hook::ChooseUpstream,
    Hook::OnLeased,
    Hook::OnLeaseFailed,
    Hook::OnData,
    Hook::OnEof,
    Hook::PoolReturn,
    Hook::OnRequestFailed,
    Hook::Measure,
    Hook::Drop,
    Hook::Connect,
    Hook::Reset,
    Hook::Probe,
];
const REASONS: [&str; 3] = ["trap", "deadline", "memory"];
/// Upper bounds of the buckets of call times, in nanoseconds.
const BOUNDS: [u64; 6] = [1_000, 10_000, 100_000, 1_000_000, 10_000_000, u64::MAX];
/// Every how many calls of a session hook one is timed: the clock costs a tenth of an empty call.
const TIMED_EVERY: u64 = 16;

impl Hook {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Instantiate => "instantiate",
            Self::Describe => "describe",
            Self::Configure => "configure",
            Self::Construct => "constructor",
            Self::ChooseUpstream => "choose-upstream",
            Self::OnLeased => "on-leased",
            Self::OnLeaseFailed => "on-lease-failed",
            Self::OnData => "on-data",
            Self::OnEof => "on-eof",
            Self::PoolReturn => "pool-return",
            Self::OnRequestFailed => "on-request-failed",
            Self::Measure => "measure",
            Self::Drop => "drop",
            Self::Connect => "connect",
            Self::Reset => "reset",
            Self::Probe => "probe",
        }
    }
}

/// Counts of one worker for one plugin.
#[derive(Debug, Default)]
pub(super) struct Shard {
    calls: [AtomicU64; HOOKS.len()],
    faults: [[AtomicU64; REASONS.len()]; HOOKS.len()],
    timed_nanos: AtomicU64,
    timed: [AtomicU64; BOUNDS.len()],
    pub(super) instances: AtomicI64,
    pub(super) sessions: AtomicI64,
}

impl Shard {
    /// Counts a call; true if it is one of those to be timed.
    pub(super) fn call(&self, hook: Hook) -> bool {
        let before = self.calls[hook as usize].fetch_add(1, Relaxed);
        // Not the first one, which warms up what the others find warm.
        before % TIMED_EVERY == TIMED_EVERY - 1
    }

    /// The time of a call that [`Shard::call`] wanted timed.
    pub(super) fn time(&self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.timed_nanos.fetch_add(nanos, Relaxed);
        let bucket = BOUNDS.iter().position(|bound| nanos <= *bound);
        if let Some(bucket) = bucket {
            self.timed[bucket].fetch_add(1, Relaxed);
        }
    }

    pub(super) fn fault(&self, fault: &Fault) {
        let hook = HOOKS.iter().position(|hook| hook.name() == fault.hook());
        let reason = REASONS.iter().position(|reason| *reason == fault.reason());
        if let (Some(hook), Some(reason)) = (hook, reason) {
            self.faults[hook][reason].fetch_add(1, Relaxed);
        }
    }
}

/// Counts of one plugin, by worker.
pub(super) struct PluginMetrics {
    plugin: String,
    shards: Mutex<Vec<Arc<Shard>>>,
    stores: Mutex<Vec<Arc<Usage>>>,
}

impl PluginMetrics {
    /// A shard for a worker. It outlives the worker, since counts never go down.
    pub(super) fn shard(&self) -> Arc<Shard> {
        let shard = Arc::new(Shard::default());
        lock(&self.shards).push(Arc::clone(&shard));
        shard
    }

    /// Where a store of the plugin counts. It outlives the store, for the same reason.
    pub(super) fn store(&self) -> Arc<Usage> {
        let usage = Arc::new(Usage::default());
        lock(&self.stores).push(Arc::clone(&usage));
        usage
    }

    fn stores(&self, of: impl Fn(&Usage) -> &AtomicU64) -> u64 {
        let stores = lock(&self.stores);
        stores.iter().map(|usage| of(usage).load(Relaxed)).sum()
    }

    fn sum<N: std::iter::Sum>(&self, of: impl Fn(&Shard) -> N) -> N {
        lock(&self.shards).iter().map(|shard| of(shard)).sum()
    }
}

/// Counts of all plugins of a process.
#[derive(Clone, Default)]
pub(super) struct Metrics {
    plugins: Arc<Mutex<Vec<Arc<PluginMetrics>>>>,
}

impl Metrics {
    /// The counts of the plugin of this name; the same ones if it is loaded again.
    pub(super) fn plugin(&self, name: &str) -> Arc<PluginMetrics> {
        let mut plugins = lock(&self.plugins);
        if let Some(known) = plugins.iter().find(|known| known.plugin == name) {
            return Arc::clone(known);
        }
        let metrics = Arc::new(PluginMetrics {
            plugin: name.to_owned(),
            shards: Mutex::default(),
            stores: Mutex::default(),
        });
        plugins.push(Arc::clone(&metrics));
        metrics
    }

    /// Adds them to a registry without a prefix.
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register_collector(Box::new(self.clone()));
    }

    fn calls(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut family = encoder.encode_descriptor(
            "leaseway_plugin_calls",
            "Calls into a plugin, by hook",
            None,
            MetricType::Counter,
        )?;
        for plugin in lock(&self.plugins).iter() {
            for hook in HOOKS {
                let count: u64 = plugin.sum(|shard| shard.calls[hook as usize].load(Relaxed));
                if count > 0 {
                    let labels = [("plugin", plugin.plugin.as_str()), ("hook", hook.name())];
                    family
                        .encode_family(&labels)?
                        .encode_counter::<NoLabelSet, _, u64>(&count, None)?;
                }
            }
        }
        Ok(())
    }

    fn faults(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut family = encoder.encode_descriptor(
            "leaseway_plugin_faults",
            "Calls that ended an instance with its sessions, by hook and reason",
            None,
            MetricType::Counter,
        )?;
        for plugin in lock(&self.plugins).iter() {
            for hook in HOOKS {
                for (index, reason) in REASONS.into_iter().enumerate() {
                    let count: u64 =
                        plugin.sum(|shard| shard.faults[hook as usize][index].load(Relaxed));
                    if count > 0 {
                        let labels = [
                            ("plugin", plugin.plugin.as_str()),
                            ("hook", hook.name()),
                            ("reason", reason),
                        ];
                        family
                            .encode_family(&labels)?
                            .encode_counter::<NoLabelSet, _, u64>(&count, None)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn times(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut family = encoder.encode_descriptor(
            "leaseway_plugin_call_seconds",
            "Time of a sample of the session-hook calls: every 16th of each hook, and these only are counted here",
            None,
            MetricType::Histogram,
        )?;
        for plugin in lock(&self.plugins).iter() {
            let nanos: u64 = plugin.sum(|shard| shard.timed_nanos.load(Relaxed));
            let mut count = 0;
            let mut buckets = [(0.0, 0); BOUNDS.len()];
            for (index, (bucket, bound)) in buckets.iter_mut().zip(BOUNDS).enumerate() {
                let timed: u64 = plugin.sum(|shard| shard.timed[index].load(Relaxed));
                let bound = if bound == u64::MAX {
                    f64::INFINITY
                } else {
                    bound as f64 / 1e9
                };
                *bucket = (bound, timed);
                count += timed;
            }
            let seconds = nanos as f64 / 1e9;
            family
                .encode_family(&[("plugin", plugin.plugin.as_str())])?
                .encode_histogram::<NoLabelSet>(seconds, count, &buckets, None)?;
        }
        Ok(())
    }

    fn gauge(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        (name, help): (&str, &str),
        of: impl Fn(&PluginMetrics) -> i64,
    ) -> fmt::Result {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for plugin in lock(&self.plugins).iter() {
            family
                .encode_family(&[("plugin", plugin.plugin.as_str())])?
                .encode_gauge(&of(plugin))?;
        }
        Ok(())
    }

    fn stores(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let entries = (
            "leaseway_plugin_store_entries",
            "Entries of the plugin's store, with those that have expired and have not been swept",
        );
        let gauge = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        self.gauge(encoder, entries, |p| gauge(p.stores(|u| &u.entries)))?;
        let bytes = (
            "leaseway_plugin_store_bytes",
            "Bytes that these count against limits.store-bytes",
        );
        self.gauge(encoder, bytes, |p| gauge(p.stores(|u| &u.bytes)))?;
        let mut family = encoder.encode_descriptor(
            "leaseway_plugin_store_refused",
            "Entries that the plugin's store did not take, by reason",
            None,
            MetricType::Counter,
        )?;
        for plugin in lock(&self.plugins).iter() {
            for (index, reason) in REFUSALS.into_iter().enumerate() {
                let count = plugin.stores(|usage| &usage.refused[index]);
                if count > 0 {
                    let labels = [("plugin", plugin.plugin.as_str()), ("reason", reason)];
                    family
                        .encode_family(&labels)?
                        .encode_counter::<NoLabelSet, _, u64>(&count, None)?;
                }
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Collector for Metrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.calls(&mut encoder)?;
        self.times(&mut encoder)?;
        self.faults(&mut encoder)?;
        let instances = ("leaseway_plugin_instances", "Instances that serve sessions");
        self.gauge(&mut encoder, instances, |plugin| {
            plugin.sum(|shard| shard.instances.load(Relaxed))
        })?;
        let sessions = ("leaseway_plugin_sessions", "Sessions that instances hold");
        self.gauge(&mut encoder, sessions, |plugin| {
            plugin.sum(|shard| shard.sessions.load(Relaxed))
        })?;
        self.stores(&mut encoder)
    }
}

/// The lists are only pushed to, so they are sound even if a holder panicked.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_is_every_sixteenth_call_and_its_last_bucket_has_no_bound() {
        let metrics = Metrics::default();
        let shard = metrics.plugin("p").shard();
        let timed = (0..40).filter(|_| shard.call(Hook::OnData)).count();
        assert_eq!(timed, 2, "the 16th and the 32nd");
        shard.time(Duration::from_millis(250));
        shard.time(Duration::from_millis(5));
        let mut registry = Registry::default();
        metrics.register(&mut registry);
        let mut text = String::new();
        assert!(prometheus_client::encoding::text::encode(&mut text, &registry).is_ok());
        for line in [
            r#"leaseway_plugin_calls_total{plugin="p",hook="on-data"} 40"#,
            r#"leaseway_plugin_call_seconds_count{plugin="p"} 2"#,
            r#"leaseway_plugin_call_seconds_sum{plugin="p"} 0.255"#,
            r#"leaseway_plugin_call_seconds_bucket{le="0.01",plugin="p"} 1"#,
            r#"leaseway_plugin_call_seconds_bucket{le="+Inf",plugin="p"} 2"#,
        ] {
            assert!(text.lines().any(|one| one == line), "no {line} in\n{text}");
        }
    }
}
