//! Clients that do not read their replies, and a server that says nothing: those on shared
//! connections with them do not wait for ever.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use leaseway_tests::redis::RedisServer;
use leaseway_tests::relay::Relay;
use leaseway_tests::resp::{Reply, Resp, encode};
use leaseway_tests::wait::{GENEROUS, eventually};
use tokio::io::AsyncReadExt;

/// One worker, on which all clients meet.
const CONFIG: &str = r#"
    [process]
    workers = 1

    [plugins.redis]
    module = "{plugins}/redis.wasm"

    [upstreams.cache]
    endpoints = [{endpoints}]
    pool = { max-connections = {connections}, wait-timeout = "60s", max-in-flight = {in-flight} }

    [listeners.cache]
    bind = "{listen}"
    plugin = "redis"
    upstreams = ["cache"]
    slow-reader-timeout = "300ms"
    slow-reader = "{slow}"

    [admin]
    bind = "{admin}"
"#;

/// More than waits for one client at the relay.
const BIG: usize = 700_000;

/// A relay, and its server with a value in `big`.
async fn start(connections: usize, slow: &str) -> (RedisServer, Relay) {
    let redis = RedisServer::start(&[]).await;
    redis.cmd(&["SET", "big", &"b".repeat(BIG)]).await;
    let relay = relay_to(&[&redis], connections, slow).await;
    (redis, relay)
}

async fn relay_to(servers: &[&RedisServer], connections: usize, slow: &str) -> Relay {
    relay_with(servers, connections, 1024, slow).await
}

async fn relay_with(
    servers: &[&RedisServer],
    connections: usize,
    in_flight: usize,
    slow: &str,
) -> Relay {
    let endpoints: Vec<String> = servers
        .iter()
        .map(|server| format!("\"{}\"", server.addr()))
        .collect();
    let values = [
        ("endpoints", &*endpoints.join(", ")),
        ("connections", &*connections.to_string()),
        ("in-flight", &*in_flight.to_string()),
        ("slow", slow),
    ];
    Relay::start_with(CONFIG, &values).await
}

/// How many sessions a time limit has ended.
async fn timed_out(relay: &Relay) -> f64 {
    let timeout = [("reason", "timeout")];
    let metrics = relay.metrics().await;
    metrics.sum_where("leaseway_session_ends_total", &timeout)
}

/// One has been, of a client that may still be told so.
async fn one_times_out(relay: &Relay) {
    eventually("the slow reader's session ends", GENEROUS, async || {
        timed_out(relay).await == 1.0
    })
    .await;
}

/// A client that reads nothing keeps the others waiting for `slow-reader-timeout`, and no longer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_is_closed_when_others_wait_behind_it() {
    let (_redis, relay) = start(1, "close").await;
    let mut slow = Resp::connect(relay.addr()).await;
    let gets: Vec<u8> = (0..60).flat_map(|_| encode(&["GET", "big"])).collect();
    slow.send_raw(&gets).await.unwrap();
    let mut quick = Resp::connect(relay.addr()).await;
    for _ in 0..100 {
        assert_eq!(quick.cmd(&["PING"]).await, Reply::simple("PONG"));
    }
    eventually("the slow reader's session ends", GENEROUS, async || {
        quick.cmd(&["PING"]).await;
        timed_out(&relay).await == 1.0
    })
    .await;
    assert!(slow.read_to_end().await.unwrap().len() < 60 * BIG);
}

/// Nobody stands behind it on the connection, since it has left no room.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_that_fills_its_connection_is_closed() {
    for slow in ["close", "move"] {
        let redis = RedisServer::start(&[]).await;
        redis.cmd(&["SET", "big", &"b".repeat(BIG)]).await;
        let relay = relay_with(&[&redis], 1, 10, slow).await;
        let mut reader = Resp::connect(relay.addr()).await;
        let gets = encode(&["GET", "big"]).repeat(30);
        reader.send_raw(&gets).await.unwrap();
        reader.socket().peek(&mut [0]).await.unwrap();
        let mut other = Resp::connect(relay.addr()).await;
        assert_eq!(other.cmd(&["PING"]).await, Reply::simple("PONG"));
        one_times_out(&relay).await;
    }
}

/// To read a little now and then is not to read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_reads_a_drop_at_a_time_is_closed() {
    let (_redis, relay) = start(1, "close").await;
    let mut reader = Resp::connect(relay.addr()).await;
    let gets = encode(&["GET", "big"]).repeat(60);
    reader.send_raw(&gets).await.unwrap();
    reader.socket().peek(&mut [0]).await.unwrap();
    let mut other = Resp::connect(relay.addr()).await;
    other.send_raw(&encode(&["PING"])).await.unwrap();
    let drops = tokio::spawn(async move {
        let mut drop = [0; 1000];
        // Its pace, at which all of it takes a quarter of an hour.
        while reader.socket().read_exact(&mut drop).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    assert_eq!(other.read_reply().await.unwrap(), Reply::simple("PONG"));
    one_times_out(&relay).await;
    drops.abort();
}

/// Nobody is moved to where there is no room.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_is_closed_if_the_others_have_nowhere_to_go() {
    let (_redis, relay) = start(1, "move").await;
    let mut reader = Resp::connect(relay.addr()).await;
    let gets = encode(&["GET", "big"]).repeat(40);
    reader.send_raw(&gets).await.unwrap();
    reader.socket().peek(&mut [0]).await.unwrap();
    let mut others = Vec::new();
    for _ in 0..5 {
        let mut other = Resp::connect(relay.addr()).await;
        other.send_raw(&encode(&["INCR", "n"])).await.unwrap();
        others.push(other);
    }
    for (n, other) in others.iter_mut().enumerate() {
        assert_eq!(other.read_reply().await.unwrap().integer(), n as i64 + 1);
    }
    one_times_out(&relay).await;
    assert_eq!(relay.metric_sum("leaseway_shared_moved_total").await, 0.0);
}

/// With `slow-reader = "move"` the others leave, and the slow one gets all of its replies.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_behind_a_slow_reader_move_to_another_connection() {
    let (redis, relay) = start(2, "move").await;
    redis.cmd(&["SET", "own", "mine"]).await;
    // One of the two connections is taken, so that all come to the other.
    let mut holder = Resp::connect(relay.addr()).await;
    holder
        .send_raw(&encode(&["BLPOP", "list", "0"]))
        .await
        .unwrap();
    eventually("the holder has its connection", GENEROUS, async || {
        redis.clients().await == 1
    })
    .await;
    let mut slow = Resp::connect(relay.addr()).await;
    slow.send_raw(&encode(&["GET", "big"]).repeat(60))
        .await
        .unwrap();
    slow.socket().peek(&mut [0]).await.unwrap();
    let mut others = Vec::new();
    for _ in 0..5 {
        let mut other = Resp::connect(relay.addr()).await;
        other.send_raw(&encode(&["GET", "own"])).await.unwrap();
        others.push(other);
    }
    let shared = "leaseway_shared_requests_total";
    eventually("all are behind the slow one", GENEROUS, async || {
        relay.metric_sum(shared).await == 65.0
    })
    .await;
    redis.cmd(&["RPUSH", "list", "x"]).await;
    for other in &mut others {
        assert_eq!(other.read_reply().await.unwrap(), Reply::bulk("mine"));
        assert_eq!(other.cmd(&["GET", "own"]).await, Reply::bulk("mine"));
    }
    let popped = Reply::Array(vec![Reply::bulk("list"), Reply::bulk("x")]);
    assert_eq!(holder.read_reply().await.unwrap(), popped);
    for _ in 0..60 {
        assert_eq!(slow.read_reply().await.unwrap().text().len(), BIG);
    }
    assert_eq!(slow.cmd(&["GET", "own"]).await, Reply::bulk("mine"));
    let metrics = relay.metrics().await;
    assert_eq!(metrics.sum("leaseway_session_ends_total"), 0.0);
    assert!(metrics.sum("leaseway_shared_moved_total") > 0.0);
}

/// A client that reads slowly, but reads, keeps the others waiting for as long as it takes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_steady_reader_is_waited_for() {
    const PIECE: usize = 64 << 10;
    let (_redis, relay) = start(1, "close").await;
    let mut steady = Resp::connect(relay.addr()).await;
    let gets = encode(&["GET", "big"]).repeat(20);
    steady.send_raw(&gets).await.unwrap();
    let mut other = Resp::connect(relay.addr()).await;
    other.send_raw(&encode(&["PING"])).await.unwrap();
    let mut left = 20 * (BIG + "$700000\r\n\r\n".len());
    let mut piece = vec![0; PIECE];
    while left > 0 {
        // Its pace: several times the limit in all.
        tokio::time::sleep(Duration::from_millis(8)).await;
        let count = left.min(PIECE);
        steady
            .socket()
            .read_exact(&mut piece[..count])
            .await
            .unwrap();
        left -= count;
    }
    assert_eq!(other.read_reply().await.unwrap(), Reply::simple("PONG"));
    assert_eq!(timed_out(&relay).await, 0.0);
}

/// Nobody waits: a client may read as slowly as it likes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_that_nobody_waits_behind_gets_everything() {
    let (_redis, relay) = start(1, "close").await;
    let mut slow = Resp::connect(relay.addr()).await;
    let gets: Vec<u8> = (0..30).flat_map(|_| encode(&["GET", "big"])).collect();
    slow.send_raw(&gets).await.unwrap();
    let before = relay.metric_sum("leaseway_bytes_total").await;
    assert!(before < 30.0 * BIG as f64, "it has all been read");
    // Several times the limit, in which nothing moves.
    tokio::time::sleep(Duration::from_millis(1200)).await;
    for _ in 0..30 {
        assert_eq!(slow.read_reply().await.unwrap().text().len(), BIG);
    }
}

/// Only those who came before it was known wait for a server that has frozen, if there is another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_requests_go_where_something_is_heard() {
    const CLIENTS: usize = 30;
    /// One for each connection to it, as sessions of their own would.
    const STUCK: usize = 4;
    let servers = [RedisServer::start(&[]).await, RedisServer::start(&[]).await];
    let relay = relay_to(&[&servers[0], &servers[1]], 4, "close").await;
    let mut first = Resp::connect(relay.addr()).await;
    assert_eq!(first.cmd(&["PING"]).await, Reply::simple("PONG"));
    let [one, other] = &servers;
    let frozen = if one.clients().await > 0 { one } else { other };
    frozen.pause().await;
    let mut stuck = Vec::new();
    for _ in 0..CLIENTS {
        let mut client = Resp::connect(relay.addr()).await;
        client.send_raw(&encode(&["PING"])).await.unwrap();
        match tokio::time::timeout(Duration::from_millis(500), client.read_reply()).await {
            Ok(reply) => assert_eq!(reply.unwrap(), Reply::simple("PONG")),
            Err(_) => stuck.push(client),
        }
    }
    println!("{} of {CLIENTS} wait for the frozen server", stuck.len());
    assert!((1..=STUCK).contains(&stuck.len()), "{} wait", stuck.len());
    frozen.resume().await;
    for client in &mut stuck {
        assert_eq!(client.read_reply().await.unwrap(), Reply::simple("PONG"));
    }
}
