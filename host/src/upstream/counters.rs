//! What pools and endpoints count.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Place {
    group: String,
    endpoint: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct PlaceReason {
    group: String,
    endpoint: String,
    reason: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct PlaceState {
    group: String,
    endpoint: String,
    state: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct PlaceReused {
    group: String,
    endpoint: String,
    reused: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct PlaceResult {
    group: String,
    endpoint: String,
    result: &'static str,
}

/// The families of all endpoints, one of each a process.
#[derive(Debug, Default, Clone)]
pub struct PoolCounters {
    opened: Family<Place, Counter>,
    closed: Family<PlaceReason, Counter>,
    connections: Family<PlaceState, Gauge>,
    leases: Family<PlaceReused, Counter>,
    waiting: Family<Place, Gauge>,
    waits: Family<Place, Counter>,
    wait_seconds: Family<Place, Counter<f64, std::sync::atomic::AtomicU64>>,
    wait_timeouts: Family<Place, Counter>,
    probes: Family<PlaceResult, Counter>,
    up: Family<Place, Gauge>,
}

impl PoolCounters {
    /// Shows them under their names.
    pub fn register(&self, registry: &mut Registry) {
        let all = self.clone();
        registry.register(
            "leaseway_pool_connections_opened",
            "Connections opened to an endpoint",
            all.opened,
        );
        registry.register(
            "leaseway_pool_connections_closed",
            "Connections to an endpoint closed, by reason",
            all.closed,
        );
        registry.register(
            "leaseway_pool_connections",
            "Connections to an endpoint now: idle or leased of the pool, or unpooled",
            all.connections,
        );
        registry.register(
            "leaseway_leases",
            "Leases, of reused or fresh connections",
            all.leases,
        );
        registry.register("leaseway_pool_waiting", "Sessions in line now", all.waiting);
        registry.register(
            "leaseway_pool_waits",
            "Leases that had to wait in line",
            all.waits,
        );
        registry.register(
            "leaseway_pool_wait_seconds",
            "Time that leases waited in line",
            all.wait_seconds,
        );
        registry.register(
            "leaseway_pool_wait_timeouts",
            "Leases given up after wait-timeout",
            all.wait_timeouts,
        );
        registry.register(
            "leaseway_probes",
            "Probes of connections, by result",
            all.probes,
        );
        registry.register("leaseway_endpoint_up", "1 unless ejected", all.up);
    }

    /// The counters of one endpoint, looked up once.
    pub fn of(&self, group: &str, endpoint: &str) -> EndpointCounters {
        let place = Place {
            group: group.to_owned(),
            endpoint: endpoint.to_owned(),
        };
        let state = |state| PlaceState {
            group: group.to_owned(),
            endpoint: endpoint.to_owned(),
            state,
        };
        let reused = |reused| PlaceReused {
            group: group.to_owned(),
            endpoint: endpoint.to_owned(),
            reused,
        };
        let result = |result| PlaceResult {
            group: group.to_owned(),
            endpoint: endpoint.to_owned(),
            result,
        };
        EndpointCounters {
            opened: self.opened.get_or_create_owned(&place),
            idle: self.connections.get_or_create_owned(&state("idle")),
            leased: self.connections.get_or_create_owned(&state("leased")),
            unpooled: self.connections.get_or_create_owned(&state("unpooled")),
            leases_reused: self.leases.get_or_create_owned(&reused("true")),
            leases_fresh: self.leases.get_or_create_owned(&reused("false")),
            waiting: self.waiting.get_or_create_owned(&place),
            waits: self.waits.get_or_create_owned(&place),
            wait_seconds: self.wait_seconds.get_or_create_owned(&place),
            wait_timeouts: self.wait_timeouts.get_or_create_owned(&place),
            probes_good: self.probes.get_or_create_owned(&result("alive")),
            probes_bad: self.probes.get_or_create_owned(&result("dead")),
            up: self.up.get_or_create_owned(&place),
            closed: self.closed.clone(),
            place,
        }
    }
}

/// The counters of one endpoint: adding to one is adding to an atomic.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "named as the metrics that they are")]
pub struct EndpointCounters {
    pub opened: Counter,
    pub idle: Gauge,
    pub leased: Gauge,
    pub unpooled: Gauge,
    pub leases_reused: Counter,
    pub leases_fresh: Counter,
    pub waiting: Gauge,
    pub waits: Counter,
    pub wait_seconds: Counter<f64, std::sync::atomic::AtomicU64>,
    pub wait_timeouts: Counter,
    pub probes_good: Counter,
    pub probes_bad: Counter,
    pub up: Gauge,
    closed: Family<PlaceReason, Counter>,
    place: Place,
}

impl EndpointCounters {
    /// Counts a connection that was closed.
    pub fn closed(&self, reason: &'static str) {
        let Place { group, endpoint } = self.place.clone();
        self.closed
            .get_or_create(&PlaceReason {
                group,
                endpoint,
                reason,
            })
            .inc();
    }
}
