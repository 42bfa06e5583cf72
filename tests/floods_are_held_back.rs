//! Whoever sends faster than the other side reads is held back, in small messages as in large ones,
//! and the relay holds next to nothing of it.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use leaseway_tests::redis::RedisServer;
use leaseway_tests::relay::Relay;
use leaseway_tests::resp::{Reply, Resp, encode};
use leaseway_tests::wait::{GENEROUS, eventually};
use tokio::io::AsyncWriteExt;

const CONFIG: &str = r#"
    [plugins.redis]
    module = "{plugins}/redis.wasm"

    [upstreams.cache]
    endpoints = ["{redis}"]

    [listeners.cache]
    bind = "{listen}"
    plugin = "redis"
    upstreams = ["cache"]

    [admin]
    bind = "{admin}"
"#;

/// Far more than the buffers of all sockets on the way hold.
const FLOOD: usize = 256 << 20;
/// Far less than a relay grows by that takes in what it cannot pass on.
const MEMORY: u64 = 24 << 20;

async fn relay_to(redis: &RedisServer) -> Relay {
    let relay = Relay::start_with(CONFIG, &[("redis", &redis.addr().to_string())]).await;
    let mut client = Resp::connect(relay.addr()).await;
    assert_eq!(client.cmd(&["PING"]).await, Reply::simple("PONG"));
    relay
}

/// Sends messages until nobody takes any for a while; returns how many were taken whole, and what is
/// left of one that was begun.
async fn flood(client: &mut Resp, message: &[u8]) -> (usize, Vec<u8>) {
    /// Nothing is taken for so long: it has come to a stop.
    const STILL: Duration = Duration::from_millis(500);
    let socket = client.socket();
    let batch = message.repeat((64 << 10) / message.len());
    let mut sent = 0;
    while sent < FLOOD {
        let from = sent % batch.len();
        match tokio::time::timeout(STILL, socket.write(&batch[from..])).await {
            Ok(written) => sent += written.unwrap(),
            Err(_) => break,
        }
    }
    let begun = sent % message.len();
    let rest = if begun == 0 { &[] } else { &message[begun..] };
    (sent / message.len(), rest.to_vec())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_does_not_read_holds_its_client_back() {
    let redis = RedisServer::start(&[]).await;
    let relay = relay_to(&redis).await;
    let mut client = Resp::connect(relay.addr()).await;
    // A connection of its own, so that the plugin sees each command.
    assert_eq!(client.cmd(&["CLIENT", "SETNAME", "x"]).await, Reply::ok());
    let before = relay.rss_bytes();
    redis.pause().await;
    let (messages, rest) = flood(&mut client, &encode(&["SET", "key", "value"])).await;
    let after = relay.rss_bytes();
    assert!(
        after < before + MEMORY,
        "grew from {before} to {after} bytes"
    );
    redis.resume().await;
    for _ in 0..messages {
        assert_eq!(client.read_reply().await.unwrap(), Reply::ok());
    }
    if !rest.is_empty() {
        client.send_raw(&rest).await.unwrap();
        assert_eq!(client.read_reply().await.unwrap(), Reply::ok());
    }
    assert_eq!(client.cmd(&["PING"]).await, Reply::simple("PONG"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_read_is_not_read_from_either() {
    let redis = RedisServer::start(&[]).await;
    let relay = relay_to(&redis).await;
    let before = relay.rss_bytes();
    let mut client = Resp::connect(relay.addr()).await;
    let (messages, rest) = flood(&mut client, &encode(&["INCR", "n"])).await;
    let after = relay.rss_bytes();
    assert!(
        after < before + MEMORY,
        "grew from {before} to {after} bytes"
    );
    // From here on somebody reads.
    let messages = i64::try_from(messages).unwrap();
    for number in 1..=messages {
        assert_eq!(client.read_reply().await.unwrap(), Reply::Integer(number));
    }
    if !rest.is_empty() {
        client.send_raw(&rest).await.unwrap();
        let last = client.read_reply().await.unwrap();
        assert_eq!(last, Reply::Integer(messages + 1));
    }
    eventually("the connection is back in the pool", GENEROUS, async || {
        let idle = [("state", "idle")];
        let metrics = relay.metrics().await;
        metrics.sum_where("leaseway_pool_connections", &idle) >= 1.0
    })
    .await;
}
