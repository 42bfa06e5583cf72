//! Hundreds of connections that never log in, or try to with garbage, cost little, keep nobody from being served, and
//! are sent away: with an error where the protocol has one, and in time.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use leaseway_tests::pgwire::{self, Raw};
use leaseway_tests::postgres::{PostgresServer, url};
use leaseway_tests::relay::Relay;
use leaseway_tests::wait::{GENEROUS, eventually};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_postgres::NoTls;

/// Those who mean well come by the second listener, which has no limits that they might meet.
const CONFIG: &str = r#"
    [plugins.pg]
    module = "builtin:postgres"

    [plugins.pg.config]
    pooling = "transaction"
    client-login-timeout = 3
    users = { app = { password = "secret" } }

    [upstreams.db]
    endpoints = ["{server}"]
    pool = { max-connections = 4, wait-timeout = "30s" }

    [listeners.flooded]
    bind = "{listen}"
    plugin = "pg"
    upstreams = ["db"]
    preread-timeout = "4s"
    idle-timeout = "4s"

    [listeners.db]
    bind = "{listen-db}"
    plugin = "pg"
    upstreams = ["db"]

    [admin]
    bind = "{admin}"
"#;

/// Connections of each kind.
const EACH: usize = 80;

/// What the relay may grow by meanwhile.
const MEMORY: u64 = 16 << 20;

/// protocol_violation
const VIOLATION: Option<&str> = Some("08P01");

/// What a connection of a flood does.
#[derive(Debug, Clone, Copy)]
enum Flood {
    Silence,
    HalfAStart,
    NoPassword,
    HalfAPassword,
    EncryptionAndSilence,
    Lengths,
    PasswordLengths,
    EncryptionAgain,
    QueryForPassword,
    WrongPassword,
}

impl Flood {
    const WAIT: [Self; 5] = [
        Self::Silence,
        Self::HalfAStart,
        Self::NoPassword,
        Self::HalfAPassword,
        Self::EncryptionAndSilence,
    ];

    const GO: [Self; 5] = [
        Self::Lengths,
        Self::PasswordLengths,
        Self::EncryptionAgain,
        Self::QueryForPassword,
        Self::WrongPassword,
    ];

    /// The SQLSTATE that it hears at last; none where there is nobody yet who could understand one.
    fn hears(self) -> Option<&'static str> {
        match self {
            Self::Silence | Self::HalfAStart | Self::EncryptionAndSilence => None,
            Self::WrongPassword => Some("28P01"),
            _ => VIOLATION,
        }
    }

    /// Says what it has to say, up to what its end comes from.
    async fn say(self, client: &mut Raw, number: usize) {
        let start = pgwire::startup("app", "shop");
        match self {
            Self::Silence => {}
            Self::HalfAStart => client.say(&start[..1 + number % (start.len() - 1)]).await,
            Self::Lengths => {
                let lengths = [0, 3, 7, 10_001, 0x7fff_ffff, u32::MAX];
                let length = lengths[number % lengths.len()].to_be_bytes();
                client.say(&[&length[..], b"\0\x03\0\0user"].concat()).await;
            }
            Self::EncryptionAndSilence => {
                client.say(&pgwire::ssl_request()).await;
                assert_eq!(client.hear_byte().await, b'N');
            }
            Self::EncryptionAgain => {
                for _ in 0..2 {
                    client.say(&pgwire::ssl_request()).await;
                    assert_eq!(client.hear_byte().await, b'N');
                }
                client.say(&pgwire::ssl_request()).await;
            }
            _ => {
                client.say(&start).await;
                let (kind, body) = client.hear().await.expect("how to log in");
                assert_eq!((kind, &body[..4]), (b'R', &[0, 0, 0, 10][..]));
                self.answer(client, number).await;
            }
        }
    }

    /// Says how it proves who it is.
    async fn answer(self, client: &mut Raw, number: usize) {
        let begin = pgwire::scram_begin("its-own");
        match self {
            Self::HalfAPassword => client.say(&begin[..1 + number % (begin.len() - 1)]).await,
            Self::PasswordLengths => {
                let lengths = [0, 3, 5000, 0x7fff_ffff, u32::MAX];
                let length = lengths[number % lengths.len()].to_be_bytes();
                client.say(&[b"p", &length[..], b"SCRAM"].concat()).await;
            }
            Self::QueryForPassword => client.say(&pgwire::message(b'Q', b"SELECT 1\0")).await,
            Self::WrongPassword => {
                client.say(&begin).await;
                let (kind, body) = client.hear().await.expect("a challenge");
                assert_eq!((kind, &body[..4]), (b'R', &[0, 0, 0, 11][..]));
                let answer = std::str::from_utf8(&body[4..]).expect("it is text");
                client.say(&pgwire::scram_guess(answer)).await;
            }
            _ => {}
        }
    }

    async fn run(self, to: SocketAddr, number: usize, said: Arc<AtomicUsize>) {
        let mut client = Raw::connect(to).await;
        self.say(&mut client, number).await;
        said.fetch_add(1, Ordering::Relaxed);
        let end = client.hear_end().await;
        assert_eq!(end.as_deref(), self.hears(), "{self:?} {number}");
    }
}

/// Comes, asks, and goes, until it is over.
async fn means_well(to: SocketAddr, served: Arc<AtomicUsize>, over: Arc<AtomicBool>) {
    let url = url(to, "app", "secret", "shop");
    while !over.load(Ordering::Relaxed) {
        let login = timeout(GENEROUS, tokio_postgres::connect(&url, NoTls)).await;
        let (client, connection) = login.expect("it waits for ever").expect("it is let in");
        tokio::spawn(connection);
        for _ in 0..5 {
            let row = timeout(GENEROUS, client.query_typed_one("SELECT 5", &[])).await;
            let row = row.expect("it waits for ever").expect("an answer");
            assert_eq!(row.get::<_, i32>(0), 5);
        }
        served.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hundreds_who_do_not_log_in_keep_nobody_waiting() {
    let server = PostgresServer::start().await;
    let values = [("server", &*server.addr().to_string())];
    let relay = Relay::start_with(CONFIG, &values).await;
    let (served, over) = (
        Arc::new(AtomicUsize::new(0)),
        Arc::new(AtomicBool::new(false)),
    );
    let served_so_far = || served.load(Ordering::Relaxed);
    let mut others = JoinSet::new();
    for _ in 0..2 {
        let to = relay.addr_of("listen-db");
        others.spawn(means_well(to, Arc::clone(&served), Arc::clone(&over)));
    }
    eventually("all is as usual", GENEROUS, async || served_so_far() > 20).await;
    let descriptors = relay.fd_count();
    let usual = relay.rss_bytes();
    let mut after = Vec::new();
    for round in 0..2 {
        relay.forget_peak();
        let (mut waiting, mut going) = (JoinSet::new(), JoinSet::new());
        let said = Arc::new(AtomicUsize::new(0));
        for number in 0..EACH {
            for flood in Flood::WAIT {
                waiting.spawn(flood.run(relay.addr(), number, Arc::clone(&said)));
            }
            for flood in Flood::GO {
                going.spawn(flood.run(relay.addr(), number, Arc::default()));
            }
        }
        eventually("all who wait do so", GENEROUS, async || {
            said.load(Ordering::Relaxed) == EACH * Flood::WAIT.len()
        })
        .await;
        let before = served_so_far();
        eventually("others are served", GENEROUS, async || {
            served_so_far() > before + 4
        })
        .await;
        assert!(
            waiting.try_join_next().is_none(),
            "only when the first have gone"
        );
        going.join_all().await;
        waiting.join_all().await;
        let peak = relay.peak_bytes();
        println!("{usual} bytes, {peak} at most in round {round}");
        assert!(peak < usual + MEMORY, "grew from {usual} to {peak} bytes");
        after.push(relay.rss_bytes());
    }
    assert!(after[1] < after[0] + MEMORY / 8, "grows: {after:?}");
    over.store(true, Ordering::Relaxed);
    others.join_all().await;
    eventually("all sockets are gone", GENEROUS, async || {
        relay.metric_sum("leaseway_sessions_open").await == 0.0 && relay.fd_count() <= descriptors
    })
    .await;
    let metrics = relay.metrics().await;
    assert_eq!(metrics.sum("leaseway_plugin_faults_total"), 0.0);
    assert!(server.backends("app").await <= 4);
}
