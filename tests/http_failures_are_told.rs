//! What a client of HTTP/1.1 is told when a server is lost, slow or not there, and what is tried again.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::net::SocketAddr;
use std::time::Duration;

use leaseway_tests::cutter::{Cut, Cutter};
use leaseway_tests::httpwire::HttpClient;
use leaseway_tests::nginx::Nginx;
use leaseway_tests::ports;
use leaseway_tests::relay::Relay;
use leaseway_tests::tool::curl;
use leaseway_tests::wait::{GENEROUS, eventually};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::timeout;

const CONFIG: &str = r#"
    [process]
    workers = 1

    [plugins.web]
    module = "{plugins}/http1.wasm"
    config = { response-timeout = 2, head-timeout = 1 }

    [upstreams.web]
    endpoints = ["{server}"]
    pool = { max-connections = 1, wait-timeout = "500ms" }

    [listeners.web]
    bind = "{listen}"
    plugin = "web"
    upstreams = ["web"]

    [admin]
    bind = "{admin}"
"#;

const SERVER: &str = r#"
    location /hello { return 200 "hello\n"; }
    location /read { proxy_pass http://$server_addr:$server_port/hello; }
    location /slow { limit_rate 1000; try_files /slow =404; }
"#;

async fn relay_to(server: SocketAddr) -> Relay {
    Relay::start_with(CONFIG, &[("server", &server.to_string())]).await
}

/// The status that curl says, and the body.
async fn curl_says(address: SocketAddr, args: &[&str]) -> String {
    let url = format!("http://{address}/hello");
    let args = [args, &["-w", "%{http_code}", &url]].concat();
    let output = curl(&args, GENEROUS).await;
    assert!(output.success, "{output:?}");
    output.stdout
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_not_there_is_502() {
    let relay = relay_to(ports::free_address()).await;
    let said = curl_says(relay.addr(), &[]).await;
    assert_eq!(said, "502 Bad Gateway: no server could be reached\n502");
    let said = curl_says(relay.addr(), &["-d", "x"]).await;
    assert!(said.ends_with("502"), "{said}");
}

/// A server that accepts nobody, with as many in its line as that holds: the kernel lets others wait.
async fn deaf() -> (TcpListener, Vec<TcpStream>) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let server = socket.listen(1).unwrap();
    let address = server.local_addr().unwrap();
    let mut line = Vec::new();
    while let Ok(client) = timeout(Duration::from_millis(300), TcpStream::connect(address)).await {
        line.push(client.unwrap());
        assert!(line.len() < 100, "its line has no end");
    }
    (server, line)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_not_reached_in_time_is_504() {
    let (server, _line) = deaf().await;
    let address = server.local_addr().unwrap().to_string();
    let config = CONFIG
        .replace(
            "[upstreams.web]",
            "[upstreams.web]\nconnect-timeout = \"100ms\"",
        )
        .replace("500ms", "20s");
    let relay = Relay::start_with(&config, &[("server", &address)]).await;
    let said = curl_says(relay.addr(), &[]).await;
    assert_eq!(
        said,
        "504 Gateway Timeout: no server was reached in time\n504"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_lost_is_502_and_the_session_goes_on() {
    let nginx = Nginx::start(SERVER).await;
    let cutter = Cutter::start(nginx.addr()).await;
    let relay = relay_to(cutter.addr()).await;
    let mut client = HttpClient::connect(relay.addr()).await;
    for cut in [Cut::BeforeRequest, Cut::BeforeReply, Cut::InReply(10)] {
        cutter.cut(&[cut]);
        client
            .send("POST /hello HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx")
            .await
            .unwrap();
        let told = client.response().await.unwrap();
        assert_eq!(told.status, 502, "{cut:?}");
        assert_eq!(client.get("/hello").await.unwrap().text(), "hello\n");
    }
    cutter.cut(&[Cut::BeforeReply]);
    let said = curl_says(relay.addr(), &["-d", "x"]).await;
    assert_eq!(
        said,
        "502 Bad Gateway: the server closed the connection before it answered\n502"
    );
    assert_eq!(cutter.left(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_response_that_is_cut_off_is_never_taken_for_whole() {
    let nginx = Nginx::start(SERVER).await;
    let cutter = Cutter::start(nginx.addr()).await;
    let relay = relay_to(cutter.addr()).await;
    let direct = HttpClient::connect(nginx.addr())
        .await
        .get("/hello")
        .await
        .unwrap();
    let head = direct.head.len() + 4;
    for passed in [head, head + 3] {
        cutter.cut(&[Cut::InReply(passed)]);
        let url = format!("http://{}/hello", relay.addr());
        let output = curl(&[&url], GENEROUS).await;
        assert!(
            !output.success && output.stderr.contains("(18)"),
            "{output:?}"
        );
    }
    assert_eq!(cutter.left(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_may_be_asked_twice_is_asked_again_on_a_stale_connection() {
    let nginx = Nginx::start(SERVER).await;
    let cutter = Cutter::start(nginx.addr()).await;
    let relay = relay_to(cutter.addr()).await;
    let mut client = HttpClient::connect(relay.addr()).await;
    for cut in [Cut::BeforeRequest, Cut::BeforeReply] {
        assert_eq!(client.get("/hello").await.unwrap().text(), "hello\n");
        cutter.cut(&[cut]);
        let told = client.get("/hello").await.unwrap();
        assert_eq!((told.status, &*told.text()), (200, "hello\n"), "{cut:?}");
    }
    // The second time it is no stale connection.
    cutter.cut(&[Cut::BeforeReply, Cut::BeforeReply]);
    assert_eq!(client.get("/hello").await.unwrap().status, 502);
    assert_eq!(cutter.left(), 0);
}

/// Idle connections that a server closes are found out before they are used.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_starts_anew_is_not_noticed() {
    let mut nginx = Nginx::start(SERVER).await;
    let relay = relay_to(nginx.addr()).await;
    let mut client = HttpClient::connect(relay.addr()).await;
    for _ in 0..3 {
        client
            .send("POST /hello HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx")
            .await
            .unwrap();
        assert_eq!(client.response().await.unwrap().text(), "hello\n");
        nginx.restart().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wait_that_is_too_long_is_503() {
    let nginx = Nginx::start(SERVER).await;
    nginx.put("slow", &[b'x'; 100_000]);
    let relay = relay_to(nginx.addr()).await;
    let mut slow = HttpClient::connect(relay.addr()).await;
    slow.send("GET /slow HTTP/1.1\r\nHost: h\r\n\r\n")
        .await
        .unwrap();
    slow.bytes(100).await.unwrap();
    let said = curl_says(relay.addr(), &[]).await;
    assert_eq!(
        said,
        "503 Service Unavailable: all connections to the servers stayed busy\n503"
    );
    drop(slow);
    eventually("the connection is free", GENEROUS, async || {
        curl_says(relay.addr(), &[]).await == "hello\n200"
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_does_not_answer_is_504() {
    let nginx = Nginx::start(SERVER).await;
    let relay = relay_to(nginx.addr()).await;
    assert_eq!(curl_says(relay.addr(), &[]).await, "hello\n200");
    nginx.freeze(true);
    let said = curl_says(relay.addr(), &[]).await;
    assert_eq!(
        said,
        "504 Gateway Timeout: the server did not answer in time\n504"
    );
    nginx.freeze(false);
    eventually("it answers again", GENEROUS, async || {
        curl_says(relay.addr(), &[]).await == "hello\n200"
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_does_not_come_is_408() {
    let relay = relay_to(ports::free_address()).await;
    let mut client = HttpClient::connect(relay.addr()).await;
    client.send("GET / HT").await.unwrap();
    let told = client.response().await.unwrap();
    assert_eq!((told.status, told.closes()), (408, true));
    assert_eq!(client.rest().await, b"");
}

/// A client that stands still in front of its last byte, or of its next chunk, gets no further than one
/// in the middle of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_a_request_does_not_hold_the_connection() {
    let nginx = Nginx::start(SERVER).await;
    let config = CONFIG
        .replace("head-timeout = 1", "body-timeout = 1")
        .replace("500ms", "20s");
    let relay = Relay::start_with(&config, &[("server", &nginx.addr().to_string())]).await;
    for begun in [
        "Content-Length: 1\r\n\r\n",
        "Content-Length: 5\r\n\r\nhell",
        "Transfer-Encoding: chunked\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    ] {
        let mut half = HttpClient::connect(relay.addr()).await;
        half.send(format!("POST /read HTTP/1.1\r\nHost: h\r\n{begun}"))
            .await
            .unwrap();
        eventually("it has the connection", GENEROUS, async || {
            let metrics = relay.metrics().await;
            metrics.sum_where("leaseway_pool_connections", &[("state", "leased")]) == 1.0
        })
        .await;
        assert_eq!(curl_says(relay.addr(), &[]).await, "hello\n200", "{begun}");
        assert_eq!(half.rest().await, b"", "{begun}");
    }
}

/// A server that refuses a body before it has read it: its answer is what the client gets.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_is_refused_does_not_hide_the_refusal() {
    let server =
        "location / { client_max_body_size 10; proxy_pass http://$server_addr:$server_port/; }";
    let nginx = Nginx::start(server).await;
    let relay = relay_to(nginx.addr()).await;
    for _ in 0..5 {
        let mut client = HttpClient::connect(relay.addr()).await;
        client
            .send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n")
            .await
            .unwrap();
        let told = client.response().await.unwrap();
        assert_eq!((told.status, told.closes()), (413, true));
        assert_eq!(client.rest().await, b"");
    }
}

/// What is under way ends well, and connections that wait for a request end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_that_drains_ends_what_has_begun() {
    let nginx = Nginx::start(SERVER).await;
    nginx.put("slow", &[b'x'; 3000]);
    let mut relay = relay_to(nginx.addr()).await;
    let mut idle = HttpClient::connect(relay.addr()).await;
    assert_eq!(idle.get("/hello").await.unwrap().status, 200);
    let mut slow = HttpClient::connect(relay.addr()).await;
    slow.send("GET /slow HTTP/1.1\r\nHost: h\r\n\r\n")
        .await
        .unwrap();
    slow.begins().await.unwrap();
    let drained = tokio::spawn(async move { relay.terminate(GENEROUS).await });
    assert_eq!(idle.rest().await, b"");
    let told = slow.response().await.unwrap();
    assert_eq!((told.status, told.body.len()), (200, 3000));
    assert!(drained.await.unwrap().success());
}
