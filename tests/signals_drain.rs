//! SIGTERM and SIGINT let leases end and start none; a second signal ends everything.

#![allow(clippy::unwrap_used, clippy::expect_used)]

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

async fn lets_a_lease_end_and_nobody_new_comes(signal: Signal, name: &str) {
    let redis = RedisServer::start(&[]).await;
    let (mut relay, mut blocked, mut idle) = waiting(&redis, "10m").await;
    relay.signal(signal);
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
    let status = relay.wait(GENEROUS).await;
    assert!(status.success(), "{status}");
    assert!(relay.log().contains(name), "{}", relay.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_lets_a_lease_end_and_nobody_new_comes() {
    lets_a_lease_end_and_nobody_new_comes(Signal::TERM, "SIGTERM").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigint_does_the_same() {
    lets_a_lease_end_and_nobody_new_comes(Signal::INT, "SIGINT").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_ends_all_whichever_it_is() {
    for (first, second) in [
        (Signal::TERM, Signal::TERM),
        (Signal::TERM, Signal::INT),
        (Signal::INT, Signal::INT),
    ] {
        let redis = RedisServer::start(&[]).await;
        let (mut relay, mut blocked, mut idle) = waiting(&redis, "10m").await;
        relay.signal(first);
        assert!(idle.read_to_end().await.unwrap().is_empty());
        assert!(relay.ended().is_none(), "it waits for the lease");
        relay.signal(second);
        let status = relay.wait(GENEROUS).await;
        assert!(status.success(), "{first:?}, {second:?}: {status}");
        assert!(!matches!(blocked.read_to_end().await, Ok(rest) if !rest.is_empty()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn drain_timeout_ends_what_does_not_end() {
    let redis = RedisServer::start(&[]).await;
    let (mut relay, _blocked, _idle) = waiting(&redis, "200ms").await;
    let status = relay.terminate(GENEROUS).await;
    assert!(status.success(), "{status}");
    assert!(relay.log().contains("drain-timeout"), "{}", relay.log());
}
