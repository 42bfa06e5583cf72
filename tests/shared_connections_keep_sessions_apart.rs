//! Many clients in flight on few connections: every reply is its owner's, whoever leaves or breaks
//! meanwhile, and every counter adds up.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use leaseway_tests::redis::RedisServer;
use leaseway_tests::relay::Relay;
use leaseway_tests::resp::{Reply, Resp, encode};
use leaseway_tests::wait::{GENEROUS, eventually};
use leaseway_tests::watch::{Seen, Watch};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;

const CONFIG: &str = r#"
    [plugins.redis]
    module = "{plugins}/redis.wasm"

    [upstreams.cache]
    endpoints = ["{redis}"]
    pool = { max-connections = {connections}, wait-timeout = "60s" }

    [listeners.cache]
    bind = "{listen}"
    plugin = "redis"
    upstreams = ["cache"]

    [admin]
    bind = "{admin}"
"#;

const CLIENTS: usize = 1000;
/// The start of a config under which all clients meet.
const ONE_WORKER: &str = "[process]\nworkers = 1\n";
/// Keys of one client.
const SLOTS: usize = 8;
/// Commands of the ordinary test, and of the long one.
const COMMANDS: u64 = 500_000;
const LONG: u64 = 10_000_000;
/// Set to run the long one.
const LONG_VARIABLE: &str = "LEASEWAY_TESTS_LONG";
/// All connections are killed after every so many commands.
const KILL_EVERY: u64 = 50_000;
const DEADLINE: Duration = Duration::from_secs(1200);
/// More than waits for one client at the relay.
const BIG: usize = 700_000;

async fn start(connections: usize) -> (Arc<RedisServer>, Relay) {
    let redis = RedisServer::start(&["--maxclients", "4000"]).await;
    let relay = relay_to(&redis, connections, "").await;
    (Arc::new(redis), relay)
}

async fn relay_to(redis: &RedisServer, connections: usize, head: &str) -> Relay {
    let values = [
        ("redis", &*redis.addr().to_string()),
        ("connections", &*connections.to_string()),
    ];
    Relay::start_with(&format!("{head}{CONFIG}"), &values).await
}

/// What all clients share.
struct Shared {
    address: SocketAddr,
    enough: u64,
    /// Commands that were answered, or whose end is not known.
    commands: AtomicU64,
    /// Errors that the relay told, and sessions that ended.
    told: AtomicU64,
    ended: AtomicU64,
}

/// One of the commands, and what is known once it has been answered.
enum Command {
    Set(usize, String),
    Get(usize),
    Increment,
    Big,
}

/// One client and what it may find on the server.
struct Client {
    shared: Arc<Shared>,
    id: usize,
    random: fastrand::Rng,
    /// What each key may hold: first what was set last, then what was ever set without an answer,
    /// which may happen late.
    slots: Vec<Vec<Option<String>>>,
    /// How often the counter was certainly incremented, and how often perhaps.
    certain: i64,
    perhaps: i64,
}

impl Client {
    fn command(&mut self, round: usize, n: usize) -> (Command, Vec<u8>) {
        let slot = self.random.usize(..SLOTS);
        let key = format!("tag:{}:{slot}", self.id);
        match self.random.u32(..400) {
            0..150 => {
                let padding = "x".repeat(self.random.usize(..300));
                let value = format!("{}:{slot}:{round}:{n}:{padding}", self.id);
                let bytes = encode(&["SET", &key, &value]);
                (Command::Set(slot, value), bytes)
            }
            150..300 => (Command::Get(slot), encode(&["GET", &key])),
            300..399 => {
                let counter = format!("counter:{}", self.id);
                (Command::Increment, encode(&["INCR", &counter]))
            }
            _ => (Command::Big, encode(&["GET", "big"])),
        }
    }

    /// Nobody knows whether it was carried out.
    fn unknown(&mut self, command: Command) {
        match command {
            Command::Set(slot, value) => self.slots[slot].push(Some(value)),
            Command::Increment => self.perhaps += 1,
            Command::Get(_) | Command::Big => {}
        }
    }

    fn answered(&mut self, command: Command, reply: &Reply) {
        if let Reply::Error(text) = reply {
            assert!(text.starts_with("ERR leaseway: "), "{text}");
            self.shared.told.fetch_add(1, Ordering::Relaxed);
            return self.unknown(command);
        }
        let id = self.id;
        match command {
            Command::Set(slot, value) => {
                assert_eq!(*reply, Reply::ok(), "client {id}");
                self.slots[slot][0] = Some(value);
            }
            Command::Get(slot) => {
                let value = match reply {
                    Reply::Null => None,
                    value => Some(value.text()),
                };
                let possible = &self.slots[slot];
                assert!(
                    possible.contains(&value),
                    "client {id} got {value:?} of {possible:?}"
                );
            }
            Command::Increment => {
                self.certain += 1;
                let count = reply.integer();
                let possible = self.certain..=self.certain + self.perhaps;
                assert!(
                    possible.contains(&count),
                    "client {id} counts {count} of {possible:?}"
                );
                self.perhaps -= count - self.certain;
                self.certain = count;
            }
            Command::Big => assert_eq!(reply.text().len(), BIG, "client {id}"),
        }
    }

    /// A transaction, which needs a connection of its own.
    async fn transaction(&mut self, resp: &mut Resp) -> std::io::Result<()> {
        let counter = format!("counter:{}", self.id);
        let words: [&[&str]; 3] = [&["MULTI"], &["INCR", &counter], &["EXEC"]];
        self.shared.commands.fetch_add(3, Ordering::Relaxed);
        self.perhaps += 1;
        let replies = resp.pipeline(&words).await?;
        if let Reply::Array(results) = &replies[2] {
            self.perhaps -= 1;
            self.answered(Command::Increment, &results[0]);
        }
        Ok(())
    }

    async fn run(mut self) {
        let mut resp = Resp::connect(self.shared.address).await;
        let mut round = 0;
        while self.shared.commands.load(Ordering::Relaxed) < self.shared.enough {
            round += 1;
            let count = 1 + self.random.usize(..12);
            let mut bytes = Vec::new();
            let mut commands = Vec::new();
            for n in 0..count {
                let (command, encoded) = self.command(round, n);
                commands.push(command);
                bytes.extend(encoded);
            }
            self.shared
                .commands
                .fetch_add(count as u64, Ordering::Relaxed);
            let leaves_after = match self.random.u32(..40) {
                0 => self.random.usize(..count),
                _ => usize::MAX,
            };
            let mut ended = resp.send_raw(&bytes).await.is_err();
            for (at, command) in commands.into_iter().enumerate() {
                if ended || at >= leaves_after {
                    self.unknown(command);
                    continue;
                }
                match resp.read_reply().await {
                    Ok(reply) => self.answered(command, &reply),
                    Err(_) => {
                        self.shared.ended.fetch_add(1, Ordering::Relaxed);
                        self.unknown(command);
                        ended = true;
                    }
                }
            }
            if !ended && leaves_after > count && self.random.u32(..60) == 0 {
                ended = self.transaction(&mut resp).await.is_err();
            }
            if ended || leaves_after < count {
                resp = Resp::connect(self.shared.address).await;
            }
        }
        // What was sent before this client left for good may still be on its way: but not behind
        // what it asks now over one connection, and the server takes no more than it was sent.
        let counter = format!("counter:{}", self.id);
        let count = match resp.cmd(&["GET", &counter]).await {
            Reply::Null => 0,
            value => value.text().parse().expect("a number"),
        };
        let possible = self.certain..=self.certain + self.perhaps;
        assert!(
            possible.contains(&count),
            "client {} counts {count} of {possible:?}",
            self.id
        );
    }
}
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_clients_over_four_connections() {
    let (redis, relay) = start(4).await;
    redis.cmd(&["SET", "big", &"b".repeat(BIG)]).await;
    let watch = Watch::start(&redis);
    let is_long = std::env::var_os(LONG_VARIABLE).is_some();
    let shared = Arc::new(Shared {
        address: relay.addr(),
        enough: if is_long { LONG } else { COMMANDS },
        commands: AtomicU64::new(0),
        told: AtomicU64::new(0),
        ended: AtomicU64::new(0),
    });
    let mut clients = JoinSet::new();
    for id in 0..CLIENTS {
        let client = Client {
            shared: Arc::clone(&shared),
            id,
            random: fastrand::Rng::with_seed(id as u64),
            slots: vec![vec![None]; SLOTS],
            certain: 0,
            perhaps: 0,
        };
        clients.spawn(client.run());
    }
    let kills = async {
        let mut next = KILL_EVERY;
        while next < shared.enough {
            eventually("commands are answered", DEADLINE, async || {
                shared.commands.load(Ordering::Relaxed) >= next
            })
            .await;
            redis.kill_clients().await;
            next += KILL_EVERY;
        }
    };
    let all = async {
        while let Some(client) = clients.join_next().await {
            client.expect("a client found something wrong");
        }
    };
    let both = async { tokio::join!(all, kills) };
    tokio::time::timeout(DEADLINE, both)
        .await
        .expect("the clients hang");

    let Seen { looks, most } = watch.end().await;
    let metrics = relay.metrics().await;
    let went = metrics.sum("leaseway_shared_requests_total");
    println!(
        "{went} requests went to shared connections; {} errors told, {} sessions ended, {most} connections at once",
        shared.told.load(Ordering::Relaxed),
        shared.ended.load(Ordering::Relaxed),
    );
    assert!(went >= shared.enough as f64 * 0.9, "{went} were shared");
    assert!(looks > 10, "looked {looks} times");
    assert!((1..=4).contains(&most), "{most} connections at once");
    assert_eq!(metrics.sum("leaseway_plugin_faults_total"), 0.0);
    let misuse = [("reason", "plugin-misuse")];
    assert_eq!(
        metrics.sum_where("leaseway_session_ends_total", &misuse),
        0.0
    );
}

/// Replies that nobody waits for any more go nowhere, and the connection stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_leaves_with_replies_outstanding_has_them_swallowed() {
    let (redis, relay) = start(1).await;
    redis.cmd(&["SET", "big", &"b".repeat(BIG)]).await;
    let mut stays = Resp::connect(relay.addr()).await;
    assert_eq!(stays.cmd(&["SET", "own", "mine"]).await, Reply::ok());
    for round in 0..50 {
        let mut leaves = Resp::connect(relay.addr()).await;
        let gets: Vec<u8> = (0..5).flat_map(|_| encode(&["GET", "big"])).collect();
        leaves.send_raw(&gets).await.unwrap();
        if round % 2 == 0 {
            // In the middle of the first reply.
            leaves.socket().read_exact(&mut [0; 1000]).await.unwrap();
        }
        stays.send_raw(&encode(&["GET", "own"])).await.unwrap();
        drop(leaves);
        assert_eq!(stays.read_reply().await.unwrap(), Reply::bulk("mine"));
    }
    let opened = relay
        .metric_sum("leaseway_pool_connections_opened_total")
        .await;
    assert!(opened <= 2.0, "{opened}: one by either worker at the most");
}

/// Who sends ten thousand commands at once takes turns with who sends one at a time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_commands_and_single_ones_take_turns() {
    const FLOOD: usize = 10_000;
    const SINGLE: usize = 50;
    // On one worker, or the two would not share.
    let redis = RedisServer::start(&[]).await;
    let relay = relay_to(&redis, 1, ONE_WORKER).await;
    let mut single = Resp::connect(relay.addr()).await;
    let value = "v".repeat(1000);
    assert_eq!(single.cmd(&["SET", "k", &value]).await, Reply::ok());
    let mut flood = Resp::connect(relay.addr()).await;
    let answered = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&answered);
    let flooding = tokio::spawn(async move {
        let bytes: Vec<u8> = encode(&["GET", "k"]).repeat(FLOOD);
        let mut sent = 0;
        while sent < bytes.len() {
            // As much as goes without waiting, so that replies are read as well.
            let end = bytes.len().min(sent + 64 * 1024);
            flood.send_raw(&bytes[sent..end]).await.unwrap();
            let commands = |bytes: usize| bytes / encode(&["GET", "k"]).len();
            for _ in commands(sent)..commands(end) {
                assert_eq!(flood.read_reply().await.unwrap().text().len(), 1000);
                count.fetch_add(1, Ordering::Relaxed);
            }
            sent = end;
        }
    });
    eventually("the flood has begun", GENEROUS, async || {
        answered.load(Ordering::Relaxed) > 0
    })
    .await;
    let mut most = 0;
    let mut before = answered.load(Ordering::Relaxed);
    for _ in 0..SINGLE {
        assert_eq!(single.cmd(&["PING"]).await, Reply::simple("PONG"));
        let now = answered.load(Ordering::Relaxed);
        most = most.max(now - before);
        before = now;
    }
    println!("at most {most} of the flood's replies between two single ones");
    assert!(most < FLOOD as u64 / 4, "{most} came first");
    flooding.await.unwrap();
    assert_eq!(answered.load(Ordering::Relaxed), FLOOD as u64);
}

/// Where few requests fit, who always has more of them leaves room for who has one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_with_one_command_get_room_beside_those_with_many() {
    const FLOODS: usize = 4;
    const SINGLE: usize = 100;
    let redis = RedisServer::start(&[]).await;
    let config = CONFIG.replace("pool = {", "pool = { max-in-flight = 8,");
    let values = [("redis", &*redis.addr().to_string()), ("connections", "1")];
    let relay = Relay::start_with(&format!("{ONE_WORKER}{config}"), &values).await;
    let answered = Arc::new(AtomicU64::new(0));
    let mut floods = JoinSet::new();
    for _ in 0..FLOODS {
        let mut flood = Resp::connect(relay.addr()).await;
        let answered = Arc::clone(&answered);
        floods.spawn(async move {
            const AHEAD: usize = 100;
            let ping = encode(&["PING"]);
            flood.send_raw(&ping.repeat(AHEAD)).await.unwrap();
            loop {
                assert_eq!(flood.read_reply().await.unwrap(), Reply::simple("PONG"));
                answered.fetch_add(1, Ordering::Relaxed);
                flood.send_raw(&ping).await.unwrap();
            }
        });
    }
    eventually("the floods have begun", GENEROUS, async || {
        answered.load(Ordering::Relaxed) > 1000
    })
    .await;
    let mut single = Resp::connect(relay.addr()).await;
    let mut most = 0;
    for _ in 0..SINGLE {
        let before = answered.load(Ordering::Relaxed);
        assert_eq!(single.cmd(&["PING"]).await, Reply::simple("PONG"));
        most = most.max(answered.load(Ordering::Relaxed) - before);
    }
    println!("at most {most} of the floods' replies in front of a single one");
    assert!(most < 20_000, "{most} came first");
}

/// Where not all fit, all get their turns: of those that send as much as one connection takes, none
/// is passed over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_in_line_are_served_in_turn() {
    const CLIENTS: usize = 50;
    const BATCH: usize = 16;
    const TURNS: u64 = 10_000;
    let redis = RedisServer::start(&[]).await;
    let config = CONFIG.replace("pool = {", "pool = { max-in-flight = 16,");
    let values = [("redis", &*redis.addr().to_string()), ("connections", "1")];
    let relay = Relay::start_with(&format!("{ONE_WORKER}{config}"), &values).await;
    let all = Arc::new(AtomicU64::new(0));
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let mut client = Resp::connect(relay.addr()).await;
        let all = Arc::clone(&all);
        clients.spawn(async move {
            let pings = encode(&["PING"]).repeat(BATCH);
            let mut turns = 0;
            while all.load(Ordering::Relaxed) < TURNS {
                client.send_raw(&pings).await.unwrap();
                for _ in 0..BATCH {
                    assert_eq!(client.read_reply().await.unwrap(), Reply::simple("PONG"));
                }
                all.fetch_add(1, Ordering::Relaxed);
                turns += 1;
            }
            turns
        });
    }
    let mut turns: Vec<u64> = Vec::new();
    while let Some(client) = clients.join_next().await {
        turns.push(client.unwrap());
    }
    turns.sort_unstable();
    println!("turns: {turns:?}");
    let fair = TURNS / CLIENTS as u64;
    assert!(turns[0] > fair / 4, "{} turns of {fair}", turns[0]);
}

/// A reply many times larger than what the relay may hold passes whole.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_huge_reply_passes_in_little_memory() {
    let (_redis, relay) = start(2).await;
    let size = match std::env::var_os(LONG_VARIABLE) {
        Some(_) => 512 << 20,
        None => 128 << 20,
    };
    let mut client = Resp::connect(relay.addr()).await;
    let value: Vec<u8> = (0..1 << 20).map(|n: u32| (n % 251) as u8).collect();
    let socket = client.socket();
    let head = format!("*3\r\n$3\r\nSET\r\n$4\r\nhuge\r\n${size}\r\n");
    socket.write_all(head.as_bytes()).await.unwrap();
    for _ in 0..size >> 20 {
        socket.write_all(&value).await.unwrap();
    }
    socket.write_all(b"\r\n").await.unwrap();
    assert_eq!(client.read_reply().await.unwrap(), Reply::ok());
    let before = relay.rss_bytes();
    let socket = client.socket();
    socket.write_all(&encode(&["GET", "huge"])).await.unwrap();
    let head = format!("${size}\r\n");
    let mut got = vec![0; head.len()];
    socket.read_exact(&mut got).await.unwrap();
    assert_eq!(got, head.as_bytes());
    let mut got = vec![0; value.len()];
    let mut most = 0;
    for _ in 0..size >> 20 {
        socket.read_exact(&mut got).await.unwrap();
        assert!(got == value, "bytes have changed");
        most = most.max(relay.rss_bytes());
    }
    socket.read_exact(&mut got[..2]).await.unwrap();
    assert!(
        most < before + (16 << 20),
        "grew from {before} to {most} bytes"
    );
    let metrics = relay.metrics().await;
    assert!(metrics.sum("leaseway_shared_requests_total") >= 1.0);
}

/// A server that restarts: reads are sent again, of the rest the client is told, and all goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_server_is_survived() {
    let mut redis = RedisServer::start(&[]).await;
    let relay = relay_to(&redis, 2, "").await;
    let mut clients = Vec::new();
    for _ in 0..20 {
        let mut client = Resp::connect(relay.addr()).await;
        assert_eq!(client.cmd(&["SET", "k", "v"]).await, Reply::ok());
        clients.push(client);
    }
    for _ in 0..3 {
        redis.restart().await;
        for client in &mut clients {
            let reply = client.cmd(&["GET", "k"]).await;
            assert!(matches!(reply, Reply::Null), "{reply:?}");
        }
    }
    redis.stop().await;
    for client in &mut clients {
        let reply = client.cmd(&["GET", "k"]).await;
        let told = matches!(&reply, Reply::Error(text) if text.starts_with("ERR leaseway: "));
        assert!(told, "{reply:?}");
    }
}
