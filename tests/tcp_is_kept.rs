//! What TCP promises passes through: ends of one side, back-pressure, and nothing is left behind.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use leaseway_tests::redis::RedisServer;
use leaseway_tests::relay::Relay;
use leaseway_tests::resp::{Reply, Resp, encode};
use leaseway_tests::wait::{GENEROUS, eventually};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const PLAIN: &str = r#"
    [upstreams.server]
    endpoints = ["{server}"]

    [listeners.plain]
    bind = "{listen}"
    upstreams = ["server"]

    [admin]
    bind = "{admin}"
"#;

const POOLED: &str = r#"
    [plugins.redis]
    module = "{plugins}/redis.wasm"

    [upstreams.server]
    endpoints = ["{server}"]
    pool = { max-connections = {connections} }

    [listeners.redis]
    bind = "{listen}"
    plugin = "redis"
    upstreams = ["server"]

    [admin]
    bind = "{admin}"
"#;

/// What an allocator may keep more after a second wave than after the first: a tenth of what ten
/// thousand sessions take.
const NOISE: u64 = 3 << 20;

async fn pooled(redis: &RedisServer, connections: &str) -> Relay {
    let server = redis.addr().to_string();
    let values = [("server", server.as_str()), ("connections", connections)];
    Relay::start_with(POOLED, &values).await
}

async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_either_side_passes_and_the_other_goes_on() {
    let (server, address) = listen().await;
    let relay = Relay::start_with(PLAIN, &[("server", &address)]).await;

    // The client ends first.
    let mut client = TcpStream::connect(relay.addr()).await.unwrap();
    let (mut upstream, _) = server.accept().await.unwrap();
    client.write_all(b"question").await.unwrap();
    client.shutdown().await.unwrap();
    let mut question = Vec::new();
    upstream.read_to_end(&mut question).await.unwrap();
    assert_eq!(question, b"question");
    upstream.write_all(b"answer").await.unwrap();
    drop(upstream);
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await.unwrap();
    assert_eq!(answer, b"answer");

    // The server ends first.
    let mut client = TcpStream::connect(relay.addr()).await.unwrap();
    let (mut upstream, _) = server.accept().await.unwrap();
    upstream.write_all(b"greeting").await.unwrap();
    upstream.shutdown().await.unwrap();
    let mut greeting = Vec::new();
    client.read_to_end(&mut greeting).await.unwrap();
    assert_eq!(greeting, b"greeting");
    client.write_all(b"thanks").await.unwrap();
    drop(client);
    let mut thanks = Vec::new();
    upstream.read_to_end(&mut thanks).await.unwrap();
    assert_eq!(thanks, b"thanks");
}

/// On a connection that was opened ahead too, which would be replaced if it were dead.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upstream_that_ends_first_on_a_warm_connection_still_reads() {
    let (server, address) = listen().await;
    let config = PLAIN.replace(
        "[listeners.plain]",
        "[process]\nworkers = 1\n[upstreams.server.pool]\nmin-idle = 1\n[listeners.plain]",
    );
    let relay = Relay::start_with(&config, &[("server", &address)]).await;
    let (mut upstream, _) = server.accept().await.unwrap();
    eventually("it is warm", GENEROUS, async || {
        let idle = [("state", "idle")];
        let metrics = relay.metrics().await;
        metrics.sum_where("leaseway_pool_connections", &idle) == 1.0
    })
    .await;
    let mut client = TcpStream::connect(relay.addr()).await.unwrap();
    client.write_all(b"header").await.unwrap();
    let mut header = [0; 6];
    upstream.read_exact(&mut header).await.unwrap();
    upstream.shutdown().await.unwrap();
    assert_eq!(client.read(&mut [0]).await.unwrap(), 0, "the end passes");
    client.write_all(&[b'x'; 5000]).await.unwrap();
    drop(client);
    let mut body = Vec::new();
    upstream.read_to_end(&mut body).await.unwrap();
    assert_eq!(body.len(), 5000);
}

/// The plugin hears of the end and waits for what is still to come; the connection was never the
/// client's, and serves the next one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_has_closed_its_side_gets_all_replies_and_leaves_its_connection() {
    const COMMANDS: usize = 200;
    let redis = RedisServer::start(&[]).await;
    let relay = pooled(&redis, "1").await;
    let value = "x".repeat(10_000);
    assert_eq!(redis.cmd(&["SET", "k", &value]).await, Reply::ok());
    for client in 1..=3 {
        let mut pipeline = Vec::new();
        for _ in 0..COMMANDS {
            pipeline.extend(encode(&["INCR", "n"]));
            pipeline.extend(encode(&["GET", "k"]));
        }
        let mut half = Resp::connect(relay.addr()).await;
        half.send_raw(&pipeline).await.unwrap();
        half.finish().await.unwrap();
        for n in 1..=COMMANDS {
            let count = ((client - 1) * COMMANDS + n) as i64;
            assert_eq!(half.read_reply().await.unwrap(), Reply::Integer(count));
            assert_eq!(half.read_reply().await.unwrap(), Reply::bulk(&value));
        }
        assert_eq!(half.read_to_end().await.unwrap(), b"", "and then the end");
    }
    let mut whole = Resp::connect(relay.addr()).await;
    assert_eq!(whole.cmd(&["GET", "k"]).await, Reply::bulk(&value));
    let metrics = relay.metrics().await;
    assert_eq!(metrics.sum("leaseway_pool_connections_opened_total"), 1.0);
    assert_eq!(metrics.sum("leaseway_pool_connections_closed_total"), 0.0);
    assert_eq!(redis.clients().await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_holds_its_source_back_in_bounded_memory() {
    const TOTAL: u64 = 1 << 30;
    const PIECE: usize = 1 << 16;
    /// Far below what a relay would hold that did not hold its source back.
    const MEMORY: u64 = 32 << 20;
    const BETWEEN_LOOKS: u64 = 4 << 20;
    let (server, address) = listen().await;
    let relay = Relay::start_with(PLAIN, &[("server", &address)]).await;
    let before = relay.rss_bytes();
    let sent = Arc::new(AtomicU64::new(0));
    let counting = Arc::clone(&sent);
    let source = tokio::spawn(async move {
        let (mut upstream, _) = server.accept().await.unwrap();
        let mut byte = 0_u8;
        let mut piece = vec![0; PIECE];
        while counting.load(Ordering::Relaxed) < TOTAL {
            piece.fill(byte);
            upstream.write_all(&piece).await.unwrap();
            byte = byte.wrapping_add(1);
            counting.fetch_add(PIECE as u64, Ordering::Relaxed);
        }
    });
    let mut client = TcpStream::connect(relay.addr()).await.unwrap();
    // Nobody reads: the source comes to a stop, once all buffers on the way are full.
    let mut last = (0, 0);
    eventually("the source is held back", GENEROUS, async || {
        let now = sent.load(Ordering::Relaxed);
        last = if now > 0 && now == last.0 {
            (now, last.1 + 1)
        } else {
            (now, 0)
        };
        last.1 >= 50
    })
    .await;
    assert!(sent.load(Ordering::Relaxed) < TOTAL / 4);
    let mut received = 0_u64;
    let mut most = relay.rss_bytes();
    let mut next_look = 0;
    let mut piece = vec![0; PIECE];
    while received < TOTAL {
        let count = client.read(&mut piece).await.unwrap();
        assert!(count > 0, "the end came after {received} bytes");
        for (at, byte) in piece[..count].iter().enumerate().step_by(4096) {
            let place = (received + at as u64) / PIECE as u64;
            assert_eq!(
                u64::from(*byte),
                place % 256,
                "at byte {}",
                received + at as u64
            );
        }
        received += count as u64;
        if received >= next_look {
            most = most.max(relay.rss_bytes());
            next_look = received + BETWEEN_LOOKS;
        }
    }
    source.await.unwrap();
    assert_eq!(received, TOTAL);
    most = most.max(relay.rss_bytes());
    assert!(most < before + MEMORY, "grew from {before} to {most} bytes");
}

/// Clients that vanish in mid-request and upstreams that vanish in mid-reply.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_vanishes_leaves_nothing_behind() {
    const ROUNDS: usize = 10;
    let redis = RedisServer::start(&[]).await;
    let relay = pooled(&redis, "20").await;
    let mut steady = Resp::connect(relay.addr()).await;
    assert_eq!(
        steady.cmd(&["SET", "big", &"x".repeat(64 << 20)]).await,
        Reply::ok()
    );
    let idle = files_of_its_own(&relay).await;
    let settled = async |steady: &mut Resp| {
        for round in 0..ROUNDS {
            vanish(&redis, &relay, round % 2 == 0).await;
            assert_eq!(
                steady.cmd(&["STRLEN", "big"]).await,
                Reply::Integer(64 << 20)
            );
        }
        eventually("all sessions but one have ended", GENEROUS, async || {
            relay.metric_sum("leaseway_sessions_open").await < 1.5
        })
        .await;
        eventually("no descriptor is left", GENEROUS, async || {
            files_of_its_own(&relay).await == idle
        })
        .await;
        relay.rss_bytes()
    };
    let first = settled(&mut steady).await;
    let second = settled(&mut steady).await;
    println!("resident after the first wave {first}, after the second {second}");
    assert!(
        second < first + NOISE,
        "it goes on growing: {first}, then {second} bytes"
    );
    assert!(
        steady.cmd(&["GET", "k"]).await == Reply::Null,
        "half a SET was carried out"
    );
}

/// Half a request, a request whose reply nobody waits for, and a reply that is cut.
async fn vanish(redis: &RedisServer, relay: &Relay, once_it_comes: bool) {
    let mut half = Resp::connect(relay.addr()).await;
    half.send_raw(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$100000\r\nxxx")
        .await
        .unwrap();
    let mut gone = Resp::connect(relay.addr()).await;
    gone.send_raw(b"GET big\r\n").await.unwrap();
    if once_it_comes {
        // Until the reply is under way.
        let mut byte = [0];
        gone.socket().read_exact(&mut byte).await.unwrap();
    }
    drop((half, gone));
    // And a reply that is cut from the other side: one that no socket's buffer holds whole.
    let mut cut = Resp::connect(relay.addr()).await;
    cut.send_raw(b"GET big\r\n").await.unwrap();
    let mut byte = [0];
    cut.socket().read_exact(&mut byte).await.unwrap();
    redis.kill_clients().await;
    let rest = cut.read_to_end().await;
    assert!(
        rest.as_ref().is_ok_and(|rest| rest.len() < 64 << 20),
        "{:?}",
        rest.map(|r| r.len())
    );
}

/// How many descriptors a relay has beside those of its pool and its pipes, of which it keeps a few,
/// once that stands still.
async fn files_of_its_own(relay: &Relay) -> usize {
    let mut last = (0, 0);
    eventually("its descriptors stand still", GENEROUS, async || {
        // Counted first: the look at the metrics takes one too, for a moment.
        let files = relay.fd_count() - relay.pipe_count();
        let pooled = relay.metric_sum("leaseway_pool_connections").await as usize;
        std::mem::replace(&mut last, (files, pooled)) == (files, pooled)
    })
    .await;
    last.0 - last.1
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_idle_sessions_come_and_go() {
    const SESSIONS: usize = 10_000;
    /// Far less than buffers would take.
    const BYTES_A_SESSION: u64 = 8 << 10;
    raise_file_limit(SESSIONS as u64 + 500);
    let redis = RedisServer::start(&[]).await;
    let relay = pooled(&redis, "20").await;
    let mut first = Resp::connect(relay.addr()).await;
    assert_eq!(first.cmd(&["PING"]).await, Reply::simple("PONG"));
    drop(first);
    let all_gone = async || {
        eventually("all have ended", GENEROUS, async || {
            relay.metric_sum("leaseway_sessions_open").await == 0.0
        })
        .await;
    };
    all_gone().await;
    let start = relay.rss_bytes();
    let files = files_of_its_own(&relay).await;
    let wave = async || {
        let mut clients = Vec::with_capacity(SESSIONS);
        for n in 0..SESSIONS {
            let mut client = Resp::connect(relay.addr()).await;
            if n % 100 == 0 {
                assert_eq!(client.cmd(&["PING"]).await, Reply::simple("PONG"));
            }
            clients.push(client);
        }
        eventually("all are accepted", GENEROUS, async || {
            relay.metric_sum("leaseway_sessions_open").await as usize == SESSIONS
        })
        .await;
        let full = relay.rss_bytes();
        drop(clients);
        all_gone().await;
        (full, relay.rss_bytes())
    };
    let (full, settled) = wave().await;
    println!(
        "{} bytes resident a session",
        full.saturating_sub(start) / SESSIONS as u64
    );
    let (full_again, settled_again) = wave().await;
    println!("start {start}, then {full} and {settled}, then {full_again} and {settled_again}");
    assert!(
        full < start + BYTES_A_SESSION * SESSIONS as u64,
        "{start}, then {full} bytes"
    );
    assert!(
        full_again < full + NOISE && settled_again < settled + NOISE,
        "it goes on growing: {full} and {settled}, then {full_again} and {settled_again} bytes"
    );
    eventually("descriptors are back", GENEROUS, async || {
        files_of_its_own(&relay).await == files
    })
    .await;
    let mut client = Resp::connect(relay.addr()).await;
    let pong = tokio::time::timeout(Duration::from_secs(10), client.cmd(&["PING"])).await;
    assert_eq!(pong.expect("it still serves"), Reply::simple("PONG"));
}

fn raise_file_limit(needed: u64) {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|now| now < needed) {
        limit.current = Some(limit.maximum.map_or(needed, |most| most.min(needed)));
        setrlimit(Resource::Nofile, limit).unwrap();
    }
    let now = getrlimit(Resource::Nofile).current;
    assert!(
        now.is_none_or(|now| now >= needed),
        "this test needs {needed} open files and may have {now:?}: raise `ulimit -Hn`"
    );
}
