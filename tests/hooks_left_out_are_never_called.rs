//! A plugin that has a probe and nothing else: sessions lease when they are accepted, bytes pass
//! without entering the plugin, and idle connections are probed all the same.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use leaseway_tests::metrics::Metrics;
use leaseway_tests::redis::RedisServer;
use leaseway_tests::relay::Relay;
use leaseway_tests::resp::{Reply, Resp};
use leaseway_tests::wait::{GENEROUS, eventually};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

const CONFIG: &str = r#"
    [plugins.prober]
    module = "{plugins}/prober.wasm"

    [upstreams.server]
    endpoints = ["{server}"]
    {more}

    [listeners.server]
    bind = "{listen}"
    plugin = "prober"
    upstreams = ["server"]

    [admin]
    bind = "{admin}"
"#;

const WARM_AND_PROBED: &str = r#"
    pool = { max-connections = 5, min-idle = 1 }
    probe = { interval = "500ms", timeout = "500ms" }
"#;

async fn relay_to(server: &str, more: &str) -> Relay {
    Relay::start_with(CONFIG, &[("server", server), ("more", more)]).await
}

fn calls(metrics: &Metrics, hook: &str) -> f64 {
    metrics.sum_where("leaseway_plugin_calls_total", &[("hook", hook)])
}

/// Of the hooks that a session may have, none was called.
fn assert_left_alone(metrics: &Metrics) {
    assert!(calls(metrics, "constructor") > 0.0, "it governs sessions");
    for hook in [
        "choose-upstream",
        "on-leased",
        "on-lease-failed",
        "on-data",
        "on-eof",
        "pool-return",
        "connect",
        "reset",
    ] {
        assert_eq!(calls(metrics, hook), 0.0, "{hook} was called");
    }
    assert_eq!(metrics.sum("leaseway_plugin_faults_total"), 0.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_may_speak_first() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let relay = relay_to(&server.local_addr().unwrap().to_string(), "").await;
    let mut client = TcpStream::connect(relay.addr()).await.unwrap();
    // Nothing has been sent: the session leases because it is there.
    let (mut upstream, _) = timeout(GENEROUS, server.accept())
        .await
        .expect("the session leases at accept")
        .unwrap();
    upstream.write_all(b"220 welcome\r\n").await.unwrap();
    let mut greeting = [0; 13];
    client.read_exact(&mut greeting).await.unwrap();
    assert_eq!(&greeting, b"220 welcome\r\n");
    client.write_all(b"QUIT\r\n").await.unwrap();
    let mut request = [0; 6];
    upstream.read_exact(&mut request).await.unwrap();
    assert_eq!(&request, b"QUIT\r\n");
    upstream.write_all(b"221 bye\r\n").await.unwrap();
    drop(upstream);
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest, b"221 bye\r\n");
    assert_left_alone(&relay.metrics().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_pass_plainly_and_idle_connections_are_probed() {
    let redis = RedisServer::start(&[]).await;
    let relay = relay_to(&redis.addr().to_string(), WARM_AND_PROBED).await;
    eventually("an idle connection is found alive", GENEROUS, async || {
        let alive = [("result", "alive")];
        let metrics = relay.metrics().await;
        calls(&metrics, "probe") > 0.0 && metrics.sum_where("leaseway_probes_total", &alive) > 0.0
    })
    .await;
    let mut clients = Vec::new();
    for id in 0..4 {
        let mut client = Resp::connect(relay.addr()).await;
        // State stays: the connection is the client's own until it leaves.
        assert_eq!(client.cmd(&["SELECT", &id.to_string()]).await, Reply::ok());
        clients.push(client);
    }
    let value = "v".repeat(1 << 20);
    for (id, client) in clients.iter_mut().enumerate() {
        let text = format!("{id}:{value}");
        assert_eq!(client.cmd(&["SET", "k", &text]).await, Reply::ok());
        let gets: [&[&str]; 2] = [&["GET", "k"], &["DBSIZE"]];
        let replies = client.pipeline(&gets).await.unwrap();
        assert_eq!(replies, [Reply::bulk(&text), Reply::Integer(1)]);
    }
    assert_left_alone(&relay.metrics().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_was_copied_plainly_serves_nobody_else() {
    let redis = RedisServer::start(&[]).await;
    let relay = relay_to(&redis.addr().to_string(), "pool = { max-connections = 1 }").await;
    for round in 0..3 {
        let mut client = Resp::connect(relay.addr()).await;
        // What the one before had selected is forgotten.
        assert_eq!(client.cmd(&["DBSIZE"]).await, Reply::Integer(0), "{round}");
        assert_eq!(client.cmd(&["SELECT", "1"]).await, Reply::ok());
        client.cmd(&["SET", "k", "v"]).await;
    }
    let metrics = relay.metrics().await;
    assert_eq!(metrics.sum("leaseway_pool_connections_opened_total"), 3.0);
    assert_left_alone(&metrics);
}
