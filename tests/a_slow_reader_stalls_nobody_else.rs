//! A client that asks for much and reads nothing costs the others nothing, on the same worker and
//! through the same plugin, and the relay no memory.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use leaseway_tests::redis::RedisServer;
use leaseway_tests::relay::Relay;
use leaseway_tests::resp::{Reply, Resp};
use leaseway_tests::wait::GENEROUS;
use tokio::task::JoinSet;

const CONFIG: &str = r#"
    [process]
    workers = 1

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

const SIZE: usize = 64 << 20;
const CLIENTS: usize = 10;
const ROUNDS: usize = 300;
/// Less than half of the value.
const MEMORY: u64 = 24 << 20;

/// A value of which each part can be told from the others.
fn value() -> Vec<u8> {
    (0..SIZE).map(|at| (at / 1000 % 251) as u8).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_others_on_its_worker_get_all_their_replies() {
    // It holds back what the slow one does not take, and must not lose patience.
    let redis = RedisServer::start(&["--client-output-buffer-limit", "normal 0 0 0"]).await;
    let value = value();
    let words: [&[u8]; 3] = [b"SET", b"big", &value];
    assert_eq!(redis.cmd(&words).await, Reply::ok());
    let relay = Relay::start_with(CONFIG, &[("redis", &redis.addr().to_string())]).await;
    let mut first = Resp::connect(relay.addr()).await;
    assert_eq!(first.cmd(&["PING"]).await, Reply::simple("PONG"));
    let before = relay.rss_bytes();

    let mut slow = Resp::connect(relay.addr()).await;
    slow.send_raw(b"GET big\r\n").await.unwrap();
    slow.socket().peek(&mut [0]).await.unwrap();
    let mut others = JoinSet::new();
    for id in 0..CLIENTS {
        let address = relay.addr();
        others.spawn(async move {
            let mut client = Resp::connect(address).await;
            for round in 0..ROUNDS {
                let text = format!("{id}:{round}");
                let key = format!("of:{id}");
                assert_eq!(client.cmd(&["SET", &key, &text]).await, Reply::ok());
                assert_eq!(client.cmd(&["GET", &key]).await, Reply::bulk(&text));
            }
        });
    }
    let all = async {
        while let Some(other) = others.join_next().await {
            other.expect("another client got what was not its own");
        }
    };
    tokio::time::timeout(GENEROUS * 2, all)
        .await
        .expect("the slow one stalls the others");
    let grown = relay.rss_bytes().saturating_sub(before);
    assert!(grown < MEMORY, "the relay grew by {grown} bytes");
    let leased = relay
        .metrics()
        .await
        .sum_where("leaseway_pool_connections", &[("state", "leased")]);
    assert_eq!(leased, 1.0, "the slow one's reply is still under way");

    match slow.read_reply().await.unwrap() {
        Reply::Bulk(got) => assert!(got == value, "the value came through wrong"),
        other => panic!("GET was answered {other:?}"),
    }
    assert_eq!(slow.cmd(&["PING"]).await, Reply::simple("PONG"));
    let grown = relay.rss_bytes().saturating_sub(before);
    assert!(grown < MEMORY, "the relay grew by {grown} bytes");
}
