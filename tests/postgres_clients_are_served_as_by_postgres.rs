//! PostgreSQL's own clients work over few pooled connections as they do without the relay.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use leaseway_tests::postgres::{PostgresServer, url};
use leaseway_tests::relay::Relay;
use leaseway_tests::tool::{Output, pgbench, psql};
use leaseway_tests::wait::{GENEROUS, eventually};

const CONFIG: &str = r#"
    [plugins.pg]
    module = "builtin:postgres"

    [plugins.pg.config]
    pooling = "{pooling}"
    check-user = "postgres"

    [plugins.pg.config.users]
    postgres = { auth = "trust" }
    app = { password = "secret" }
    other = { auth = "trust", server-password = "wrong" }
    plain = { password = "plain-secret", auth = "password" }
    old = { password = "old-secret", auth = "md5" }

    [upstreams.db]
    endpoints = ["{server}"]
    pool = { max-connections = {connections}, wait-timeout = "60s" }
    probe = { interval = "500ms", timeout = "500ms" }

    [listeners.db]
    bind = "{listen}"
    plugin = "pg"
    upstreams = ["db"]

    [admin]
    bind = "{admin}"
"#;

const SOON: Duration = Duration::from_secs(60);

async fn start(pooling: &str, connections: usize) -> (PostgresServer, Relay) {
    let server = PostgresServer::start().await;
    let values = [
        ("pooling", pooling),
        ("server", &*server.addr().to_string()),
        ("connections", &*connections.to_string()),
    ];
    let relay = Relay::start_with(CONFIG, &values).await;
    (server, relay)
}

/// Runs commands by psql through the relay.
async fn sql(relay: &Relay, user: &str, password: &str, commands: &[&str]) -> Output {
    let url = url(relay.addr(), user, password, "shop");
    let mut args = vec![&*url, "-AtX"];
    for command in commands {
        args.extend(["-c", command]);
    }
    psql(&args, SOON).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_prove_who_they_are_by_each_method() {
    let (_server, relay) = start("transaction", 5).await;
    for (user, password) in [
        ("postgres", ""),
        ("app", "secret"),
        ("plain", "plain-secret"),
        ("old", "old-secret"),
    ] {
        let said = sql(&relay, user, password, &["SELECT current_user, 'Grüße'"]).await;
        assert_eq!(said.stdout, format!("{user}|Grüße\n"), "{}", said.stderr);
        if password.is_empty() {
            continue;
        }
        let refused = sql(&relay, user, "wrong", &["SELECT 1"]).await;
        let why = format!("password authentication failed for user \"{user}\"");
        assert!(
            !refused.success && refused.stderr.contains(&why),
            "{refused:?}"
        );
    }
    let refused = sql(&relay, "nobody", "wrong", &["SELECT 1"]).await;
    let why = "password authentication failed for user \"nobody\"";
    assert!(refused.stderr.contains(why), "{refused:?}");
    // What the server has against us it says itself.
    let refused = sql(&relay, "other", "", &["SELECT 1"]).await;
    let why = "password authentication failed for user \"other\"";
    assert!(refused.stderr.contains(why), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_are_the_servers_own_and_sessions_survive_them() {
    for pooling in ["transaction", "session"] {
        let (server, relay) = start(pooling, 2).await;
        let commands = [
            "SELECT 1/0",
            "BEGIN; SELECT 2",
            "SELECT nonsense",
            "SELECT 3",
            "ROLLBACK",
            "SELECT 4",
        ];
        let said = sql(&relay, "app", "secret", &commands).await;
        assert_eq!(said.stdout, "BEGIN\n2\nROLLBACK\n4\n", "{pooling}");
        for why in [
            "division by zero",
            "does not exist",
            "current transaction is aborted",
        ] {
            assert!(said.stderr.contains(why), "{pooling}: {said:?}");
        }
        let url = url(relay.addr(), "app", "secret", "nowhere");
        let refused = psql(&[&url, "-c", "SELECT 1"], SOON).await;
        let why = "database \"nowhere\" does not exist";
        assert!(refused.stderr.contains(why), "{refused:?}");
        assert!(server.backends("app").await <= 2);
    }
}

/// A hundred clients on ten connections, and the books balance at the end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pgbench_runs_without_an_error() {
    const CONNECTIONS: usize = 10;
    let (server, relay) = start("transaction", CONNECTIONS).await;
    let url = url(relay.addr(), "app", "secret", "shop");
    let made = pgbench(&["-i", "-q", &url], SOON).await;
    assert!(made.success, "{}", made.stderr);
    let mut written = 0;
    // A thread of pgbench waits for one login at a time, also while others of its clients hold connections in the
    // middle of transactions.
    for (script, logins) in [("tpcb-like", 2), ("simple-update", 1), ("select-only", 1)] {
        for protocol in ["simple", "extended", "prepared"] {
            for (connects, clients, times) in [(false, 100, 10), (true, 100, logins)] {
                let (clients_text, times_text) = (clients.to_string(), times.to_string());
                let mut args = vec!["-n", "-c", &clients_text, "-j", "4", "-t", &times_text];
                if connects {
                    args.push("-C");
                }
                args.extend(["-M", protocol, "-b", script, &url]);
                let said = pgbench(&args, SOON).await;
                assert!(said.success, "{args:?}: {}", said.stderr);
                let none = "number of failed transactions: 0 (";
                assert!(said.stdout.contains(none), "{}", said.stdout);
                assert!(server.backends("app").await <= CONNECTIONS);
                if script != "select-only" {
                    written += clients * times;
                }
            }
        }
    }
    let sums = "SELECT (SELECT sum(bbalance) FROM pgbench_branches)
        = (SELECT sum(tbalance) FROM pgbench_tellers),
        (SELECT sum(abalance) FROM pgbench_accounts) = (SELECT sum(delta) FROM pgbench_history),
        (SELECT count(*) FROM pgbench_history)";
    let balanced = format!("t|t|{written}");
    assert_eq!(server.sql("shop", sums).await, balanced);
    // Health checks open some besides, while all are leased and silent: the more, the longer it takes.
    let fresh = [("reused", "false")];
    let opened = relay
        .metrics()
        .await
        .sum_where("leaseway_leases_total", &fresh);
    assert!(opened <= 20.0, "{opened} connections were opened");
}

/// What a client sets stays with it, and nobody else sees it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_stay_with_their_client() {
    for pooling in ["transaction", "session"] {
        let (_server, relay) = start(pooling, 1).await;
        let show = "SHOW search_path";
        let set = ["SET search_path = mine", show, "BEGIN", "COMMIT", show];
        let said = sql(&relay, "app", "secret", &set).await;
        assert_eq!(said.stdout, "SET\nmine\nBEGIN\nCOMMIT\nmine\n", "{pooling}");
        let said = sql(&relay, "app", "secret", &[show]).await;
        assert_eq!(said.stdout, "\"$user\", public\n", "{pooling}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copies_pass_either_way() {
    let (_server, relay) = start("transaction", 1).await;
    let dir = leaseway_tests::dir::TempDir::new("copy");
    let file = dir.path().join("rows");
    let rows: String = (0..20_000).map(|n| format!("{n}\tvalue {n}\n")).collect();
    std::fs::write(&file, &rows).unwrap();
    let copy = format!("\\copy t FROM '{}'", file.display());
    let commands = [
        "CREATE TABLE t (n int, v text)",
        &copy,
        "SELECT count(*) FROM t",
    ];
    let said = sql(&relay, "app", "secret", &commands).await;
    assert_eq!(said.stdout, "CREATE TABLE\nCOPY 20000\n20000\n", "{said:?}");
    let said = sql(&relay, "app", "secret", &["COPY t TO STDOUT"]).await;
    assert!(said.stdout == rows, "{} bytes came back", said.stdout.len());
    let failed = sql(&relay, "app", "secret", &["COPY t FROM STDIN", "SELECT 5"]).await;
    assert_eq!(failed.stdout, "COPY 0\n5\n", "{failed:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stops_is_told_of_and_found_again() {
    let (mut server, relay) = start("transaction", 2).await;
    assert!(sql(&relay, "app", "secret", &["SELECT 1"]).await.success);
    let killed = "SELECT pg_terminate_backend(pg_backend_pid())";
    let said = sql(&relay, "app", "secret", &[killed]).await;
    let why = "terminating connection due to administrator command";
    assert!(!said.success && said.stderr.contains(why), "{said:?}");
    assert!(sql(&relay, "app", "secret", &["SELECT 1"]).await.success);
    server.stop().await;
    let said = sql(&relay, "app", "secret", &["SELECT 1"]).await;
    let why = "cannot connect to";
    assert!(!said.success && said.stderr.contains(why), "{said:?}");
    server.restart().await;
    eventually("it is found again", GENEROUS, async || {
        sql(&relay, "app", "secret", &["SELECT 1"]).await.success
    })
    .await;
}
