//! Who a client is, and what it leaves behind, never reaches the next client of its connection: on a
//! real server with users, databases and both versions of the protocol.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::net::SocketAddr;
use std::time::Duration;

use leaseway_tests::redis::RedisServer;
use leaseway_tests::relay::Relay;
use leaseway_tests::resp::{Reply, Resp};
use leaseway_tests::wait::{GENEROUS, eventually};
use tokio::task::JoinSet;

const CONFIG: &str = r#"
    [plugins.redis]
    module = "{plugins}/redis.wasm"

    [upstreams.cache]
    endpoints = ["{redis}"]
    pool = { max-connections = {connections}, wait-timeout = "30s" }

    [listeners.cache]
    bind = "{listen}"
    plugin = "redis"
    upstreams = ["cache"]

    [admin]
    bind = "{admin}"
"#;

async fn relay_to(redis: &RedisServer, connections: &str) -> Relay {
    let redis = redis.addr().to_string();
    Relay::start_with(CONFIG, &[("redis", &redis), ("connections", connections)]).await
}

/// A server that wants a password, and that knows two users beside the default one.
async fn with_users() -> RedisServer {
    let redis = RedisServer::start(&["--requirepass", "secret"]).await;
    for user in [
        "ACL SETUSER app on >hunter2 ~app:* +@all",
        "ACL SETUSER guest on nopass ~guest:* +@all",
    ] {
        let words: Vec<&str> = user.split(' ').collect();
        assert_eq!(redis.cmd(&words).await, Reply::ok());
    }
    redis
}

async fn cmd(client: &mut Resp, text: &str) -> Reply {
    let words: Vec<&str> = text.split(' ').collect();
    client.cmd(&words).await
}

async fn is_refused(client: &mut Resp, text: &str, code: &str) {
    match cmd(client, text).await {
        Reply::Error(error) => assert!(error.starts_with(code), "{text} was answered {error}"),
        other => panic!("{text} was answered {other:?}"),
    }
}

/// What `CLIENT INFO` says of a connection under `key`.
fn info(text: &str, key: &str) -> String {
    text.split_whitespace()
        .find_map(|field| field.strip_prefix(key)?.strip_prefix('='))
        .unwrap_or_else(|| panic!("no {key} in {text}"))
        .to_owned()
}

async fn client_info(client: &mut Resp) -> String {
    match cmd(client, "CLIENT INFO").await {
        Reply::Bulk(text) => String::from_utf8(text).unwrap(),
        other => panic!("CLIENT INFO was answered {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_decides_who_a_client_may_be() {
    let redis = with_users().await;
    let relay = relay_to(&redis, "4").await;
    let mut app = Resp::connect(relay.addr()).await;
    is_refused(&mut app, "GET app:k", "NOAUTH").await;
    is_refused(&mut app, "AUTH app wrong", "WRONGPASS").await;
    is_refused(&mut app, "AUTH nobody hunter2", "WRONGPASS").await;
    is_refused(&mut app, "GET app:k", "NOAUTH").await;
    is_refused(&mut app, "HELLO 3", "NOAUTH").await;
    is_refused(&mut app, "HELLO 3 AUTH app wrong", "WRONGPASS").await;
    assert_eq!(cmd(&mut app, "AUTH app hunter2").await, Reply::ok());
    assert_eq!(cmd(&mut app, "SET app:k v").await, Reply::ok());
    is_refused(&mut app, "SET other v", "NOPERM").await;
    assert_eq!(cmd(&mut app, "ACL WHOAMI").await, Reply::bulk("app"));

    // Connections of that user are idle now, and of no use to anybody else.
    let mut other = Resp::connect(relay.addr()).await;
    is_refused(&mut other, "GET app:k", "NOAUTH").await;
    assert_eq!(cmd(&mut other, "AUTH secret").await, Reply::ok());
    assert_eq!(cmd(&mut other, "ACL WHOAMI").await, Reply::bulk("default"));
    assert_eq!(cmd(&mut other, "AUTH guest anything").await, Reply::ok());
    is_refused(&mut other, "GET app:k", "NOPERM").await;
    assert_eq!(cmd(&mut other, "RESET").await, Reply::simple("RESET"));
    is_refused(&mut other, "GET guest:k", "NOAUTH").await;

    // A password that failed leaves a client who it was.
    is_refused(&mut app, "AUTH default wrong", "WRONGPASS").await;
    assert_eq!(cmd(&mut app, "ACL WHOAMI").await, Reply::bulk("app"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn databases_and_protocols_are_the_clients_own() {
    let redis = RedisServer::start(&[]).await;
    let relay = relay_to(&redis, "2").await;
    let mut third = Resp::connect(relay.addr()).await;
    let mut first = Resp::connect(relay.addr()).await;
    is_refused(&mut third, "SELECT 99", "ERR DB index is out of range").await;
    is_refused(&mut third, "SELECT x", "ERR").await;
    assert_eq!(cmd(&mut third, "SELECT 3").await, Reply::ok());
    assert_eq!(cmd(&mut third, "SET k third").await, Reply::ok());
    assert_eq!(cmd(&mut first, "GET k").await, Reply::Null);
    assert_eq!(cmd(&mut first, "SET k first").await, Reply::ok());
    assert_eq!(cmd(&mut third, "GET k").await, Reply::bulk("third"));

    let hello = cmd(&mut third, "HELLO 3").await;
    assert!(matches!(hello, Reply::Map(_)), "{hello:?}");
    cmd(&mut third, "ZADD z 1.5 m").await;
    assert_eq!(cmd(&mut third, "ZSCORE z m").await, Reply::Double(1.5));
    assert_eq!(cmd(&mut third, "GET k").await, Reply::bulk("third"));
    cmd(&mut first, "ZADD z 2.5 m").await;
    assert_eq!(cmd(&mut first, "ZSCORE z m").await, Reply::bulk("2.5"));
    let hello = cmd(&mut third, "HELLO 2").await;
    assert!(matches!(hello, Reply::Array(_)), "{hello:?}");
    assert_eq!(cmd(&mut third, "ZSCORE z m").await, Reply::bulk("1.5"));
    is_refused(&mut third, "HELLO 4", "NOPROTO").await;
}

/// Ten identities take turns on three connections: whoever asks who it is hears its own name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_ever_taken_for_another() {
    const ROUNDS: usize = 40;
    const CLIENTS: usize = 40;
    let redis = with_users().await;
    let relay = relay_to(&redis, "3").await;
    let users = [
        ("default", "secret"),
        ("app", "hunter2"),
        ("guest", "anything"),
        ("guest", "something"),
        ("app", "hunter2"),
    ];
    let mut clients = JoinSet::new();
    for id in 0..CLIENTS {
        let (user, password) = users[id % users.len()];
        let database = (id / users.len() % 2).to_string();
        clients.spawn(one_of_many(relay.addr(), user, password, database, ROUNDS));
    }
    let all = async {
        while let Some(client) = clients.join_next().await {
            client.expect("a client was taken for another");
        }
    };
    tokio::time::timeout(Duration::from_secs(300), all)
        .await
        .expect("the clients hang");
    assert!(redis.clients().await <= 3);
}

async fn one_of_many(
    address: SocketAddr,
    user: &str,
    password: &str,
    database: String,
    rounds: usize,
) {
    let mut client = Resp::connect(address).await;
    assert_eq!(client.cmd(&["AUTH", user, password]).await, Reply::ok());
    assert_eq!(client.cmd(&["SELECT", &database]).await, Reply::ok());
    for round in 0..rounds {
        let info_text = client_info(&mut client).await;
        assert_eq!(info(&info_text, "user"), user);
        assert_eq!(info(&info_text, "db"), database);
        if round % 8 == 7 {
            // As somebody else for a while, and back.
            assert_eq!(cmd(&mut client, "RESET").await, Reply::simple("RESET"));
            is_refused(&mut client, "GET k", "NOAUTH").await;
            assert_eq!(client.cmd(&["AUTH", user, password]).await, Reply::ok());
            assert_eq!(client.cmd(&["SELECT", &database]).await, Reply::ok());
        }
    }
}

/// What a client may leave behind on the one connection that there is.
const LEFT_BEHIND: &[&[&str]] = &[
    &["MULTI", "SET left behind"],
    &["MULTI", "NONSENSE", "SET left behind"],
    &["WATCH k"],
    &["WATCH k", "MULTI", "SET left behind"],
    &["CLIENT SETNAME left"],
    &["CLIENT TRACKING ON", "GET k"],
    &["CLIENT TRACKING ON BCAST PREFIX k"],
    &["HELLO 3 SETNAME left"],
    &["HELLO 3", "SUBSCRIBE left"],
    &["SUBSCRIBE left"],
    &["PSUBSCRIBE l*"],
    &["SSUBSCRIBE left"],
    &["SUBSCRIBE left", "UNSUBSCRIBE left"],
    &["MONITOR"],
    &["CLIENT NO-EVICT ON"],
    &["WATCH k", "SELECT 3"],
    &["WATCH k", "HELLO 3"],
    &["MULTI", "SELECT 3", "EXEC"],
    &["MULTI", "SUBSCRIBE left", "EXEC"],
    &["SELECT 3"],
    &["SCRIPT LOAD nonsense("],
    &["UNKNOWN.COMMAND"],
    &["EVAL redis.call('select',3) 0"],
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_client_leaves_behind_is_gone_for_the_next() {
    let redis = RedisServer::start(&[]).await;
    let relay = relay_to(&redis, "1").await;
    for left in LEFT_BEHIND {
        for said_goodbye in [false, true] {
            let mut client = Resp::connect(relay.addr()).await;
            for text in *left {
                // An error is a reply too.
                cmd(&mut client, text).await;
            }
            if said_goodbye {
                client.send_raw(b"QUIT\r\n").await.unwrap();
                client.read_to_end().await.unwrap();
            }
            drop(client);
            let mut next = Resp::connect(relay.addr()).await;
            let text = client_info(&mut next).await;
            let found = |key: &str| info(&text, key);
            for (key, clean) in [
                ("name", ""),
                ("flags", "N"),
                ("db", "0"),
                ("sub", "0"),
                ("psub", "0"),
                ("ssub", "0"),
                ("multi", "-1"),
                ("redir", "-1"),
                ("resp", "2"),
            ] {
                assert_eq!(found(key), clean, "{key} after {left:?}: {text}");
            }
            assert_eq!(cmd(&mut next, "GET left").await, Reply::Null);
            // One that still watched would see its transaction fail.
            assert_eq!(redis.cmd(&["SET", "k", "changed"]).await, Reply::ok());
            assert_eq!(cmd(&mut next, "MULTI").await, Reply::ok());
            let exec = cmd(&mut next, "EXEC").await;
            assert_eq!(exec, Reply::Array(Vec::new()), "after {left:?}");
            // A published message reaches nobody.
            let heard = redis.cmd(&["PUBLISH", "left", "x"]).await;
            assert_eq!(heard, Reply::Integer(0), "after {left:?}");
        }
    }
    eventually("there was one connection at a time", GENEROUS, async || {
        redis.clients().await <= 1
    })
    .await;
}

/// A server remembers what a client has read by the client's id, and RESET does not change that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_client_has_read_is_not_told_to_the_next() {
    let redis = RedisServer::start(&[]).await;
    let relay = relay_to(&redis, "1").await;
    for key in ["first", "second"] {
        let mut client = Resp::connect(relay.addr()).await;
        cmd(&mut client, "HELLO 3").await;
        assert_eq!(cmd(&mut client, "CLIENT TRACKING ON").await, Reply::ok());
        redis.cmd(&["SET", "first", "changed"]).await;
        // A push about the first one's key would come ahead of this.
        assert_eq!(cmd(&mut client, "PING").await, Reply::simple("PONG"));
        cmd(&mut client, &format!("GET {key}")).await;
        drop(client);
    }
}

/// The pool gives back what RESET has cleaned, instead of closing it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_was_reset_is_used_again() {
    let redis = RedisServer::start(&[]).await;
    let relay = relay_to(&redis, "1").await;
    for _ in 0..10 {
        let mut client = Resp::connect(relay.addr()).await;
        assert_eq!(cmd(&mut client, "MULTI").await, Reply::ok());
        assert_eq!(cmd(&mut client, "SET k v").await, Reply::simple("QUEUED"));
        drop(client);
    }
    let mut client = Resp::connect(relay.addr()).await;
    assert_eq!(cmd(&mut client, "GET k").await, Reply::Null);
    let opened = "leaseway_pool_connections_opened_total";
    assert_eq!(relay.metric_sum(opened).await, 1.0);
}
