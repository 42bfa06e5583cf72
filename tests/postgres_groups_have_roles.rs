//! A group of PostgreSQL servers is for a purpose: what only reads goes to replicas, all else to the primary,
//! whichever server that is, and a server that is the wrong one serves nobody.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "clients/postgres.rs"]
mod clients;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use clients::{ask, assert_told, bounded};
use leaseway_tests::postgres::{PostgresServer, url};
use leaseway_tests::relay::Relay;
use leaseway_tests::wait::{GENEROUS, eventually};
use tokio::task::JoinHandle;
use tokio_postgres::{Client, Error, NoTls};

/// Each server is in both groups.
const CONFIG: &str = r#"
    [plugins.pg]
    module = "builtin:postgres"

    [plugins.pg.config]
    pooling = "transaction"
    check-user = "postgres"
    roles = { main = "primary", replicas = "replica" }

    [plugins.pg.config.users]
    app = { password = "secret" }
    postgres = { auth = "trust" }

    [plugins.pg.config.databases]
    shop = { group = "main", read-only-group = "replicas" }
    shop-ro = { dbname = "shop", group = "replicas" }

    [upstreams.main]
    endpoints = [{servers}]
    connect-timeout = "500ms"
    pool = { max-connections = 8, wait-timeout = "2s" }
    probe = { interval = "{interval}", timeout = "200ms", fall = 3, rise = 2 }

    [upstreams.replicas]
    endpoints = [{servers}]
    connect-timeout = "500ms"
    pool = { max-connections = 8, wait-timeout = "2s" }
    probe = { interval = "{interval}", timeout = "200ms", fall = 3, rise = 2 }

    [listeners.db]
    bind = "{listen}"
    plugin = "pg"
    upstreams = ["main", "replicas"]

    [admin]
    bind = "{admin}"
"#;

/// Of health checks.
const OFTEN: &str = "200ms";

/// None comes while a test runs.
const NEVER: &str = "1h";

/// Between two attempts of a client that has been turned away.
const PACE: Duration = Duration::from_millis(20);

/// Transactions of a client, before it leaves and comes again.
const STAY: usize = 20;

async fn primary() -> PostgresServer {
    let server = PostgresServer::start().await;
    let table = "CREATE TABLE done (client int, n int, PRIMARY KEY (client, n));
        GRANT ALL ON done TO app";
    server.sql("shop", table).await;
    server
}

async fn relay_to(servers: &[&PostgresServer], interval: &str) -> Relay {
    let endpoints: Vec<String> = servers
        .iter()
        .map(|server| format!("\"{}\"", server.addr()))
        .collect();
    let values = [("servers", &*endpoints.join(", ")), ("interval", interval)];
    Relay::start_with(CONFIG, &values).await
}

fn port_of(server: &PostgresServer) -> i32 {
    server.addr().port().into()
}

async fn connect(relay: &Relay, database: &str) -> Result<Client, Error> {
    clients::connect(&url(relay.addr(), "app", "secret", database)).await
}

/// Which server a query goes to.
async fn port(client: &Client) -> Result<i32, Error> {
    ask(client, "SELECT current_setting('port')::int").await
}

/// Which server a transaction goes to that begins like this.
async fn port_in(client: &Client, begin: &str) -> Result<i32, Error> {
    bounded(client.batch_execute(begin)).await?;
    let port = port(client).await?;
    bounded(client.batch_execute("COMMIT")).await?;
    Ok(port)
}

/// One client of a crowd, as the others see it.
#[derive(Default)]
struct Tally {
    served: AtomicUsize,
    told: AtomicUsize,
    /// The server that it has been served by last.
    port: AtomicUsize,
}

impl Tally {
    fn is_served_by(&self, port: i32) {
        let port = usize::try_from(port).expect("a port");
        self.port.store(port, Ordering::Relaxed);
        self.served.fetch_add(1, Ordering::Relaxed);
    }
}

/// Clients that work, leave and come again, whatever happens.
struct Crowd {
    tallies: Vec<Arc<Tally>>,
    over: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Vec<String>>>,
}

impl Crowd {
    const SIZE: usize = 4;

    /// Of clients that read in transactions which say so, or that write.
    fn start(relay: &Relay, reads: bool) -> Self {
        let mut crowd = Self {
            tallies: Vec::new(),
            over: Arc::default(),
            clients: Vec::new(),
        };
        for id in 0..Self::SIZE {
            let member = Member {
                url: url(relay.addr(), "app", "secret", "shop"),
                id,
                next: 0,
                tally: Arc::default(),
                confirmed: Vec::new(),
            };
            crowd.tallies.push(Arc::clone(&member.tally));
            let member = member.run(reads, Arc::clone(&crowd.over));
            crowd.clients.push(tokio::spawn(member));
        }
        crowd
    }

    /// Waits until each has been served by one of these with something that it has begun since.
    async fn served_by(&self, servers: &[&PostgresServer]) {
        let ports: Vec<usize> = servers
            .iter()
            .map(|server| server.addr().port().into())
            .collect();
        let before: Vec<usize> = self.counts(|tally| &tally.served);
        self.wait("all are served", |at, tally| {
            let is_of_these = ports.contains(&tally.port.load(Ordering::Relaxed));
            // One may have been under way.
            is_of_these && tally.served.load(Ordering::Relaxed) > before[at] + 1
        })
        .await;
    }

    /// Waits until each has been told of so many failures.
    async fn told(&self, times: usize) {
        let before: Vec<usize> = self.counts(|tally| &tally.told);
        self.wait("all are told", |at, tally| {
            tally.told.load(Ordering::Relaxed) >= before[at] + times
        })
        .await;
    }

    async fn wait(&self, what: &str, is_so: impl Fn(usize, &Tally) -> bool) {
        eventually(what, GENEROUS, async || {
            let has_ended = self.clients.iter().any(JoinHandle::is_finished);
            assert!(!has_ended, "a client has found something wrong");
            let mut tallies = self.tallies.iter().enumerate();
            tallies.all(|(at, tally)| is_so(at, tally))
        })
        .await;
    }

    fn counts(&self, count: impl Fn(&Tally) -> &AtomicUsize) -> Vec<usize> {
        let tallies = self.tallies.iter();
        tallies
            .map(|tally| count(tally).load(Ordering::Relaxed))
            .collect()
    }

    /// Ends all clients. Returns the rows that have been confirmed.
    async fn end(self) -> Vec<String> {
        self.over.store(true, Ordering::Relaxed);
        let mut confirmed = Vec::new();
        for client in self.clients {
            confirmed.extend(
                bounded(client)
                    .await
                    .expect("a client found something wrong"),
            );
        }
        confirmed
    }
}

/// One of the crowd.
struct Member {
    url: String,
    id: usize,
    /// No two attempts write the same row, so one that is carried out twice fails.
    next: usize,
    tally: Arc<Tally>,
    confirmed: Vec<String>,
}

impl Member {
    async fn run(mut self, reads: bool, over: Arc<AtomicBool>) -> Vec<String> {
        while !over.load(Ordering::Relaxed) {
            if let Err(why) = self.session(reads).await {
                assert_told(&why);
                self.tally.told.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(PACE).await;
            }
        }
        self.confirmed
    }

    async fn session(&mut self, reads: bool) -> Result<(), Error> {
        let client = clients::connect(&self.url).await?;
        for _ in 0..STAY {
            let port = match reads {
                true => port_in(&client, "BEGIN READ ONLY").await?,
                false => self.write(&client).await?,
            };
            self.tally.is_served_by(port);
        }
        Ok(())
    }

    /// Writes a row, and returns on which server.
    async fn write(&mut self, client: &Client) -> Result<i32, Error> {
        let (id, n) = (self.id, self.next);
        self.next += 1;
        let values = format!("{id}, {n}");
        let sql =
            format!("INSERT INTO done VALUES ({values}) RETURNING current_setting('port')::int");
        let port = ask(client, &sql).await?;
        self.confirmed.push(format!("{id}|{n}"));
        Ok(port)
    }
}

/// And if it is gone, to another; those who write notice nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_only_reads_goes_to_a_replica() {
    let primary = primary().await;
    let (mut first, mut second) = tokio::join!(primary.standby(), primary.standby());
    let relay = relay_to(&[&primary, &first, &second], OFTEN).await;
    each_transaction_goes_where_it_belongs(&relay, &primary, &[&first, &second]).await;

    let (readers, writers) = (Crowd::start(&relay, true), Crowd::start(&relay, false));
    readers.served_by(&[&first, &second]).await;
    writers.served_by(&[&primary]).await;
    first.crash().await;
    readers.served_by(&[&second]).await;
    second.stop().await;
    readers.told(2).await;
    let client = connect(&relay, "shop").await.expect("it is greeted");
    assert_eq!(port(&client).await.unwrap(), port_of(&primary));
    let why = port_in(&client, "BEGIN READ ONLY").await;
    assert_eq!(
        &why.unwrap_err().code().expect("an answer").code()[..2],
        "08"
    );
    first.restart().await;
    readers.served_by(&[&first]).await;
    second.restart().await;
    readers.served_by(&[&second]).await;
    first.pause().await;
    readers.served_by(&[&second]).await;
    readers.served_by(&[&second]).await;
    first.resume().await;
    readers.served_by(&[&first]).await;
    writers.served_by(&[&primary]).await;
    let told = writers.counts(|tally| &tally.told);
    assert_eq!(
        told,
        [0; Crowd::SIZE],
        "writers have been told of a failure"
    );
    readers.end().await;
    writers.end().await;
}

async fn each_transaction_goes_where_it_belongs(
    relay: &Relay,
    primary: &PostgresServer,
    replicas: &[&PostgresServer],
) {
    let replicas: HashSet<i32> = replicas.iter().map(|server| port_of(server)).collect();
    let client = connect(relay, "shop").await.unwrap();
    let own = client.prepare("SELECT $1 || current_setting('port') || current_setting('TimeZone')");
    let own = own.await.unwrap();
    client
        .batch_execute("SET TimeZone = 'Etc/GMT+7'")
        .await
        .unwrap();
    let mut seen = HashSet::new();
    for _ in 0..10 {
        for begin in [
            "BEGIN READ ONLY",
            "begin isolation level repeatable read, read only;",
            "START TRANSACTION READ ONLY",
        ] {
            seen.insert(port_in(&client, begin).await.unwrap());
        }
        for begin in ["BEGIN", "START TRANSACTION READ WRITE", "BEGIN; SELECT 1"] {
            let port = port_in(&client, begin).await.unwrap();
            assert_eq!(port, port_of(primary), "{begin}");
        }
        assert_eq!(port(&client).await.unwrap(), port_of(primary));
    }
    assert_eq!(seen, replicas);
    // What is the client's own goes with it.
    for begin in ["BEGIN", "BEGIN READ ONLY"] {
        bounded(client.query_typed(begin, &[])).await.unwrap();
        let port = port(&client).await.unwrap();
        assert_eq!(replicas.contains(&port), begin != "BEGIN", "{begin}");
        let row = bounded(client.query_one(&own, &[&"on "])).await.unwrap();
        assert_eq!(row.get::<_, &str>(0), format!("on {port}Etc/GMT+7"));
        bounded(client.query_typed("COMMIT", &[])).await.unwrap();
    }
    // And so does who wants its query cancelled.
    bounded(client.batch_execute("BEGIN READ ONLY"))
        .await
        .unwrap();
    let token = client.cancel_token();
    let cancel = async || token.cancel_query(NoTls).await.unwrap();
    let cancelled = bounded(async {
        let asked = client.batch_execute("SELECT pg_sleep(600)");
        tokio::pin!(asked);
        loop {
            tokio::select! {
                outcome = &mut asked => break outcome,
                // One that comes too early is for nothing.
                () = tokio::time::sleep(PACE) => cancel().await,
            }
        }
    });
    let code = cancelled.await.unwrap_err().code().cloned();
    assert_eq!(code.expect("the server's own").code(), "57014");
    bounded(client.batch_execute("ROLLBACK")).await.unwrap();
    // And who has asked for the replicas gets nothing else.
    let reader = connect(relay, "shop-ro").await.unwrap();
    for begin in ["BEGIN", "BEGIN READ ONLY"] {
        let port = port_in(&reader, begin).await.unwrap();
        assert!(replicas.contains(&port), "{begin}");
    }
    let refused = reader
        .batch_execute("INSERT INTO done VALUES (-1, 0)")
        .await;
    let code = refused.unwrap_err().code().cloned();
    assert_eq!(code.expect("the server's own").code(), "25006");
}

/// Before anybody has checked it as well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_find_the_primary_wherever_it_is() {
    let mut old = primary().await;
    let new = old.standby().await;
    let relay = relay_to(&[&old, &new], NEVER).await;
    for _ in 0..20 {
        let client = connect(&relay, "shop").await.unwrap();
        assert_eq!(port(&client).await.unwrap(), port_of(&old));
        assert_eq!(
            port_in(&client, "BEGIN READ ONLY").await.unwrap(),
            port_of(&new)
        );
    }
    drop(relay);

    let relay = relay_to(&[&old, &new], OFTEN).await;
    let patient = connect(&relay, "shop").await.unwrap();
    assert_eq!(port(&patient).await.unwrap(), port_of(&old));
    let writers = Crowd::start(&relay, false);
    writers.served_by(&[&old]).await;
    old.stop().await;
    // Which would refuse what they write.
    writers.told(20).await;
    new.promote().await;
    writers.served_by(&[&new]).await;
    assert_eq!(port(&patient).await.unwrap(), port_of(&new));
    let why = port_in(&patient, "BEGIN READ ONLY").await;
    assert_eq!(
        &why.unwrap_err().code().expect("an answer").code()[..2],
        "08"
    );
    let confirmed = writers.end().await;
    let stored = new.sql("shop", "SELECT client, n FROM done").await;
    let stored: HashSet<&str> = stored.lines().collect();
    for row in &confirmed {
        assert!(stored.contains(&**row), "{row} was confirmed and is lost");
    }
}
