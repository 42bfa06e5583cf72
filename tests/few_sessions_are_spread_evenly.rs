//! Each worker gets its part of the sessions, also when there are few.
//!
//! Which sessions share a worker is seen by what they share: each worker has an instance of the
//! plugin of its own, and a trap ends the sessions of its instance and no others.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use leaseway_tests::redis::RedisServer;
use leaseway_tests::relay::Relay;
use leaseway_tests::resp::{Reply, Resp};
use leaseway_tests::wait::{GENEROUS, eventually};

const WORKERS: usize = 4;
const CONFIG: &str = r#"
    [process]
    workers = 4

    [plugins.bad]
    module = "{plugins}/hostile.wasm"
    config = { hook = "on-data", mode = "trap", trigger = "now" }
    limits = { sessions-per-instance = 100 }

    [upstreams.cache]
    endpoints = ["{redis}"]
    pool = { max-connections = 50 }

    [listeners.cache]
    bind = "{listen}"
    plugin = "bad"
    upstreams = ["cache"]

    [admin]
    bind = "{admin}"
"#;

/// One session after the other, so that each is placed before the next comes.
async fn sessions(relay: &Relay, count: usize) -> Vec<Resp> {
    let mut sessions = Vec::new();
    for _ in 0..count {
        let mut session = Resp::connect(relay.addr()).await;
        assert_eq!(session.cmd(&["PING"]).await, Reply::simple("PONG"));
        sessions.push(session);
    }
    sessions
}

/// How many sessions end together, trap after trap, until none is left.
async fn ends(mut sessions: Vec<Resp>) -> Vec<usize> {
    let mut ends = Vec::new();
    while let Some(mut victim) = sessions.pop() {
        let answer = victim.try_cmd(&["ECHO", "now"]).await;
        assert!(answer.is_err(), "a trap was answered {answer:?}");
        let before = sessions.len();
        let mut left = Vec::new();
        for mut session in sessions {
            match session.try_cmd(&["PING"]).await {
                Ok(reply) => {
                    assert_eq!(reply, Reply::simple("PONG"));
                    left.push(session);
                }
                Err(_) => drop(session),
            }
        }
        ends.push(1 + before - left.len());
        sessions = left;
    }
    ends
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_of_four_workers_has_as_many_as_the_others() {
    let redis = RedisServer::start(&[]).await;
    let relay = Relay::start_with(CONFIG, &[("redis", &redis.addr().to_string())]).await;
    for (count, expected) in [
        (2, vec![1; 2]),
        (WORKERS, vec![1; WORKERS]),
        (3 * WORKERS, vec![3; WORKERS]),
    ] {
        let together = ends(sessions(&relay, count).await).await;
        assert_eq!(
            together, expected,
            "of {count} sessions on {WORKERS} workers"
        );
        eventually("no session is counted any more", GENEROUS, async || {
            relay.status().await["sessions"] == 0
        })
        .await;
    }
}
