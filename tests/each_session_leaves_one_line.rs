//! At debug level each session says in one line who it was, what it used, and how it ended.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use leaseway_tests::redis::RedisServer;
use leaseway_tests::relay::Relay;
use leaseway_tests::resp::{Reply, Resp, encode};
use leaseway_tests::wait::{GENEROUS, eventually};
use serde_json::Value;

const CONFIG: &str = r#"
    [plugins.redis]
    module = "{plugins}/redis.wasm"

    [upstreams.cache]
    endpoints = ["{redis}"]

    [listeners.cache]
    bind = "{listen}"
    plugin = "redis"
    upstreams = ["cache"]

    [listeners.plain]
    bind = "{plain}"
    upstreams = ["cache"]

    [admin]
    bind = "{admin}"
"#;

fn summaries(relay: &Relay) -> Vec<Value> {
    let ended = |line: &Value| {
        let message = line["message"].as_str().unwrap_or_default();
        message.starts_with("session ended")
    };
    relay.log_lines().into_iter().filter(ended).collect()
}

/// Waits until all sessions have ended, and their lines are there.
async fn all_ended(relay: &Relay) {
    eventually("all sessions have ended", GENEROUS, async || {
        relay.metric_sum("leaseway_sessions_open").await == 0.0
    })
    .await;
}

/// The one line of the client that had this address.
fn summary(lines: &[Value], peer: &str) -> Value {
    let of_peer: Vec<_> = lines.iter().filter(|line| line["peer"] == peer).collect();
    assert_eq!(of_peer.len(), 1, "lines of {peer} in {lines:#?}");
    of_peer[0].clone()
}

async fn client(address: std::net::SocketAddr) -> (Resp, String) {
    let mut client = Resp::connect(address).await;
    let peer = client.socket().local_addr().unwrap().to_string();
    (client, peer)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_debug_level_it_names_listener_plugin_peer_leases_bytes_and_end() {
    let redis = RedisServer::start(&[]).await;
    let values = [("redis", &*redis.addr().to_string())];
    let relay = Relay::start_logging("debug", CONFIG, &values).await;

    let (mut busy, busy_peer) = client(relay.addr()).await;
    let set = ["SET", "key", "value"];
    assert_eq!(busy.cmd(&set).await, Reply::ok());
    assert_eq!(busy.cmd(&["GET", "key"]).await, Reply::bulk("value"));
    let sent = encode(&set).len() + encode(&["GET", "key"]).len();
    let got = "+OK\r\n$5\r\nvalue\r\n".len();

    let (silent, silent_peer) = client(relay.addr()).await;
    let (mut polite, polite_peer) = client(relay.addr()).await;
    assert_eq!(polite.cmd(&["QUIT"]).await, Reply::ok());
    let (mut plain, plain_peer) = client(relay.addr_of("plain")).await;
    assert_eq!(plain.cmd(&["PING"]).await, Reply::simple("PONG"));
    eventually("all are accepted", GENEROUS, async || {
        relay.metric_sum("leaseway_sessions_total").await == 4.0
    })
    .await;
    drop((busy, silent, polite, plain));
    all_ended(&relay).await;

    let mut lines = Vec::new();
    eventually("each has left its line", GENEROUS, async || {
        lines = summaries(&relay);
        lines.len() >= 4
    })
    .await;
    assert_eq!(lines.len(), 4, "{lines:#?}");
    for line in &lines {
        assert_eq!(line["level"], "DEBUG", "{line}");
        assert!(line["session"].is_u64(), "{line}");
        assert!(line["seconds"].is_number(), "{line}");
    }
    let busy = summary(&lines, &busy_peer);
    assert_eq!(busy["listener"], "cache");
    assert_eq!(busy["plugin"], "redis");
    assert_eq!(busy["leases"], 0, "a connection of its own: {busy}");
    assert_eq!(busy["shared"], 2, "{busy}");
    assert_eq!(busy["from_client"], sent, "{busy}");
    assert_eq!(busy["from_upstream"], got, "{busy}");
    assert_eq!(busy["end"], "client-closed", "{busy}");

    let silent = summary(&lines, &silent_peer);
    for unused in ["leases", "shared", "from_client", "from_upstream"] {
        assert_eq!(silent[unused], 0, "{silent}");
    }
    assert_eq!(silent["end"], "client-closed", "{silent}");

    let polite = summary(&lines, &polite_peer);
    assert_eq!(polite["end"], "plugin-close", "{polite}");
    assert_eq!(polite["leases"], 0, "QUIT goes to no server: {polite}");

    let plain = summary(&lines, &plain_peer);
    assert_eq!(plain["listener"], "plain");
    assert_eq!(plain["plugin"], "-");
    assert_eq!(plain["leases"], 1, "{plain}");
    assert_eq!(plain["from_upstream"], "+PONG\r\n".len(), "{plain}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_debug_it_says_nothing_of_sessions() {
    let redis = RedisServer::start(&[]).await;
    let relay = Relay::start_with(CONFIG, &[("redis", &redis.addr().to_string())]).await;
    let mut client = Resp::connect(relay.addr()).await;
    assert_eq!(client.cmd(&["PING"]).await, Reply::simple("PONG"));
    drop(client);
    all_ended(&relay).await;
    assert_eq!(summaries(&relay), Vec::<Value>::new());
}
