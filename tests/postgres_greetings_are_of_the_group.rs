//! A client hears how the servers of its own group greet, and not how others do, also where the relay greets it
//! by what it knows of an earlier one.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::net::SocketAddr;

use leaseway_tests::postgres::{PostgresServer, url};
use leaseway_tests::relay::Relay;
use leaseway_tests::wait::{GENEROUS, eventually};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_postgres::tls::NoTlsStream;
use tokio_postgres::{Client, Connection, NoTls};

/// The first listener is called as the group is that it goes to only where that is said.
const CONFIG: &str = r#"
    [plugins.pg]
    module = "builtin:postgres"

    [plugins.pg.config]
    pooling = "transaction"
    users = { app = { password = "secret" } }

    [plugins.pg.config.databases]
    shop = {}
    shop-east = { dbname = "shop", group = "east" }
    shop-west = { dbname = "shop", group = "west" }
    shop-both = { dbname = "shop", group = "east", read-only-group = "west" }

    [upstreams.east]
    endpoints = ["{server-east}"]
    pool = { max-connections = 1 }

    [upstreams.west]
    endpoints = ["{server-west}"]
    pool = { max-connections = 1 }

    [listeners.west]
    bind = "{listen}"
    plugin = "pg"
    upstreams = ["east", "west"]

    [listeners.other]
    bind = "{listen-other}"
    plugin = "pg"
    upstreams = ["west", "east"]

    [admin]
    bind = "{admin}"
"#;

/// Of these one follows a client and the other does not.
const REPORTED: [&str; 2] = ["TimeZone", "IntervalStyle"];

const EAST: [&str; 2] = ["Asia/Tokyo", "iso_8601"];
const WEST: [&str; 2] = ["America/New_York", "postgres_verbose"];

/// A server that reports these.
async fn server(values: [&str; 2]) -> PostgresServer {
    let server = PostgresServer::start().await;
    for (name, value) in REPORTED.iter().zip(values) {
        let set = format!("ALTER SYSTEM SET {name} = '{value}'");
        server.sql("postgres", &set).await;
    }
    server.sql("postgres", "SELECT pg_reload_conf()").await;
    eventually("they are so", GENEROUS, async || {
        let show = "SELECT current_setting('TimeZone'), current_setting('IntervalStyle')";
        server.sql("postgres", show).await == values.join("|")
    })
    .await;
    server
}

/// A client, and what it has heard of the server.
struct Heard {
    client: Client,
    connection: Connection<TcpStream, NoTlsStream>,
}

impl Heard {
    async fn connect(to: SocketAddr, database: &str) -> Self {
        let config: tokio_postgres::Config = url(to, "app", "secret", database).parse().unwrap();
        let stream = TcpStream::connect(to).await.unwrap();
        let login = timeout(GENEROUS, config.connect_raw(stream, NoTls)).await;
        let (client, connection) = login.expect("it waits for ever").expect("it is let in");
        Self { client, connection }
    }

    async fn run(&mut self, sql: &str) {
        let run = timeout(GENEROUS, self.client.batch_execute(sql));
        tokio::select! {
            done = run => done.expect("it waits for ever").expect("it is done"),
            ended = &mut self.connection => panic!("it has ended: {ended:?}"),
        }
    }

    fn values(&self) -> [&str; 2] {
        REPORTED.map(|name| self.connection.parameter(name).expect("it is reported"))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_hears_of_its_own_server() {
    let (east, west) = tokio::join!(server(EAST), server(WEST));
    let values = [
        ("server-east", &*east.addr().to_string()),
        ("server-west", &*west.addr().to_string()),
    ];
    let relay = Relay::start_with(CONFIG, &values).await;
    let (first, second) = (relay.addr(), relay.addr_of("listen-other"));
    let places = [
        (first, "shop", EAST),
        (first, "shop-west", WEST),
        (first, "shop-both", EAST),
        (first, "shop-east", EAST),
        (second, "shop-west", WEST),
        (second, "shop", WEST),
        (second, "shop-east", EAST),
    ];
    for round in 0..3 {
        for (to, database, expected) in places {
            let mut client = Heard::connect(to, database).await;
            assert_eq!(client.values(), expected, "{database} in round {round}");
            // Which may open a connection of another group; what the client has goes with it.
            for sql in ["BEGIN READ ONLY", "SELECT 1", "COMMIT", "SELECT 1"] {
                client.run(sql).await;
            }
            assert_eq!(client.values()[0], expected[0], "{database}: {round}");
            // It tells nobody else.
            client.run("SET TimeZone = 'Europe/Berlin'").await;
            assert_eq!(client.values()[0], "Europe/Berlin", "{database}");
        }
    }
    // All connections are busy, so that nobody can ask.
    let mut busy = Vec::new();
    for to in [first, second] {
        let mut client = Heard::connect(to, "shop").await;
        client.run("BEGIN").await;
        busy.push(client);
    }
    for (to, database, expected) in places {
        let client = Heard::connect(to, database).await;
        assert_eq!(client.values(), expected, "{database}");
    }
}
