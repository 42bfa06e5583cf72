//! 200 clients at once over 5 connections, in all the ways that Redis can be used: whatever a client
//! gets was meant for it, and the counters add up.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use leaseway_tests::redis::RedisServer;
use leaseway_tests::relay::Relay;
use leaseway_tests::resp::{Reply, Resp};
use leaseway_tests::watch::{Seen, Watch};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

const CONFIG: &str = r#"
    [plugins.redis]
    module = "{plugins}/redis.wasm"

    [upstreams.cache]
    endpoints = ["{redis}"]
    pool = { max-connections = 5, wait-timeout = "60s" }

    [listeners.cache]
    bind = "{listen}"
    plugin = "redis"
    upstreams = ["cache"]

    [admin]
    bind = "{admin}"
"#;

const CLIENTS: usize = 200;
const ENOUGH_COMMANDS: u64 = 200_000;
const DEADLINE: Duration = Duration::from_secs(300);

/// What kind of client it was, and how often it has done what that kind does.
type Rounds = (&'static str, usize);

/// What all clients share.
struct Shared {
    address: SocketAddr,
    /// Commands that were answered.
    commands: AtomicU64,
    /// Transactions that were carried out on the common counter.
    increments: AtomicU64,
    /// Races that were won.
    wins: AtomicU64,
    /// Clients that hold a connection for long; the others need some, too.
    holders: Semaphore,
}

impl Shared {
    fn count(&self, commands: u64) {
        self.commands.fetch_add(commands, Ordering::Relaxed);
    }

    fn enough(&self) -> bool {
        self.commands.load(Ordering::Relaxed) >= ENOUGH_COMMANDS
    }

    /// Whether a client that has done so many rounds goes on: each does one, however late its
    /// turn comes.
    fn more(&self, rounds: usize) -> bool {
        rounds == 0 || !self.enough()
    }
}

fn is_aborted(reply: &Reply) -> bool {
    matches!(reply, Reply::Null)
}

/// Sets and gets values that name their owner, in pipelines of different lengths.
async fn tags(shared: Arc<Shared>, id: usize) -> Rounds {
    let mut client = Resp::connect(shared.address).await;
    let mut round = 0;
    while shared.more(round) {
        let pairs = 1 + (round * 7 + id) % 12;
        let values: Vec<String> = (0..pairs)
            .map(|n| format!("{id}:{round}:{n}:{}", "x".repeat((n * 97 + round) % 3000)))
            .collect();
        let keys: Vec<String> = (0..pairs).map(|n| format!("tag:{id}:{n}")).collect();
        let mut bytes = Vec::new();
        for (key, value) in keys.iter().zip(&values) {
            bytes.extend(leaseway_tests::resp::encode(&["SET", key, value]));
            bytes.extend(leaseway_tests::resp::encode(&["GET", key]));
        }
        client.send_raw(&bytes).await.expect("the relay takes it");
        for value in &values {
            let set = client.read_reply().await.expect("a reply to SET");
            assert_eq!(set, Reply::ok());
            let got = client.read_reply().await.expect("a reply to GET");
            assert_eq!(got, Reply::bulk(value), "client {id} got another's value");
        }
        shared.count(2 * pairs as u64);
        round += 1;
    }
    ("tags", round)
}

/// Increments the common counter and its own in transactions.
async fn transactions(shared: Arc<Shared>, id: usize) -> Rounds {
    let mut client = Resp::connect(shared.address).await;
    let own = format!("own:{id}");
    let mut round = 0;
    while shared.more(round) {
        assert_eq!(client.cmd(&["MULTI"]).await, Reply::ok());
        assert_eq!(
            client.cmd(&["INCR", "common"]).await,
            Reply::simple("QUEUED")
        );
        assert_eq!(client.cmd(&["INCR", &own]).await, Reply::simple("QUEUED"));
        match client.cmd(&["EXEC"]).await {
            Reply::Array(replies) => assert_eq!(replies[1], Reply::Integer(round as i64 + 1)),
            other => panic!("EXEC was answered {other:?}"),
        }
        shared.increments.fetch_add(1, Ordering::Relaxed);
        shared.count(4);
        round += 1;
    }
    ("transactions", round)
}

/// Races for one key: read, add, write if nobody else has.
async fn races(shared: Arc<Shared>, _: usize) -> Rounds {
    let mut client = Resp::connect(shared.address).await;
    let mut round = 0;
    while shared.more(round) {
        assert_eq!(client.cmd(&["WATCH", "race"]).await, Reply::ok());
        let seen = match client.cmd(&["GET", "race"]).await {
            Reply::Null => 0,
            value => value.text().parse::<i64>().expect("a number"),
        };
        assert_eq!(client.cmd(&["MULTI"]).await, Reply::ok());
        let next = (seen + 1).to_string();
        assert_eq!(
            client.cmd(&["SET", "race", &next]).await,
            Reply::simple("QUEUED")
        );
        if !is_aborted(&client.cmd(&["EXEC"]).await) {
            shared.wins.fetch_add(1, Ordering::Relaxed);
        }
        shared.count(5);
        round += 1;
    }
    ("races", round)
}

/// Waits for what is pushed to its own list, by another client.
async fn blocks(shared: Arc<Shared>, id: usize) -> Rounds {
    let mut client = Resp::connect(shared.address).await;
    let mut pusher = Resp::connect(shared.address).await;
    let list = format!("list:{id}");
    let mut round = 0;
    while shared.more(round) {
        let _held = shared.holders.acquire().await.expect("it stays open");
        let value = format!("{id}:{round}");
        let command = leaseway_tests::resp::encode(&["BLPOP", &list, "0"]);
        client.send_raw(&command).await.expect("the relay takes it");
        assert_eq!(
            pusher.cmd(&["RPUSH", &list, &value]).await,
            Reply::Integer(1)
        );
        let popped = client.read_reply().await.expect("a reply to BLPOP");
        assert_eq!(
            popped,
            Reply::Array(vec![Reply::bulk(&list), Reply::bulk(&value)])
        );
        shared.count(2);
        round += 1;
    }
    ("blocks", round)
}

/// Subscribes to its own channel, hears what another client publishes, and leaves.
async fn subscribes(shared: Arc<Shared>, id: usize) -> Rounds {
    let mut publisher = Resp::connect(shared.address).await;
    let channel = format!("channel:{id}");
    let mut round = 0;
    while shared.more(round) {
        let _held = shared.holders.acquire().await.expect("it stays open");
        let mut client = Resp::connect(shared.address).await;
        let hello = client.cmd(&["SUBSCRIBE", &channel]).await;
        let expected = [
            Reply::bulk("subscribe"),
            Reply::bulk(&channel),
            Reply::Integer(1),
        ];
        assert_eq!(hello, Reply::Array(expected.to_vec()));
        let text = format!("{id}:{round}");
        assert_eq!(
            publisher.cmd(&["PUBLISH", &channel, &text]).await,
            Reply::Integer(1)
        );
        let heard = client.read_reply().await.expect("a message");
        let expected = [
            Reply::bulk("message"),
            Reply::bulk(&channel),
            Reply::bulk(&text),
        ];
        assert_eq!(heard, Reply::Array(expected.to_vec()));
        shared.count(3);
        round += 1;
    }
    ("subscribes", round)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_clients_over_five_connections() {
    let redis = Arc::new(RedisServer::start(&[]).await);
    let relay = Relay::start_with(CONFIG, &[("redis", &redis.addr().to_string())]).await;
    let watch = Watch::start(&redis);
    let shared = Arc::new(Shared {
        address: relay.addr(),
        commands: AtomicU64::new(0),
        increments: AtomicU64::new(0),
        wins: AtomicU64::new(0),
        holders: Semaphore::new(2),
    });
    let mut clients = JoinSet::new();
    for id in 0..CLIENTS {
        let shared = Arc::clone(&shared);
        match id % 10 {
            0 | 1 => drop(clients.spawn(transactions(shared, id))),
            2 => drop(clients.spawn(races(shared, id))),
            3 => drop(clients.spawn(blocks(shared, id))),
            4 => drop(clients.spawn(subscribes(shared, id))),
            _ => drop(clients.spawn(tags(shared, id))),
        }
    }
    let mut fewest: BTreeMap<&str, usize> = BTreeMap::new();
    let all = async {
        while let Some(client) = clients.join_next().await {
            let (kind, rounds) = client.expect("a client found something wrong");
            let fewest = fewest.entry(kind).or_insert(rounds);
            *fewest = rounds.min(*fewest);
        }
    };
    tokio::time::timeout(DEADLINE, all)
        .await
        .expect("the clients hang");

    let Seen { looks, most } = watch.end().await;

    assert!(shared.enough());
    println!("rounds of the slowest client: {fewest:?}; {most} connections in {looks} looks");
    assert_eq!(fewest.len(), 5, "{fewest:?}");
    assert!(fewest.values().all(|rounds| *rounds > 0), "{fewest:?}");
    assert!(looks > 10, "looked {looks} times");
    assert!((1..=5).contains(&most), "{most} connections at once");
    let increments = shared.increments.load(Ordering::Relaxed).to_string();
    assert_eq!(redis.cmd(&["GET", "common"]).await, Reply::bulk(increments));
    let wins = shared.wins.load(Ordering::Relaxed).to_string();
    assert_eq!(redis.cmd(&["GET", "race"]).await, Reply::bulk(&wins));
    assert_ne!(wins, "0", "nobody won a race");
    let metrics = relay.metrics().await;
    assert_eq!(metrics.sum("leaseway_plugin_faults_total"), 0.0);
    assert_eq!(
        metrics.sum_where(
            "leaseway_session_ends_total",
            &[("reason", "plugin-misuse")]
        ),
        0.0
    );
}
