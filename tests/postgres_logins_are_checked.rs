//! Users come from PgBouncer's own file, by each kind of secret that it may hold; who has the wrong one hears what who
//! does not exist hears.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::net::SocketAddr;

use leaseway_tests::dir::TempDir;
use leaseway_tests::pgwire::{self, Raw};
use leaseway_tests::postgres::{PostgresServer, url};
use leaseway_tests::relay::Relay;
use leaseway_tests::tool::{Output, psql};
use leaseway_tests::wait::GENEROUS;

const CONFIG: &str = r#"
    [plugins.pg]
    module = "builtin:postgres"
    config = { pooling = "transaction", auth-file = "{folder}/userlist.txt" }

    [plugins.stale]
    module = "builtin:postgres"
    config = { pooling = "transaction", auth-file = "{folder}/stale.txt" }

    [upstreams.db]
    endpoints = ["{server}"]
    pool = { max-connections = 1 }

    [listeners.db]
    bind = "{listen}"
    plugin = "pg"
    upstreams = ["db"]

    [listeners.stale]
    bind = "{listen-stale}"
    plugin = "stale"
    upstreams = ["db"]

    [admin]
    bind = "{admin}"
"#;

/// What the server itself keeps of this user's password.
async fn verifier(server: &PostgresServer, user: &str) -> String {
    let sql = format!("SELECT rolpassword FROM pg_authid WHERE rolname = '{user}'");
    server.sql("postgres", &sql).await
}

async fn start() -> (PostgresServer, Relay, TempDir) {
    let server = PostgresServer::start().await;
    // By `pg_hba.conf` these two log in by SCRAM, `old` by MD5 and `plain` by its password.
    let app = verifier(&server, "app").await;
    let old = verifier(&server, "old").await;
    assert!(app.starts_with("SCRAM-SHA-256$") && old.starts_with("md5"));
    let folder = TempDir::new("userlist");
    let list = format!(
        "; as PgBouncer has it\n\"app\" \"{app}\"\n\"other\" \"secret\" \"\"\n\n\
         \"old\" \"{old}\"\n\"plain\" \"plain-secret\"\n\"postgres\" \"\"\n"
    );
    std::fs::write(folder.path().join("userlist.txt"), list).unwrap();
    // The same password, with another salt than the server's.
    let stale = verifier(&server, "other").await;
    assert!(stale.starts_with("SCRAM-SHA-256$") && stale != app);
    let stale = format!("\"app\" \"{stale}\"\n");
    std::fs::write(folder.path().join("stale.txt"), stale).unwrap();
    let values = [
        ("server", &*server.addr().to_string()),
        ("folder", &*folder.path().to_string_lossy()),
    ];
    let relay = Relay::start_with(CONFIG, &values).await;
    (server, relay, folder)
}

async fn log_in(to: SocketAddr, user: &str, password: &str) -> Output {
    let url = url(to, user, password, "shop");
    let ask = "SELECT current_user";
    // With the SQLSTATE, where the server is one that says it.
    psql(
        &[&url, "-AtX", "-v", "VERBOSITY=verbose", "-c", ask],
        GENEROUS,
    )
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_kind_of_secret_lets_its_user_in_and_nobody_else() {
    let (_server, relay, _folder) = start().await;
    let listener = relay.addr();
    for (user, password) in [
        ("app", "secret"),
        ("other", "secret"),
        ("old", "old-secret"),
        ("plain", "plain-secret"),
    ] {
        for _ in 0..2 {
            let said = log_in(listener, user, password).await;
            assert_eq!(said.stdout, format!("{user}\n"), "{}", said.stderr);
        }
        for wrong in ["wrong", "Secret", "secret "] {
            let code = refused(listener, user, wrong).await;
            assert_eq!(code, "28P01", "{user} by {wrong:?}");
        }
    }
    // What the first of each has been logged in by serves the second, too.
    let opened = "leaseway_pool_connections_opened_total";
    assert_eq!(relay.metric_sum(opened).await, 4.0);
    for nobody in ["nobody", "postgres", "App"] {
        let code = refused(listener, nobody, "secret").await;
        assert_eq!(code, "28P01", "{nobody}");
    }
    // The relay knows who it is. What it has learned of the password is not enough for the server.
    let code = refused(relay.addr_of("listen-stale"), "app", "secret").await;
    assert_eq!(code, "28P01");
    let code = refused(relay.addr_of("listen-stale"), "app", "wrong").await;
    assert_eq!(code, "28P01");
    let metrics = relay.metrics().await;
    assert_eq!(metrics.sum("leaseway_plugin_faults_total"), 0.0);
}

/// The SQLSTATE with which this user is turned away.
async fn refused(to: SocketAddr, user: &str, password: &str) -> String {
    let mut config: tokio_postgres::Config = url(to, user, "", "shop").parse().unwrap();
    config.password(password);
    let login = config.connect(tokio_postgres::NoTls);
    let login = tokio::time::timeout(GENEROUS, login).await;
    let why = match login.expect("nothing is said") {
        Ok((client, connection)) => {
            tokio::spawn(connection);
            let asked = client.simple_query("SELECT current_user").await;
            asked.expect_err("it is let in")
        }
        Err(why) => why,
    };
    let code = why.code().unwrap_or_else(|| panic!("{user}: {why:?}"));
    code.code().to_owned()
}

/// What is said to who has not got the password: everything, but for the name and the relay's nonce.
async fn overheard(to: SocketAddr, user: &str) -> Vec<String> {
    let mut client = Raw::connect(to).await;
    client.say(&pgwire::startup(user, "shop")).await;
    let mut said = Vec::new();
    let mut hear = |kind: u8, body: &[u8], hidden: &str| {
        let body = body.escape_ascii().to_string();
        said.push(format!(
            "{} {}",
            char::from(kind),
            body.replace(hidden, "...")
        ));
    };
    let (kind, body) = client.hear().await.expect("how to log in");
    hear(kind, &body, user);
    client.say(&pgwire::scram_begin("its-own")).await;
    let (kind, body) = client.hear().await.expect("a challenge");
    let answer = String::from_utf8(body[4..].to_vec()).expect("it is text");
    let nonce = answer.split(',').next().expect("a nonce").to_owned();
    assert!(nonce.starts_with("r=its-own"));
    hear(kind, &body, &nonce);
    client.say(&pgwire::scram_guess(&answer)).await;
    while let Some((kind, body)) = client.hear().await {
        hear(kind, &body, user);
    }
    said
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_learns_who_exists() {
    let (_server, relay, _folder) = start().await;
    /// It differs from user to user, and not from time to time.
    fn without_salt(mut said: Vec<String>) -> Vec<String> {
        let salt = said[1].split("s=").nth(1).expect("a salt");
        let salt = salt.split(',').next().expect("its end").to_owned();
        assert_eq!(salt.len(), 24);
        said[1] = said[1].replace(&salt, "...");
        said
    }
    let listener = relay.addr();
    let expected = without_salt(overheard(listener, "nobody").await);
    assert_eq!(expected.len(), 3, "{expected:?}");
    assert!(expected[2].contains("C28P01"), "{expected:?}");
    // By a verifier, a password, none at all, and two who do not exist.
    for user in ["app", "other", "plain", "postgres", "nobody", "no one"] {
        let said = overheard(listener, user).await;
        // Whichever worker it comes to.
        for _ in 0..8 {
            assert_eq!(said, overheard(listener, user).await, "{user}");
        }
        assert_eq!(without_salt(said), expected, "{user}");
    }
}
