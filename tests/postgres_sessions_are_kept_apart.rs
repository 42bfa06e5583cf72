//! Many clients of PostgreSQL on few connections: each sees what is its own, whoever fails or leaves in
//! the middle of a transaction.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use leaseway_tests::postgres::{PostgresServer, url};
use leaseway_tests::relay::Relay;
use tokio::task::{JoinHandle, JoinSet};
use tokio_postgres::{Client, Error, NoTls};

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

const CLIENTS: i64 = 100;
const CONNECTIONS: usize = 5;
const TRANSACTIONS: u64 = 10_000;
const DEADLINE: Duration = Duration::from_secs(300);

/// One client, and how many rows it has in the table.
struct Tagged {
    url: Arc<str>,
    id: i64,
    rows: i64,
    done: Arc<AtomicU64>,
    random: fastrand::Rng,
}

impl Tagged {
    async fn connect(&self) -> (Client, JoinHandle<()>) {
        let (client, connection) = tokio_postgres::connect(&self.url, NoTls)
            .await
            .expect("the relay lets it in");
        let driver = tokio::spawn(async move {
            // A client that is aborted takes its connection along.
            let _ = connection.await;
        });
        (client, driver)
    }

    async fn run(mut self) {
        let (mut client, mut driver) = self.connect().await;
        while self.done.fetch_add(1, Ordering::Relaxed) < TRANSACTIONS {
            let stays = self
                .transaction(&client)
                .await
                .expect("no error is expected");
            if !stays {
                driver.abort();
                (client, driver) = self.connect().await;
            }
        }
        assert_eq!(self.count(&client).await.unwrap(), self.rows);
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

    /// One transaction, and whether the client stays after it.
    async fn transaction(&mut self, client: &Client) -> Result<bool, Error> {
        let kind = self.random.u32(..20);
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
            4..8 => client.batch_execute("ROLLBACK").await?,
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
async fn a_hundred_clients_over_five_connections() {
    let server = PostgresServer::start().await;
    server
        .sql(
            "shop",
            "CREATE TABLE tags (client bigint); GRANT ALL ON tags TO app",
        )
        .await;
    let values = [
        ("server", &*server.addr().to_string()),
        ("connections", &*CONNECTIONS.to_string()),
    ];
    let relay = Relay::start_with(CONFIG, &values).await;
    let done = Arc::new(AtomicU64::new(0));
    let url: Arc<str> = url(relay.addr(), "app", "secret", "shop").into();
    let mut clients = JoinSet::new();
    for id in 0..CLIENTS {
        let client = Tagged {
            url: Arc::clone(&url),
            id,
            rows: 0,
            done: Arc::clone(&done),
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
    let most = tokio::time::timeout(DEADLINE, all)
        .await
        .expect("the clients hang");
    println!("{most} backends at most");
    assert!((1..=CONNECTIONS + 1).contains(&most), "{most} backends");
    let open = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'app' AND state <> 'idle'";
    assert_eq!(server.sql("postgres", open).await, "0");
    let metrics = relay.metrics().await;
    assert_eq!(metrics.sum("leaseway_plugin_faults_total"), 0.0);
}
