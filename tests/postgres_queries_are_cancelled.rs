//! Who interrupts psql has its query cancelled, and nobody else's, while all connections are busy; and to cancel is
//! no trouble that an operator would have to hear of.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::net::SocketAddr;
use std::process::Command;

use leaseway_tests::dir::TempDir;
use leaseway_tests::pgwire::{self, Raw};
use leaseway_tests::postgres::{PostgresServer, url};
use leaseway_tests::process::Process;
use leaseway_tests::relay::Relay;
use leaseway_tests::wait::{GENEROUS, eventually};
use rustix::process::Signal;

const CONFIG: &str = r#"
    [plugins.pg]
    module = "builtin:postgres"

    [plugins.pg.config]
    pooling = "{pooling}"
    users = { app = { password = "secret" } }

    [upstreams.db]
    endpoints = ["{server}"]
    pool = { max-connections = 2, wait-timeout = "60s" }

    [listeners.db]
    bind = "{listen}"
    plugin = "pg"
    upstreams = ["db"]

    [admin]
    bind = "{admin}"
"#;

/// A psql that asks for something that takes long.
struct Asking {
    psql: Process,
    _dir: TempDir,
    mark: String,
}

impl Asking {
    fn start(relay: &Relay, mark: &str) -> Self {
        let dir = TempDir::new("psql");
        let mut command = Command::new("psql");
        command.arg(url(relay.addr(), "app", "secret", "shop"));
        let long = format!("SELECT pg_sleep(600), '{mark}'");
        command.args(["-AtX", "-c", &long]);
        let log = dir.path().join("said");
        let psql = Process::start("psql", command, &log, "apt-get install postgresql-client");
        let mark = mark.to_owned();
        Self {
            psql,
            _dir: dir,
            mark,
        }
    }

    async fn runs_at(&self, server: &PostgresServer) -> bool {
        let count = format!(
            "SELECT count(*) FROM pg_stat_activity
             WHERE usename = 'app' AND state = 'active' AND query LIKE '%{}%'",
            self.mark
        );
        server.sql("postgres", &count).await == "1"
    }

    async fn interrupt(mut self) {
        self.psql.signal(Signal::INT);
        self.psql.wait(GENEROUS).await;
        let said = self.psql.log();
        let wanted = "ERROR:  canceling statement due to user request";
        assert!(said.contains(wanted), "{}: {said}", self.mark);
    }
}

/// Sends a cancel request and waits until it has been taken.
async fn cancel(relay: SocketAddr, key: [u8; 8]) {
    let mut client = Raw::connect(relay).await;
    client.say(&pgwire::cancel_request(key)).await;
    assert_eq!(client.hear().await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupt_ends_ones_own_query() {
    let server = PostgresServer::start().await;
    for pooling in ["session", "transaction"] {
        println!("pooling by {pooling}");
        let values = [
            ("pooling", pooling),
            ("server", &*server.addr().to_string()),
        ];
        let relay = Relay::start_logging("debug", CONFIG, &values).await;
        // All connections there are.
        let all = [
            Asking::start(&relay, "first"),
            Asking::start(&relay, "second"),
        ];
        for asking in &all {
            eventually("it is asked", GENEROUS, async || {
                asking.runs_at(&server).await
            })
            .await;
        }
        for nobodys in [[0; 8], [0xff; 8], *b"no key!!"] {
            cancel(relay.addr(), nobodys).await;
        }
        let [first, second] = all;
        first.interrupt().await;
        assert!(second.runs_at(&server).await);
        // One of those that are free takes the place of the first.
        let third = Asking::start(&relay, "third");
        eventually("it is asked", GENEROUS, async || {
            third.runs_at(&server).await
        })
        .await;
        second.interrupt().await;
        assert!(third.runs_at(&server).await);
        third.interrupt().await;
        eventually("all have gone", GENEROUS, async || {
            let log = relay.log();
            log.matches("the cancel request has been passed on").count() == 3
                && relay.metric_sum("leaseway_sessions_open").await == 0.0
        })
        .await;
        let is_trouble =
            |line: &serde_json::Value| line["level"] != "DEBUG" && line["level"] != "INFO";
        let troubles: Vec<_> = relay.log_lines().into_iter().filter(is_trouble).collect();
        assert!(troubles.is_empty(), "{troubles:#?}");
    }
}
