//! The tests' own server can be started, paused, resumed, killed and started again.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use leaseway_tests::wait::GENEROUS;
use leaseway_tests::{RedisServer, Reply, Resp, eventually};

#[tokio::test]
async fn harness_drives_a_real_redis() {
    let mut server = RedisServer::start(&["--databases", "4"]).await;
    assert_eq!(server.clients().await, 0);

    let mut client = Resp::connect(server.addr()).await;
    assert_eq!(client.cmd(&["PING"]).await, Reply::simple("PONG"));
    assert_eq!(server.clients().await, 1);
    let replies = client
        .pipeline(&[&["SET", "a", "1"][..], &["INCR", "a"], &["SELECT", "9"]])
        .await
        .unwrap();
    assert_eq!(replies[..2], [Reply::ok(), Reply::Integer(2)]);
    assert!(replies[2].is_error(), "{:?}", replies[2]);

    // Paused: the connection stands, and nothing answers.
    server.pause().await;
    client.send_raw(b"PING\r\n").await.unwrap();
    let silence = tokio::time::timeout(Duration::from_millis(200), client.read_reply()).await;
    assert!(silence.is_err(), "{silence:?}");
    server.resume().await;
    assert_eq!(client.read_reply().await.unwrap(), Reply::simple("PONG"));

    // Restarted: the old connection is gone, and the data too.
    let before = server.pid();
    server.restart().await;
    assert_ne!(server.pid(), before);
    assert!(client.try_cmd(&["PING"]).await.is_err());
    let mut client = Resp::connect(server.addr()).await;
    assert_eq!(client.cmd(&["GET", "a"]).await, Reply::Null);

    assert_eq!(server.kill_clients().await, 1);
    assert!(client.read_to_end().await.unwrap().is_empty());
    eventually("the killed client is gone", GENEROUS, async || {
        server.clients().await == 0
    })
    .await;
}

#[tokio::test]
async fn harness_reads_resp3_and_knows_the_password() {
    let server = RedisServer::start(&["--requirepass", "secret"]).await;
    let mut client = Resp::connect(server.addr()).await;
    assert!(client.cmd(&["GET", "a"]).await.text().starts_with("NOAUTH"));
    let hello = client
        .cmd(&["HELLO", "3", "AUTH", "default", "secret"])
        .await;
    let Reply::Map(pairs) = hello else {
        panic!("RESP3 answers with a map: {hello:?}");
    };
    assert!(pairs.contains(&(Reply::bulk("proto"), Reply::Integer(3))));
    assert_eq!(client.cmd(&["GET", "a"]).await, Reply::Null);
    client.cmd(&["ZADD", "z", "1.5", "m"]).await;
    assert_eq!(client.cmd(&["ZSCORE", "z", "m"]).await, Reply::Double(1.5));
    client.cmd(&["SADD", "s", "x"]).await;
    assert_eq!(
        client.cmd(&["SMEMBERS", "s"]).await,
        Reply::Set(vec![Reply::bulk("x")])
    );
    assert_eq!(server.cmd(&["GET", "a"]).await, Reply::Null);
}
