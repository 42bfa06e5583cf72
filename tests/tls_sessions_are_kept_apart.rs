//! 300 clients that name two hundred servers on three endpoints, over a handful of connections, with
//! clients that leave and servers that die at random: nobody sees another's bytes, in either
//! direction.
//!
//! What passes behind the ClientHello is none of the relay's business, so clients and servers here
//! speak in the clear: every byte tells whose it is.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use leaseway_tests::relay::Relay;
use leaseway_tests::tls::client_hello;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

const CONFIG: &str = r#"
    [plugins.sni]
    module = "{plugins}/sni.wasm"
    config = { routes = [
        { name = "*.zero.test", upstream = "zero" },
        { name = "*.one.test", upstream = "one" },
        { name = "*.two.test", upstream = "two" },
    ] }

    [upstreams.zero]
    endpoints = ["{zero}"]
    pool = { max-connections = 4, wait-timeout = "60s" }

    [upstreams.one]
    endpoints = ["{one}"]
    pool = { max-connections = 4, wait-timeout = "60s" }

    [upstreams.two]
    endpoints = ["{two}"]
    pool = { max-connections = 4, wait-timeout = "60s" }

    [listeners.tls]
    bind = "{listen}"
    plugin = "sni"
    upstreams = ["zero", "one", "two"]

    [admin]
    bind = "{admin}"
"#;

const SITES: [&str; 3] = ["zero", "one", "two"];
const CLIENTS: usize = 300;
const ENOUGH_REQUESTS: u64 = 100_000;
const DEADLINE: Duration = Duration::from_secs(300);

/// The alert for who has lost its server before that has said a word.
const INTERNAL_ERROR: [u8; 7] = [21, 3, 3, 0, 2, 2, 80];

/// What has happened so far.
#[derive(Default)]
struct Tally {
    answered: AtomicU64,
    aborted: AtomicU64,
    deaths: AtomicU64,
    cut: AtomicU64,
    alerted: AtomicU64,
}

/// What a site says to a request: whose it is, and as many bytes as were asked for, all of which
/// tell that.
fn reply(site: &str, name: &str, request: &str, length: usize) -> Vec<u8> {
    let tag = format!("{site}|{name}|{request};");
    let mut reply = tag.repeat(length / tag.len() + 1).into_bytes();
    reply.push(b'\n');
    reply
}

/// Serves sites: each connection is one client's alone, the one that its ClientHello names.
async fn serve(site: &'static str, listener: TcpListener, tally: Arc<Tally>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let tally = Arc::clone(&tally);
        connections.spawn(async move {
            // A client that leaves breaks the connection, which is as it should be.
            let _ = answer(site, stream, &tally).await;
        });
        while let Some(done) = connections.try_join_next() {
            done.expect("a site has seen what is not its client's");
        }
    }
}

async fn answer(site: &str, stream: TcpStream, tally: &Tally) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    let mut header = [0; 5];
    stream.read_exact(&mut header).await?;
    assert_eq!(
        header[..3],
        [22, 3, 1],
        "a connection begins with something else"
    );
    let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
    let mut hello = vec![0; length];
    stream.read_exact(&mut hello).await?;
    // The name stands at the very end.
    let hello = String::from_utf8_lossy(&hello).into_owned();
    let name = hello.rsplit('\0').next().unwrap();
    let name = &name[1..];
    assert!(
        name.ends_with(&format!(".{site}.test")),
        "{name:?} came to {site}"
    );
    // Some die before they have said a word.
    if fastrand::u32(..100) == 0 {
        tally.deaths.fetch_add(1, Ordering::Relaxed);
        return Ok(());
    }
    let mut line = String::new();
    while stream.read_line(&mut line).await? > 0 {
        let request = line.trim_end();
        let (owner, rest) = request.split_once(' ').expect("whole requests");
        assert_eq!(owner, name, "a request on another's connection");
        let (_, length) = rest.split_once(' ').expect("whole requests");
        let reply = reply(site, name, request, length.parse().expect("a number"));
        if fastrand::u32(..1000) == 0 {
            // In the middle of a reply, and not gently.
            tally.deaths.fetch_add(1, Ordering::Relaxed);
            stream
                .write_all(&reply[..fastrand::usize(..reply.len())])
                .await?;
            stream.get_ref().set_zero_linger()?;
            return Ok(());
        }
        stream.write_all(&reply).await?;
        line.clear();
    }
    Ok(())
}

/// One client, session after session.
async fn ask(id: usize, relay: SocketAddr, tally: Arc<Tally>) -> usize {
    let mut sessions = 0;
    while sessions == 0 || tally.answered.load(Ordering::Relaxed) < ENOUGH_REQUESTS {
        let site = SITES[fastrand::usize(..SITES.len())];
        let name = format!("c{id}s{sessions}.{site}.test");
        session(site, &name, relay, &tally).await;
        sessions += 1;
    }
    sessions
}

/// One session: its hello and its first request go together or apart.
async fn session(site: &str, name: &str, relay: SocketAddr, tally: &Tally) {
    let mut stream = TcpStream::connect(relay).await.expect("the relay accepts");
    stream.set_nodelay(true).unwrap();
    let hello = client_hello(name);
    let at = fastrand::usize(..=hello.len());
    stream
        .write_all(&hello[..at])
        .await
        .expect("the relay takes it");
    let mut early = hello[at..].to_vec();
    for number in 0..1 + fastrand::usize(..60) {
        let length = if fastrand::u32(..50) == 0 {
            100_000
        } else {
            fastrand::usize(..600)
        };
        let request = format!("{name} {number} {length}");
        early.extend(format!("{request}\n").into_bytes());
        if stream.write_all(&std::mem::take(&mut early)).await.is_err() {
            tally.cut.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let expected = reply(site, name, &request, length);
        let mut got = vec![0; expected.len()];
        let leaves = fastrand::u32(..500) == 0;
        let wanted = if leaves {
            fastrand::usize(..expected.len())
        } else {
            expected.len()
        };
        let mut count = 0;
        while count < wanted {
            match stream.read(&mut got[count..wanted]).await {
                Ok(0) | Err(_) => {
                    let told = number == 0 && got[..count] == INTERNAL_ERROR;
                    assert!(
                        told || got[..count] == expected[..count],
                        "{name} got another's bytes"
                    );
                    let counter = if told { &tally.alerted } else { &tally.cut };
                    counter.fetch_add(1, Ordering::Relaxed);
                    return;
                }
                Ok(more) => count += more,
            }
        }
        assert!(
            got[..wanted] == expected[..wanted],
            "{name} got another's bytes"
        );
        if leaves {
            tally.aborted.fetch_add(1, Ordering::Relaxed);
            stream.set_zero_linger().unwrap();
            return;
        }
        tally.answered.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_hundred_clients_over_a_handful_of_connections() {
    let tally = Arc::new(Tally::default());
    let mut servers = JoinSet::new();
    let mut values = Vec::new();
    for site in SITES {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        values.push((site, listener.local_addr().unwrap().to_string()));
        servers.spawn(serve(site, listener, Arc::clone(&tally)));
    }
    let values: Vec<(&str, &str)> = values.iter().map(|(k, v)| (*k, v.as_str())).collect();
    let relay = Relay::start_with(CONFIG, &values).await;
    let mut clients = JoinSet::new();
    for id in 0..CLIENTS {
        clients.spawn(ask(id, relay.addr(), Arc::clone(&tally)));
    }
    let all = async {
        let mut fewest = usize::MAX;
        while let Some(client) = clients.join_next().await {
            fewest = fewest.min(client.expect("a client found something wrong"));
        }
        fewest
    };
    let fewest = tokio::select! {
        fewest = tokio::time::timeout(DEADLINE, all) => fewest.expect("the clients hang"),
        died = servers.join_next() => panic!("a site found something wrong: {died:?}"),
    };
    let seen = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    println!(
        "{} answers, {} clients left, {} deaths of servers, {} sessions cut, {} alerts, at least \
         {fewest} sessions each",
        seen(&tally.answered),
        seen(&tally.aborted),
        seen(&tally.deaths),
        seen(&tally.cut),
        seen(&tally.alerted),
    );
    assert!(fewest > 0);
    for counter in [&tally.aborted, &tally.deaths, &tally.cut, &tally.alerted] {
        assert!(seen(counter) > 0, "it was too calm to prove anything");
    }
    let metrics = relay.metrics().await;
    assert_eq!(metrics.sum("leaseway_plugin_faults_total"), 0.0);
    // Nobody got a connection that somebody else had.
    let reused = [("reused", "true")];
    assert_eq!(metrics.sum_where("leaseway_leases_total", &reused), 0.0);
    let misuse = [("reason", "plugin-misuse")];
    assert_eq!(
        metrics.sum_where("leaseway_session_ends_total", &misuse),
        0.0
    );
}
