//! What clients of MySQL do every day works through the relay as it does without it, however it pools.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::HashSet;
use std::time::Duration;

use leaseway_tests::mariadb::{MariaServer, client, url};
use leaseway_tests::relay::Relay;
use leaseway_tests::{python, tool};
use mysql_async::prelude::Queryable;
use mysql_async::{ChangeUserOpts, Conn, Error, Opts, OptsBuilder};

/// The modes of pooling; each is in the config as a listener with a pool of its own.
const MODES: &[&str] = &["session", "transaction", SPARING];

/// Transactions, with a reset behind only those that seem to need one.
const SPARING: &str = "sparing";

/// Of one mode's pool.
const CONNECTIONS: usize = 4;

const SOON: Duration = Duration::from_secs(60);
const DEADLINE: Duration = Duration::from_secs(180);

const CONFIG: &str = r#"
    [plugins.{mode}]
    module = "{plugins}/mysql.wasm"

    [plugins.{mode}.config]
    pooling = "{pooling}"
    reset = "{reset}"
    get-server-public-key = true

    [plugins.{mode}.config.users]
    app = { password = "secret" }
    sha = { password = "hidden", server-user = "other", server-password = "secret" }

    [upstreams.{mode}]
    endpoints = ["{server}"]
    pool = { max-connections = {connections}, wait-timeout = "60s" }

    [listeners.{mode}]
    bind = "{listen-{mode}}"
    plugin = "{mode}"
    upstreams = ["{mode}"]
"#;

const ADMIN: &str = r#"
    [admin]
    bind = "{admin}"
"#;

/// A server, and a relay in front of it.
struct Site {
    server: MariaServer,
    relay: Relay,
}

impl Site {
    async fn start() -> Self {
        let server = MariaServer::start().await;
        let modes: String = MODES
            .iter()
            .map(|mode| {
                let (pooling, reset) = match *mode {
                    SPARING => ("transaction", "when-needed"),
                    pooling => (pooling, "always"),
                };
                let config = CONFIG.replace("{mode}", mode);
                config
                    .replace("{pooling}", pooling)
                    .replace("{reset}", reset)
            })
            .collect();
        let values = [
            ("server", &*server.addr().to_string()),
            ("connections", &*CONNECTIONS.to_string()),
        ];
        let relay = Relay::start_with(&(modes + ADMIN), &values).await;
        Self { server, relay }
    }

    fn address(&self, mode: &str) -> std::net::SocketAddr {
        println!("pooling by {mode}");
        self.relay.addr_of(&format!("listen-{mode}"))
    }

    fn opts(&self, mode: &str) -> OptsBuilder {
        let url = url(self.address(mode), "app", "secret", "shop");
        OptsBuilder::from_opts(Opts::from_url(&url).unwrap()).prefer_socket(false)
    }

    async fn connect(&self, mode: &str) -> Conn {
        Conn::new(self.opts(mode)).await.expect("it is let in")
    }

    /// What the client's program prints.
    async fn mariadb(&self, mode: &str, args: &[&str]) -> tool::Output {
        let mut all = client(self.address(mode), "app", "secret");
        all.extend(args.iter().map(|arg| (*arg).to_owned()));
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        tool::mariadb(&all, SOON).await
    }

    /// Nobody has exceeded the pools, and no plugin has made a mistake.
    async fn end(self) {
        for user in ["app", "other"] {
            let connections = self.server.connections(user).await;
            assert!(connections <= CONNECTIONS * MODES.len(), "{connections}");
        }
        let faults = "leaseway_plugin_faults_total";
        assert_eq!(self.relay.metric_sum(faults).await, 0.0);
    }
}

fn code(outcome: Result<(), Error>) -> u16 {
    match outcome {
        Err(Error::Server(why)) => why.code,
        other => panic!("{other:?} is no error of a server"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_client_program_works() {
    let site = Site::start().await;
    for mode in MODES {
        let script = "
            DROP TABLE IF EXISTS words;
            CREATE TABLE words (id int PRIMARY KEY AUTO_INCREMENT, word text);
            INSERT INTO words (word) VALUES ('Grüße'), ('世界');
            SELECT LAST_INSERT_ID();
            SELECT word FROM words ORDER BY id;
            DROP PROCEDURE IF EXISTS both_ways;
            DELIMITER //
            CREATE PROCEDURE both_ways() BEGIN SELECT 1; SELECT 2; END //
            DELIMITER ;
            CALL both_ways();
            SHOW TABLES;
            USE store
            SELECT DATABASE();
            SET @x = 5; SELECT @x;
        ";
        let args = [
            "--batch",
            "--skip-column-names",
            "--default-character-set=utf8mb4",
        ];
        let file = std::env::temp_dir().join(format!("leaseway-{}-{mode}.sql", std::process::id()));
        std::fs::write(&file, script).unwrap();
        let source = format!("source {}", file.display());
        let said = site
            .mariadb(mode, &[&args[..], &["shop", "--execute", &source]].concat())
            .await;
        std::fs::remove_file(&file).unwrap();
        assert!(said.success, "{}", said.stderr);
        let lines: Vec<&str> = said.stdout.lines().collect();
        assert_eq!(
            lines,
            ["1", "Grüße", "世界", "1", "2", "words", "store", "5"]
        );
        // It reads all tables and columns first.
        let said = site
            .mariadb(mode, &["--auto-rehash", "shop", "--execute", "SELECT 7"])
            .await;
        assert!(said.success && said.stdout.contains('7'), "{}", said.stderr);
        // Errors come with their numbers.
        let said = site
            .mariadb(mode, &["shop", "--execute", "SELECT nothing"])
            .await;
        assert!(
            said.stderr.contains("ERROR 1054 (42S22)"),
            "{}",
            said.stderr
        );
        let local = "LOAD DATA LOCAL INFILE '/etc/hostname' INTO TABLE words";
        let said = site
            .mariadb(mode, &["--local-infile=1", "shop", "--execute", local])
            .await;
        assert!(!said.success, "a local file was read");
    }
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mysqlslap_runs_through() {
    let site = Site::start().await;
    for mode in MODES {
        let mut args = client(site.address(mode), "app", "secret");
        let concurrency = match *mode {
            "session" => CONNECTIONS,
            _ => 20,
        };
        args.extend(
            [
                "--create-schema=shop",
                "--no-drop",
                "--auto-generate-sql",
                "--auto-generate-sql-add-autoincrement",
                "--auto-generate-sql-load-type=mixed",
                "--auto-generate-sql-unique-write-number=10",
                "--number-of-queries=2000",
                "--commit=5",
            ]
            .map(str::to_owned),
        );
        args.push(format!("--concurrency={concurrency}"));
        // It makes the schema itself.
        site.server.sql("DROP DATABASE shop").await;
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        // Whoever makes it must not be in it.
        let said = tool::mariadb_slap(&args, DEADLINE).await;
        assert!(said.success, "{}{}", said.stdout, said.stderr);
        println!("{}", said.stdout);
    }
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_packets_pass_whole() {
    let site = Site::start().await;
    site.server
        .sql("SET GLOBAL max_allowed_packet = 67108864")
        .await;
    for mode in MODES {
        let mut conn = site.connect(mode).await;
        // On both sides of a packet's limit, and over it twice.
        for length in [0xff_ffff - 10, 0xff_ffff, 0x100_0000 + 5, 40 << 20] {
            let text = "x".repeat(length);
            let sent: Option<u64> = conn
                .query_first(format!("SELECT LENGTH('{text}')"))
                .await
                .unwrap();
            assert_eq!(sent, Some(length as u64));
            let got: Option<String> = conn
                .query_first(format!("SELECT REPEAT('y', {length})"))
                .await
                .unwrap();
            assert_eq!(got.unwrap().len(), length);
        }
        conn.disconnect().await.unwrap();
    }
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_used_again_and_again() {
    let site = Site::start().await;
    let (mut one, mut other) = (site.connect(SPARING).await, site.connect(SPARING).await);
    let id = "SELECT CONNECTION_ID()";
    let mut ids: HashSet<u64> = HashSet::new();
    for _ in 0..20 {
        ids.extend(other.query_first::<u64, _>(id).await.unwrap());
        ids.extend(one.query_first::<u64, _>(id).await.unwrap());
    }
    assert!(ids.len() <= 2, "{ids:?}");
    one.query_drop("BEGIN").await.unwrap();
    let own: Option<u64> = one.query_first(id).await.unwrap();
    for _ in 0..10 {
        assert_ne!(other.query_first(id).await.unwrap(), own);
    }
    assert_eq!(one.query_first(id).await.unwrap(), own);
    one.query_drop("COMMIT").await.unwrap();
    // What is left of it is gone when its client is.
    one.query_drop("SET @x = 1").await.unwrap();
    one.query_drop("SELECT GET_LOCK('here', 0)").await.unwrap();
    one.disconnect().await.unwrap();
    let is_free = "SELECT IS_FREE_LOCK('here')";
    while other.query_first(is_free).await.unwrap() != Some(1_u8) {}
    // Which keeps the connection, whoever had it before.
    let x: Option<Option<u8>> = other.query_first("SELECT @x").await.unwrap();
    assert_eq!(x, Some(None));
    other.disconnect().await.unwrap();
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statements_are_prepared_and_transactions_hold() {
    let site = Site::start().await;
    for mode in MODES {
        let mut conn = site.connect(mode).await;
        conn.query_drop("DROP TABLE IF EXISTS n").await.unwrap();
        conn.query_drop("CREATE TABLE n (n int PRIMARY KEY) ENGINE=InnoDB")
            .await
            .unwrap();
        let insert = conn.prep("INSERT INTO n VALUES (?)").await.unwrap();
        for n in 0..10 {
            conn.exec_drop(&insert, (n,)).await.unwrap();
        }
        assert_eq!(code(conn.exec_drop(&insert, (1,)).await), 1062);
        conn.close(insert).await.unwrap();
        let rows: Vec<i32> = conn
            .exec("SELECT n FROM n WHERE n > ? ORDER BY n", (6,))
            .await
            .unwrap();
        assert_eq!(rows, [7, 8, 9]);
        let mut transaction = conn.start_transaction(Default::default()).await.unwrap();
        transaction.query_drop("DELETE FROM n").await.unwrap();
        assert_eq!(
            code(transaction.query_drop("SELECT nothing FROM n").await),
            1054
        );
        let left: Option<u8> = transaction
            .query_first("SELECT COUNT(*) FROM n")
            .await
            .unwrap();
        assert_eq!(left, Some(0));
        transaction.rollback().await.unwrap();
        // Without autocommit, an error may leave a transaction open.
        conn.query_drop("SET autocommit = 0").await.unwrap();
        conn.query_drop("INSERT INTO n VALUES (100)").await.unwrap();
        assert_eq!(
            code(conn.query_drop("INSERT INTO n VALUES (100)").await),
            1062
        );
        conn.query_drop("ROLLBACK").await.unwrap();
        assert_eq!(
            code(conn.query_drop("INSERT INTO n VALUES (1)").await),
            1062
        );
        conn.query_drop("ROLLBACK").await.unwrap();
        let left: Option<u8> = conn.query_first("SELECT COUNT(*) FROM n").await.unwrap();
        assert_eq!(left, Some(10));
        conn.query_drop("COMMIT").await.unwrap();
        conn.disconnect().await.unwrap();
    }
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn character_sets_and_databases_follow() {
    let site = Site::start().await;
    for mode in MODES {
        let mut conn = site.connect(mode).await;
        conn.query_drop("SET NAMES latin1 COLLATE latin1_bin")
            .await
            .unwrap();
        conn.query_drop("USE store").await.unwrap();
        let mut other = site.connect(mode).await;
        let sql = "SELECT @@collation_connection, @@character_set_client, DATABASE()";
        let is: Option<(String, String, String)> = other.query_first(sql).await.unwrap();
        let (collation, charset, database) = is.unwrap();
        assert!(collation.starts_with("utf8mb4"), "{collation}");
        assert_eq!((&*charset, &*database), ("utf8mb4", "shop"));
        let is: Option<(String, String, String)> = conn.query_first(sql).await.unwrap();
        let wanted = ["latin1_bin", "latin1", "store"].map(str::to_owned);
        assert_eq!(is, Some(wanted.into()));
        // As good as new, but for the database.
        conn.reset().await.unwrap();
        let is: Option<(String, String, String)> = conn.query_first(sql).await.unwrap();
        assert_eq!(is.unwrap().1, "utf8mb4");
        other.disconnect().await.unwrap();
        conn.disconnect().await.unwrap();
    }
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_may_become_somebody_else() {
    let site = Site::start().await;
    for mode in MODES {
        let mut conn = site.connect(mode).await;
        let who = "SELECT CURRENT_USER()";
        let is: Option<String> = conn.query_first(who).await.unwrap();
        assert!(is.unwrap().starts_with("app@"));
        let other = ChangeUserOpts::default()
            .with_user(Some("sha".to_owned()))
            .with_pass(Some("hidden".to_owned()))
            .with_db_name(Some("shop".to_owned()));
        conn.change_user(other).await.unwrap();
        let is: Option<String> = conn.query_first(who).await.unwrap();
        assert!(is.unwrap().starts_with("other@"));
        conn.disconnect().await.unwrap();
    }
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_who_knows_the_password_is_let_in() {
    let site = Site::start().await;
    for mode in MODES {
        for (user, password) in [
            ("app", "wrong"),
            ("app", ""),
            ("root", ""),
            ("other", "secret"),
        ] {
            let opts = site.opts(mode).user(Some(user)).pass(Some(password));
            let outcome = Conn::new(opts).await.map(drop);
            assert_eq!(code(outcome), 1045, "{user}");
        }
        let outcome = Conn::new(site.opts(mode).db_name(Some("nothing"))).await;
        assert_eq!(code(outcome.map(drop)), 1044, "{mode}");
    }
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pymysql_works_as_ever() {
    let site = Site::start().await;
    for mode in MODES {
        let port = site.address(mode).port().to_string();
        let said = python::script("pymysql_as_ever", &[&port, mode], DEADLINE).await;
        assert!(said.success, "{}{}", said.stdout, said.stderr);
        println!("{}", said.stdout);
    }
    site.end().await;
}
