//! A worker on the test's own thread, so that what it allocates can be counted, and around it an
//! upstream and clients on threads of their own.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::Arc;

use leaseway::config::{
    Balance, EndpointConfig, ListenerConfig, PluginLimits, PoolConfig, UpstreamConfig,
};
use leaseway::copy::BufferPool;
use leaseway::plugin::{Plugin, WorkerPlugin};
use leaseway::pool::{Caretaker, Plain, Pools, PoolsParts};
use leaseway::session::{
    Complaints, Crowds, ListenerContext, Registry, SessionCounters, SessionTask,
};
use leaseway::upstream::{Group, PoolCounters};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::LocalSet;

use super::{REPLY, REQUEST};

/// Requests of each client before those that count, which fill what is kept for reuse.
const WARM: usize = 200;
/// Those that count.
const COUNTED: usize = 500;

/// With so many clients, and at most so many connections for them.
pub(super) fn allocations_a_request(
    plugin: Option<Arc<Plugin>>,
    clients: usize,
    connections: u32,
) -> f64 {
    let upstream = answering();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let local = LocalSet::new();
    let context = local.block_on(&runtime, async { context(upstream, connections, plugin) });
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (done, mut is_done) = unbounded_channel();
    let mut clients: Vec<_> = (0..clients)
        .map(|id| {
            let client = client(address, done.clone());
            let (stream, peer) = listener.accept().unwrap();
            stream.set_nonblocking(true).unwrap();
            local.block_on(&runtime, async {
                let stream = tokio::net::TcpStream::from_std(stream).unwrap();
                let session = SessionTask::new(id as u64, stream, peer, Rc::clone(&context));
                tokio::task::spawn_local(session.unwrap());
            });
            client
        })
        .collect();
    let mut ask = |requests: usize| {
        for client in &mut clients {
            client.send(requests).unwrap();
        }
        let all = async {
            for _ in 0..clients.len() {
                is_done.recv().await.unwrap();
            }
        };
        local.block_on(&runtime, all);
        requests * clients.len()
    };
    ask(WARM);
    let mut requests = 0;
    let counted = allocation_counter::measure(|| requests = ask(COUNTED));
    counted.count_total as f64 / requests as f64
}

fn context(
    upstream: SocketAddr,
    connections: u32,
    plugin: Option<Arc<Plugin>>,
) -> Rc<ListenerContext> {
    let group = Group::new(
        UpstreamConfig {
            name: "g".into(),
            endpoints: vec![EndpointConfig {
                host: upstream.ip().to_string(),
                port: upstream.port(),
                weight: 1,
            }],
            balance: Balance::RoundRobin,
            connect_timeout: std::time::Duration::from_secs(10),
            resolve_interval: std::time::Duration::from_secs(30),
            pool: PoolConfig {
                max_connections: connections,
                max_idle: connections,
                ..PoolConfig::default()
            },
            probe: None,
        },
        1,
        &PoolCounters::default(),
    );
    let parts = PoolsParts::for_workers(1, &[Arc::clone(&group)]).remove(0);
    let pools = Pools::start(parts);
    let plugin = plugin.map(|plugin| Rc::new(WorkerPlugin::new(plugin)));
    let caretaker: Rc<dyn Caretaker> = match &plugin {
        Some(plugin) => Rc::new(plugin.conversations()),
        None => Rc::new(Plain::new()),
    };
    pools.look_after(&group, &caretaker);
    let config = ListenerConfig {
        name: "a".to_owned(),
        ..ListenerConfig::default()
    };
    Rc::new(ListenerContext {
        counters: SessionCounters::default().of(&config.name),
        complaints: Complaints::default(),
        plugin,
        caretaker,
        max_shown: PluginLimits::default().max_shown,
        groups: vec![group],
        pools,
        buffers: Rc::new(BufferPool::new()),
        registry: Registry::new(),
        crowds: Rc::new(Crowds::default()),
        targets: Rc::default(),
        config,
    })
}

/// A server that answers each request; a real one would do as well, and cost each test its start.
fn answering() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            std::thread::spawn(move || answer(stream));
        }
    });
    address
}

fn answer(mut stream: TcpStream) {
    let mut requests = vec![0; 64 << 10];
    let mut held = 0;
    while let Ok(count @ 1..) = stream.read(&mut requests) {
        held += count;
        let replies = REPLY.repeat(held / REQUEST.len());
        held %= REQUEST.len();
        if stream.write_all(&replies).is_err() {
            return;
        }
    }
}

/// A client that sends as many requests as it is told to, one after the other, and says when it
/// has had all replies.
fn client(address: SocketAddr, done: UnboundedSender<()>) -> std::sync::mpsc::Sender<usize> {
    let (sender, tasks) = std::sync::mpsc::channel::<usize>();
    std::thread::spawn(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut reply = vec![0; REPLY.len()];
        while let Ok(requests) = tasks.recv() {
            for _ in 0..requests {
                stream.write_all(REQUEST).unwrap();
                stream.read_exact(&mut reply).unwrap();
                assert_eq!(reply, REPLY);
            }
            let _ = done.send(());
        }
    });
    sender
}
