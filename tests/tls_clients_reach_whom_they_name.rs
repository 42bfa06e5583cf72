//! Clients of TLS reach the server that they name, over a relay that has no key: curl and openssl
//! s_client, in front of nginx. Who names nobody's server, or one that does not answer, gets the
//! alert that says so.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::Read;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use leaseway_tests::command::leaseway;
use leaseway_tests::dir::TempDir;
use leaseway_tests::relay::Relay;
use leaseway_tests::tls::{Authority, BULK, TlsServer, client_hello};
use leaseway_tests::tool::{Output, curl, openssl};
use leaseway_tests::wait::{GENEROUS, eventually};
use leaseway_tests::{plugins, ports};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

const CONFIG: &str = r#"
    [plugins.sni]
    module = "{plugins}/sni.wasm"
    config = { routes = [
        { name = "a.test", upstream = "a" },
        { name = "*.a.test", upstream = "a" },
        { name = "b.test", upstream = "b" },
        { name = "*.b.test", upstream = "b" },
        { name = "b.test", alpn = "h2", upstream = "a" },
        { name = "only.test", alpn = "acme-tls/1", upstream = "a" },
        { name = "dead.test", upstream = "dead" },
        { name = "gone.test", upstream = "no-such-group" },
    ] }

    [upstreams.a]
    endpoints = ["{a}"]

    [upstreams.b]
    endpoints = ["{b}"]

    [upstreams.dead]
    endpoints = ["{dead}"]

    [listeners.tls]
    bind = "{listen}"
    plugin = "sni"
    upstreams = ["a", "b", "dead"]

    [admin]
    bind = "{admin}"
"#;

/// Two servers and the relay in front of them.
struct Sites {
    authority: Authority,
    /// They end with this.
    _servers: [TlsServer; 2],
    relay: Relay,
}

impl Sites {
    async fn start() -> Self {
        let authority = Authority::new().await;
        let a = TlsServer::start(&authority, "a", &["a.test", "*.a.test", "b.test"]).await;
        let b = TlsServer::start(&authority, "b", &["b.test", "*.b.test"]).await;
        let values = [
            ("a", a.addr().to_string()),
            ("b", b.addr().to_string()),
            ("dead", ports::free_address().to_string()),
        ];
        let values: Vec<(&str, &str)> = values.iter().map(|(k, v)| (*k, v.as_str())).collect();
        let relay = Relay::start_logging("debug", CONFIG, &values).await;
        Self {
            authority,
            _servers: [a, b],
            relay,
        }
    }

    async fn curl(&self, name: &str, path: &str, options: &[&str]) -> Output {
        fetch(&self.authority, self.relay.addr(), name, path, options).await
    }

    /// What openssl says of a handshake.
    async fn shake(&self, options: &[&str]) -> String {
        shake(self.relay.addr(), options).await
    }
}

/// Asks for a page as a client that trusts the authority, and nobody else.
async fn fetch(
    authority: &Authority,
    relay: SocketAddr,
    name: &str,
    path: &str,
    options: &[&str],
) -> Output {
    let port = relay.port();
    let resolve = format!("{name}:{port}:127.0.0.1");
    let url = format!("https://{name}:{port}{path}");
    let trusted = authority.certificate();
    let mut args = vec!["--silent", "--show-error", "--max-time", "30"];
    args.extend(["--resolve", &resolve, "--cacert", trusted.to_str().unwrap()]);
    args.extend(options);
    args.push(&url);
    curl(&args, GENEROUS * 2).await
}

async fn shake(relay: SocketAddr, options: &[&str]) -> String {
    let relay = relay.to_string();
    let args = [&["s_client", "-connect", &relay][..], options].concat();
    let output = openssl(&args, GENEROUS).await;
    output.stdout + &output.stderr
}

#[tokio::test]
async fn clients_reach_the_server_of_that_name() {
    let sites = Sites::start().await;
    for (name, path, options, body) in [
        ("a.test", "/x", &["--http1.1"][..], "a a.test /x\n"),
        ("b.test", "/y", &["--http1.1"], "b b.test /y\n"),
        ("b.test", "/y", &["--http2"], "a b.test /y\n"),
        (
            "n1.a.test",
            "/",
            &["--tlsv1.2", "--tls-max", "1.2"],
            "a n1.a.test /\n",
        ),
        ("n2.b.test", "/", &["--tlsv1.3"], "b n2.b.test /\n"),
    ] {
        let output = sites.curl(name, path, options).await;
        assert_eq!(output.stdout, body, "{}", output.stderr);
    }
    let bulk = sites.curl("b.test", "/bulk", &["--http1.1"]).await;
    assert_eq!(bulk.stdout.len(), BULK, "{}", bulk.stderr);
    assert!(bulk.stdout.bytes().all(|byte| byte == b'b'));

    let said = sites
        .shake(&["-servername", "a.test", "-alpn", "http/1.1"])
        .await;
    assert!(
        said.contains("subject=CN = a") && said.contains("ALPN protocol: http/1.1"),
        "{said}"
    );
    let said = sites.shake(&["-servername", "B.TEST"]).await;
    assert!(said.contains("subject=CN = b"), "{said}");
    // A hello that its client cuts into records of 512 bytes: it has more than that.
    let many: Vec<String> = (0..60)
        .map(|n| format!("protocol-of-no-one-{n:02}"))
        .collect();
    let many = format!("{},http/1.1", many.join(","));
    let said = sites
        .shake(&[
            "-servername",
            "b.test",
            "-max_send_frag",
            "512",
            "-alpn",
            &many,
        ])
        .await;
    assert!(said.contains("subject=CN = b"), "{said}");
}

#[tokio::test]
async fn a_hello_may_come_byte_by_byte() {
    let sites = Sites::start().await;
    let dribbler = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = dribbler.local_addr().unwrap();
    let relay = sites.relay.addr();
    let dribble = tokio::spawn(async move {
        let (client, _) = dribbler.accept().await.unwrap();
        let server = TcpStream::connect(relay).await.unwrap();
        server.set_nodelay(true).unwrap();
        let (mut from_client, mut to_client) = client.into_split();
        let (mut from_relay, mut to_relay) = server.into_split();
        let back =
            tokio::spawn(async move { tokio::io::copy(&mut from_relay, &mut to_client).await });
        let mut byte = [0];
        while from_client.read(&mut byte).await.unwrap() == 1 {
            if to_relay.write_all(&byte).await.is_err() {
                break;
            }
        }
        drop(to_relay);
        let _ = back.await;
    });
    let output = fetch(
        &sites.authority,
        address,
        "n.b.test",
        "/slow",
        &["--http1.1"],
    )
    .await;
    assert_eq!(output.stdout, "b n.b.test /slow\n", "{}", output.stderr);
    dribble.await.unwrap();
}

#[tokio::test]
async fn who_cannot_be_served_gets_an_alert() {
    let sites = Sites::start().await;
    for (options, alert) in [
        (&["-servername", "c.test"][..], "unrecognized name"),
        (&["-servername", "c.test", "-tls1_2"], "unrecognized name"),
        (&["-noservername"], "missing extension"),
        (
            &["-servername", "only.test", "-alpn", "h2"],
            "no application protocol",
        ),
        (&["-servername", "dead.test"], "internal error"),
        (&["-servername", "gone.test"], "internal error"),
        (&["-servername", "127.0.0.1"], "illegal parameter"),
    ] {
        let said = sites.shake(options).await;
        assert!(said.contains(alert), "{options:?}: {said}");
    }
    let output = sites.curl("c.test", "/", &[]).await;
    assert!(
        !output.success && output.stderr.contains("unrecognized name"),
        "{}",
        output.stderr
    );

    // Who speaks no TLS hears an alert too, and the log says what each of them was.
    let mut client = TcpStream::connect(sites.relay.addr()).await.unwrap();
    client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut said = Vec::new();
    client.read_to_end(&mut said).await.unwrap();
    assert_eq!(said, [21, 3, 3, 0, 2, 2, 10]);
    drop(client);
    for why in [
        "no route for c.test",
        "the client names no server",
        "no route for only.test with any of the protocols [h2]",
        "no upstream: ",
        "the server name \"127.0.0.1\" is an IP address",
        "it began with \"GET \"",
    ] {
        eventually(why, GENEROUS, async || {
            let lines = sites.relay.log_lines();
            lines.iter().any(|line| {
                let message = line["message"].as_str().unwrap_or_default();
                message.starts_with("session ended: ") && message.contains(why)
            })
        })
        .await;
    }
    let metrics = sites.relay.metrics().await;
    assert_eq!(metrics.sum("leaseway_plugin_faults_total"), 0.0);
}

#[tokio::test]
async fn hundreds_of_sessions_each_see_their_own_server() {
    const SESSIONS: usize = 300;
    let sites = Arc::new(Sites::start().await);
    let at_once = Arc::new(Semaphore::new(24));
    let mut clients = JoinSet::new();
    for id in 0..SESSIONS {
        let (sites, at_once) = (Arc::clone(&sites), Arc::clone(&at_once));
        clients.spawn(async move {
            let _turn = at_once.acquire().await.unwrap();
            let site = ["a", "b"][id % 2];
            let name = format!("n{id}.{site}.test");
            let version = ["--http1.1", "--http2"][id / 2 % 2];
            let output = sites.curl(&name, &format!("/{id}"), &[version]).await;
            assert_eq!(
                output.stdout,
                format!("{site} {name} /{id}\n"),
                "{}",
                output.stderr
            );
        });
    }
    while let Some(client) = clients.join_next().await {
        client.expect("a client found something wrong");
    }
}

#[tokio::test]
async fn who_waits_too_long_for_a_connection_gets_an_alert() {
    let holder = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = r#"
        [plugins.sni]
        module = "{plugins}/sni.wasm"

        [upstreams.one]
        endpoints = ["{one}"]
        pool = { max-connections = 1, wait-timeout = "300ms" }

        [listeners.tls]
        bind = "{listen}"
        plugin = "sni"
        upstreams = ["one"]

        [admin]
        bind = "{admin}"
    "#;
    let one = holder.local_addr().unwrap().to_string();
    let relay = Relay::start_with(config, &[("one", &one)]).await;
    let mut first = TcpStream::connect(relay.addr()).await.unwrap();
    first.write_all(&client_hello("a.test")).await.unwrap();
    let (mut held, _) = holder.accept().await.unwrap();
    let said = shake(relay.addr(), &["-servername", "a.test"]).await;
    assert!(said.contains("internal error"), "{said}");
    assert_eq!(
        relay.metric_sum("leaseway_pool_wait_timeouts_total").await,
        1.0
    );

    // Meanwhile the first one lives on, and half-closes pass in both directions.
    let mut sent = vec![0; client_hello("a.test").len()];
    held.read_exact(&mut sent).await.unwrap();
    assert_eq!(sent, client_hello("a.test"));
    first.write_all(b"all of it").await.unwrap();
    first.shutdown().await.unwrap();
    let mut rest = Vec::new();
    held.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest, b"all of it");
    held.write_all(b"and all of that").await.unwrap();
    drop(held);
    let mut answer = Vec::new();
    first.read_to_end(&mut answer).await.unwrap();
    assert_eq!(answer, b"and all of that");
    // The connection is nobody else's now.
    let mut second = TcpStream::connect(relay.addr()).await.unwrap();
    second.write_all(&client_hello("b.test")).await.unwrap();
    let (mut fresh, _) = holder.accept().await.unwrap();
    let mut sent = vec![0; client_hello("b.test").len()];
    fresh.read_exact(&mut sent).await.unwrap();
    assert_eq!(sent, client_hello("b.test"));
}

#[tokio::test]
async fn the_probe_tells_a_tls_server_from_all_else() {
    let authority = Authority::new().await;
    let server = TlsServer::start(&authority, "a", &["a.test"]).await;
    let plugin = plugins::path("sni");
    let plugin = plugin.to_str().unwrap();
    let probe = |address: SocketAddr, options: &[&str]| {
        let address = address.to_string();
        let args = [&["probe", "--plugin", plugin][..], options, &[&address]].concat();
        leaseway(&args)
    };
    let (code, said) = probe(server.addr(), &[]);
    assert_eq!(code, 0, "{said}");
    server.pause().await;
    let (code, said) = probe(server.addr(), &["--timeout", "500ms"]);
    assert_eq!(code, 1, "{said}");
    // A bare connect does not notice.
    let tcp = ["--plugin-config", r#"{"probe": "tcp"}"#];
    let (code, said) = probe(server.addr(), &tcp);
    assert_eq!(code, 0, "{said}");
    server.resume().await;
    let (code, said) = probe(ports::free_address(), &tcp);
    assert_eq!(code, 1, "{said}");
    // With a name, as the docs say; the servers of these tests do not ask for one.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let heard = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut hello = [0; 1024];
        let count = stream.read(&mut hello).unwrap();
        String::from_utf8_lossy(&hello[..count]).into_owned()
    });
    let routes = r#"{"routes": [{"name": "a.test", "upstream": "relay"}]}"#;
    let (code, said) = probe(address, &["--plugin-config", routes]);
    assert_eq!(code, 1, "{said}");
    let heard = heard.join().unwrap();
    assert!(heard.contains("a.test"), "{heard:?}");
}

#[test]
fn the_example_is_fine() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/sni.toml");
    let text = std::fs::read_to_string(example).unwrap();
    let dir = TempDir::new("example");
    let file = dir.path().join("leaseway.toml");
    let plugin = plugins::path("sni");
    std::fs::write(&file, text.replace("builtin:sni", plugin.to_str().unwrap())).unwrap();
    let (code, said) = leaseway(&["check", "--config", file.to_str().unwrap()]);
    assert_eq!(code, 0, "{said}");
}

#[tokio::test]
async fn a_frozen_server_is_left_out() {
    let authority = Authority::new().await;
    let frozen = TlsServer::start(&authority, "frozen", &["a.test"]).await;
    let well = TlsServer::start(&authority, "well", &["a.test"]).await;
    let config = r#"
        [plugins.sni]
        module = "{plugins}/sni.wasm"
        config = { routes = [{ name = "a.test", upstream = "both" }] }

        [upstreams.both]
        endpoints = ["{frozen}", "{well}"]
        probe = { interval = "200ms", timeout = "200ms", fall = 2, rise = 1 }

        [listeners.tls]
        bind = "{listen}"
        plugin = "sni"
        upstreams = ["both"]

        [admin]
        bind = "{admin}"
    "#;
    let (one, two) = (frozen.addr().to_string(), well.addr().to_string());
    let relay = Relay::start_with(config, &[("frozen", &one), ("well", &two)]).await;
    let up = async |endpoint: &str| {
        let metrics = relay.metrics().await;
        metrics.sum_where("leaseway_endpoint_up", &[("endpoint", endpoint)])
    };
    // Behind some checks both are up, and clients are served by both.
    eventually("checks are made", GENEROUS, async || {
        relay.metric_sum("leaseway_probes_total").await >= 8.0
    })
    .await;
    assert_eq!((up(&one).await, up(&two).await), (1.0, 1.0));
    let mut seen = [false; 2];
    for _ in 0..8 {
        let output = fetch(&authority, relay.addr(), "a.test", "/", &["--http1.1"]).await;
        assert!(output.success, "{}", output.stderr);
        seen[usize::from(output.stdout.starts_with("well"))] = true;
    }
    assert_eq!(seen, [true, true]);

    frozen.pause().await;
    eventually("the frozen one is ejected", GENEROUS, async || {
        up(&one).await == 0.0
    })
    .await;
    for _ in 0..8 {
        let output = fetch(&authority, relay.addr(), "a.test", "/", &["--http1.1"]).await;
        assert_eq!(output.stdout, "well a.test /\n", "{}", output.stderr);
    }
    frozen.resume().await;
    eventually("it is back", Duration::from_secs(60), async || {
        up(&one).await == 1.0
    })
    .await;
}
