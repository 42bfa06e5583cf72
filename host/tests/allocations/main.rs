//! What the hot path allocates: nothing for a message that passes unseen, and for what a plugin
//! decides so much as is written down here. Whoever makes it less lowers the number.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../built/mod.rs"]
mod built;
mod worker;

use std::sync::Arc;

use leaseway::contract::{Disposition, Side, Target};
use leaseway::copy::{BufferPool, Passing, Room};
use leaseway::plugin::{SessionHooks, WorkerPlugin};
use leaseway::session::{Engine, EngineLimits, LeaseFacts, Unplugged};

use built::{info, load_with};

const REQUEST: &[u8] = b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n";
const REPLY: &[u8] = b"$5\r\nvalue\r\n";
const ROUNDS: u32 = 100;

/// Allocations of one of many rounds, once the first few have filled what is kept for reuse.
fn allocations_a_round(mut round: impl FnMut()) -> f64 {
    for _ in 0..10 {
        round();
    }
    let counted = allocation_counter::measure(|| {
        for _ in 0..ROUNDS {
            round();
        }
    });
    counted.count_total as f64 / f64::from(ROUNDS)
}

/// An engine with its hooks, moved as the driver moves it.
struct Session<H> {
    engine: Engine,
    hooks: H,
    buffers: BufferPool,
}

impl<H: SessionHooks> Session<H> {
    fn new(hooks: H, target: Option<Arc<Target>>) -> Self {
        let limits = EngineLimits {
            max_shown: 64 << 10,
            replay_limit: 64 << 10,
            calls_a_turn: u32::MAX,
        };
        Self {
            engine: Engine::new(hooks.has(), limits, std::rc::Rc::default(), target),
            hooks,
            buffers: BufferPool::new(),
        }
    }

    /// Bytes of a side come, a lease is given back and got as the engine wants, and what is to be
    /// written to the other side goes, all of it.
    fn pass(&mut self, from: Side, bytes: &[u8]) {
        let to = match from {
            Side::Client => Side::Upstream,
            Side::Upstream => Side::Client,
        };
        match self.engine.room(from, &self.buffers) {
            Room::Memory(space) => space[..bytes.len()].copy_from_slice(bytes),
            Room::Pipe(..) => panic!("a pipe for a small read"),
        }
        self.engine.filled(from, bytes.len());
        self.engine.run(&mut self.hooks);
        self.settle();
        let mut written = 0;
        while self.engine.has_output(to) {
            let (own, Passing::Memory(passing)) = self.engine.output(to) else {
                panic!("bytes in a pipe that nobody filled");
            };
            let count = own.len() + passing.len();
            written += count;
            self.engine.wrote(to, count);
            self.engine.run(&mut self.hooks);
        }
        assert_eq!(written, bytes.len(), "{:?}", self.engine.end());
        self.settle();
    }

    fn settle(&mut self) {
        if let Some(giveback) = self.engine.take_giveback() {
            assert_eq!(giveback.disposition, Disposition::Keep);
            assert_eq!(giveback.unclean, None);
        }
        if self.engine.take_ask().is_some() {
            let facts = LeaseFacts {
                tag: b"",
                fresh: false,
                endpoint: "127.0.0.1:6379",
            };
            self.engine.leased(facts, &mut self.hooks);
        }
        self.engine.settle(&self.buffers);
    }
}

#[test]
fn a_worker_without_a_plugin_allocates_nothing_for_a_request() {
    for clients in [1, 20] {
        let allocations = worker::allocations_a_request(None, clients, 20);
        assert!(allocations < 0.01, "{allocations} with {clients} clients");
    }
}

/// From socket to socket. One for each call of the plugin: the list that it returns; and the future
/// and the seat of who waits in line.
#[test]
fn a_worker_allocates_little_for_a_redis_request() {
    const CALLS: f64 = 2.0;
    const IN_LINE: f64 = 2.0;
    // Not of a request: a connection opened only now, for more clients at once than there were
    // while all warmed up. Twenty of them, and some 50 each, by 10,000 requests.
    const DIALS: f64 = 0.1;
    for (pooling, clients, connections, most) in [
        ("command", 1, 20, CALLS),
        // What came for several at once is measured by one call.
        ("command", 20, 1, 1.5),
        ("command-exclusive", 20, 20, CALLS),
        ("command-exclusive", 20, 4, CALLS + IN_LINE),
    ] {
        let redis = load_with("redis", serde_json::json!({ "pooling": pooling }));
        let allocations = worker::allocations_a_request(Some(redis), clients, connections);
        let what = format!("{allocations} with {clients} clients on {connections} connections");
        println!("{pooling}: {what}");
        assert!(allocations < most + DIALS, "{pooling}: {what}");
    }
}

#[test]
fn a_message_without_a_plugin_allocates_nothing() {
    let target = Target {
        group: None,
        endpoint: None,
        identity: String::new(),
        secret: Vec::new(),
        affinity: None,
        unpooled: false,
    };
    let mut session = Session::new(Unplugged, Some(Arc::new(target)));
    session.engine.start(&mut session.hooks);
    session.settle();
    let allocations = allocations_a_round(|| {
        session.pass(Side::Client, REQUEST);
        session.pass(Side::Upstream, REPLY);
    });
    assert!(
        allocations < 0.001,
        "{allocations} for a request and its reply"
    );
}

#[test]
fn a_redis_request_with_a_lease_of_its_own_allocates_little() {
    let redis = WorkerPlugin::new(load_with(
        "redis",
        serde_json::json!({ "pooling": "command-exclusive" }),
    ));
    let mut session = Session::new(redis.open(&info()).unwrap(), None);
    let allocations = allocations_a_round(|| {
        session.pass(Side::Client, REQUEST);
        session.pass(Side::Upstream, REPLY);
    });
    // Two lists of steps.
    assert!(
        allocations < 2.01,
        "{allocations} for a request and its reply"
    );
}
