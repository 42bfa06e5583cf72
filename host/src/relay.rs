//! A running relay: everything that a config names, put together.
//!
//! Starts in an order in which nothing listens before all that can be wrong has been found: plugins
//! first, then upstream groups, addresses, and the workers last. Called by the command line and by
//! nothing else.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use prometheus_client::registry::Registry as Metrics;
use tokio::sync::mpsc;

use crate::admin::{self, AdminError, AdminHandle, Readiness};
use crate::config::{Config, ListenerConfig};
use crate::listener::{BindError, Loads, bind};
use crate::plugin::{LoadError, Plugin, Runtime};
use crate::pool::PoolsParts;
use crate::session::{Phase, SessionCounters};
use crate::upstream::{Group, PoolCounters, keep_resolved};
use crate::worker::{Command, ListenerParts, Worker, WorkerParts, spawn};

/// The relay cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A plugin does not load.
    #[error(transparent)]
    Plugin(#[from] LoadError),
    /// A listener's address cannot be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The admin address cannot be bound.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// The operating system gives no threads or event queues.
    #[error("cannot start a thread: {0}; check the limits of the process (`ulimit -u -n`)")]
    Thread(std::io::Error),
}

/// A running relay. Dropping it does not stop it: see [`Relay::set_phase`] and [`Relay::join`].
pub struct Relay {
    workers: Vec<Worker>,
    listening: Vec<(String, SocketAddr)>,
    loads: Arc<Loads>,
    readiness: Readiness,
    admin: Option<AdminHandle>,
    // Its clock thread bounds every plugin call: it must outlive the workers.
    _runtime: Runtime,
}

impl Relay {
    /// Starts everything.
    ///
    /// # Errors
    /// The first thing that is wrong; nothing listens then.
    pub fn start(config: &Config) -> Result<Self, StartError> {
        let mut metrics = Metrics::default();
        let runtime = Runtime::new(config.process.cache_dir.as_deref())?;
        let plugins = load_plugins(&runtime, config)?;
        let session_counters = SessionCounters::default();
        let pool_counters = PoolCounters::default();
        runtime.register(&mut metrics);
        session_counters.register(&mut metrics);
        pool_counters.register(&mut metrics);

        let count = config.process.workers;
        let groups: Vec<Arc<Group>> = config
            .upstreams
            .iter()
            .map(|upstream| Group::new(upstream.clone(), count, &pool_counters))
            .collect();

        keep_resolved(&groups).map_err(StartError::Thread)?;

        let mut sockets = Vec::new();
        let mut listening = Vec::new();
        for listener in &config.listeners {
            let bound = bind(&listener.name, listener.bind, count)?;
            let address = bound[0].local_addr().unwrap_or(listener.bind);
            listening.push((listener.name.clone(), address));
            sockets.push(bound);
        }

        let readiness = Readiness::new();
        let loads = Arc::new(Loads::new(count));
        let admin = match &config.admin {
            Some(admin) => {
                let status = status(config, &groups, &loads, &listening);
                Some(admin::start(
                    admin.bind,
                    Arc::new(metrics),
                    readiness.clone(),
                    status,
                )?)
            }
            None => None,
        };

        let (peers, mut inboxes): (Vec<_>, Vec<_>) = (0..count)
            .map(|_| mpsc::unbounded_channel::<Command>())
            .unzip();
        let mut pools = PoolsParts::for_workers(count, &groups);
        let ids = Arc::new(AtomicU64::new(1));
        let mut workers = Vec::with_capacity(count);
        for index in (0..count).rev() {
            let listeners = config
                .listeners
                .iter()
                .zip(&mut sockets)
                .filter_map(|(listener, sockets)| {
                    Some(ListenerParts {
                        config: listener.clone(),
                        plugin: plugin_of(listener, &plugins),
                        groups: groups_of(listener, &groups),
                        socket: sockets.pop()?,
                    })
                })
                .collect();
            let (Some(commands), Some(pools)) = (inboxes.pop(), pools.pop()) else {
                break;
            };
            let parts = WorkerParts {
                index,
                listeners,
                pools,
                loads: Arc::clone(&loads),
                peers: peers.clone(),
                commands,
                counters: session_counters.clone(),
                ids: Arc::clone(&ids),
            };
            workers.push(spawn(parts).map_err(StartError::Thread)?);
        }
        readiness.set(admin::State::Ready);
        Ok(Self {
            workers,
            listening,
            loads,
            readiness,
            admin,
            _runtime: runtime,
        })
    }

    /// The listeners by name, with the addresses that they are bound to.
    pub fn listening(&self) -> &[(String, SocketAddr)] {
        &self.listening
    }

    /// Where metrics and status are served.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(AdminHandle::address)
    }

    /// Sessions that are open now.
    pub fn sessions(&self) -> usize {
        self.loads.total()
    }

    /// Asks all workers to drain, or to stop.
    pub fn set_phase(&self, phase: Phase) {
        if phase >= Phase::Draining {
            self.readiness.set(admin::State::Draining);
        }
        for worker in &self.workers {
            // A worker that is gone already has nothing to drain.
            let _ = worker.commands.send(Command::Phase(phase));
        }
    }

    /// Whether every worker has ended.
    pub fn is_finished(&self) -> bool {
        self.workers
            .iter()
            .all(|worker| worker.thread.is_finished())
    }

    /// Waits for the workers to end, which they do after draining.
    pub fn join(self) {
        for worker in self.workers {
            // A worker that panicked has said so; the others end all the same.
            let _ = worker.thread.join();
        }
        if let Some(admin) = self.admin {
            admin.stop();
        }
    }
}

fn load_plugins(runtime: &Runtime, config: &Config) -> Result<Vec<Arc<Plugin>>, LoadError> {
    config
        .plugins
        .iter()
        .map(|plugin| runtime.load(plugin))
        .collect()
}

fn plugin_of(listener: &ListenerConfig, plugins: &[Arc<Plugin>]) -> Option<Arc<Plugin>> {
    let name = listener.plugin.as_deref()?;
    plugins.iter().find(|plugin| plugin.name() == name).cloned()
}

fn groups_of(listener: &ListenerConfig, groups: &[Arc<Group>]) -> Vec<Arc<Group>> {
    listener
        .upstreams
        .iter()
        .filter_map(|name| groups.iter().find(|group| group.name() == name).cloned())
        .collect()
}

/// What `/status` shows.
fn status(
    config: &Config,
    groups: &[Arc<Group>],
    loads: &Arc<Loads>,
    listening: &[(String, SocketAddr)],
) -> admin::Status {
    let groups = groups.to_vec();
    let loads = Arc::clone(loads);
    let workers = config.process.workers;
    let listeners: Vec<_> = config
        .listeners
        .iter()
        .zip(listening)
        .map(|(listener, (_, address))| {
            serde_json::json!({
                "name": listener.name,
                "address": address.to_string(),
                "plugin": listener.plugin,
                "upstreams": listener.upstreams,
            })
        })
        .collect();
    Arc::new(move || {
        serde_json::json!({
            "version": env!("CARGO_PKG_VERSION"),
            "workers": workers,
            "sessions": loads.total(),
            "listeners": listeners,
            "upstreams": groups.iter().map(|group| group.status()).collect::<Vec<_>>(),
        })
    })
}
