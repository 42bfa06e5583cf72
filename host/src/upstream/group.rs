//! An upstream group: its config, and the endpoints that it has right now.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::{ArcSwap, Guard};

use super::counters::PoolCounters;
use super::endpoint::{Endpoint, Health, Limits};
use crate::config::{EndpointConfig, UpstreamConfig};

/// Numbers endpoints, so that a worker finds its part of each by index.
static NEXT_ID: AtomicUsize = AtomicUsize::new(0);

/// Addresses that are remembered after the resolver has stopped to name them.
const MAX_GONE: usize = 64;

/// Called with every endpoint that a group gets, before it is used.
type OnEndpoint = Box<dyn Fn(&Arc<Endpoint>) + Send + Sync>;

/// An upstream group.
pub struct Group {
    config: UpstreamConfig,
    workers: usize,
    counters: PoolCounters,
    endpoints: ArcSwap<Vec<Arc<Endpoint>>>,
    /// Addresses that the resolver does not name any more, the last to go at the end. Locked only
    /// by the resolver.
    gone: Mutex<Vec<Arc<Endpoint>>>,
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
            gone: Mutex::default(),
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
            unpooled: self.config.pool.max_unpooled,
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
        // Set before those that are there are told, so that none is missed; a second call changes
        // nothing.
        let tell = self.on_endpoint.get_or_init(|| Box::new(tell));
        for endpoint in self.endpoints().iter() {
            tell(endpoint);
        }
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
    /// their connections; those that vanished take no new leases, and when they are named again
    /// they are the same endpoints as before, with what is still leased of them.
    pub fn resolved(&self, config: &EndpointConfig, addresses: &[SocketAddr]) {
        let mut gone = self.gone.lock().unwrap_or_else(PoisonError::into_inner);
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
                gone.push(Arc::clone(endpoint));
                tracing::info!(
                    group = self.name(),
                    endpoint = endpoint.name,
                    "the resolver does not name this address any more: no new leases"
                );
            }
        }
        let mut new: Vec<SocketAddr> = addresses.to_vec();
        new.retain(|address| of_name.iter().all(|endpoint| endpoint.address != *address));
        new.sort_unstable();
        new.dedup();
        for address in new {
            let known =
                |one: &Arc<Endpoint>| one.address == address && one.name.starts_with(&prefix);
            let endpoint = match gone.iter().position(known) {
                Some(at) => gone.remove(at),
                None => self.endpoint(config, address),
            };
            endpoint.set_named();
            tracing::info!(
                group = self.name(),
                endpoint = endpoint.name,
                "new endpoint"
            );
            others.push(endpoint);
        }
        // Those that still have connections must be remembered, or their limit would be forgotten.
        let mut over = gone.len().saturating_sub(MAX_GONE);
        gone.retain(|endpoint| {
            let forget = over > 0 && endpoint.open() + endpoint.unpooled() == 0;
            over -= usize::from(forget);
            !forget
        });
        self.endpoints.store(Arc::new(others));
    }

    /// What `/status` shows of it.
    pub fn status(&self) -> serde_json::Value {
        serde_json::json!({
            "name": self.name(),
            "endpoints": self.endpoints().iter().map(|e| e.status()).collect::<Vec<_>>(),
        })
    }

    /// Whether an endpoint is healthy and its last check did not fail. What has struck all of them
    /// at once may be this machine's own trouble.
    pub fn has_sound_endpoint(&self) -> bool {
        self.endpoints()
            .iter()
            .any(|endpoint| endpoint.health() == Health::Up && !endpoint.is_failing())
    }

    /// Whether one of its endpoints, or the one of this name, has a connection to give to a worker
    /// that does not wait: idle, or still to be opened. Without a worker: to any of them.
    pub fn has_spare(&self, endpoint: Option<&str>, worker: Option<usize>) -> bool {
        self.endpoints().iter().any(|one| {
            let idle = worker.map_or_else(|| one.idle(), |worker| one.idle_of(worker));
            endpoint.is_none_or(|name| one.is_called(name))
                && one.health() == Health::Up
                && (one.open() < one.max_open() || idle > 0)
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::{Balance, PoolConfig};

    fn group(max_connections: u32) -> (EndpointConfig, Arc<Group>) {
        let name = EndpointConfig {
            host: "cache.test".into(),
            port: 6379,
            weight: 1,
        };
        let config = UpstreamConfig {
            name: "g".into(),
            endpoints: vec![name.clone()],
            balance: Balance::RoundRobin,
            connect_timeout: Duration::from_secs(1),
            resolve_interval: Duration::from_secs(30),
            pool: PoolConfig {
                max_connections,
                ..PoolConfig::default()
            },
            probe: None,
        };
        let group = Group::new(config, 1, &PoolCounters::default());
        (name, group)
    }

    #[test]
    fn an_address_that_comes_back_is_the_endpoint_that_it_was() {
        let (name, group) = group(2);
        let (one, two) = (
            "10.0.0.1:6379".parse().unwrap(),
            "10.0.0.2:6379".parse().unwrap(),
        );
        // A resolver may say the same twice.
        group.resolved(&name, &[one, one]);
        let first = Arc::clone(&group.endpoints()[0]);
        assert_eq!(group.endpoints().len(), 1);
        let held = (first.try_permit().unwrap(), first.try_permit().unwrap());
        assert!(first.check_failed(1));
        for _ in 0..3 {
            group.resolved(&name, &[two]);
            assert_eq!(first.health(), Health::Gone);
            group.resolved(&name, &[one]);
            assert!(Arc::ptr_eq(&first, &group.endpoints()[0]));
            assert_eq!(first.health(), Health::Up, "its checks begin anew");
            assert!(
                first.try_permit().is_none(),
                "its limit holds all the while"
            );
        }
        drop(held);
        assert!(first.try_permit().is_some());
    }

    #[test]
    fn addresses_without_connections_are_not_remembered_for_ever() {
        let (name, group) = group(2);
        for last in 0..=255 {
            group.resolved(&name, &[SocketAddr::from(([10, 0, 0, last], 6379))]);
        }
        assert_eq!(group.gone.lock().unwrap().len(), MAX_GONE);
    }
}
