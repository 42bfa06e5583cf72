//! The example plugin, in the relay, in front of the example server: many clients, few connections,
//! each reply its owner's.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::net::SocketAddr;
use std::process::Command;

use leaseway_tests::dir::TempDir;
use leaseway_tests::process::Process;
use leaseway_tests::relay::Relay;
use leaseway_tests::wait::{GENEROUS, eventually};
use leaseway_tests::{plugins, ports};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

const CONFIG: &str = r#"
    [plugins.line]
    module = "{plugins}/line.wasm"

    [upstreams.server]
    endpoints = ["{server}"]
    pool = { max-connections = 3 }
    probe = { interval = "100ms", timeout = "100ms" }

    [listeners.line]
    bind = "{listen}"
    plugin = "line"
    upstreams = ["server"]

    [admin]
    bind = "{admin}"
"#;

const CLIENTS: usize = 50;
const ROUNDS: usize = 100;

async fn client(relay: SocketAddr, server: SocketAddr, id: usize) {
    let mut stream = BufReader::new(TcpStream::connect(relay).await.unwrap());
    let mut reply = String::new();
    stream.read_line(&mut reply).await.unwrap();
    // The server greets connections; the plugin greets clients with what it said.
    assert_eq!(reply, format!("HELLO {server}\r\n"));
    for round in 0..ROUNDS {
        let request = format!("{id} in {round}\r\nPING\r\n");
        stream
            .get_mut()
            .write_all(request.as_bytes())
            .await
            .unwrap();
        for expected in [format!("ECHO {id} in {round}\r\n"), "PONG\r\n".to_owned()] {
            reply.clear();
            stream.read_line(&mut reply).await.unwrap();
            assert_eq!(reply, expected);
        }
    }
    stream.get_mut().write_all(b"QUIT\r\n").await.unwrap();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).await.unwrap();
    assert_eq!(rest, "BYE\r\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_clients_share_three_connections() {
    let server = ports::free_address();
    let dir = TempDir::new("line");
    let mut command = Command::new(plugins::programs().join("line-server"));
    command.arg(server.to_string());
    let log = dir.path().join("log");
    let _server = Process::start("line-server", command, &log, "cargo build --workspace");
    eventually("the server listens", GENEROUS, async || {
        TcpStream::connect(server).await.is_ok()
    })
    .await;
    let relay = Relay::start_with(CONFIG, &[("server", &server.to_string())]).await;
    let mut clients = JoinSet::new();
    for id in 0..CLIENTS {
        clients.spawn(client(relay.addr(), server, id));
    }
    let all = async {
        while let Some(client) = clients.join_next().await {
            client.expect("a client found something wrong");
        }
    };
    tokio::time::timeout(GENEROUS * 4, all)
        .await
        .expect("the clients hang");
    let metrics = relay.metrics().await;
    let opened = metrics.sum("leaseway_pool_connections_opened_total");
    assert!((1.0..=3.0).contains(&opened), "{opened} were opened");
    assert_eq!(metrics.sum("leaseway_plugin_faults_total"), 0.0);
    eventually(
        "the plugin's probe finds them alive",
        GENEROUS,
        async || {
            let alive = [("result", "alive")];
            relay
                .metrics()
                .await
                .sum_where("leaseway_probes_total", &alive)
                >= 3.0
        },
    )
    .await;
}
