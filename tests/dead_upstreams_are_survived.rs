//! Connections that die idle, servers that stop, and servers that freeze.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use leaseway_tests::redis::RedisServer;
use leaseway_tests::relay::Relay;
use leaseway_tests::resp::{Reply, Resp};
use leaseway_tests::wait::{GENEROUS, eventually};
use tokio::task::JoinSet;

const CONFIG: &str = r#"
    [plugins.redis]
    module = "{plugins}/redis.wasm"
    config = { pooling = "{pooling}" }
    limits = { conversation = "500ms" }

    [upstreams.cache]
    endpoints = [{endpoints}]
    balance = "least-leased"
    connect-timeout = "500ms"
    pool = { max-connections = 20, wait-timeout = "2s" }
    probe = { interval = "200ms", timeout = "200ms", fall = 2, rise = 2 }

    [listeners.cache]
    bind = "{listen}"
    plugin = "redis"
    upstreams = ["cache"]

    [admin]
    bind = "{admin}"
"#;

async fn relay_to(servers: &[&RedisServer]) -> Relay {
    relay_with("command", servers).await
}

async fn relay_with(pooling: &str, servers: &[&RedisServer]) -> Relay {
    let endpoints: Vec<String> = servers
        .iter()
        .map(|s| format!("\"{}\"", s.addr()))
        .collect();
    let endpoints = endpoints.join(", ");
    Relay::start_with(CONFIG, &[("endpoints", &endpoints), ("pooling", pooling)]).await
}

/// Writes as well as reads: what never arrived may be sent again, whatever it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_that_the_server_kills_are_replaced_unseen() {
    let redis = RedisServer::start(&[]).await;
    let relay = relay_to(&[&redis]).await;
    let mut clients = Vec::new();
    for _ in 0..40 {
        clients.push(Resp::connect(relay.addr()).await);
    }
    for round in 1..=5 {
        for client in &mut clients {
            let got = client.cmd(&["INCR", "n"]).await;
            assert!(matches!(got, Reply::Integer(_)), "round {round}: {got:?}");
        }
        assert!(redis.kill_clients().await >= 1, "there was nothing to kill");
    }
    let total = redis.cmd(&["GET", "n"]).await;
    assert_eq!(total, Reply::bulk("200"), "each was done once");
}

/// The connection dies under a client that holds it, between its commands: WATCH has made it the
/// client's own, so its session ends as it would without a relay. With another connection, its
/// transaction would be carried out although nobody had watched.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn state_that_is_lost_with_a_connection_ends_its_session() {
    let redis = RedisServer::start(&[]).await;
    let relay = relay_to(&[&redis]).await;
    let mut client = Resp::connect(relay.addr()).await;
    assert_eq!(client.cmd(&["WATCH", "k"]).await, Reply::ok());
    redis.kill_clients().await;
    let rest = client.read_to_end().await.expect("an end");
    assert_eq!(rest, b"", "nothing was asked");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stops_costs_errors_and_comes_back_by_itself() {
    let mut redis = RedisServer::start(&[]).await;
    let relay = relay_to(&[&redis]).await;
    let mut client = Resp::connect(relay.addr()).await;
    assert_eq!(client.cmd(&["SET", "k", "v"]).await, Reply::ok());
    redis.stop().await;
    for _ in 0..3 {
        let asked = Instant::now();
        let reply = client.cmd(&["GET", "k"]).await;
        assert!(reply.text().starts_with("ERR leaseway: "), "{reply:?}");
        assert!(
            asked.elapsed() < Duration::from_secs(4),
            "past wait-timeout: {:?}",
            asked.elapsed()
        );
    }
    redis.restart().await;
    eventually("the same session works again", GENEROUS, async || {
        client.cmd(&["SET", "k", "w"]).await == Reply::ok()
    })
    .await;
    assert_eq!(client.cmd(&["GET", "k"]).await, Reply::bulk("w"));
}

/// The server freezes first, so that some sessions hold all connections and the others stand in
/// line when it goes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_and_those_in_line_are_told_in_time_and_all_recover() {
    let mut redis = RedisServer::start(&[]).await;
    let relay = relay_with("command-exclusive", &[&redis]).await;
    let crowd = Crowd::start(&relay);
    eventually("all write", GENEROUS, async || crowd.fewest(Told::Done) > 0).await;
    redis.pause().await;
    eventually("all connections are held", GENEROUS, async || {
        let metrics = relay.metrics().await;
        let leased = metrics.sum_where("leaseway_pool_connections", &[("state", "leased")]);
        let waiting = metrics.sum("leaseway_pool_waiting");
        leased >= 20.0 && waiting >= (WRITERS - 20) as f64
    })
    .await;
    redis.stop().await;
    crowd.all_hear(Told::Error).await;
    redis.restart().await;
    crowd.all_hear(Told::Done).await;
    crowd.end().await;
}

/// The same on shared connections, where nobody waits in line.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_on_shared_connections_are_told_in_time_and_all_recover() {
    let mut redis = RedisServer::start(&[]).await;
    let relay = relay_to(&[&redis]).await;
    let crowd = Crowd::start(&relay);
    for _ in 0..3 {
        crowd.all_hear(Told::Done).await;
        redis.pause().await;
        redis.stop().await;
        crowd.all_hear(Told::Error).await;
        redis.restart().await;
    }
    crowd.all_hear(Told::Done).await;
    crowd.end().await;
}

const WRITERS: usize = 60;
/// wait-timeout and connect-timeout of the config, and what a busy machine may add.
const IN_TIME: Duration = Duration::from_millis(2000 + 500 + 7500);

#[derive(Clone, Copy)]
enum Told {
    Done,
    Error,
}

/// Writers that go on whatever they are told, as long as they are told something in time.
struct Crowd {
    stop: Arc<AtomicBool>,
    /// By writer: how often it was done, and how often there was an error.
    told: Arc<Vec<[AtomicUsize; 2]>>,
    writers: JoinSet<()>,
}

impl Crowd {
    fn start(relay: &Relay) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let told: Arc<Vec<[AtomicUsize; 2]>> =
            Arc::new((0..WRITERS).map(|_| Default::default()).collect());
        let mut writers = JoinSet::new();
        for id in 0..WRITERS {
            let (stop, told) = (Arc::clone(&stop), Arc::clone(&told));
            let address = relay.addr();
            writers.spawn(async move {
                let mut client = Resp::connect(address).await;
                let key = format!("of:{id}");
                let mut round = 0;
                while !stop.load(Ordering::Relaxed) {
                    round += 1;
                    let asked = Instant::now();
                    let reply = client
                        .cmd(&["GETSET", &key, &format!("{id}:{round}")])
                        .await;
                    let took = asked.elapsed();
                    assert!(took < IN_TIME, "{reply:?} took {took:?}");
                    let what = match reply {
                        Reply::Error(text) => {
                            assert!(text.starts_with("ERR leaseway: "), "{text}");
                            Told::Error
                        }
                        // The server has come back empty.
                        Reply::Null => Told::Done,
                        Reply::Bulk(old) => {
                            let own = format!("{id}:").into_bytes();
                            assert!(old.starts_with(&own), "{id} was given another's value");
                            Told::Done
                        }
                        other => panic!("GETSET was answered {other:?}"),
                    };
                    told[id][what as usize].fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        Self {
            stop,
            told,
            writers,
        }
    }

    /// Begins to count anew.
    /// Waits until each of them has been told so, from now on.
    async fn all_hear(&self, what: Told) {
        self.forget();
        let text = match what {
            Told::Done => "all write",
            Told::Error => "all have been told",
        };
        eventually(text, GENEROUS, async || self.fewest(what) > 0).await;
    }

    fn forget(&self) {
        for count in self.told.iter().flatten() {
            count.store(0, Ordering::Relaxed);
        }
    }

    /// How often the writer was told this that was told it least.
    fn fewest(&self, what: Told) -> usize {
        let counts = self.told.iter().map(|told| &told[what as usize]);
        counts
            .map(|count| count.load(Ordering::Relaxed))
            .min()
            .unwrap_or_default()
    }

    /// Ends it; fails if a writer has found something wrong.
    async fn end(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(writer) = self.writers.join_next().await {
            writer.expect("a writer found something wrong");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_server_is_ejected_and_another_takes_the_load() {
    let first = RedisServer::start(&[]).await;
    let second = RedisServer::start(&[]).await;
    let relay = relay_to(&[&first, &second]).await;
    let up = async |server: &RedisServer| {
        let endpoint = server.addr().to_string();
        let labels = [("endpoint", endpoint.as_str())];
        relay
            .metrics()
            .await
            .sum_where("leaseway_endpoint_up", &labels)
            > 0.5
    };
    first.pause().await;
    eventually("the frozen server is ejected", GENEROUS, async || {
        !up(&first).await
    })
    .await;
    let mut client = Resp::connect(relay.addr()).await;
    for n in 0..50 {
        let asked = Instant::now();
        assert_eq!(client.cmd(&["SET", "k", &n.to_string()]).await, Reply::ok());
        assert!(
            asked.elapsed() < Duration::from_secs(2),
            "it took {:?}",
            asked.elapsed()
        );
    }
    assert_eq!(second.cmd(&["GET", "k"]).await, Reply::bulk("49"));
    first.resume().await;
    eventually("it is back", GENEROUS, async || up(&first).await).await;
}
