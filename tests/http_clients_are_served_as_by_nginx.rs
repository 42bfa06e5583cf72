//! Clients of HTTP/1.1 get from the relay what nginx gives them without it, over a few connections that
//! they share.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use leaseway_tests::command::leaseway;
use leaseway_tests::httpwire::HttpClient;
use leaseway_tests::nginx::Nginx;
use leaseway_tests::plugins;
use leaseway_tests::relay::Relay;
use leaseway_tests::tool::{curl, wrk};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const CONFIG: &str = r#"
    [process]
    workers = 2

    [plugins.web]
    module = "{plugins}/http1.wasm"
    config = { via = "", forwarded = "none" }

    [upstreams.web]
    endpoints = ["{server}"]
    pool = { max-connections = 4, wait-timeout = "30s" }

    [listeners.web]
    bind = "{listen}"
    plugin = "web"
    upstreams = ["web"]

    [admin]
    bind = "{admin}"
"#;

/// Says what it was asked, and answers of all kinds.
const SERVER: &str = r#"
    location /asked { return 200 "$request_method $request_uri $http_host $http_x_forwarded_for\n"; }
    location /empty { return 204; }
    location /moved { return 301 /small; }
    location /refused { return 403 "no\n"; }
    location /closes { keepalive_timeout 0; return 200 "last\n"; }
    location /chunked { ssi on; ssi_types *; try_files /chunks =404; }
    location /limited { client_max_body_size 10; proxy_pass http://$server_addr:$server_port/inner; }
    location /body {
        client_body_buffer_size 32k;
        proxy_set_header X-Body $request_body;
        proxy_set_header X-Method $request_method;
        proxy_pass http://$server_addr:$server_port/inner;
    }
    location /inner { return 200 "$http_x_method $http_content_length $http_x_body\n"; }
"#;

const DEADLINE: Duration = Duration::from_secs(60);

async fn nginx() -> Nginx {
    let nginx = Nginx::start(SERVER).await;
    nginx.put("small", b"small\n");
    nginx.put("chunks", b"<!--# echo var=\"arg_a\" -->, in chunks\n");
    let big: Vec<u8> = (0..3_000_000_u32).flat_map(u32::to_le_bytes).collect();
    nginx.put("big", &big);
    nginx
}

async fn relay_to(server: SocketAddr) -> Relay {
    Relay::start_with(CONFIG, &[("server", &server.to_string())]).await
}

/// What curl says of a request, without what differs from one connection to another.
async fn said(address: SocketAddr, path: &str, args: &[&str]) -> String {
    let url = format!("http://{address}{path}");
    let args = [
        &["-i", "--raw", "-H", "Host: test", "-H", "X-Forwarded-For:"],
        args,
        &[&url],
    ]
    .concat();
    let output = curl(&args, DEADLINE).await;
    assert!(output.success, "curl {args:?}: {output:?}");
    let mut lines: Vec<&str> = output.stdout.lines().collect();
    let continued = lines[0].contains(" 100 ");
    if continued {
        lines.drain(..2);
    }
    let end = lines
        .iter()
        .position(|line| line.is_empty())
        .unwrap_or(lines.len());
    let differs = ["Date:", "X-Connection:", "Connection:"];
    let mut number = 0;
    lines.retain(|line| {
        number += 1;
        number > end || !differs.iter().any(|name| line.starts_with(name))
    });
    // The order of headers is not the relay's to keep.
    let end = lines
        .iter()
        .position(|line| line.is_empty())
        .unwrap_or(lines.len());
    lines[1..end].sort_unstable();
    format!("continued: {continued}\n{}", lines.join("\n"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn curl_sees_no_difference() {
    let nginx = nginx().await;
    let relay = relay_to(nginx.addr()).await;
    let chunked = ["-H", "Transfer-Encoding: chunked", "-d", "some data"];
    let cases: &[(&str, &[&str])] = &[
        ("/small", &[]),
        ("/small", &["-I"]),
        ("/small", &["-H", "Range: bytes=1-3"]),
        (
            "/small",
            &["-H", "If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT"],
        ),
        ("/nowhere", &[]),
        ("/asked?a=b&c", &[]),
        ("/asked", &["-X", "DELETE"]),
        ("/asked", &["-X", "BREW"]),
        ("/asked", &["-H", "Connection: close"]),
        ("/asked", &["-0"]),
        ("/asked", &["--request-target", "http://test/asked"]),
        ("/asked", &["--request-target", "//asked/../asked"]),
        ("/empty", &[]),
        ("/moved", &[]),
        ("/refused", &[]),
        ("/closes", &[]),
        ("/chunked?a=b", &[]),
        ("/chunked?a=b", &["-I"]),
        ("/chunked?a=b", &["-H", "TE: trailers"]),
        ("/body", &["-d", "some data"]),
        ("/body", &["-X", "PUT", "-d", "some data"]),
        ("/body", &chunked),
        ("/body", &["-d", "some data", "-H", "Expect: 100-continue"]),
        ("/body", &["-d", ""]),
        ("/limited", &["-d", "more than it takes"]),
    ];
    for (path, args) in cases {
        let direct = said(nginx.addr(), path, args).await;
        let relayed = said(relay.addr(), path, args).await;
        assert_eq!(relayed, direct, "{path} {args:?}");
    }
    let faults = relay.metric_sum("leaseway_plugin_faults_total").await;
    assert_eq!(faults, 0.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_bodies_pass_whole() {
    let nginx = nginx().await;
    let relay = relay_to(nginx.addr()).await;
    let mut direct = HttpClient::connect(nginx.addr()).await;
    let mut relayed = HttpClient::connect(relay.addr()).await;
    let body = direct.get("/big").await.unwrap().body;
    assert_eq!(body.len(), 12_000_000);
    for _ in 0..3 {
        assert!(relayed.get("/big").await.unwrap().body == body);
    }
    // Up: nginx measures it.
    let head = "POST /body HTTP/1.1\r\nHost: test\r\nContent-Length: 900000\r\n\r\n";
    relayed
        .send([head.as_bytes(), &body[..900_000]].concat())
        .await
        .unwrap();
    let told = relayed.response().await.unwrap();
    assert!(told.text().starts_with("POST 900000 "), "{told:?}");
    let head = "POST /body HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n";
    relayed.send(head).await.unwrap();
    for piece in body[..900_000].chunks(90_000) {
        let size = format!("{:x}\r\n", piece.len());
        relayed
            .send([size.as_bytes(), piece, b"\r\n"].concat())
            .await
            .unwrap();
    }
    relayed.send("0\r\n\r\n").await.unwrap();
    let told = relayed.response().await.unwrap();
    assert!(told.text().starts_with("POST 900000 "), "{told:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_share_connections() {
    let nginx = nginx().await;
    let relay = relay_to(nginx.addr()).await;
    let mut connections = Vec::new();
    for _ in 0..20 {
        let mut client = HttpClient::connect(relay.addr()).await;
        let told = client.get("/small").await.unwrap();
        connections.push(told.header("x-connection").unwrap().to_owned());
    }
    // Each worker of the relay has idle connections of its own.
    connections.sort_unstable();
    connections.dedup();
    assert!(connections.len() <= 2, "{connections:?}");
    let mut client = HttpClient::connect(relay.addr()).await;
    let pipeline: String = (0..200)
        .map(|number| format!("GET /asked?{number} HTTP/1.1\r\nHost: test\r\n\r\n"))
        .collect();
    client.send(pipeline).await.unwrap();
    for number in 0..200 {
        let told = client.response().await.unwrap().text();
        assert!(
            told.starts_with(&format!("GET /asked?{number} test ")),
            "{told}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrk_finds_no_fault() {
    let nginx = nginx().await;
    let relay = relay_to(nginx.addr()).await;
    let url = format!("http://{}/small", relay.addr());
    let output = wrk(&["-t1", "-c100", "-d2s", &url], DEADLINE).await;
    let text = &output.stdout;
    assert!(output.success && text.contains("requests in"), "{output:?}");
    assert!(
        !text.contains("Non-2xx") && !text.contains("Socket errors"),
        "{text}"
    );
    let opened = relay
        .metric_sum("leaseway_pool_connections_opened_total")
        .await;
    assert!(opened <= 8.0, "{opened} connections for 100 clients");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_go_where_their_host_and_path_say() {
    let (one, two) = (
        Nginx::start(r#"location / { return 200 "one, $http_x_forwarded_for, $http_via"; }"#).await,
        Nginx::start(r#"location / { return 200 "two"; }"#).await,
    );
    let config = CONFIG
        .replace(
            r#"config = { via = "", forwarded = "none" }"#,
            r#"config = { routes = [
                { host = "one.example", upstream = "web" },
                { host = "*.example", path = "/two", upstream = "two" },
            ] }"#,
        )
        .replace(
            "[listeners.web]",
            "[upstreams.two]\nendpoints = [\"{two}\"]\n[listeners.web]",
        )
        .replace(r#"upstreams = ["web"]"#, r#"upstreams = ["web", "two"]"#);
    let values = [
        ("server", &*one.addr().to_string()),
        ("two", &*two.addr().to_string()),
    ];
    let relay = Relay::start_with(&config, &values).await;
    let mut client = HttpClient::connect(relay.addr()).await;
    for (host, path, expected) in [
        ("one.example", "/two", "one, 127.0.0.1, 1.1 leaseway"),
        ("x.example", "/two/a", "two"),
        ("x.example", "/a/../two", "two"),
        (
            "x.example",
            "/two/../a",
            "404 Not Found: no route is for this host and path\n",
        ),
        ("One.Example:80", "/", "one, 127.0.0.1, 1.1 leaseway"),
    ] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        client.send(request).await.unwrap();
        assert_eq!(
            client.response().await.unwrap().text(),
            expected,
            "{host}{path}"
        );
    }
}

/// nginx itself changes to no other protocol, so here is a server that does, and echoes then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgraded_connection_is_its_clients_until_both_are_done() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = listener.local_addr().unwrap();
    let echo = async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await?);
                }
                let agreed = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n";
                stream.write_all(agreed.as_bytes()).await?;
                let (mut from, mut to) = stream.split();
                tokio::io::copy(&mut from, &mut to).await?;
                to.shutdown().await
            });
        }
    };
    let serving = tokio::spawn(echo);
    let relay = relay_to(server).await;
    for _ in 0..3 {
        let mut client = HttpClient::connect(relay.addr()).await;
        let ask = "GET / HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n";
        client.send(ask).await.unwrap();
        let told = client.response().await.unwrap();
        assert_eq!((told.status, told.header("upgrade")), (101, Some("echo")));
        client.send("GET / HTTP/1.1\r\n\r\n").await.unwrap();
        assert_eq!(client.bytes(18).await.unwrap(), b"GET / HTTP/1.1\r\n\r\n");
        client.send(b"last\0").await.unwrap();
        client.finish().await.unwrap();
        assert_eq!(client.rest().await, b"last\0");
    }
    let opened = relay
        .metric_sum("leaseway_pool_connections_opened_total")
        .await;
    assert_eq!(opened, 3.0, "none of them was used again");
    serving.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_probe_asks_what_it_is_told_to() {
    let nginx =
        Nginx::start("location /health { return 200 ok; }\nlocation /ill { return 503 no; }").await;
    let module = plugins::path("http1");
    let address = nginx.addr().to_string();
    let probe = |config: &str| {
        let args = [
            "probe",
            "--plugin",
            module.to_str().unwrap(),
            "--plugin-config",
            config,
            &address,
        ];
        leaseway(&args)
    };
    let (code, said) = probe("{}");
    assert_eq!(code, 0, "{said}");
    let (code, said) = probe(r#"{"probe": {"request": "GET /health", "expect": 200}}"#);
    assert_eq!(code, 0, "{said}");
    for request in ["GET /ill", "HEAD /ill"] {
        let (code, said) = probe(&format!(r#"{{"probe": {{"request": "{request}"}}}}"#));
        assert!(code == 1 && said.contains("it answers 503"), "{said}");
    }
    let (code, said) = probe(r#"{"probe": {"request": "GET /nowhere", "expect": 200}}"#);
    assert!(
        code == 1 && said.contains("it answers 404, not 200"),
        "{said}"
    );
}

#[test]
fn the_example_is_fine() {
    let module = plugins::path("http1");
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/http1.toml");
    let text = std::fs::read_to_string(example).unwrap();
    let dir = leaseway_tests::dir::TempDir::new("example");
    let file = dir.path().join("http1.toml");
    // Whichever plugins the binary was built with.
    let text = text.replace("builtin:http1", module.to_str().unwrap());
    std::fs::write(&file, text).unwrap();
    let (code, said) = leaseway(&["check", "--config", file.to_str().unwrap()]);
    assert_eq!(code, 0, "{said}");
}
