//! SIGTERM lets leases end and starts none; a second one ends everything.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use leaseway_tests::redis::RedisServer;
use leaseway_tests::relay::Relay;
use leaseway_tests::resp::{Reply, Resp};
use leaseway_tests::wait::{GENEROUS, eventually};
use rustix::process::Signal;

const CONFIG: &str = r#"
    [process]
    drain-timeout = "{drain}"

    [plugins.redis]
    module = "{plugins}/redis.wasm"

    [upstreams.cache]
    endpoints = ["{redis}"]
    pool = { max-connections = 5 }

    [listeners.cache]
    bind = "{listen}"
    plugin = "redis"
    upstreams = ["cache"]

    [admin]
    bind = "{admin}"
"#;

/// A relay with one session that waits in BLPOP, and one that is idle.
async fn waiting(redis: &RedisServer, drain: &str) -> (Relay, Resp, Resp) {
    let address = redis.addr().to_string();
    let relay = Relay::start_with(CONFIG, &[("redis", &address), ("drain", drain)]).await;
    let mut blocked = Resp::connect(relay.addr()).await;
    blocked.send_raw(b"BLPOP list 0\r\n").await.unwrap();
    let mut idle = Resp::connect(relay.addr()).await;
    assert_eq!(idle.cmd(&["PING"]).await, Reply::simple("PONG"));
    eventually("BLPOP waits", GENEROUS, async || {
        redis
            .cmd(&["INFO", "clients"])
            .await
            .text()
            .contains("blocked_clients:1")
    })
    .await;
    (relay, blocked, idle)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_may_end_and_nobody_new_comes() {
    let redis = RedisServer::start(&[]).await;
    let (mut relay, mut blocked, mut idle) = waiting(&redis, "60s").await;
    relay.signal(Signal::TERM);
    assert!(
        idle.read_to_end().await.unwrap().is_empty(),
        "an idle session ends at once"
    );
    eventually("nobody listens", GENEROUS, async || {
        Resp::try_connect(relay.addr()).await.is_err()
    })
    .await;
    assert_eq!(
        redis.cmd(&["RPUSH", "list", "value"]).await,
        Reply::Integer(1)
    );
    let popped = blocked.read_reply().await.unwrap();
    assert_eq!(
        popped,
        Reply::Array(vec![Reply::bulk("list"), Reply::bulk("value")])
    );
    assert!(blocked.read_to_end().await.unwrap().is_empty());
    let status = relay.terminate(Duration::from_secs(30)).await;
    assert!(status.success(), "{status}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_ends_all() {
    let redis = RedisServer::start(&[]).await;
    let (mut relay, mut blocked, mut idle) = waiting(&redis, "10m").await;
    relay.signal(Signal::TERM);
    assert!(idle.read_to_end().await.unwrap().is_empty());
    assert!(relay.ended().is_none(), "it waits for the lease");
    let status = relay.terminate(Duration::from_secs(30)).await;
    assert!(status.success(), "{status}");
    assert!(!matches!(blocked.read_to_end().await, Ok(rest) if !rest.is_empty()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn drain_timeout_ends_what_does_not_end() {
    let redis = RedisServer::start(&[]).await;
    let (mut relay, _blocked, _idle) = waiting(&redis, "200ms").await;
    let status = relay.terminate(Duration::from_secs(30)).await;
    assert!(status.success(), "{status}");
    assert!(relay.log().contains("drain-timeout"), "{}", relay.log());
}
