//! Hundreds of clients of HTTP/1.1 over a handful of connections, with clients that go away in the middle of
//! everything and servers that die at random: what anybody gets was meant for it.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use leaseway_tests::httpwire::{HttpClient, Response};
use leaseway_tests::nginx::Nginx;
use leaseway_tests::relay::Relay;
use tokio::task::JoinSet;

const CONFIG: &str = r#"
    [plugins.web]
    module = "{plugins}/http1.wasm"

    [upstreams.web]
    endpoints = ["{server}"]
    pool = { max-connections = 5, wait-timeout = "60s" }

    [listeners.web]
    bind = "{listen}"
    plugin = "web"
    upstreams = ["web"]

    [admin]
    bind = "{admin}"
"#;

/// Every answer names who has asked, in many sizes and all framings.
const SERVER: &str = r#"
    location /short { return 200 "<$arg_tag>"; }
    location /long { ssi on; ssi_types *; try_files /long =404; }
    location /body {
        client_body_buffer_size 16k;
        proxy_set_header X-Body $request_body;
        proxy_pass http://$server_addr:$server_port/inner;
    }
    location /inner { return 200 "$http_x_body"; }
    location /early { return 200 "<$arg_tag>"; }
    location /closes { keepalive_timeout 0; return 200 "<$arg_tag>"; }
"#;

const CLIENTS: u64 = 300;
/// Of all clients together; a hundred thousand with `LEASEWAY_TESTS_LONG=1`.
const REQUESTS: i64 = 10_000;
const REQUESTS_LONG: i64 = 100_000;
const DEADLINE: Duration = Duration::from_secs(240);
const DEADLINE_LONG: Duration = Duration::from_secs(1800);
/// How often the tag stands in a long answer.
const TIMES: usize = 400;

/// What all clients share.
#[derive(Default)]
struct Counts {
    left: AtomicI64,
    served: AtomicU64,
    /// Requests that got an error of the relay's own, or none, since a server died.
    failed: AtomicU64,
    aborted: AtomicU64,
}

struct Tagged {
    address: SocketAddr,
    id: u64,
    number: u64,
    counts: Arc<Counts>,
    random: fastrand::Rng,
}

impl Tagged {
    async fn run(mut self) {
        let mut client = HttpClient::connect(self.address).await;
        while self.counts.left.fetch_sub(1, Ordering::Relaxed) > 0 {
            match self.request(&mut client).await {
                Ok(true) => {}
                Ok(false) => client = HttpClient::connect(self.address).await,
                Err(_) => {
                    // Half a response, or none: its server has died.
                    self.counts.failed.fetch_add(1, Ordering::Relaxed);
                    client = HttpClient::connect(self.address).await;
                }
            }
        }
    }

    fn tag(&mut self) -> String {
        self.number += 1;
        format!("client-{}-request-{}", self.id, self.number)
    }

    /// One request, or a pipeline of some; whether the connection serves another.
    async fn request(&mut self, client: &mut HttpClient) -> io::Result<bool> {
        let tag = self.tag();
        let get =
            |path: &str, tag: &str| format!("GET {path}?tag={tag} HTTP/1.1\r\nHost: h\r\n\r\n");
        let short = format!("<{tag}>");
        match self.random.u32(..20) {
            0..5 => {
                client.send(get("/short", &tag)).await?;
                self.check(&client.response().await?, &short)
            }
            5..8 => {
                client.send(get("/long", &tag)).await?;
                self.check(&client.response().await?, &short.repeat(TIMES))
            }
            8..11 => {
                let body = short.repeat(self.random.usize(1..200));
                let length = body.len();
                client
                    .send(format!(
                        "POST /body HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n{body}"
                    ))
                    .await?;
                self.check(&client.response().await?, &body)
            }
            11..14 => {
                let body = short.repeat(self.random.usize(1..200));
                let head = "POST /body HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
                client.send(head).await?;
                for piece in body.as_bytes().chunks(self.random.usize(50..5000)) {
                    let size = format!("{:x};x=y\r\n", piece.len());
                    client
                        .send([size.as_bytes(), piece, b"\r\n"].concat())
                        .await?;
                }
                client.send("0\r\n\r\n").await?;
                self.check(&client.response().await?, &body)
            }
            14..16 => {
                let tags: Vec<String> = (0..5).map(|_| self.tag()).collect();
                let pipeline: String = tags.iter().map(|tag| get("/short", tag)).collect();
                client.send(pipeline).await?;
                for tag in tags {
                    if !self.check(&client.response().await?, &format!("<{tag}>"))? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            16 => {
                client.send(get("/closes", &tag)).await?;
                self.check(&client.response().await?, &short)
            }
            // It goes away in the middle of its request,
            17 => {
                let request = format!(
                    "POST /body HTTP/1.1\r\nHost: h\r\nContent-Length: 5000\r\n\r\n{short}"
                );
                client
                    .send(&request[..self.random.usize(1..=request.len())])
                    .await?;
                self.abort()
            }
            // or in the middle of the response,
            18 => {
                client.send(get("/long", &tag)).await?;
                if self.random.bool() {
                    // No more than an error of the relay's own has.
                    client.bytes(self.random.usize(1..100)).await?;
                }
                self.abort()
            }
            // or has an answer before it has said all.
            _ => {
                let request = format!(
                    "POST /early?tag={tag} HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n{short}"
                );
                client.send(request).await?;
                self.check(&client.response().await?, &short)
            }
        }
    }

    fn abort(&self) -> io::Result<bool> {
        self.counts.aborted.fetch_add(1, Ordering::Relaxed);
        Ok(false)
    }

    fn check(&self, response: &Response, expected: &str) -> io::Result<bool> {
        let counter = match response.status {
            200 => {
                assert!(response.text() == expected, "{response:?}, not {expected}");
                &self.counts.served
            }
            502..=504 => &self.counts.failed,
            _ => panic!("{response:?} for {expected}"),
        };
        counter.fetch_add(1, Ordering::Relaxed);
        Ok(!response.closes())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_hundred_clients_over_five_connections() {
    let (requests, deadline) = match std::env::var_os("LEASEWAY_TESTS_LONG") {
        Some(_) => (REQUESTS_LONG, DEADLINE_LONG),
        None => (REQUESTS, DEADLINE),
    };
    let nginx = Nginx::start(SERVER).await;
    let echo = "<<!--# echo var=\"arg_tag\" -->>".repeat(TIMES);
    nginx.put("long", echo.as_bytes());
    let relay = Relay::start_with(CONFIG, &[("server", &nginx.addr().to_string())]).await;
    let counts = Arc::new(Counts::default());
    counts.left.store(requests, Ordering::Relaxed);
    let mut clients = JoinSet::new();
    for id in 0..CLIENTS {
        let client = Tagged {
            address: relay.addr(),
            id,
            number: 0,
            counts: Arc::clone(&counts),
            random: fastrand::Rng::with_seed(id),
        };
        clients.spawn(client.run());
    }
    let mut deaths = 0;
    let mut random = fastrand::Rng::with_seed(7);
    let all = async {
        loop {
            let patience = Duration::from_millis(random.u64(100..600));
            match tokio::time::timeout(patience, clients.join_next()).await {
                Ok(Some(client)) => client.expect("a client found something wrong"),
                Ok(None) => return,
                Err(_) => {
                    nginx.kill_worker();
                    deaths += 1;
                }
            }
        }
    };
    tokio::time::timeout(deadline, all)
        .await
        .expect("the clients hang");
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let (served, failed, aborted) = (
        count(&counts.served),
        count(&counts.failed),
        count(&counts.aborted),
    );
    println!("{served} served, {failed} failed, {aborted} aborted, {deaths} deaths of the server");
    assert!(deaths > 0 && aborted > 0);
    assert!(
        served > requests.unsigned_abs() / 2,
        "{served} of {requests}"
    );
    let metrics = relay.metrics().await;
    assert_eq!(metrics.sum("leaseway_plugin_faults_total"), 0.0);
}
