//! A connection that dies with a request under way: what may be sent again is, once and unseen, and
//! of all else the client is told.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use Cut::{BeforeReply, BeforeRequest, InReply};
use leaseway_tests::cutter::{Cut, Cutter};
use leaseway_tests::redis::RedisServer;
use leaseway_tests::relay::Relay;
use leaseway_tests::resp::{Reply, Resp};

const CONFIG: &str = r#"
    [process]
    workers = 1

    [plugins.redis]
    module = "{plugins}/redis.wasm"
    config = { pooling = "command-exclusive" }

    [upstreams.cache]
    endpoints = ["{cutter}"]
    pool = { max-connections = 1 }

    [listeners.cache]
    bind = "{listen}"
    plugin = "redis"
    upstreams = ["cache"]

    [admin]
    bind = "{admin}"
"#;

/// A relay with one connection, through a proxy that ends it when told, to a real server.
struct Stage {
    redis: RedisServer,
    cutter: Cutter,
    relay: Relay,
    client: Resp,
}

impl Stage {
    async fn set() -> Self {
        let redis = RedisServer::start(&[]).await;
        let cutter = Cutter::start(redis.addr()).await;
        let relay = Relay::start_with(CONFIG, &[("cutter", &cutter.addr().to_string())]).await;
        let client = Resp::connect(relay.addr()).await;
        let mut stage = Self {
            redis,
            cutter,
            relay,
            client,
        };
        // From here on the connection is a reused one.
        assert_eq!(stage.cmd("SET k value").await, Reply::ok());
        stage
    }

    async fn cmd(&mut self, text: &str) -> Reply {
        let words: Vec<&str> = text.split(' ').collect();
        self.client.cmd(&words).await
    }

    async fn told(&mut self, text: &str) {
        let reply = self.cmd(text).await;
        assert!(
            matches!(&reply, Reply::Error(text) if text.starts_with("ERR leaseway: ")),
            "{text} was answered {reply:?}"
        );
    }

    async fn replays(&self) -> f64 {
        self.relay.metric_sum("leaseway_replays_total").await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_are_sent_again_unseen() {
    let mut stage = Stage::set().await;
    for (round, cut) in [BeforeRequest, BeforeReply, InReply(0)].iter().enumerate() {
        stage.cutter.cut(&[*cut]);
        assert_eq!(stage.cmd("GET k").await, Reply::bulk("value"), "{cut:?}");
        assert_eq!(stage.cutter.left(), 0);
        assert_eq!(stage.replays().await, round as f64 + 1.0);
        // The replacement is as good as any: it is kept, and reused.
        assert_eq!(stage.cmd("GET k").await, Reply::bulk("value"));
    }
    stage.cutter.cut(&[BeforeReply]);
    let gets: [&[&str]; 3] = [&["GET", "k"], &["GET", "none"], &["STRLEN", "k"]];
    let replies = stage.client.pipeline(&gets).await.unwrap();
    let expected = [Reply::bulk("value"), Reply::Null, Reply::Integer(5)];
    assert_eq!(replies, expected);
    let opened = "leaseway_pool_connections_opened_total";
    assert_eq!(stage.relay.metric_sum(opened).await, 5.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn they_are_sent_again_once() {
    let mut stage = Stage::set().await;
    stage.cutter.cut(&[BeforeReply, BeforeReply]);
    stage.told("GET k").await;
    assert_eq!(stage.cutter.left(), 0);
    assert_eq!(stage.replays().await, 1.0);
    // The next one meets a connection that was opened for it, whose death is no stale pool's.
    stage.cutter.cut(&[BeforeReply]);
    stage.told("GET k").await;
    assert_eq!(stage.replays().await, 1.0);
    assert_eq!(stage.cmd("GET k").await, Reply::bulk("value"));
}

/// Whether it was carried out nobody can know, the relay no more than the client.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_may_have_arrived_is_told_and_never_sent_twice() {
    let mut stage = Stage::set().await;
    assert_eq!(stage.cmd("INCR n").await, Reply::Integer(1));
    stage.cutter.cut(&[BeforeReply]);
    stage.told("INCR n").await;
    assert_eq!(stage.redis.cmd(&["GET", "n"]).await, Reply::bulk("2"));
    assert_eq!(stage.cmd("INCR n").await, Reply::Integer(3));
    stage.cutter.cut(&[BeforeRequest]);
    stage.told("INCR n").await;
    assert_eq!(stage.redis.cmd(&["GET", "n"]).await, Reply::bulk("3"));

    // A read in one pipeline with a write is as unsafe as that.
    assert_eq!(stage.cmd("GET k").await, Reply::bulk("value"));
    stage.cutter.cut(&[BeforeReply]);
    let mixed: [&[&str]; 2] = [&["GET", "k"], &["INCR", "n"]];
    let replies = stage.client.pipeline(&mixed).await.unwrap();
    assert!(replies.iter().all(Reply::is_error), "{replies:?}");
    assert_eq!(stage.redis.cmd(&["GET", "n"]).await, Reply::bulk("4"));
    assert_eq!(stage.replays().await, 0.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_follows_half_a_reply() {
    let whole = b"$5\r\nvalue\r\n";
    let header = 4;
    let mut stage = Stage::set().await;
    for passed in 1..whole.len() {
        stage.cutter.cut(&[InReply(passed)]);
        if passed < header {
            // Half of a header is no use to anybody, and was kept back.
            stage.told("GET k").await;
        } else {
            stage.client.send_raw(b"GET k\r\n").await.unwrap();
            let got = stage.client.read_to_end().await.unwrap();
            assert_eq!(got, whole[..passed], "{passed} bytes passed");
            stage.client = Resp::connect(stage.relay.addr()).await;
        }
        assert_eq!(stage.cutter.left(), 0);
        assert_eq!(stage.cmd("GET k").await, Reply::bulk("value"));
    }
    assert_eq!(stage.replays().await, 0.0);
}
