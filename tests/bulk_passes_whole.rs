//! Bytes in bulk go from socket to socket inside the kernel: every one arrives, at its own client and
//! no other, and what a session leaves behind in a pipe is closed with it.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use leaseway_tests::redis::RedisServer;
use leaseway_tests::relay::Relay;
use leaseway_tests::resp::{Reply, Resp};
use leaseway_tests::wait::{GENEROUS, eventually};
use rustix::net::sockopt::set_socket_linger;
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
    pool = { max-connections = 2 }

    [listeners.redis]
    bind = "{listen}"
    plugin = "redis"
    upstreams = ["server"]

    [admin]
    bind = "{admin}"
"#;

/// Far more than the sockets on the way hold.
const BODY: usize = 24 << 20;

/// Ends of pipes that the two workers keep open for the next streams.
const KEPT: usize = 2 * 8 * 2;

/// Bytes that tell whose they are and where they belong.
fn body(client: u64, len: usize) -> Vec<u8> {
    let words = (0..len.div_ceil(8) as u64).map(|at| (at << 8 | client).to_le_bytes());
    let mut bytes: Vec<u8> = words.flatten().collect();
    bytes.truncate(len);
    bytes
}

/// A server that sends every byte back.
async fn echo() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = client.split();
                // A client that leaves in the middle is an error here, and none of the test's.
                let _ = tokio::io::copy(&mut from, &mut to).await;
                let _ = to.shutdown().await;
            });
        }
    });
    address
}

/// Sends a body there and reads it back at the same time, in pieces of a size of its own.
async fn send_and_compare(address: std::net::SocketAddr, client: u64) {
    let sent = body(client, BODY);
    let expected = sent.clone();
    let (mut from, mut to) = TcpStream::connect(address).await.unwrap().into_split();
    let sender = tokio::spawn(async move {
        for piece in sent.chunks(50_000 + 77_777 * client as usize) {
            to.write_all(piece).await.unwrap();
        }
        to.shutdown().await.unwrap();
        to
    });
    let mut received = Vec::new();
    from.read_to_end(&mut received).await.unwrap();
    assert!(
        received == expected,
        "client {client} got other bytes than it sent: {} of {}",
        received.len(),
        expected.len()
    );
    drop(sender.await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_byte_of_many_streams_arrives_both_ways() {
    let relay = Relay::start_with(PLAIN, &[("server", &echo().await)]).await;
    let clients = (0..8).map(|client| tokio::spawn(send_and_compare(relay.addr(), client)));
    for client in clients.collect::<Vec<_>>() {
        client.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_client_that_leaves_did_not_read_reaches_nobody() {
    let relay = Relay::start_with(PLAIN, &[("server", &echo().await)]).await;
    let before = relay.pipe_count();
    let mut leaving = Vec::new();
    for client in 100..124 {
        let stream = TcpStream::connect(relay.addr()).await.unwrap();
        // Nobody reads what comes back, so that it fills everything on the way.
        let (from, mut to) = stream.into_split();
        let sender = tokio::spawn(async move {
            // Ends with the client.
            let _ = to.write_all(&body(client, BODY)).await;
        });
        leaving.push((from, sender));
    }
    eventually("bytes wait in pipes", GENEROUS, async || {
        relay.pipe_count() >= before + 2 * leaving.len()
    })
    .await;
    for (from, sender) in leaving {
        // A reset, in the middle of everything.
        let socket: &TcpStream = from.as_ref();
        set_socket_linger(socket, Some(Duration::ZERO)).unwrap();
        sender.abort();
        drop(from);
    }
    for client in 0..4 {
        send_and_compare(relay.addr(), client).await;
    }
    eventually(
        "the pipes of those who left are closed",
        GENEROUS,
        async || relay.pipe_count() <= before + KEPT,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_values_pass_through_pooled_connections() {
    let redis = RedisServer::start(&[]).await;
    let server = redis.addr().to_string();
    let relay = Relay::start_with(POOLED, &[("server", &server)]).await;
    let clients = (0..6_u64).map(|number| {
        let address = relay.addr();
        tokio::spawn(async move {
            let key = format!("key-{number}");
            let value = body(number, 3_000_001 + 700_000 * number as usize);
            let mut client = Resp::connect(address).await;
            for _ in 0..4 {
                let set: [&[u8]; 3] = [b"SET", key.as_bytes(), &value];
                assert_eq!(client.cmd(&set).await, Reply::ok());
                let got = client.cmd(&["GET", &key]).await;
                assert!(got == Reply::bulk(&value), "{key} holds other bytes");
                assert_eq!(client.cmd(&["PING"]).await, Reply::simple("PONG"));
            }
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.await.unwrap();
    }
}
