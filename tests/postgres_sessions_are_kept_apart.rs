//! Many clients of PostgreSQL on few connections: each sees what is its own, whoever fails, cancels, or leaves
//! in the middle of a transaction.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use leaseway_tests::postgres::{PostgresServer, url};
use leaseway_tests::relay::Relay;
use tokio::task::{JoinHandle, JoinSet};
use tokio_postgres::{Client, Error, NoTls, Statement};

const CONFIG: &str = r#"
    [plugins.pg]
    module = "builtin:postgres"
    config = { pooling = "transaction", users = { app = { password = "secret" } } }

    [upstreams.db]
    endpoints = ["{server}"]
    pool = { max-connections = {connections}, wait-timeout = "60s" }

    [listeners.db]
    bind = "{listen}"
    plugin = "pg"
    upstreams = ["db"]

    [admin]
    bind = "{admin}"
"#;

const CLIENTS: i64 = 200;
const CONNECTIONS: usize = 5;
/// Of all clients together; a hundred thousand with `LEASEWAY_TESTS_LONG=1`.
const TRANSACTIONS: u64 = 10_000;
const TRANSACTIONS_LONG: u64 = 100_000;
const DEADLINE: Duration = Duration::from_secs(240);
const DEADLINE_LONG: Duration = Duration::from_secs(1800);

/// query_canceled
const CANCELLED: &str = "57014";

/// One client, and how many rows it has in the table.
struct Tagged {
    url: Arc<str>,
    id: i64,
    rows: i64,
    /// How many transactions all clients are still to make.
    left: Arc<AtomicI64>,
    cancelled: Arc<AtomicI64>,
    random: fastrand::Rng,
}

/// A client's connection to the relay, with what it has prepared and set there.
struct Seat {
    client: Client,
    driver: JoinHandle<()>,
    /// Of the same name for all clients, and for each another one.
    own: Statement,
}

impl Tagged {
    async fn connect(&self) -> Seat {
        let (client, connection) = tokio_postgres::connect(&self.url, NoTls)
            .await
            .expect("the relay lets it in");
        let driver = tokio::spawn(async move {
            // A client that is aborted takes its connection along.
            let _ = connection.await;
        });
        let set = format!("SET TimeZone = 'Etc/GMT+{}'", self.id % 12);
        client.batch_execute(&set).await.expect("it is set");
        let name = format!("SET application_name = 'client {}'", self.id);
        client.batch_execute(&name).await.expect("it is set");
        let own = self.own_sql();
        let own = client.prepare(&own).await.expect("it is prepared");
        Seat {
            client,
            driver,
            own,
        }
    }

    fn own_sql(&self) -> String {
        format!(
            "SELECT $1::bigint + {}, current_setting('TimeZone'), current_setting('application_name')",
            self.id
        )
    }

    async fn run(mut self) {
        let mut seat = self.connect().await;
        while self.left.fetch_sub(1, Ordering::Relaxed) > 0 {
            let stays = self.transaction(&seat).await.expect("no error is expected");
            if !stays {
                seat.driver.abort();
                seat = self.connect().await;
            }
        }
        assert_eq!(self.count(&seat.client).await.unwrap(), self.rows);
    }

    async fn count(&self, client: &Client) -> Result<i64, Error> {
        let sql = format!("SELECT count(*) FROM tags WHERE client = {}", self.id);
        let row = client.simple_query(&sql).await?;
        let text = row.iter().find_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0),
            _ => None,
        });
        Ok(text.expect("a count").parse().expect("a number"))
    }

    /// What it has prepared is its own, and so is what it has set.
    async fn sees_its_own(&mut self, seat: &Seat) -> Result<(), Error> {
        let number = self.random.i64(0..1000);
        let row = seat.client.query_one(&seat.own, &[&number]).await?;
        assert_eq!(row.get::<_, i64>(0), number + self.id);
        assert_eq!(row.get::<_, &str>(1), format!("Etc/GMT+{}", self.id % 12));
        assert_eq!(row.get::<_, &str>(2), format!("client {}", self.id));
        Ok(())
    }

    /// Asks for something, and cancels it in the same moment: before it, in it, or too late.
    async fn cancels(&self, client: &Client, sql: &str) -> Result<(), Error> {
        let token = client.cancel_token();
        let cancel = tokio::spawn(async move { token.cancel_query(NoTls).await });
        let outcome = client.batch_execute(sql).await;
        cancel.await.expect("it ends").expect("it is taken");
        match outcome {
            Err(error) if error.code().is_some_and(|code| code.code() == CANCELLED) => {
                self.cancelled.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            outcome => outcome,
        }
    }

    /// One transaction, and whether the client stays after it.
    async fn transaction(&mut self, seat: &Seat) -> Result<bool, Error> {
        let client = &seat.client;
        let kind = self.random.u32(..20);
        self.sees_its_own(seat).await?;
        if kind == 10 {
            self.cancels(client, "SELECT count(*) FROM tags").await?;
        }
        client.batch_execute("BEGIN").await?;
        let tag = format!("client-{}", self.id);
        client
            .batch_execute(&format!("SET LOCAL leaseway.tag = '{tag}'"))
            .await?;
        let insert = format!("INSERT INTO tags VALUES ({})", self.id);
        client.batch_execute(&insert).await?;
        let own = format!(
            "SELECT current_setting('leaseway.tag'), {}::bigint",
            self.id
        );
        let row = client.query_typed(&own, &[]).await?;
        assert_eq!(row[0].get::<_, &str>(0), tag);
        assert_eq!(row[0].get::<_, i64>(1), self.id);
        self.sees_its_own(seat).await?;
        assert_eq!(self.count(client).await?, self.rows + 1);
        match kind {
            // Leaves in the middle of it.
            0 => return Ok(false),
            1..4 => {
                let failed = client.batch_execute("SELECT 1/0").await.unwrap_err();
                assert_eq!(
                    failed.code().map(tokio_postgres::error::SqlState::code),
                    Some("22012")
                );
                client.batch_execute("ROLLBACK").await?;
            }
            4..7 => client.batch_execute("ROLLBACK").await?,
            7 => {
                self.cancels(client, "SELECT pg_sleep(0.01)").await?;
                client.batch_execute("ROLLBACK").await?;
            }
            _ => {
                client.batch_execute("COMMIT").await?;
                self.rows += 1;
            }
        }
        assert_eq!(self.count(client).await?, self.rows);
        let sql = "SELECT current_setting('leaseway.tag', true)";
        let row = client.query_typed(sql, &[]).await?;
        let left = row[0].get::<_, Option<&str>>(0).unwrap_or_default();
        assert_eq!(left, "", "a setting of a transaction that has ended");
        Ok(true)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_clients_over_five_connections() {
    let (transactions, deadline) = match std::env::var_os("LEASEWAY_TESTS_LONG") {
        Some(_) => (TRANSACTIONS_LONG, DEADLINE_LONG),
        None => (TRANSACTIONS, DEADLINE),
    };
    let server = PostgresServer::start().await;
    server
        .sql(
            "shop",
            "CREATE TABLE tags (client bigint); CREATE INDEX ON tags (client); GRANT ALL ON tags TO app",
        )
        .await;
    let values = [
        ("server", &*server.addr().to_string()),
        ("connections", &*CONNECTIONS.to_string()),
    ];
    let relay = Relay::start_with(CONFIG, &values).await;
    let left = Arc::new(AtomicI64::new(transactions.cast_signed()));
    let cancelled = Arc::new(AtomicI64::new(0));
    let url: Arc<str> = url(relay.addr(), "app", "secret", "shop").into();
    let mut clients = JoinSet::new();
    for id in 0..CLIENTS {
        let client = Tagged {
            url: Arc::clone(&url),
            id,
            rows: 0,
            left: Arc::clone(&left),
            cancelled: Arc::clone(&cancelled),
            random: fastrand::Rng::with_seed(id.unsigned_abs()),
        };
        clients.spawn(client.run());
    }
    let all = async {
        let mut most = 0;
        let mut look = tokio::time::interval(Duration::from_millis(200));
        loop {
            tokio::select! {
                client = clients.join_next() => match client {
                    Some(client) => client.expect("a client found something wrong"),
                    None => return most,
                },
                _ = look.tick() => most = most.max(server.backends("app").await),
            }
        }
    };
    let most = tokio::time::timeout(deadline, all)
        .await
        .expect("the clients hang");
    let cancelled = cancelled.load(Ordering::Relaxed);
    println!("{most} backends at most, {cancelled} queries cancelled");
    assert!(cancelled > 0, "none was cancelled in time");
    // One that is closed while another is opened may be seen as well.
    let limit = 2 * CONNECTIONS;
    assert!((1..=limit).contains(&most), "{most} backends");
    let open = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'app' AND state <> 'idle'";
    assert_eq!(server.sql("postgres", open).await, "0");
    let metrics = relay.metrics().await;
    assert_eq!(metrics.sum("leaseway_plugin_faults_total"), 0.0);
}
