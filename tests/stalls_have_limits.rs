//! Nobody holds a connection for ever by standing still: not a client in the middle of its request,
//! not one that does not read, and not a server that has frozen.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::{Duration, Instant};

use leaseway_tests::redis::RedisServer;
use leaseway_tests::relay::Relay;
use leaseway_tests::resp::{DEADLINE, Reply, Resp, encode};
use leaseway_tests::wait::{GENEROUS, eventually};
use rustix::process::Signal;

const ONE_CONNECTION: &str = r#"
    [plugins.redis]
    module = "{plugins}/redis.wasm"

    [upstreams.cache]
    endpoints = ["{redis}"]
    pool = { max-connections = 1, wait-timeout = "20s" }

    [listeners.cache]
    bind = "{listen}"
    plugin = "redis"
    upstreams = ["cache"]
    stall-timeout = "{stall}"

    [admin]
    bind = "{admin}"
"#;

async fn relay_to(redis: &RedisServer, stall: &str) -> Relay {
    let address = redis.addr().to_string();
    Relay::start_with(ONE_CONNECTION, &[("redis", &address), ("stall", stall)]).await
}

async fn ended_by_timeout(relay: &Relay) {
    eventually(
        "its session is counted as timed out",
        GENEROUS,
        async || {
            let reason = [("reason", "timeout")];
            let metrics = relay.metrics().await;
            metrics.sum_where("leaseway_session_ends_total", &reason) >= 1.0
        },
    )
    .await;
}

/// Whoever has said something may be silent afterwards.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_says_nothing_at_all_may_not_stay() {
    let redis = RedisServer::start(&[]).await;
    let config = ONE_CONNECTION.replace("stall-timeout", "first-byte-timeout");
    let address = redis.addr().to_string();
    let relay = Relay::start_with(&config, &[("redis", &address), ("stall", "2s")]).await;
    let mut other = Resp::connect(relay.addr()).await;
    assert_eq!(other.cmd(&["GET", "k"]).await, Reply::Null);
    let mut silent = Resp::connect(relay.addr()).await;
    assert!(silent.read_to_end().await.unwrap().is_empty());
    ended_by_timeout(&relay).await;
    assert_eq!(other.cmd(&["GET", "k"]).await, Reply::Null);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_a_request_does_not_hold_the_connection() {
    let redis = RedisServer::start(&[]).await;
    let relay = relay_to(&redis, "300ms").await;
    let mut half = Resp::connect(relay.addr()).await;
    half.send_raw(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$100000\r\nxxx")
        .await
        .unwrap();
    eventually("it has the connection", GENEROUS, async || {
        redis.clients().await == 1
    })
    .await;
    let mut other = Resp::connect(relay.addr()).await;
    assert_eq!(other.cmd(&["GET", "k"]).await, Reply::Null);
    assert!(half.read_to_end().await.unwrap().is_empty());
    ended_by_timeout(&relay).await;
}

/// One that stops between two arguments owes no byte, and so gets no connection before it goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_a_request_without_its_last_argument_has_no_connection() {
    let redis = RedisServer::start(&[]).await;
    let relay = relay_to(&redis, "10m").await;
    let mut half = Resp::connect(relay.addr()).await;
    half.send_raw(b"*2\r\n$3\r\nGET\r\n").await.unwrap();
    let mut other = Resp::connect(relay.addr()).await;
    assert_eq!(other.cmd(&["SET", "k", "v"]).await, Reply::ok());
    half.send_raw(b"$1\r\nk\r\n").await.unwrap();
    assert_eq!(half.read_reply().await.unwrap(), Reply::bulk("v"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_read_does_not_hold_the_connection() {
    let redis = RedisServer::start(&[]).await;
    let value = "x".repeat(32 << 20);
    assert_eq!(redis.cmd(&["SET", "big", &value]).await, Reply::ok());
    let relay = relay_to(&redis, "300ms").await;
    let mut deaf = Resp::connect(relay.addr()).await;
    deaf.send_raw(b"GET big\r\n").await.unwrap();
    deaf.socket().readable().await.unwrap();
    let mut other = Resp::connect(relay.addr()).await;
    assert_eq!(
        other.cmd(&["STRLEN", "big"]).await,
        Reply::Integer(32 << 20)
    );
    ended_by_timeout(&relay).await;
}

/// To wait for a reply is no stall: blocking commands may take their time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blocking_command_may_wait_for_longer() {
    let redis = RedisServer::start(&[]).await;
    let relay = relay_to(&redis, "50ms").await;
    let mut client = Resp::connect(relay.addr()).await;
    let asked = Instant::now();
    assert_eq!(client.cmd(&["BLPOP", "list", "1"]).await, Reply::Null);
    assert!(asked.elapsed() >= Duration::from_millis(900));
    assert_eq!(client.cmd(&["PING"]).await, Reply::simple("PONG"));
}

/// Nor is it one where the client has meanwhile sent more than the plugin will look at.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blocking_command_may_wait_with_a_long_pipeline_behind_it() {
    const WRITES: usize = 4000;
    let redis = RedisServer::start(&[]).await;
    let relay = relay_to(&redis, "50ms").await;
    let mut client = Resp::connect(relay.addr()).await;
    let mut pipeline = encode(&["GET", "key"]);
    pipeline.extend(encode(&["BLPOP", "list", "1"]));
    for _ in 0..WRITES {
        pipeline.extend(encode(&["SET", "key", "value-of-some-length"]));
    }
    let asked = Instant::now();
    client.send_raw(&pipeline).await.unwrap();
    assert_eq!(client.read_reply().await.unwrap(), Reply::Null, "of GET");
    assert_eq!(client.read_reply().await.unwrap(), Reply::Null, "of BLPOP");
    assert!(asked.elapsed() >= Duration::from_millis(900));
    for _ in 0..WRITES {
        assert_eq!(client.read_reply().await.unwrap(), Reply::ok());
    }
}

const TWO_SERVERS: &str = r#"
    [plugins.redis]
    module = "{plugins}/redis.wasm"
    limits = { conversation = "500ms" }

    [upstreams.cache]
    endpoints = ["{first}", "{second}"]
    balance = "round-robin"
    pool = { max-connections = 20, wait-timeout = "5s" }
    probe = { interval = "600ms", timeout = "150ms", fall = 2, rise = 2, end-leases = {end} }

    [listeners.cache]
    bind = "{listen}"
    plugin = "redis"
    upstreams = ["cache"]

    [admin]
    bind = "{admin}"
"#;

async fn two_servers(end: &str) -> (RedisServer, RedisServer, Relay) {
    let first = RedisServer::start(&[]).await;
    let second = RedisServer::start(&[]).await;
    for server in [&first, &second] {
        assert_eq!(server.cmd(&["SET", "k", "value"]).await, Reply::ok());
    }
    let values = [
        ("first", &*first.addr().to_string()),
        ("second", &*second.addr().to_string()),
        ("end", end),
    ];
    let relay = Relay::start_with(TWO_SERVERS, &values).await;
    (first, second, relay)
}

/// Sessions that wait for replies of a frozen server: reads go to the other one, unseen; whether a
/// write was carried out nobody knows, so that is told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_for_a_frozen_server_is_not_left_there() {
    let (first, _second, relay) = two_servers("true").await;
    let mut clients = Vec::new();
    for _ in 0..16 {
        let mut client = Resp::connect(relay.addr()).await;
        // Connections to both, that are reused from here on.
        for _ in 0..4 {
            assert_eq!(client.cmd(&["GET", "k"]).await, Reply::bulk("value"));
        }
        clients.push(client);
    }
    first.pause().await;
    for (id, client) in clients.iter_mut().enumerate() {
        let command: &[&str] = if id % 2 == 0 {
            &["GET", "k"]
        } else {
            &["APPEND", "log", "x"]
        };
        client.send_raw(&encode(command)).await.unwrap();
    }
    let mut told = 0;
    for (id, client) in clients.iter_mut().enumerate() {
        match client.read_reply().await.unwrap() {
            Reply::Error(text) => {
                assert!(text.starts_with("ERR leaseway: "), "{text}");
                told += 1;
            }
            reply if id % 2 == 0 => assert_eq!(reply, Reply::bulk("value")),
            reply => assert!(matches!(reply, Reply::Integer(_)), "{reply:?}"),
        }
        assert_eq!(client.cmd(&["GET", "k"]).await, Reply::bulk("value"));
    }
    println!("{told} of 16 were told");
    let ends = relay.metric_sum("leaseway_session_ends_total").await;
    assert_eq!(ends, 0.0, "every session goes on");
    assert!(relay.log().contains("ejected after 2 failed checks"));
    first.resume().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leases_may_be_left_to_an_ejected_server() {
    let (first, second, relay) = two_servers("false").await;
    let mut waiting = Vec::new();
    for _ in 0..8 {
        let mut client = Resp::connect(relay.addr()).await;
        client.send_raw(b"BLPOP list 0\r\n").await.unwrap();
        waiting.push(client);
    }
    let blocked = async |server: &RedisServer| {
        let info = server.cmd(&["INFO", "clients"]).await.text();
        let count = info
            .lines()
            .find_map(|line| line.strip_prefix("blocked_clients:"));
        count.unwrap().trim().parse::<usize>().unwrap()
    };
    eventually("all block", GENEROUS, async || {
        blocked(&first).await + blocked(&second).await == 8
    })
    .await;
    first.pause().await;
    eventually("the frozen server is ejected", GENEROUS, async || {
        relay.log().contains("ejected after 2 failed checks")
    })
    .await;
    first.resume().await;
    assert!(blocked(&first).await > 0, "its leases are still there");
    for server in [&first, &second] {
        let values: Vec<String> = (0..8).map(|n| n.to_string()).collect();
        let mut push = vec!["RPUSH", "list"];
        push.extend(values.iter().map(String::as_str));
        server.cmd(&push).await;
    }
    for client in &mut waiting {
        let popped = tokio::time::timeout(DEADLINE, client.read_reply())
            .await
            .unwrap();
        assert!(matches!(popped, Ok(Reply::Array(_))), "{popped:?}");
    }
}

/// A second signal waits for nobody: not for a client that reads slowly either.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_does_not_wait_for_a_client_that_does_not_read() {
    let redis = RedisServer::start(&[]).await;
    let value = "x".repeat(32 << 20);
    assert_eq!(redis.cmd(&["SET", "big", &value]).await, Reply::ok());
    let mut relay = relay_to(&redis, "10m").await;
    let mut deaf = Resp::connect(relay.addr()).await;
    deaf.send_raw(b"GET big\r\n").await.unwrap();
    deaf.socket().readable().await.unwrap();
    relay.signal(Signal::TERM);
    eventually("nobody listens", GENEROUS, async || {
        Resp::try_connect(relay.addr()).await.is_err()
    })
    .await;
    assert!(relay.ended().is_none(), "it waits for the lease");
    let status = relay.terminate(Duration::from_secs(20)).await;
    assert!(status.success(), "{status}");
}
