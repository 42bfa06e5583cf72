//! An upstream group: its config, and the endpoints that it has right now.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arc_swap::{ArcSwap, Guard};

use super::counters::PoolCounters;
use super::endpoint::{Endpoint, Health, Limits};
use crate::config::{EndpointConfig, UpstreamConfig};

/// Numbers endpoints, so that a worker finds its part of each by index.
static NEXT_ID: AtomicUsize = AtomicUsize::new(0);

/// Called with every endpoint that a group gets, before it is used.
type OnEndpoint = Box<dyn Fn(&Arc<Endpoint>) + Send + Sync>;

/// An upstream group.
pub struct Group {
    config: UpstreamConfig,
    workers: usize,
    counters: PoolCounters,
    endpoints: ArcSwap<Vec<Arc<Endpoint>>>,
    on_endpoint: std::sync::OnceLock<OnEndpoint>,
}

impl Group {
    /// A group with the endpoints that the config gives by IP address; those given by DNS name
    /// come with [`Group::resolved`].
    pub fn new(config: UpstreamConfig, workers: usize, counters: &PoolCounters) -> Arc<Self> {
        let group = Self {
            workers,
            counters: counters.clone(),
            endpoints: ArcSwap::default(),
            on_endpoint: std::sync::OnceLock::new(),
            config,
        };
        let fixed = group
            .config
            .endpoints
            .iter()
            .filter_map(|endpoint| {
                let ip = endpoint.host.parse().ok()?;
                Some(group.endpoint(endpoint, SocketAddr::new(ip, endpoint.port)))
            })
            .collect();
        group.endpoints.store(Arc::new(fixed));
        Arc::new(group)
    }

    fn endpoint(&self, config: &EndpointConfig, address: SocketAddr) -> Arc<Endpoint> {
        let written = format_host_port(&config.host, config.port);
        let name = if written == address.to_string() {
            written
        } else {
            format!("{written} ({address})")
        };
        let limits = Limits {
            open: self.config.pool.max_connections,
            idle: self.config.pool.max_idle,
        };
        let counters = self.counters.of(&self.config.name, &name);
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        let weight = config.weight;
        let endpoint = Endpoint::new(id, name, address, weight, limits, self.workers, counters);
        let endpoint = Arc::new(endpoint);
        if let Some(tell) = self.on_endpoint.get() {
            tell(&endpoint);
        }
        endpoint
    }

    /// Says whom to tell of every endpoint, those that are there and those to come. Once.
    pub fn on_endpoint(&self, tell: impl Fn(&Arc<Endpoint>) + Send + Sync + 'static) {
        for endpoint in self.endpoints().iter() {
            tell(endpoint);
        }
        // A second call changes nothing.
        let _ = self.on_endpoint.set(Box::new(tell));
    }

    /// Its name in the config.
    pub fn name(&self) -> &str {
        &self.config.name
    }

    /// Its config.
    pub fn config(&self) -> &UpstreamConfig {
        &self.config
    }

    /// Its endpoints right now.
    pub fn endpoints(&self) -> Guard<Arc<Vec<Arc<Endpoint>>>> {
        self.endpoints.load()
    }

    /// The configured endpoints whose host is a DNS name.
    pub fn names(&self) -> Vec<&EndpointConfig> {
        self.config
            .endpoints
            .iter()
            .filter(|endpoint| endpoint.host.parse::<std::net::IpAddr>().is_err())
            .collect()
    }

    /// Takes the addresses that the resolver has for one configured name. Those that stay keep
    /// their connections; those that vanished take no new leases.
    pub fn resolved(&self, config: &EndpointConfig, addresses: &[SocketAddr]) {
        let prefix = format!("{} (", format_host_port(&config.host, config.port));
        let (of_name, mut others): (Vec<_>, Vec<_>) = self
            .endpoints()
            .iter()
            .cloned()
            .partition(|endpoint| endpoint.name.starts_with(&prefix));
        for endpoint in &of_name {
            if addresses.contains(&endpoint.address) {
                others.push(Arc::clone(endpoint));
            } else {
                endpoint.set_gone();
                tracing::info!(
                    group = self.name(),
                    endpoint = endpoint.name,
                    "the resolver does not name this address any more: no new leases"
                );
            }
        }
        for &address in addresses {
            if !of_name.iter().any(|endpoint| endpoint.address == address) {
                let endpoint = self.endpoint(config, address);
                tracing::info!(
                    group = self.name(),
                    endpoint = endpoint.name,
                    "new endpoint"
                );
                others.push(endpoint);
            }
        }
        self.endpoints.store(Arc::new(others));
    }

    /// What `/status` shows of it.
    pub fn status(&self) -> serde_json::Value {
        serde_json::json!({
            "name": self.name(),
            "endpoints": self.endpoints().iter().map(|e| e.status()).collect::<Vec<_>>(),
        })
    }

    /// Whether no endpoint is healthy, so that ejection is ignored.
    pub fn all_ejected(&self) -> bool {
        self.endpoints()
            .iter()
            .all(|endpoint| endpoint.health() != Health::Up)
    }
}

fn format_host_port(host: &str, port: u16) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}
