//! What runs on a worker's thread.

use std::io;
use std::net::TcpListener;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::task::{JoinHandle, LocalSet};

use super::{Command, Worker};
use crate::config::{ListenerConfig, PluginLimits};
use crate::copy::BufferPool;
use crate::listener::{Loads, accept};
use crate::plugin::{Plugin, WorkerPlugin};
use crate::pool::{Caretaker, Plain, Pools, PoolsParts};
use crate::session::{
    Complaints, Crowds, ListenerContext, Phase, Registry, SessionCounters, SessionTask,
};
use crate::upstream::Group;

/// How often a plugin's log is told what has been left out of it.
const TELL: Duration = Duration::from_secs(1);

/// One listener, as a worker gets it.
pub struct ListenerParts {
    /// Its config.
    pub config: ListenerConfig,
    /// Its plugin.
    pub plugin: Option<Arc<Plugin>>,
    /// Its upstream groups, the default first.
    pub groups: Vec<Arc<Group>>,
    /// This worker's socket for it.
    pub socket: TcpListener,
}

/// Everything that a worker is made of.
pub struct WorkerParts {
    /// Which of the workers it is.
    pub index: usize,
    /// The listeners, in the order of the config.
    pub listeners: Vec<ListenerParts>,
    /// This worker's part of the pools.
    pub pools: PoolsParts,
    /// Sessions of all workers.
    pub loads: Arc<Loads>,
    /// All workers, this one included.
    pub peers: Vec<UnboundedSender<Command>>,
    /// Where its commands come from.
    pub commands: UnboundedReceiver<Command>,
    /// What sessions count.
    pub counters: SessionCounters,
    /// Numbers the sessions of all workers.
    pub ids: Arc<AtomicU64>,
}

/// Starts a worker's thread.
///
/// # Errors
/// The operating system gives no thread or no event queue.
pub fn spawn(parts: WorkerParts) -> io::Result<Worker> {
    let commands = parts.peers[parts.index].clone();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let thread = std::thread::Builder::new()
        .name(format!("worker-{}", parts.index))
        .spawn(move || LocalSet::new().block_on(&runtime, run(parts)))?;
    Ok(Worker { commands, thread })
}

/// One listener on this worker.
struct Listening {
    context: Rc<ListenerContext>,
    /// None: this worker cannot.
    accepting: Option<JoinHandle<()>>,
}

/// What the accepting tasks of this worker share.
struct Admission {
    index: usize,
    loads: Arc<Loads>,
    peers: Vec<UnboundedSender<Command>>,
    ids: Arc<AtomicU64>,
}

async fn run(parts: WorkerParts) {
    let WorkerParts {
        index,
        listeners,
        pools,
        loads,
        peers,
        mut commands,
        counters,
        ids,
    } = parts;
    let pools = Pools::start(pools);
    let registry = Registry::new();
    let crowds = Rc::new(Crowds::default());
    let sessions = Rc::clone(&registry);
    let shared = Rc::clone(&crowds);
    pools.on_leases_ended(move || {
        sessions.wake_all();
        shared.wake_all();
    });
    let buffers = Rc::new(BufferPool::new());
    let admission = Rc::new(Admission {
        index,
        loads,
        peers,
        ids,
    });

    let mut caretakers = Caretakers::default();
    let mut listening = Vec::new();
    for (number, parts) in listeners.into_iter().enumerate() {
        let ListenerParts {
            config,
            plugin,
            groups,
            socket,
        } = parts;
        let (caretaker, worker_plugin) = caretakers.of(plugin.as_ref());
        let max_shown = plugin
            .as_ref()
            .map_or(PluginLimits::default().max_shown, |plugin| {
                plugin.limits().max_shown
            });
        for group in &groups {
            pools.look_after(group, &caretaker);
        }
        let context = Rc::new(ListenerContext {
            counters: counters.of(&config.name),
            complaints: Complaints::default(),
            plugin: worker_plugin,
            caretaker,
            max_shown,
            groups,
            pools: Rc::clone(&pools),
            buffers: Rc::clone(&buffers),
            registry: Rc::clone(&registry),
            crowds: Rc::clone(&crowds),
            targets: Rc::default(),
            config,
        });
        let accepting = match tokio::net::TcpListener::from_std(socket) {
            Ok(socket) => Some(start(number, socket, &context, Rc::clone(&admission))),
            Err(error) => {
                let listener = &context.config.name;
                tracing::error!(listener, "a worker cannot accept clients: {error}");
                None
            }
        };
        // Clients that other workers have accepted come by the listener's number.
        listening.push(Listening { context, accepting });
    }

    while let Some(command) = commands.recv().await {
        match command {
            Command::Client {
                listener,
                stream,
                peer,
            } => {
                let Some(listening) = listening.get(listener) else {
                    continue;
                };
                match TcpStream::from_std(stream) {
                    Ok(client) => begin(&listening.context, &admission, client, peer),
                    Err(error) => {
                        admission.loads.leave(index);
                        tracing::error!("a client was lost between workers: {error}");
                    }
                }
            }
            Command::Phase(phase) => {
                registry.set_phase(phase);
                if phase >= Phase::Draining {
                    for accepting in listening.iter().filter_map(|one| one.accepting.as_ref()) {
                        accepting.abort();
                    }
                    pools.drain();
                }
                if phase == Phase::Gone && registry.is_empty() {
                    break;
                }
                // Sessions may come yet that another worker accepted before it heard, so `Gone`
                // is a message behind theirs.
                if phase == Phase::Draining || phase == Phase::Gone {
                    let registry = Rc::clone(&registry);
                    let own = admission.peers[index].clone();
                    tokio::task::spawn_local(async move {
                        registry.emptied().await;
                        let _ = own.send(Command::Phase(Phase::Gone));
                    });
                }
            }
        }
    }
}

fn start(
    number: usize,
    socket: tokio::net::TcpListener,
    context: &Rc<ListenerContext>,
    admission: Rc<Admission>,
) -> JoinHandle<()> {
    let name = context.config.name.clone();
    let limit = i64::from(context.config.max_sessions);
    let open = context.counters.open.clone();
    let context = Rc::clone(context);
    tokio::task::spawn_local(async move {
        let full = move || open.get() >= limit;
        let admit = move |client: TcpStream, peer| {
            let place = admission.loads.place(admission.index);
            admission.loads.enter(place);
            if place == admission.index {
                begin(&context, &admission, client, peer);
                return;
            }
            let moved = client.into_std().ok().and_then(|stream| {
                let command = Command::Client {
                    listener: number,
                    stream,
                    peer,
                };
                admission.peers[place].send(command).ok()
            });
            if moved.is_none() {
                admission.loads.leave(place);
            }
        };
        accept(&name, socket, full, admit).await;
    })
}

/// Starts a session for a client, on this worker.
fn begin(
    context: &Rc<ListenerContext>,
    admission: &Rc<Admission>,
    client: TcpStream,
    peer: std::net::SocketAddr,
) {
    let id = admission.ids.fetch_add(1, Ordering::Relaxed);
    let leaving = Leaving(Rc::clone(admission));
    match SessionTask::new(id, client, peer, Rc::clone(context)) {
        Ok(session) => {
            tokio::task::spawn_local(Counted {
                session,
                _leaving: leaving,
            });
        }
        // The plugin's runtime has logged it, and it is counted as an end of a session.
        Err(_) => drop(leaving),
    }
}

/// Tells the log now and then what it has been spared, for as long as the plugin is there.
async fn tell(plugin: Weak<WorkerPlugin>) {
    loop {
        tokio::time::sleep(TELL).await;
        let Some(plugin) = plugin.upgrade() else {
            return;
        };
        plugin.tell_left_out();
    }
}

/// A session that is counted out at its end. An async block would hold it twice: as what it has
/// captured, and as what it awaits.
struct Counted {
    session: SessionTask,
    _leaving: Leaving,
}

impl Future for Counted {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.get_mut().session).poll(cx)
    }
}

/// Counts a session out when it is dropped.
struct Leaving(Rc<Admission>);

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.loads.leave(self.0.index);
    }
}

/// What a worker has for one plugin.
type Known = (Arc<Plugin>, Rc<dyn Caretaker>, Rc<WorkerPlugin>);

/// One caretaker and one set of instances for each plugin, however many listeners use it.
#[derive(Default)]
struct Caretakers {
    known: Vec<Known>,
    plain: Option<Rc<dyn Caretaker>>,
}

impl Caretakers {
    fn of(
        &mut self,
        plugin: Option<&Arc<Plugin>>,
    ) -> (Rc<dyn Caretaker>, Option<Rc<WorkerPlugin>>) {
        let Some(plugin) = plugin else {
            let plain = self.plain.get_or_insert_with(|| Rc::new(Plain::new()));
            return (Rc::clone(plain), None);
        };
        let found = self
            .known
            .iter()
            .find(|(known, ..)| Arc::ptr_eq(known, plugin));
        if let Some((_, caretaker, instances)) = found {
            return (Rc::clone(caretaker), Some(Rc::clone(instances)));
        }
        let instances = Rc::new(WorkerPlugin::new(Arc::clone(plugin)));
        let caretaker: Rc<dyn Caretaker> = Rc::new(instances.conversations());
        tokio::task::spawn_local(tell(Rc::downgrade(&instances)));
        self.known.push((
            Arc::clone(plugin),
            Rc::clone(&caretaker),
            Rc::clone(&instances),
        ));
        (caretaker, Some(instances))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use prometheus_client::registry::Registry as Metrics;
    use serde_json::json;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::plugin::tests::load;

    /// A context without groups, which is enough for a session that never begins.
    fn context(plugin: &Arc<Plugin>, counters: &SessionCounters) -> Rc<ListenerContext> {
        let config = ListenerConfig {
            name: "a".to_owned(),
            ..ListenerConfig::default()
        };
        let (caretaker, plugin) = Caretakers::default().of(Some(plugin));
        Rc::new(ListenerContext {
            counters: counters.of(&config.name),
            complaints: Complaints::default(),
            plugin,
            caretaker,
            max_shown: PluginLimits::default().max_shown,
            groups: Vec::new(),
            pools: Pools::start(PoolsParts::for_workers(1, &[]).remove(0)),
            buffers: Rc::new(BufferPool::new()),
            registry: Registry::new(),
            crowds: Rc::default(),
            targets: Rc::default(),
            config,
        })
    }

    /// Whether all of these lines are in the metrics.
    fn assert_counted(counters: &SessionCounters, lines: &[&str]) {
        let mut metrics = Metrics::default();
        counters.register(&mut metrics);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &metrics).unwrap();
        for line in lines {
            assert!(text.lines().any(|one| one == *line), "no {line} in\n{text}");
        }
    }

    #[test]
    fn a_plugins_deadline_ends_its_session_with_a_farewell() {
        let deed = json!({ "mode": "deadline", "hook": "choose-upstream", "count": 40 });
        let plugin = load(deed);
        let counters = SessionCounters::default();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        LocalSet::new().block_on(&runtime, async {
            let context = context(&plugin, &counters);
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let client = TcpStream::connect(listener.local_addr().unwrap());
            let (client, accepted) = tokio::join!(client, listener.accept());
            let (mut client, (stream, peer)) = (client.unwrap(), accepted.unwrap());
            let session = SessionTask::new(1, stream, peer, context).unwrap();
            let session = tokio::task::spawn_local(session);
            let begun = tokio::time::Instant::now();
            client.write_all(b"hello").await.unwrap();
            let mut said = Vec::new();
            client.read_to_end(&mut said).await.unwrap();
            assert_eq!(said, b"too late");
            assert!(begun.elapsed() >= Duration::from_millis(40));
            drop(client);
            session.await.unwrap();
        });
        let ended = r#"leaseway_session_ends_total{listener="a",reason="plugin-deadline"} 1"#;
        assert_counted(&counters, &[ended]);
    }

    #[test]
    fn a_client_whose_session_cannot_begin_is_counted() {
        let plugin = load(json!({ "mode": "trap", "hook": "constructor" }));
        let counters = SessionCounters::default();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        LocalSet::new().block_on(&runtime, async {
            let context = context(&plugin, &counters);
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let client = TcpStream::connect(listener.local_addr().unwrap());
            let (_client, accepted) = tokio::join!(client, listener.accept());
            let (stream, peer) = accepted.unwrap();
            assert!(SessionTask::new(1, stream, peer, context).is_err());
        });
        let lines = [
            r#"leaseway_sessions_total{listener="a"} 1"#,
            r#"leaseway_sessions_open{listener="a"} 0"#,
            r#"leaseway_session_ends_total{listener="a",reason="plugin-fault"} 1"#,
        ];
        assert_counted(&counters, &lines);
    }
}
