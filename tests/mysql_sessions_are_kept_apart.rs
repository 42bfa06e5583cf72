//! Many clients of MySQL on few connections: each sees what is its own, whoever fails, leaves in the middle of a
//! transaction or of an answer, and whichever connections the server ends.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod mysql_pooled;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use leaseway_tests::mariadb::MariaServer;
use leaseway_tests::relay::Relay;
use leaseway_tests::wait::eventually;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error, Opts};
use mysql_pooled::{CONFIG, WHEN_NEEDED, opts};
use tokio::task::JoinSet;

const CLIENTS: i64 = 200;
const CONNECTIONS: usize = 5;
/// Of all clients together; a hundred thousand with `LEASEWAY_TESTS_LONG=1`.
const TRANSACTIONS: u64 = 10_000;
const TRANSACTIONS_LONG: u64 = 100_000;
const DEADLINE: Duration = Duration::from_secs(300);
const DEADLINE_LONG: Duration = Duration::from_secs(2400);

/// How often the server ends all connections.
const DEATHS: Duration = Duration::from_millis(1500);

/// What of those clients are told: ER_BAD_HOST_ERROR (it was just being opened), ER_SERVER_SHUTDOWN, ER_NET_READ_ERROR,
/// ER_QUERY_INTERRUPTED, ER_CONNECTION_KILLED.
const TOLD: [u16; 5] = [1042, 1053, 1158, 1317, 1927];

/// One client, and how many rows it has in the table.
struct Tagged {
    opts: Opts,
    id: i64,
    rows: i64,
    /// One of them may not have been confirmed.
    is_unsure: bool,
    /// How many transactions all clients are still to make.
    left: Arc<AtomicI64>,
    died: Arc<AtomicI64>,
    random: fastrand::Rng,
}

/// What becomes of a connection to the relay.
enum Then {
    Stays,
    Leaves,
}

impl Tagged {
    async fn connect(&self) -> Result<Conn, Error> {
        let mut conn = Conn::new(self.opts.clone()).await?;
        // In one statement, as drivers do it, and in two.
        let zone = format!(
            "SET time_zone = '+{:02}:00', autocommit = {}",
            self.zone(),
            self.commits()
        );
        conn.query_drop(zone).await?;
        let mode = ["ANSI", "TRADITIONAL", ""][self.id as usize % 3];
        conn.query_drop(format!("SET SESSION sql_mode = '{mode}'"))
            .await?;
        if self.id % 4 == 0 {
            conn.query_drop("USE store").await?;
        }
        Ok(conn)
    }

    fn zone(&self) -> i64 {
        self.id % 12
    }

    /// Whether each statement is a transaction of its own.
    fn commits(&self) -> u8 {
        u8::from(self.id % 3 != 0)
    }

    async fn run(mut self) {
        loop {
            match self.visit().await {
                Ok(()) => return,
                Err(Error::Server(why)) if TOLD.contains(&why.code) => {}
                Err(Error::Io(_)) => {}
                Err(Error::Driver(why)) => {
                    let why = why.to_string();
                    assert!(why.contains("onnection"), "client {}: {why}", self.id);
                }
                Err(why) => panic!("client {}: {why:?}", self.id),
            }
            self.died.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Until it has done its share.
    async fn visit(&mut self) -> Result<(), Error> {
        let mut conn = self.connect().await?;
        while self.left.fetch_sub(1, Ordering::Relaxed) > 0 {
            if self.is_unsure {
                let rows = self.count(&mut conn).await?;
                assert!(
                    rows == self.rows || rows == self.rows + 1,
                    "client {}",
                    self.id
                );
                self.rows = rows;
                self.is_unsure = false;
                self.end(&mut conn).await?;
            }
            if let Then::Leaves = self.transaction(&mut conn).await? {
                drop(conn);
                conn = self.connect().await?;
            }
        }
        if !self.is_unsure {
            assert_eq!(
                self.count(&mut conn).await?,
                self.rows,
                "client {}",
                self.id
            );
        }
        conn.disconnect().await
    }

    async fn count(&self, conn: &mut Conn) -> Result<i64, Error> {
        let sql = format!("SELECT COUNT(*) FROM shop.tags WHERE client = {}", self.id);
        Ok(conn.query_first(sql).await?.expect("a count"))
    }

    /// Ends the transaction that is begun by itself without autocommit.
    async fn end(&self, conn: &mut Conn) -> Result<(), Error> {
        match self.commits() {
            0 => conn.query_drop("COMMIT").await,
            _ => Ok(()),
        }
    }

    /// What it has set is its own, and nobody else's warnings, rows or numbers are to be had.
    async fn sees_its_own(&mut self, conn: &mut Conn) -> Result<(), Error> {
        let number = self.random.i64(0..1000);
        let sql = format!(
            "SELECT {}, @@time_zone, @@autocommit, DATABASE(), 'client {}'",
            number + self.id,
            self.id
        );
        let row: (i64, String, u8, String, String) = conn.query_first(sql).await?.expect("a row");
        let database = if self.id % 4 == 0 { "store" } else { "shop" };
        let wanted = (
            number + self.id,
            format!("+{:02}:00", self.zone()),
            self.commits(),
            database.to_owned(),
            format!("client {}", self.id),
        );
        assert_eq!(row, wanted);
        let warnings: Vec<(String, u32, String)> = conn.query("SHOW WARNINGS").await?;
        assert!(warnings.is_empty(), "client {}: {warnings:?}", self.id);
        Ok(())
    }

    /// One transaction, and whether the client stays after it.
    async fn transaction(&mut self, conn: &mut Conn) -> Result<Then, Error> {
        let kind = self.random.u32(..24);
        self.sees_its_own(conn).await?;
        self.end(conn).await?;
        match kind {
            // Leaves something on the connection that is nobody else's.
            0 => {
                let set = format!("SET @tag = 'client {}'", self.id);
                conn.query_drop(set).await?;
                let tag: Option<String> = conn.query_first("SELECT @tag").await?;
                assert_eq!(tag.unwrap(), format!("client {}", self.id));
                return Ok(Then::Leaves);
            }
            1 => {
                let rows = "CREATE TEMPORARY TABLE mine (client bigint) SELECT ? AS client";
                conn.exec_drop(rows, (self.id,)).await?;
                let mine: Option<i64> = conn.query_first("SELECT client FROM mine").await?;
                assert_eq!(mine, Some(self.id));
                return Ok(Then::Leaves);
            }
            // Leaves in the middle of an answer.
            2 => {
                let slow = conn.query_drop("SELECT SLEEP(0.01), REPEAT('x', 100000)");
                let _ = tokio::time::timeout(Duration::from_millis(3), slow).await;
                return Ok(Then::Leaves);
            }
            // Warns itself; the others must not see that.
            3 => {
                let cast = format!("SELECT CAST('client {}' AS SIGNED)", self.id);
                conn.query_drop(cast).await?;
                self.end(conn).await?;
            }
            4 => {
                let sql = format!("SELECT client_{}", self.id);
                fails(conn.query_drop(sql).await)?;
                self.end(conn).await?;
            }
            // A prepared statement of its own number.
            5 => {
                let sum = format!("SELECT ? + {}", self.id);
                let statement = conn.prep(sum).await?;
                let sum: Option<i64> = conn.exec_first(&statement, (1,)).await?;
                assert_eq!(sum, Some(1 + self.id));
                conn.close(statement).await?;
                self.end(conn).await?;
            }
            _ => {}
        }
        conn.query_drop("START TRANSACTION").await?;
        let insert = format!("INSERT INTO shop.tags (client) VALUES ({})", self.id);
        conn.query_drop(insert).await?;
        let told = conn.last_insert_id();
        let asked: Option<u64> = conn.query_first("SELECT LAST_INSERT_ID()").await?;
        assert_eq!(asked, told);
        assert_eq!(self.count(conn).await?, self.rows + 1);
        match kind {
            6 => return Ok(Then::Leaves),
            7..10 => conn.query_drop("ROLLBACK").await?,
            10 => {
                fails(conn.query_drop("SELECT nothing FROM shop.tags").await)?;
                conn.query_drop("ROLLBACK").await?;
            }
            _ => {
                self.is_unsure = true;
                conn.query_drop("COMMIT").await?;
                self.is_unsure = false;
                self.rows += 1;
            }
        }
        // Also on another connection.
        let asked: Option<u64> = conn.query_first("SELECT LAST_INSERT_ID()").await?;
        assert_eq!(asked, told);
        assert_eq!(self.count(conn).await?, self.rows);
        self.end(conn).await?;
        self.sees_its_own(conn).await?;
        self.end(conn).await?;
        Ok(Then::Stays)
    }
}

/// It does, unless something else is wrong: the column does not exist.
fn fails(outcome: Result<(), Error>) -> Result<(), Error> {
    match outcome {
        Err(Error::Server(why)) if why.code == 1054 => Ok(()),
        Err(why) => Err(why),
        Ok(()) => panic!("there is no such column"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_clients_over_five_connections() {
    let (transactions, deadline) = match std::env::var_os("LEASEWAY_TESTS_LONG") {
        Some(_) => (TRANSACTIONS_LONG, DEADLINE_LONG),
        None => (TRANSACTIONS, DEADLINE),
    };
    let server = MariaServer::start().await;
    server
        .sql(
            "CREATE TABLE shop.tags (id bigint PRIMARY KEY AUTO_INCREMENT, client bigint, KEY (client))",
        )
        .await;
    let values = [
        ("server", &*server.addr().to_string()),
        ("connections", &*CONNECTIONS.to_string()),
    ];
    // Connections go from one to another as they are, wherever that is thought to do no harm.
    let config = CONFIG.replace("\"transaction\"", WHEN_NEEDED);
    let relay = Relay::start_with(&config, &values).await;
    let left = Arc::new(AtomicI64::new(transactions.cast_signed()));
    let died = Arc::new(AtomicI64::new(0));
    let opts = opts(&relay);
    let mut clients = JoinSet::new();
    for id in 0..CLIENTS {
        let client = Tagged {
            opts: opts.clone(),
            id,
            rows: 0,
            is_unsure: false,
            left: Arc::clone(&left),
            died: Arc::clone(&died),
            random: fastrand::Rng::with_seed(id.unsigned_abs()),
        };
        clients.spawn(client.run());
    }
    let all = async {
        let mut most = 0;
        let mut deaths = tokio::time::interval(DEATHS);
        loop {
            tokio::select! {
                client = clients.join_next() => match client {
                    Some(client) => client.expect("a client found something wrong"),
                    None => return most,
                },
                _ = deaths.tick() => most = most.max(server.kill("app").await),
            }
        }
    };
    let most = tokio::time::timeout(deadline, all)
        .await
        .expect("the clients hang");
    let died = died.load(Ordering::Relaxed);
    println!("{most} connections at most, {died} sessions died");
    assert!(died > 0, "none died in time");
    // One that is closed while another is opened may be seen as well.
    let limit = 2 * CONNECTIONS;
    assert!((1..=limit).contains(&most), "{most} connections");
    let open = "SELECT COUNT(*) FROM information_schema.INNODB_TRX";
    eventually("no transaction is open", DEADLINE, async || {
        server.sql(open).await == "0"
    })
    .await;
    let metrics = relay.metrics().await;
    assert_eq!(metrics.sum("leaseway_plugin_faults_total"), 0.0);
    let reused = metrics.sum("leaseway_pool_connections_opened_total");
    println!("{reused} connections opened for {transactions} transactions");
}
