//! Through the relay a client gets the bytes that it would get from memcached itself, on one
//! connection for all; and where there is no server, memcached's own kind of error.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::net::SocketAddr;
use std::path::Path;

use leaseway_tests::command::leaseway;
use leaseway_tests::dir::TempDir;
use leaseway_tests::memcached::{Memcache, MemcachedServer};
use leaseway_tests::relay::Relay;
use leaseway_tests::tool::memccapable;
use leaseway_tests::wait::GENEROUS;
use leaseway_tests::{plugins, ports};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const CONFIG: &str = r#"
    [plugins.memcached]
    module = "{plugins}/memcached.wasm"

    [upstreams.cache]
    endpoints = ["{server}"]
    pool = { max-connections = 1, wait-timeout = "30s" }

    [listeners.cache]
    bind = "{listen}"
    plugin = "memcached"
    upstreams = ["cache"]

    [admin]
    bind = "{admin}"
"#;

/// What clients send in one packet, with `;` for CR LF. Left out is where the relay differs on purpose:
/// what is not relayed, and what a server says of lines that it takes for something else.
const PACKETS: &[&str] = &[
    "get a",
    "set a 5 0 3;abc;get a;gets b;get a b a",
    "set a 0 0 3 noreply;abc;get a;set a 0 0 0;;get a",
    "add a 0 0 1;x;replace a 0 0 1;y;append a 0 0 1;z;prepend a 0 0 1;x;get a",
    "add zz 0 0 1;x;add zz 0 0 1 noreply;y;get zz;delete zz;delete zz",
    "set n 0 0 1;9;incr n 1;decr n 20;incr n x;incr a 1;incr miss 1;decr n 1 noreply;get n",
    "cas a 0 0 1 999999;x;cas miss 0 0 1 1;x;cas a 0 0 1 999999 noreply;x;get a",
    "touch a 100;touch miss 1;touch a 0 noreply;gat 0 a miss;gats 10 a",
    "delete a noreply;get a;delete a 0;delete a 0 noreply;delete a 5",
    "mn;mg miss;mg miss v;mg miss v q;mn",
    "ms m 2 T0 F3;hi;mg m v f s t k O77;mg m;mg m s v q;mn",
    "ms m 2 q;ho;ms m 2 ME;hu;ms m 2 ME q;hu;mg m v;md m q;md m;mg m v q;mn",
    "ma c N0 J13 v;ma c v;ma c MD D3 v;ma c q;ma miss q;ma miss;mn",
    "ms YmluYXJ5 3 b;abc;mg YmluYXJ5 b k v;md YmluYXJ5 b",
    "mg a N30 v;mg a N30 v;ms a 1 C1;x;md a I T30;mg a v",
    "mg m y;me miss;mn",
    "version x;mn x;get a;quit now;get b",
    "version;verbosity 0;verbosity 0 noreply;flush_all;get a;flush_all noreply;mn",
    "stats reset;get a",
    "get;set a 0 0;incr a;touch a;nonsense;;get a",
    "gat x a;touch a x;set k 0 0 1;k;get k",
    "get a;quit;get b",
    "GET a;get b",
];

fn bytes(packet: &str) -> Vec<u8> {
    (packet.to_owned() + ";").replace(';', "\r\n").into_bytes()
}

/// What a client gets for a packet.
async fn answer(address: SocketAddr, packet: &str) -> String {
    let mut client = Memcache::connect(address).await;
    client.send(&bytes(packet)).await.unwrap();
    let said = client.rest().await;
    said.escape_ascii().to_string().replace("\\r\\n", "\n")
}

#[tokio::test]
async fn clients_get_what_memcached_says() {
    let (direct, behind) = (
        MemcachedServer::start().await,
        MemcachedServer::start().await,
    );
    let relay = Relay::start_with(CONFIG, &[("server", &behind.addr().to_string())]).await;
    for packet in PACKETS {
        let expected = answer(direct.addr(), packet).await;
        let got = answer(relay.addr(), packet).await;
        assert_eq!(got, expected, "{packet}");
    }
    let metrics = relay.metrics().await;
    assert_eq!(metrics.sum("leaseway_plugin_faults_total"), 0.0);
    let misuse = [("reason", "plugin-misuse")];
    assert_eq!(
        metrics.sum_where("leaseway_session_ends_total", &misuse),
        0.0
    );
    // No request has left a connection that had to be closed.
    assert_eq!(metrics.sum("leaseway_pool_connections_opened_total"), 1.0);
}

/// libmemcached's own test of a server. What it calls a server here is the relay.
#[tokio::test]
async fn libmemcached_finds_the_relay_capable() {
    let server = MemcachedServer::start().await;
    let relay = Relay::start_with(CONFIG, &[("server", &server.addr().to_string())]).await;
    let port = relay.addr().port().to_string();
    let output = memccapable(&["-a", "-h", "127.0.0.1", "-p", &port], GENEROUS * 2).await;
    assert!(output.success, "{}{}", output.stdout, output.stderr);
}

#[tokio::test]
async fn long_values_and_keys_in_plenty_pass() {
    let server = MemcachedServer::start().await;
    let relay = Relay::start_with(CONFIG, &[("server", &server.addr().to_string())]).await;
    let mut client = Memcache::connect(relay.addr()).await;
    for length in [0, 1, 15_000, 16_384, 70_000, 1_000_000] {
        let value = "v".repeat(length);
        let said = client
            .ask(&format!("set long 0 0 {length}\r\n{value}\r\n"))
            .await
            .unwrap();
        assert_eq!(said, "STORED");
        client.send(b"get long\r\n").await.unwrap();
        let items = client.items().await.unwrap().unwrap();
        assert!(
            items == [("long".to_owned(), value.into_bytes())],
            "{length}"
        );
    }
    // Too large for the server, which says so, and the client goes on.
    let value = "v".repeat(2_000_000);
    let said = client
        .ask(&format!("set long 0 0 2000000\r\n{value}\r\n"))
        .await
        .unwrap();
    assert_eq!(said, "SERVER_ERROR object too large for cache");
    let mut sent = String::new();
    for number in 0..1500 {
        sent += &format!("set key:{number} 0 0 4 noreply\r\n{number:04}\r\n");
    }
    sent += &(0..1500).fold("get".to_owned(), |line, number| {
        format!("{line} key:{number}")
    });
    client.send((sent + "\r\n").as_bytes()).await.unwrap();
    let items = client.items().await.unwrap().unwrap();
    assert_eq!(items.len(), 1500);
    for (number, (key, value)) in items.into_iter().enumerate() {
        assert_eq!(
            (key, value),
            (format!("key:{number}"), format!("{number:04}").into_bytes())
        );
    }
}

#[tokio::test]
async fn keys_are_spread_over_servers_and_found_again() {
    for ketama in [true, false] {
        let servers = [
            MemcachedServer::start().await,
            MemcachedServer::start().await,
            MemcachedServer::start().await,
        ];
        let list = servers
            .each_ref()
            .map(|server| format!("\"{}\"", server.addr()));
        let list = list.join(", ");
        let (plugin, balance) = match ketama {
            true => (
                format!("{{ distribution = \"ketama\", servers = [{list}] }}"),
                "round-robin",
            ),
            false => ("{ distribution = \"hash\" }".to_owned(), "hash"),
        };
        let module = "memcached.wasm\"";
        let config = CONFIG
            .replace(module, &format!("{module}\nconfig = {plugin}"))
            .replace(
                "[\"{server}\"]",
                &format!("[{list}]\nbalance = \"{balance}\""),
            )
            .replace("max-connections = 1", "max-connections = 8");
        let relay = Relay::start(&config).await;
        let mut client = Memcache::connect(relay.addr()).await;
        let said = client.ask("flush_all\r\n").await.unwrap();
        assert!(said.starts_with("CLIENT_ERROR leaseway"), "{said}");
        let pairs = (0..300).map(|number| (format!("k{number}"), format!("{number:03}")));
        let mut pairs: Vec<(String, String)> = pairs.collect();
        for (key, value) in &pairs {
            let said = client.ask(&format!("set {key} 0 0 3\r\n{value}\r\n")).await;
            assert_eq!(said.unwrap(), "STORED");
        }
        let keys: Vec<&str> = pairs.iter().map(|(key, _)| key.as_str()).collect();
        let get = format!("get {} miss\r\n", keys.join(" "));
        client.send(get.as_bytes()).await.unwrap();
        let mut items = client.items().await.unwrap().unwrap();
        // Each is on one server, and each server has some.
        let mut counts = Vec::new();
        for server in &servers {
            let mut direct = Memcache::connect(server.addr()).await;
            direct.send(get.as_bytes()).await.unwrap();
            counts.push(direct.items().await.unwrap().unwrap().len());
        }
        println!("{balance}: {counts:?}");
        assert_eq!(counts.iter().sum::<usize>(), 300);
        assert!(counts.iter().all(|count| *count > 30), "{counts:?}");
        items.sort();
        pairs.sort();
        let pairs = pairs
            .into_iter()
            .map(|(key, value)| (key, value.into_bytes()));
        assert_eq!(items, pairs.collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn without_a_server_there_is_a_server_error() {
    // Nobody listens.
    let nobody = ports::free_address().to_string();
    let relay = Relay::start_with(CONFIG, &[("server", &nobody)]).await;
    let mut client = Memcache::connect(relay.addr()).await;
    for request in ["get a\r\n", "set a 0 0 1\r\nx\r\n", "stats\r\n"] {
        let said = client.ask(request).await.unwrap();
        assert!(said.starts_with("SERVER_ERROR leaseway: "), "{said}");
    }
    // Nobody answers, and the second one waits in vain.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = CONFIG.replace("30s", "300ms");
    let address = silent.local_addr().unwrap().to_string();
    let relay = Relay::start_with(&config, &[("server", &address)]).await;
    let mut first = Memcache::connect(relay.addr()).await;
    first.send(b"stats\r\n").await.unwrap();
    let (mut held, _) = silent.accept().await.unwrap();
    // The relay's own question is.
    held.write_all(b"CLIENT_ERROR x\r\nVERSION 1\r\n")
        .await
        .unwrap();
    let mut second = Memcache::connect(relay.addr()).await;
    let said = second.ask("get a\r\n").await.unwrap();
    assert!(
        said.starts_with("SERVER_ERROR leaseway: ") && said.contains("leased"),
        "{said}"
    );
    drop(held);
    let said = first.line().await.unwrap();
    assert!(said.starts_with("SERVER_ERROR leaseway: "), "{said}");
}

/// A server before 1.6.10, by what it says to the relay's question.
#[tokio::test]
async fn a_server_that_takes_values_for_commands_is_not_used() {
    let old = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = old.local_addr().unwrap().to_string();
    let relay = Relay::start_with(CONFIG, &[("server", &address)]).await;
    let server = tokio::spawn(async move {
        loop {
            let (mut connection, _) = old.accept().await.unwrap();
            let _ = connection
                .write_all(b"ERROR\r\nERROR\r\nVERSION 1.5.6\r\n")
                .await;
            // Until the relay leaves.
            let _ = connection.read_to_end(&mut Vec::new()).await;
        }
    });
    let mut client = Memcache::connect(relay.addr()).await;
    let said = client.ask("get a\r\n").await.unwrap();
    assert!(
        said.starts_with("SERVER_ERROR leaseway: ") && said.contains("`meta = false`"),
        "{said}"
    );
    server.abort();
}

#[tokio::test]
async fn the_probe_asks_for_the_version() {
    let server = MemcachedServer::start().await;
    let plugin = plugins::path("memcached");
    let plugin = plugin.to_str().unwrap();
    let address = server.addr().to_string();
    let (code, said) = leaseway(&["probe", "--plugin", plugin, &address]);
    assert_eq!(code, 0, "{said}");
    server.pause().await;
    let (code, said) = leaseway(&["probe", "--plugin", plugin, "--timeout", "500ms", &address]);
    assert_eq!(code, 1, "{said}");
}

#[test]
fn the_example_is_fine() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/memcached.toml");
    let text = std::fs::read_to_string(example).unwrap();
    let dir = TempDir::new("example");
    let file = dir.path().join("leaseway.toml");
    let plugin = plugins::path("memcached");
    std::fs::write(
        &file,
        text.replace("builtin:memcached", plugin.to_str().unwrap()),
    )
    .unwrap();
    let (code, said) = leaseway(&["check", "--config", file.to_str().unwrap()]);
    assert_eq!(code, 0, "{said}");
}
