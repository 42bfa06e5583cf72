//! A connection that many sessions share is one of the pool's: it ends with its lifetime, is probed when
//! it is idle, and is left when its endpoint is ejected.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use leaseway_tests::redis::RedisServer;
use leaseway_tests::relay::Relay;
use leaseway_tests::resp::{Reply, Resp, encode};
use leaseway_tests::wait::{GENEROUS, eventually};
use tokio::task::JoinSet;

const CONFIG: &str = r#"
    [process]
    workers = 1

    [plugins.redis]
    module = "{plugins}/redis.wasm"

    [upstreams.cache]
    endpoints = [{endpoints}]
    balance = "round-robin"
    pool = { max-connections = 1, max-lifetime = "{lifetime}" }
    probe = { interval = "200ms", timeout = "200ms", fall = 2, rise = 2 }

    [listeners.cache]
    bind = "{listen}"
    plugin = "redis"
    upstreams = ["cache"]

    [admin]
    bind = "{admin}"
"#;

async fn relay_to(servers: &[&RedisServer], lifetime: &str) -> Relay {
    let endpoints: Vec<String> = servers
        .iter()
        .map(|server| format!("\"{}\"", server.addr()))
        .collect();
    let values = [
        ("endpoints", &*endpoints.join(", ")),
        ("lifetime", lifetime),
    ];
    Relay::start_with(CONFIG, &values).await
}

async fn closed(relay: &Relay, reason: &str) -> f64 {
    let metrics = relay.metrics().await;
    let reason = [("reason", reason)];
    metrics.sum_where("leaseway_pool_connections_closed_total", &reason)
}

/// There is never a moment at which nothing is under way, but for those that the relay makes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_is_never_at_rest_ends_with_its_lifetime() {
    const CLIENTS: usize = 8;
    let redis = RedisServer::start(&[]).await;
    let relay = relay_to(&[&redis], "500ms").await;
    let stop = Arc::new(AtomicBool::new(false));
    let mut clients = JoinSet::new();
    for id in 0..CLIENTS {
        let mut client = Resp::connect(relay.addr()).await;
        let stop = Arc::clone(&stop);
        clients.spawn(async move {
            // Two under way at any time, so that there is one when a reply comes.
            let increment = encode(&["INCR", &format!("n:{id}")]);
            client.send_raw(&increment).await.unwrap();
            let mut count = 0;
            while !stop.load(Ordering::Relaxed) {
                client.send_raw(&increment).await.unwrap();
                count += 1;
                assert_eq!(client.read_reply().await.unwrap().integer(), count);
            }
        });
    }
    eventually("three lifetimes have ended", GENEROUS, async || {
        closed(&relay, "max-lifetime").await >= 3.0
    })
    .await;
    stop.store(true, Ordering::Relaxed);
    while let Some(client) = clients.join_next().await {
        client.expect("a client found something wrong");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_one_is_probed_and_a_dead_one_found() {
    let redis = RedisServer::start(&[]).await;
    let relay = relay_to(&[&redis], "1h").await;
    let mut client = Resp::connect(relay.addr()).await;
    assert_eq!(client.cmd(&["PING"]).await, Reply::simple("PONG"));
    let probes = async || relay.metric_sum("leaseway_probes_total").await;
    let before = probes().await;
    eventually("it is probed", GENEROUS, async || {
        probes().await >= before + 3.0
    })
    .await;
    assert_eq!(
        redis.standing_clients().await,
        1,
        "by the connection itself"
    );
    redis.kill_clients().await;
    eventually("it is found dead", GENEROUS, async || {
        closed(&relay, "closed-by-upstream").await >= 1.0
    })
    .await;
    assert_eq!(client.cmd(&["PING"]).await, Reply::simple("PONG"));
}

/// What may be sent twice goes to the other endpoint, and of the rest the clients are told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_an_ejected_endpoint_is_left() {
    let servers = [RedisServer::start(&[]).await, RedisServer::start(&[]).await];
    let relay = relay_to(&[&servers[0], &servers[1]], "1h").await;
    for server in &servers {
        server.cmd(&["SET", "k", "v"]).await;
    }
    let mut first = Resp::connect(relay.addr()).await;
    assert_eq!(first.cmd(&["GET", "k"]).await, Reply::bulk("v"));
    let mut clients = Vec::new();
    for server in &servers {
        server.pause().await;
    }
    for at in 0..6 {
        let mut client = Resp::connect(relay.addr()).await;
        let command: &[&str] = if at % 2 == 0 {
            &["GET", "k"]
        } else {
            &["INCR", "n"]
        };
        client.send_raw(&encode(command)).await.unwrap();
        clients.push(client);
    }
    eventually("all are under way", GENEROUS, async || {
        relay.metric_sum("leaseway_shared_requests_total").await == 7.0
    })
    .await;
    // The one whose connection is in use stays frozen, and is ejected when the other is well.
    let status = relay.status().await;
    let is_used = |at: usize| status["upstreams"][0]["endpoints"][at]["leased"] == 1;
    let frozen = usize::from(!is_used(0));
    assert!(is_used(frozen), "{status}");
    servers[1 - frozen].resume().await;
    let mut told = 0;
    for (at, client) in clients.iter_mut().enumerate() {
        match client.read_reply().await.unwrap() {
            Reply::Error(text) => {
                assert_eq!(at % 2, 1, "a read: {text}");
                assert!(text.contains("ejected"), "{text}");
                told += 1;
            }
            Reply::Integer(count) => assert!(count > 0),
            reply => assert_eq!(reply, Reply::bulk("v")),
        }
    }
    assert!(told > 0, "no write was under way there");
    servers[frozen].resume().await;
}
