//! Whoever waits for a connection hears of it after wait-timeout, in the protocol's own words, and
//! is as good a client afterwards as before.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::{Duration, Instant};

use leaseway_tests::redis::RedisServer;
use leaseway_tests::relay::Relay;
use leaseway_tests::resp::{Reply, Resp};
use leaseway_tests::wait::{GENEROUS, eventually};

const WAIT_TIMEOUT: Duration = Duration::from_millis(500);
const CONFIG: &str = r#"
    [plugins.redis]
    module = "{plugins}/redis.wasm"

    [upstreams.cache]
    endpoints = ["{redis}"]
    pool = { max-connections = 1, wait-timeout = "500ms" }

    [listeners.cache]
    bind = "{listen}"
    plugin = "redis"
    upstreams = ["cache"]

    [admin]
    bind = "{admin}"
"#;

fn is_told(reply: &Reply) {
    let Reply::Error(text) = reply else {
        panic!("{reply:?}");
    };
    assert!(text.starts_with("ERR leaseway: "), "{text}");
    assert!(text.contains("wait-timeout"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_too_long_is_told_and_may_ask_again() {
    let redis = RedisServer::start(&[]).await;
    let relay = Relay::start_with(CONFIG, &[("redis", &redis.addr().to_string())]).await;
    let mut holder = Resp::connect(relay.addr()).await;
    let mut waiting = Resp::connect(relay.addr()).await;
    assert_eq!(waiting.cmd(&["SET", "k", "v"]).await, Reply::ok());
    holder.send_raw(b"BLPOP list 0\r\n").await.unwrap();
    eventually("BLPOP holds the connection", GENEROUS, async || {
        let info = redis.cmd(&["INFO", "clients"]).await.text();
        info.contains("blocked_clients:1")
    })
    .await;

    // Twice, since the first error must leave the session as it was.
    for _ in 0..2 {
        let asked = Instant::now();
        is_told(&waiting.cmd(&["INCR", "n"]).await);
        let took = asked.elapsed();
        assert!((WAIT_TIMEOUT..GENEROUS).contains(&took), "it took {took:?}");
    }
    // One error for each command that expects a reply.
    let commands: [&[&str]; 3] = [&["GET", "k"], &["INCR", "n"], &["GET", "k"]];
    for reply in waiting.pipeline(&commands).await.unwrap() {
        is_told(&reply);
    }
    let metrics = relay.metrics().await;
    assert!(metrics.sum("leaseway_pool_wait_timeouts_total") >= 3.0);
    assert_eq!(metrics.sum("leaseway_pool_waiting"), 0.0, "nobody waits");

    assert_eq!(redis.cmd(&["RPUSH", "list", "x"]).await, Reply::Integer(1));
    let popped = Reply::Array(vec![Reply::bulk("list"), Reply::bulk("x")]);
    assert_eq!(holder.read_reply().await.unwrap(), popped);
    for client in [&mut waiting, &mut holder] {
        assert_eq!(client.cmd(&["GET", "k"]).await, Reply::bulk("v"));
    }
    assert_eq!(waiting.cmd(&["INCR", "n"]).await, Reply::Integer(1));
}
