//! One worker with its pools, as tests of leases need it.

use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::LocalSet;

use crate::config::{Balance, EndpointConfig, PoolConfig, UpstreamConfig};
use crate::contract::{LeaseError, Target};
use crate::lease::{Lease, Leasing, borrow};
use crate::pool::{Caretaker, Plain, Pools, PoolsParts};
use crate::upstream::{Group, PoolCounters};

/// Long enough for anything that is going to happen.
pub(super) const SOON: Duration = Duration::from_secs(10);

pub(super) fn config(upstreams: &[std::net::SocketAddr], pool: PoolConfig) -> UpstreamConfig {
    UpstreamConfig {
        name: "g".into(),
        endpoints: upstreams
            .iter()
            .map(|address| EndpointConfig {
                host: address.ip().to_string(),
                port: address.port(),
                weight: 1,
            })
            .collect(),
        balance: Balance::RoundRobin,
        connect_timeout: Duration::from_secs(1),
        resolve_interval: Duration::from_secs(30),
        pool,
        probe: None,
    }
}

pub(super) fn at_most(connections: u32) -> PoolConfig {
    PoolConfig {
        max_connections: connections,
        max_idle: connections,
        ..PoolConfig::default()
    }
}

pub(super) fn target(identity: &str) -> Target {
    Target {
        group: None,
        endpoint: None,
        identity: identity.into(),
        secret: Vec::new(),
        affinity: None,
        unpooled: false,
    }
}

/// One worker's pools, and the group.
pub(super) struct Worker {
    pub(super) pools: Rc<Pools>,
    pub(super) group: Arc<Group>,
    caretaker: Rc<dyn Caretaker>,
    counters: PoolCounters,
}

impl Worker {
    pub(super) fn new(
        parts: PoolsParts,
        group: &Arc<Group>,
        caretaker: Rc<dyn Caretaker>,
        counters: &PoolCounters,
    ) -> Self {
        let pools = Pools::start(parts);
        pools.look_after(group, &caretaker);
        Self {
            pools,
            group: Arc::clone(group),
            caretaker,
            counters: counters.clone(),
        }
    }

    pub(super) async fn lease(&self, identity: &str) -> Result<Lease, LeaseError> {
        self.lease_of(target(identity)).await
    }

    pub(super) async fn lease_of(&self, target: Target) -> Result<Lease, LeaseError> {
        match borrow(
            &self.pools,
            &self.group,
            &self.caretaker,
            &Arc::new(target),
            false,
        ) {
            Leasing::Ready(result) => result,
            Leasing::Pending(future) => future.await,
        }
    }

    /// Connections to the first endpoint.
    pub(super) fn open(&self) -> u32 {
        self.group.endpoints()[0].open()
    }

    /// Those of them that are idle.
    pub(super) fn idle(&self) -> u32 {
        self.group.endpoints()[0].idle()
    }

    /// How many connections the metrics say were closed for this reason.
    pub(super) fn closed(&self, reason: &str) -> u64 {
        self.counted("leaseway_pool_connections_closed_total", "reason", reason)
    }

    /// The sum of a counter's samples that have this label.
    pub(super) fn counted(&self, name: &str, label: &str, value: &str) -> u64 {
        self.sum_of(name, &format!("{label}=\"{value}\""))
    }

    /// The sum of all samples of a counter.
    pub(super) fn sum(&self, name: &str) -> u64 {
        self.sum_of(&format!("{name}{{"), "")
    }

    fn sum_of(&self, name: &str, label: &str) -> u64 {
        let mut registry = Registry::default();
        self.counters.register(&mut registry);
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        text.lines()
            .filter(|line| line.starts_with(name) && line.contains(label))
            .map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap())
            .sum()
    }
}

/// Runs a test on one worker, whose connections have nobody to look after them.
pub(super) fn on_one_worker<F: Future<Output = ()>>(
    config: UpstreamConfig,
    test: impl FnOnce(Worker) -> F,
) {
    run(config, Rc::new(Plain::new()), SOON * 3, test);
}

/// The same with a caretaker of the test's own.
pub(super) fn with_caretaker<F: Future<Output = ()>>(
    config: UpstreamConfig,
    caretaker: Rc<dyn Caretaker>,
    test: impl FnOnce(Worker) -> F,
) {
    run(config, caretaker, SOON * 3, test);
}

/// The same for tests that let hours [`pass`]: they wait only for what has a limit of its own.
pub(super) fn while_hours_pass<F: Future<Output = ()>>(
    config: UpstreamConfig,
    test: impl FnOnce(Worker) -> F,
) {
    run(config, Rc::new(Plain::new()), SOON * 100_000, test);
}

/// Lets time go by on the clock of this worker alone.
pub(super) async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

fn run<F: Future<Output = ()>>(
    config: UpstreamConfig,
    caretaker: Rc<dyn Caretaker>,
    bound: Duration,
    test: impl FnOnce(Worker) -> F,
) {
    let counters = PoolCounters::default();
    let group = Group::new(config, 1, &counters);
    let mut parts = PoolsParts::for_workers(1, &[Arc::clone(&group)]);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    LocalSet::new().block_on(&runtime, async move {
        let worker = Worker::new(parts.pop().unwrap(), &group, caretaker, &counters);
        tokio::time::timeout(bound, test(worker))
            .await
            .expect("the test hangs");
    });
}

pub(super) async fn echo(lease: &mut Lease, text: &str) {
    lease.stream_mut().write_all(text.as_bytes()).await.unwrap();
    lease.wrote(text.len());
    let mut reply = vec![0; text.len()];
    lease.stream_mut().read_exact(&mut reply).await.unwrap();
    assert_eq!(reply, text.as_bytes());
}

pub(super) async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + SOON;
    while !condition() {
        assert!(
            tokio::time::Instant::now() < deadline,
            "not within {SOON:?}: {what}"
        );
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
