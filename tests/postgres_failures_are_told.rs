//! PostgreSQL restarts, ends connections, or freezes: whoever is concerned is told so in the words of the
//! protocol or by the end of the session, nobody waits for ever, and who comes again is served again.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "clients/postgres.rs"]
mod clients;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use clients::{ask, assert_told, bounded, connect};
use futures_util::future::join_all;
use leaseway_tests::postgres::{PostgresServer, url};
use leaseway_tests::relay::Relay;
use leaseway_tests::wait::{GENEROUS, eventually};
use tokio::task::{AbortHandle, JoinSet};
use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

/// The modes of pooling.
const MODES: &[&str] = &["session", "transaction"];

/// Those in which a client may open a transaction.
const MODES_WITH_BLOCKS: &[&str] = &["session", "transaction"];

/// Those in which a connection may die while its client has nothing on it.
const MODES_THAT_SHARE: &[&str] = &["transaction"];

const CONFIG: &str = r#"
    [plugins.pg]
    module = "builtin:postgres"
    limits = { conversation = "500ms" }

    [plugins.pg.config]
    pooling = "{pooling}"
    check-user = "postgres"

    [plugins.pg.config.users]
    app = { password = "secret" }
    postgres = { auth = "trust" }

    [upstreams.db]
    endpoints = [{endpoints}]
    balance = "least-leased"
    connect-timeout = "500ms"
    pool = { max-connections = {connections}, wait-timeout = "2s" }
    probe = { interval = "200ms", timeout = "200ms", fall = 3, rise = 2 }

    [listeners.db]
    bind = "{listen}"
    plugin = "pg"
    upstreams = ["db"]

    [admin]
    bind = "{admin}"
"#;

/// Of each endpoint.
const CONNECTIONS: usize = 4;

/// Clients at a time: more than that.
const CROWD: usize = 8;

/// Of a session of one of them, before it leaves and comes again.
const WRITES: usize = 20;

/// Between two attempts of a client that has been turned away.
const PACE: Duration = Duration::from_millis(20);

async fn server() -> PostgresServer {
    let server = PostgresServer::start().await;
    let table = "CREATE TABLE done (client int, n int, PRIMARY KEY (client, n));
        GRANT ALL ON done TO app";
    server.sql("shop", table).await;
    server
}

async fn relay_to(pooling: &str, servers: &[&PostgresServer]) -> Relay {
    println!("pooling by {pooling}");
    let endpoints: Vec<String> = servers
        .iter()
        .map(|server| format!("\"{}\"", server.addr()))
        .collect();
    let values = [
        ("pooling", pooling),
        ("endpoints", &*endpoints.join(", ")),
        ("connections", &*CONNECTIONS.to_string()),
    ];
    Relay::start_with(CONFIG, &values).await
}

/// What has become of one client's writes.
#[derive(Debug, Default)]
struct Tally {
    done: AtomicUsize,
    told: AtomicUsize,
}

/// Clients that write, leave and come again, whatever happens.
struct Crowd {
    tallies: Vec<Arc<Tally>>,
    over: Arc<AtomicBool>,
    /// Each ends with the rows that have been confirmed, and not before it is over.
    clients: JoinSet<Vec<String>>,
    handles: Vec<AbortHandle>,
}

impl Crowd {
    fn start(relay: &Relay) -> Self {
        let url: Arc<str> = url(relay.addr(), "app", "secret", "shop").into();
        let mut crowd = Self {
            tallies: Vec::new(),
            over: Arc::default(),
            clients: JoinSet::new(),
            handles: Vec::new(),
        };
        for id in 0..CROWD {
            let writer = Writer {
                url: Arc::clone(&url),
                id,
                next: 0,
                tally: Arc::default(),
                confirmed: Vec::new(),
            };
            crowd.tallies.push(Arc::clone(&writer.tally));
            let writer = writer.run(Arc::clone(&crowd.over));
            crowd.handles.push(crowd.clients.spawn(writer));
        }
        crowd
    }

    /// Waits until so many clients have been told of a failure.
    async fn wait_told(&self, count: usize) {
        let before: Vec<usize> = self.tallies.iter().map(|tally| tally.told()).collect();
        self.wait("clients are told", count, |at, tally| {
            tally.told() > before[at]
        })
        .await;
    }

    /// Waits until each has had writes confirmed that it has begun since.
    async fn wait_served(&self) {
        let before: Vec<usize> = self.tallies.iter().map(|tally| tally.done()).collect();
        // One may have been under way.
        self.wait("all are served", CROWD, |at, tally| {
            tally.done() > before[at] + 1
        })
        .await;
    }

    async fn wait(&self, what: &str, count: usize, is_so: impl Fn(usize, &Tally) -> bool) {
        eventually(what, GENEROUS, async || {
            let has_ended = self.handles.iter().any(AbortHandle::is_finished);
            assert!(!has_ended, "a client has found something wrong");
            let tallies = self.tallies.iter().enumerate();
            tallies.filter(|(at, tally)| is_so(*at, tally)).count() >= count
        })
        .await;
    }

    /// Ends all clients. What was confirmed is there, and nothing has been done twice.
    async fn end(self, servers: &[&PostgresServer]) {
        self.over.store(true, Ordering::Relaxed);
        let confirmed = bounded(self.clients.join_all()).await.concat();
        let mut stored = HashSet::new();
        for server in servers {
            let rows = server.sql("shop", "SELECT client, n FROM done").await;
            for row in rows.lines() {
                assert!(stored.insert(row.to_owned()), "{row} is on both servers");
            }
        }
        let count = confirmed.len();
        println!("{count} of {} writes were confirmed", stored.len());
        for row in confirmed {
            assert!(stored.contains(&row), "{row} was confirmed and is lost");
        }
    }
}

impl Tally {
    fn done(&self) -> usize {
        self.done.load(Ordering::Relaxed)
    }

    fn told(&self) -> usize {
        self.told.load(Ordering::Relaxed)
    }
}

/// One of the crowd.
struct Writer {
    url: Arc<str>,
    id: usize,
    /// No two attempts write the same row, so one that is carried out twice fails.
    next: usize,
    tally: Arc<Tally>,
    confirmed: Vec<String>,
}

impl Writer {
    async fn run(mut self, over: Arc<AtomicBool>) -> Vec<String> {
        while !over.load(Ordering::Relaxed) {
            if let Err(why) = self.session().await {
                assert_told(&why);
                self.tally.told.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(PACE).await;
            }
        }
        self.confirmed
    }

    async fn session(&mut self) -> Result<(), Error> {
        let client = connect(&self.url).await?;
        for _ in 0..WRITES {
            let (id, n) = (self.id, self.next);
            self.next += 1;
            let sql = format!("INSERT INTO done VALUES ({id}, {n}) RETURNING n");
            assert_eq!(ask(&client, &sql).await?, i32::try_from(n).unwrap());
            self.confirmed.push(format!("{id}|{n}"));
            self.tally.done.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_under_load_is_told_and_survived() {
    let mut server = server().await;
    for mode in MODES {
        let relay = relay_to(mode, &[&server]).await;
        let crowd = Crowd::start(&relay);
        crowd.wait_served().await;
        for _ in 0..2 {
            server.stop().await;
            crowd.wait_told(CROWD).await;
            server.restart().await;
            crowd.wait_served().await;
        }
        crowd.end(&[&server]).await;
        server.sql("shop", "TRUNCATE done").await;
    }
}

/// Nobody had anything on them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_are_ended_in_the_pool_are_replaced_unseen() {
    let server = server().await;
    for mode in MODES {
        let relay = relay_to(mode, &[&server]).await;
        let url = url(relay.addr(), "app", "secret", "shop");
        for round in 0..5 {
            let client = connect(&url).await.unwrap();
            assert_eq!(ask(&client, "SELECT 1").await.unwrap(), 1, "{round}");
            drop(client);
            eventually("its connection is back", GENEROUS, async || {
                let leased = [("state", "leased")];
                let metrics = relay.metrics().await;
                metrics.sum_where("leaseway_pool_connections", &leased) == 0.0
            })
            .await;
            assert!(server.terminate("app").await >= 1, "{round}");
        }
    }
    for mode in MODES_THAT_SHARE {
        let relay = relay_to(mode, &[&server]).await;
        let url = url(relay.addr(), "app", "secret", "shop");
        let client = connect(&url).await.unwrap();
        for round in 0..5 {
            assert_eq!(ask(&client, "SELECT 2").await.unwrap(), 2, "{round}");
            assert!(server.terminate("app").await >= 1, "{round}");
        }
    }
}

/// In the middle of a query, with others behind it: all are told, and by the server's own words.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_of_a_busy_connection_that_is_ended_are_told() {
    let server = server().await;
    for mode in MODES {
        let relay = relay_to(mode, &[&server]).await;
        let url = url(relay.addr(), "app", "secret", "shop");
        let client = connect(&url).await.unwrap();
        let queries = ["SELECT 1 FROM pg_sleep(600)", "SELECT 2", "SELECT 3"];
        let answers = join_all(queries.map(|sql| ask(&client, sql)));
        let ended = async {
            let busy = "SELECT count(*) FROM pg_stat_activity
                WHERE usename = 'app' AND wait_event = 'PgSleep'";
            eventually("it is busy", GENEROUS, async || {
                server.sql("postgres", busy).await == "1"
            })
            .await;
            server.terminate("app").await
        };
        let (answers, ended) = tokio::join!(answers, ended);
        assert_eq!(ended, 1);
        let errors: Vec<Error> = answers
            .into_iter()
            .map(|answer| answer.unwrap_err())
            .collect();
        assert_eq!(errors[0].code(), Some(&SqlState::ADMIN_SHUTDOWN));
        errors.iter().for_each(assert_told);
        let again = connect(&url).await.unwrap();
        assert_eq!(ask(&again, "SELECT 4").await.unwrap(), 4);
    }
}

/// Between two statements of a transaction: the session ends, so that nothing is taken for part of it that
/// is not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_whose_connection_is_ended_is_over() {
    let server = server().await;
    for mode in MODES_WITH_BLOCKS {
        let relay = relay_to(mode, &[&server]).await;
        let url = url(relay.addr(), "app", "secret", "shop");
        let client = connect(&url).await.unwrap();
        client.batch_execute("BEGIN").await.unwrap();
        let insert = "INSERT INTO done VALUES (1, 1) RETURNING client";
        assert_eq!(ask(&client, insert).await.unwrap(), 1);
        assert_eq!(server.terminate("app").await, 1);
        let insert = "INSERT INTO done VALUES (1, 2) RETURNING client";
        assert_told(&ask(&client, insert).await.unwrap_err());
        assert_told(&ask(&client, "SELECT 1").await.unwrap_err());
        let count = server.sql("shop", "SELECT count(*) FROM done").await;
        assert_eq!(count, "0");
        let again = connect(&url).await.unwrap();
        assert_eq!(ask(&again, "SELECT 2").await.unwrap(), 2);
    }
}

/// With nobody to take its place, those who have a connection wait as they would without a relay, and the
/// others are told in time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_server_is_told_of_and_found_again() {
    let mut server = server().await;
    for mode in MODES {
        let relay = relay_to(mode, &[&server]).await;
        let crowd = Crowd::start(&relay);
        crowd.wait_served().await;
        server.pause().await;
        crowd.wait_told(CROWD - CONNECTIONS).await;
        let url = url(relay.addr(), "app", "secret", "shop");
        // Who knows how the server greets lets a client in, and tells it when it asks for something.
        match connect(&url).await {
            Ok(client) => assert_told(&ask(&client, "SELECT 1").await.expect_err("it is frozen")),
            Err(why) => assert_told(&why),
        }
        server.resume().await;
        crowd.wait_served().await;
        crowd.end(&[&server]).await;
        server.sql("shop", "TRUNCATE done").await;
    }
}

/// With another, they are told as well, and all are served by that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_server_takes_the_place_of_a_frozen_one() {
    let (mut first, second) = tokio::join!(server(), server());
    for mode in MODES {
        let relay = relay_to(mode, &[&first, &second]).await;
        let crowd = Crowd::start(&relay);
        crowd.wait_served().await;
        first.pause().await;
        crowd.wait_told(1).await;
        crowd.wait_served().await;
        crowd.wait_served().await;
        first.resume().await;
        let count = "SELECT count(*) FROM done";
        let before = first.sql("shop", count).await;
        eventually("it is used again", GENEROUS, async || {
            first.sql("shop", count).await != before
        })
        .await;
        crowd.wait_served().await;
        crowd.end(&[&first, &second]).await;
        for server in [&first, &second] {
            server.sql("shop", "TRUNCATE done").await;
        }
    }
}
