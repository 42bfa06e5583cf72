//! Clients that take their time over a ClientHello cost those who have sent theirs nothing.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use leaseway_tests::relay::Relay;
use leaseway_tests::tls::{client_hello, long_client_hello};
use leaseway_tests::wait::GENEROUS;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// All sessions on one instance of the plugin, as far as it takes them.
const CONFIG: &str = r#"
    [process]
    workers = 1

    [plugins.sni]
    module = "{plugins}/sni.wasm"
    config = { max-hello = 49152, hello-timeout = {hello-timeout} }

    [upstreams.one]
    endpoints = ["{one}"]
    pool = { max-connections = 1000 }

    [listeners.tls]
    bind = "{listen}"
    plugin = "sni"
    upstreams = ["one"]
    preread-timeout = "5m"

    [admin]
    bind = "{admin}"
"#;

/// A session, both ends of it.
struct Ends {
    client: TcpStream,
    server: TcpStream,
}

impl Ends {
    /// One whose server has got this hello.
    async fn open(mut client: TcpStream, listener: &TcpListener, hello: &[u8]) -> Self {
        let (mut server, _) = listener.accept().await.unwrap();
        let mut got = vec![0; hello.len()];
        server.read_exact(&mut got).await.unwrap();
        assert!(got == hello, "another's hello");
        server.write_all(b"hello to you").await.unwrap();
        let mut said = [0; 12];
        client.read_exact(&mut said).await.unwrap();
        assert_eq!(said, *b"hello to you");
        Self { client, server }
    }

    async fn is_alive(&mut self) -> bool {
        let mut byte = [0];
        self.client.write_all(b"?").await.is_ok()
            && self.server.read_exact(&mut byte).await.is_ok()
            && self.server.write_all(b"!").await.is_ok()
            && self.client.read_exact(&mut byte).await.is_ok()
    }
}

#[tokio::test]
async fn hundreds_of_hellos_that_are_nearly_whole_end_nobody_elses_session() {
    const SLOW: usize = 300;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let one = listener.local_addr().unwrap().to_string();
    let values = [("one", one.as_str()), ("hello-timeout", "0")];
    let relay = Relay::start_with(CONFIG, &values).await;
    let connect = async || TcpStream::connect(relay.addr()).await.unwrap();

    let mut first = connect().await;
    let hello = client_hello("first.test");
    first.write_all(&hello).await.unwrap();
    let mut first = Ends::open(first, &listener, &hello).await;

    let hello = long_client_hello("slow.test", 49_000);
    let (most, last) = hello.split_at(hello.len() - 1);
    let mut slow = Vec::new();
    for _ in 0..SLOW {
        let mut client = connect().await;
        client.write_all(most).await.unwrap();
        slow.push(client);
    }
    assert!(first.is_alive().await);
    // They are served all the same, late as they are.
    for mut client in slow {
        client.write_all(last).await.unwrap();
        assert!(Ends::open(client, &listener, &hello).await.is_alive().await);
    }
    assert!(first.is_alive().await);
    assert_eq!(relay.metric_sum("leaseway_plugin_faults_total").await, 0.0);
}

#[tokio::test]
async fn who_does_not_say_hello_in_time_is_closed_and_who_has_said_it_may_be_silent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let one = listener.local_addr().unwrap().to_string();
    let values = [("one", one.as_str()), ("hello-timeout", "2")];
    let relay = Relay::start_with(CONFIG, &values).await;
    let connect = async || TcpStream::connect(relay.addr()).await.unwrap();

    let mut silent = connect().await;
    let hello = client_hello("a.test");
    let mut polite = connect().await;
    polite.write_all(&hello).await.unwrap();
    let mut polite = Ends::open(polite, &listener, &hello).await;

    let mut slow = connect().await;
    let dribble = async {
        for byte in &hello {
            if slow.write_all(&[*byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("there was time for all of it");
    };
    let wait = async {
        let mut said = Vec::new();
        silent.read_to_end(&mut said).await.unwrap();
        assert_eq!(said, b"");
    };
    let both = async { tokio::join!(dribble, wait) };
    tokio::time::timeout(GENEROUS, both).await.unwrap();
    assert!(polite.is_alive().await);
    let late = [("reason", "plugin-deadline")];
    let metrics = relay.metrics().await;
    assert_eq!(metrics.sum_where("leaseway_session_ends_total", &late), 2.0);
}
