//! Through the relay, a client gets the bytes that it would get from the server itself: on one
//! connection for all, whether the client stays or ends its side behind what it has sent.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::net::SocketAddr;
use std::time::Duration;

use leaseway_tests::redis::RedisServer;
use leaseway_tests::relay::Relay;
use leaseway_tests::resp::{Reply, Resp};
use leaseway_tests::wait::{GENEROUS, eventually};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const CONFIG: &str = r#"
    [plugins.redis]
    module = "{plugins}/redis.wasm"

    [upstreams.cache]
    endpoints = ["{redis}"]
    pool = { max-connections = 1, wait-timeout = "30s" }

    [listeners.cache]
    bind = "{listen}"
    plugin = "redis"
    upstreams = ["cache"]

    [admin]
    bind = "{admin}"
"#;

/// A server on this machine that says nothing for so long has nothing to say.
const QUIET: Duration = Duration::from_millis(150);

/// Guards against hanging only.
const DEADLINE: Duration = Duration::from_secs(30);

/// What clients send in one packet, with `;` for the ends of lines. Left out is where the relay differs on
/// purpose: `CLIENT SETINFO`, which it takes also for servers before 7.2, ids of connections, and
/// which byte stood where a `$` was expected.
const PACKETS: &[&str] = &[
    // Plain commands.
    "PING",
    "SET a 1;GET a;INCR a;DEL a;GET a",
    "GET;GET a b;SET a;LPUSH a x;INCR a",
    "SET a x;INCR a;GET a",
    "EVAL 'return {1,2,{3,\"x\"}}' 0;EVAL bad 0",
    "EVAL 'return redis.call(\"select\",3)' 0;SET a 1;GET a",
    "EVAL 'return redis.error_reply(\"ERR no\")' 0;GET a",
    "SCRIPT EXISTS x;SCRIPT LOAD 'return 1';SCRIPT FLUSH",
    "OBJECT HELP;MEMORY USAGE a;CONFIG GET maxmemory",
    "CLIENT GETNAME;CLIENT;CLIENT NO-EVICT",
    "CLUSTER INFO;CLUSTER NONSENSE",
    "SENTINEL MASTERS;GET a",
    "JSON.GET a;FT.SEARCH a b;PING",
    "XADD s 1-1 f v;XREAD STREAMS s 0;XREAD STREAMS s $",
    "ECHO 'a b';ECHO \"a\\x00b\"",
    // Transactions.
    "MULTI;SET a 1;GET a;EXEC;GET a",
    "MULTI;SET a 1;DISCARD;GET a",
    "MULTI;INCR;EXEC;GET a",
    "MULTI;MULTI;WATCH a;EXEC",
    "EXEC;DISCARD;MULTI x;EXEC x",
    "WATCH a;SET a 1;MULTI;SET a 2;EXEC;GET a",
    "WATCH a;UNWATCH;MULTI;EXEC",
    "WATCH;UNWATCH x;ASKING;GET a",
    "MULTI;FOO;SET a 1;EXEC;GET a",
    "MULTI;CLIENT SETINFO lib-name x;PING;EXEC",
    "MULTI;CLIENT MAINT_NOTIFICATIONS ON;PING;EXEC",
    "MULTI;SELECT 3;SET a 1;EXEC;GET a",
    "MULTI;BLPOP q 0;EXEC;PING",
    "MULTI;SUBSCRIBE c;EXEC;PING",
    "MULTI;SET a 1;RESET;EXEC;GET a",
    "MULTI;HELLO 3;EXEC",
    "MULTI;SET a 1;QUIT;GET a",
    // Unknown commands.
    "FOO",
    "FOO bar;PING;FOO;PING",
    "FOO;QUIT;PING",
    "GET a;FOO 1 2 3;SET a 1;GET a;QUIT",
    "CLIENT FOO;SCRIPT FOO;PING",
    "CLIENT MAINT_NOTIFICATIONS ON moving-endpoint-type none;GET a",
    "client Maint_Notifications;GET a",
    "DEBUG SLEEP 0;PING;QUIT",
    // Streams.
    "SUBSCRIBE c;QUIT",
    "SUBSCRIBE c;CLIENT SETINFO lib-name x;PING;QUIT;PING",
    "SUBSCRIBE c d;UNSUBSCRIBE;GET a;SET a 1;GET a;RESET;GET a",
    "SUBSCRIBE c;RESET;PING;QUIT",
    "SUBSCRIBE c;GET a;PING",
    "PSUBSCRIBE c*;SSUBSCRIBE c;PUNSUBSCRIBE;PING x",
    "GET a;UNSUBSCRIBE;FOO;QUIT",
    "UNSUBSCRIBE;SET z 1;*x;PING",
    "HELLO 3;SUBSCRIBE c;GET a;RESET;PING",
    "SUBSCRIBE c;SELECT 1;AUTH x;HELLO 3",
    "CLIENT REPLY OFF;PING;CLIENT REPLY ON;PING",
    "CLIENT REPLY SKIP;PING;PING",
    "SETRANGE big 3000000 x;UNSUBSCRIBE;GET big;RESET;PING",
    // Who the client is.
    "HELLO;HELLO 2;HELLO 3;HELLO 2",
    "HELLO 4;HELLO abc;HELLO +3;HELLO 3 x;HELLO 3 AUTH a",
    "HSET h f v;HELLO 3;HGETALL h;RESET;HGETALL h",
    "HSET h f v;HELLO 3 SETNAME 'a b';HGETALL h;CLIENT GETNAME",
    "HSET h f v;HELLO 3 SETNAME ab;HGETALL h;CLIENT GETNAME",
    "CLIENT SETNAME x;CLIENT GETNAME;RESET;CLIENT GETNAME",
    "AUTH x;PING",
    "AUTH default x;PING;ACL WHOAMI",
    "AUTH nobody x;PING;ACL WHOAMI",
    "AUTH;AUTH a b c;PING",
    "HELLO 2 AUTH default x;ACL WHOAMI",
    "HELLO 3 AUTH default x;ACL WHOAMI",
    "HELLO 3;AUTH x;ACL WHOAMI",
    "SELECT 0;SELECT 3;SET a 3;SELECT 0;GET a;SELECT 3;GET a",
    "SELECT;SELECT x;SELECT +3;SELECT 03;SELECT -1;SELECT 99;SELECT 3000000000;SELECT 1 2",
    "RESET x;RESET;PING",
    "QUIT;PING",
    "QUIT x;PING",
    // Tracking.
    "CLIENT TRACKING ON;CLIENT TRACKING OFF;PING",
    "HELLO 3;CLIENT TRACKING ON;GET a;SET a 1;GET a;CLIENT TRACKINGINFO",
    "READONLY;READWRITE;PING",
    // Blocking.
    "RPUSH q x;BLPOP q 0;PING",
    "RPUSH q x;BLPOP q 0;QUIT",
    "BLPOP q 0",
    "PING;BLPOP q 0;PING",
    "BLPOP q 0.01;PING",
    "FOO;BLPOP q 0;QUIT",
    // What is no request, or an empty one.
    ";;PING;;*0;PING;*-1;*-5",
    "*0;GET a;*0;SET a 1;*0;GET a",
    "PING;*-0;PING",
    "*-0",
    "PING;*-9223372036854775809;PING",
    "*-9223372036854775808;PING",
    "PING;*x;PING",
    "PING;*1;$-1;PING",
    "GET 'a;PING",
    "GET\u{b}a;PING",
    "SET a x\u{b}y;GET a;\u{b}GET \u{c}a",
    "POST / HTTP/1.1;PING",
    "PING\n;PING",
];

/// The same for a server that wants a password. Left out: a `HELLO` whose password is right and whose
/// name is not makes the client somebody else on a server, and does not here.
const STRANGERS: &[&str] = &[
    "PING;GET a;SELECT 0;SELECT 3",
    "SELECT 0;SELECT 0;AUTH secret;SELECT 0;GET a",
    "AUTH wrong;GET a;AUTH secret;GET a",
    "AUTH default secret;GET a;AUTH app hunter2;ACL WHOAMI",
    "HELLO 3;HELLO;HELLO 2;GET a",
    "HELLO 3 AUTH default secret;ACL WHOAMI;HELLO 3 AUTH default wrong;ACL WHOAMI",
    "HELLO 3 AUTH app hunter2 SETNAME ab;ACL WHOAMI;CLIENT GETNAME",
    "AUTH app hunter2;ACL WHOAMI;SELECT 3;ACL WHOAMI;RESET;GET a",
    "FOO;CLIENT FOO;GET a;QUIT",
    "CLIENT MAINT_NOTIFICATIONS ON;GET a",
    "MULTI;GET a;AUTH secret;EXEC;PING",
];

fn packet(text: &str) -> Vec<u8> {
    let mut bytes = text.replace(';', "\r\n").into_bytes();
    bytes.extend(b"\r\n");
    bytes
}

/// What the other side has said, and whether it has closed.
#[derive(Debug, PartialEq)]
struct Said {
    text: String,
    /// How many bytes that were, ids aside.
    count: usize,
    closed: bool,
}

/// Sends a packet, and listens: until the other side closes if `ends`, else until it says nothing
/// more, and at least for so many bytes.
async fn say(address: SocketAddr, packet: &[u8], ends: bool, least: usize) -> Said {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    stream.write_all(packet).await.unwrap();
    if ends {
        stream.shutdown().await.unwrap();
    }
    let mut bytes = Vec::new();
    let closed = loop {
        let patience = match ends || bytes.len() < least {
            true => DEADLINE,
            false => QUIET,
        };
        match timeout(patience, stream.read_buf(&mut bytes)).await {
            Ok(Ok(0)) => break true,
            Ok(Ok(_)) => {}
            Ok(Err(error)) => panic!("{error} after {}", bytes.escape_ascii()),
            Err(_) if patience == QUIET => break false,
            Err(_) => panic!("nothing more after {}", bytes.escape_ascii()),
        }
    };
    if !closed {
        // The next one finds nothing of this one left.
        stream.shutdown().await.unwrap();
        timeout(DEADLINE, stream.read_to_end(&mut Vec::new()))
            .await
            .expect("a client that has ended is let go")
            .unwrap();
    }
    let (text, ids) = without_ids(&bytes.escape_ascii().to_string());
    let count = bytes.len() - ids;
    Said {
        text,
        count,
        closed,
    }
}

/// `HELLO` tells the connection's id, which is another each time; how many digits these have.
fn without_ids(text: &str) -> (String, usize) {
    let mut parts = text.split(r"$2\r\nid\r\n:");
    let mut all = parts.next().unwrap_or_default().to_owned();
    let mut digits = 0;
    for part in parts {
        let rest = part.trim_start_matches(|c: char| c.is_ascii_digit());
        digits += part.len() - rest.len();
        all.push_str("<id>");
        all.push_str(rest);
    }
    (all, digits)
}

async fn relay_to(redis: &RedisServer) -> Relay {
    Relay::start_with(CONFIG, &[("redis", &redis.addr().to_string())]).await
}

/// Compares what a server says with what is heard through a relay, and leaves nothing behind.
async fn is_served_alike(redis: &RedisServer, relay: &Relay, packets: &[&str]) {
    let mut wrong = Vec::new();
    for text in packets {
        let packet = packet(text);
        for ends in [false, true] {
            redis.cmd(&["FLUSHALL"]).await;
            let direct = say(redis.addr(), &packet, ends, 0).await;
            redis.cmd(&["FLUSHALL"]).await;
            let relayed = say(relay.addr(), &packet, ends, direct.count).await;
            if relayed != direct {
                let short = |said: &Said| {
                    let text: String = said.text.chars().take(600).collect();
                    format!("{} bytes, closed: {}: {text}", said.count, said.closed)
                };
                wrong.push(format!(
                    "{text}, ends: {ends}\n  direct: {}\n  relay:  {}",
                    short(&direct),
                    short(&relayed)
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_replies_are_those_of_the_server() {
    let redis = RedisServer::start(&[]).await;
    let relay = relay_to(&redis).await;
    is_served_alike(&redis, &relay, PACKETS).await;
}

/// Whoever ends in the middle of a request gets the replies to those before it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_a_request_takes_no_reply_with_it() {
    let redis = RedisServer::start(&[]).await;
    let relay = relay_to(&redis).await;
    let whole = b"*2\r\n$4\r\nINCR\r\n$1\r\nh\r\n".repeat(2);
    for half in [
        &b"*2\r\n$3\r\nGET\r\n"[..],
        b"*2\r\n$3\r\nGET",
        b"*3\r\n$3\r\nSET\r\n$2\r\nk",
        b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$9\r\nxx",
        b"*3\r\n$3\r\nSET\r\n$20000\r\nk",
        b"GET",
    ] {
        let packet = [&whole[..], half].concat();
        redis.cmd(&["FLUSHALL"]).await;
        let direct = say(redis.addr(), &packet, true, 0).await;
        redis.cmd(&["FLUSHALL"]).await;
        let relayed = say(relay.addr(), &packet, true, direct.count).await;
        assert_eq!(relayed, direct, "{}", half.escape_ascii());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_are_refused_as_the_server_refuses_them() {
    let redis = RedisServer::start(&["--requirepass", "secret"]).await;
    let user = "ACL SETUSER app on >hunter2 ~* +@all";
    let words: Vec<&str> = user.split(' ').collect();
    assert_eq!(redis.cmd(&words).await, Reply::ok());
    let relay = relay_to(&redis).await;
    is_served_alike(&redis, &relay, STRANGERS).await;
}

/// What client libraries say when they connect, and commands that no server knows, take nothing
/// from other clients.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_libraries_say_at_first_ties_no_connection() {
    let redis = RedisServer::start(&[]).await;
    let relay = relay_to(&redis).await;
    let mut clients = Vec::new();
    for _ in 0..10 {
        let mut client = Resp::connect(relay.addr()).await;
        let said = client
            .pipeline(&[
                &["HELLO", "3"][..],
                &["CLIENT", "SETINFO", "LIB-NAME", "redis-py"],
                &["CLIENT", "SETINFO", "LIB-VER", "8.1.0"],
                &[
                    "CLIENT",
                    "MAINT_NOTIFICATIONS",
                    "ON",
                    "moving-endpoint-type",
                    "none",
                ],
                &["CLIENT", "FOO"],
                &["FOO"],
            ])
            .await
            .unwrap();
        assert_eq!(said[1..3], [Reply::ok(), Reply::ok()]);
        assert!(said[3..].iter().all(Reply::is_error), "{said:?}");
        clients.push(client);
    }
    for client in &mut clients {
        assert_eq!(client.cmd(&["SET", "a", "1"]).await, Reply::ok());
    }
    assert_eq!(redis.clients().await, 1);
    let opened = "leaseway_pool_connections_opened_total";
    assert_eq!(relay.metric_sum(opened).await, 1.0);
}

/// `QUIT` would end a connection that others could use. It goes to the server only where the replies
/// cannot be counted, on a connection that ends with its client anyway.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_goodbye_costs_no_connection() {
    let redis = RedisServer::start(&[]).await;
    let relay = relay_to(&redis).await;
    for before in [
        "",
        "GET a;",
        "FOO;",
        "MULTI;",
        "WATCH a;",
        "MULTI;SET a 1;",
        "RPUSH q x;BLPOP q 0;",
        "CLIENT SETNAME x;",
        "READONLY;SELECT 3;",
        "HELLO 3;HELLO 2;",
    ] {
        let said = say(relay.addr(), &packet(&format!("{before}QUIT")), false, 5).await;
        assert!(
            said.closed && said.text.ends_with(r"+OK\r\n"),
            "{before}: {said:?}"
        );
    }
    assert_eq!(quits(&redis).await, 0);
    assert_eq!(redis.clients().await, 1, "the last one is still there");
    let said = say(relay.addr(), &packet("SUBSCRIBE c;QUIT"), false, 5).await;
    assert!(said.closed && said.text.ends_with(r"+OK\r\n"), "{said:?}");
    assert_eq!(
        quits(&redis).await,
        1,
        "its place is behind what is still to come"
    );
}

/// How often the server has been told `QUIT`.
async fn quits(redis: &RedisServer) -> usize {
    let info = redis.cmd(&["INFO", "commandstats"]).await.text();
    let calls = info
        .lines()
        .find_map(|line| line.strip_prefix("cmdstat_quit:calls="));
    match calls {
        None => 0,
        Some(calls) => calls.split(',').next().unwrap().parse().unwrap(),
    }
}

/// As a server drops a client that waits and has gone, instead of giving it what somebody else
/// would have got.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_has_gone_takes_no_job() {
    let redis = RedisServer::start(&[]).await;
    let relay = relay_to(&redis).await;
    for before in ["", "PING\r\n"] {
        let mut client = Resp::connect(relay.addr()).await;
        let packet = format!("{before}BLPOP q 0\r\n");
        client.send_raw(packet.as_bytes()).await.unwrap();
        eventually("it waits", GENEROUS, async || blocked(&redis).await == 1).await;
        drop(client);
        eventually("it does not wait any more", GENEROUS, async || {
            blocked(&redis).await == 0
        })
        .await;
        assert_eq!(redis.cmd(&["RPUSH", "q", "job"]).await, Reply::Integer(1));
        assert_eq!(redis.cmd(&["LLEN", "q"]).await, Reply::Integer(1));
        redis.cmd(&["DEL", "q"]).await;
    }
}

async fn blocked(redis: &RedisServer) -> usize {
    let info = redis.cmd(&["INFO", "clients"]).await.text();
    let count = info
        .lines()
        .find_map(|line| line.strip_prefix("blocked_clients:"));
    count.and_then(|count| count.trim().parse().ok()).unwrap()
}
