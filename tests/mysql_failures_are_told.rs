//! MySQL restarts, ends connections, or has no room: whoever is concerned is told so by an error of the
//! protocol, nobody waits for ever, and who comes again is served again.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use leaseway_tests::command::leaseway;
use leaseway_tests::mariadb::{MariaServer, url};
use leaseway_tests::plugins;
use leaseway_tests::relay::Relay;
use leaseway_tests::wait::{GENEROUS, eventually};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error, Opts, OptsBuilder};
use tokio::time::timeout;

const CONFIG: &str = r#"
    [plugins.my]
    module = "{plugins}/mysql.wasm"

    [plugins.my.config]
    pooling = "{pooling}"
    get-server-public-key = true
    check-user = "app"
    check-database = "shop"
    client-login-timeout = 1

    [plugins.my.config.users]
    app = { password = "secret" }
    other = { password = "secret", server-password = "wrong" }

    [upstreams.db]
    endpoints = ["{server}"]
    connect-timeout = "500ms"
    pool = { max-connections = 1, wait-timeout = "500ms" }
    probe = { interval = "200ms", timeout = "200ms", fall = 3, rise = 2 }

    [listeners.db]
    bind = "{listen}"
    plugin = "my"
    upstreams = ["db"]

    [admin]
    bind = "{admin}"
"#;

const MODES: &[&str] = &["session", "transaction"];

async fn relay_to(server: &MariaServer, pooling: &str) -> Relay {
    println!("pooling by {pooling}");
    let values = [
        ("server", &*server.addr().to_string()),
        ("pooling", pooling),
    ];
    Relay::start_with(CONFIG, &values).await
}

fn opts(relay: &Relay, user: &str) -> OptsBuilder {
    let url = url(relay.addr(), user, "secret", "shop");
    OptsBuilder::from_opts(Opts::from_url(&url).unwrap()).prefer_socket(false)
}

async fn connect(relay: &Relay) -> Result<Conn, Error> {
    let connected = timeout(GENEROUS, Conn::new(opts(relay, "app"))).await;
    connected.expect("a client waits for ever")
}

async fn run(conn: &mut Conn, sql: &str) -> Result<(), Error> {
    let outcome = timeout(GENEROUS, conn.query_drop(sql)).await;
    outcome.expect("a client waits for ever")
}

/// The number and the SQLSTATE.
fn told<T>(outcome: Result<T, Error>) -> (u16, String) {
    match outcome {
        Err(Error::Server(why)) => (why.code, why.state),
        Err(why) => panic!("{why:?} is no error of a server"),
        Ok(_) => panic!("it is served"),
    }
}

fn is(code: u16, sqlstate: &str) -> (u16, String) {
    (code, sqlstate.to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_pool_is_too_many_connections() {
    let server = MariaServer::start().await;
    for mode in MODES {
        let relay = relay_to(&server, mode).await;
        let mut holder = connect(&relay).await.unwrap();
        run(&mut holder, "BEGIN").await.unwrap();
        let outcome = match connect(&relay).await {
            // Let in at once, since the server is known to.
            Ok(mut conn) => run(&mut conn, "SELECT 1").await,
            Err(why) => Err(why),
        };
        assert_eq!(told(outcome), is(1040, "08004"));
        run(&mut holder, "COMMIT").await.unwrap();
        holder.disconnect().await.unwrap();
        let mut conn = connect(&relay).await.unwrap();
        run(&mut conn, "SELECT 1").await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_connection_is_told_and_the_next_one_works() {
    let server = MariaServer::start().await;
    for mode in MODES {
        let relay = relay_to(&server, mode).await;
        let mut conn = connect(&relay).await.unwrap();
        run(&mut conn, "BEGIN").await.unwrap();
        let lost = async { run(&mut conn, "SELECT SLEEP(60)").await };
        let kill = async {
            let asleep =
                "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE INFO='SELECT SLEEP(60)'";
            eventually("it sleeps", GENEROUS, async || {
                server.sql(asleep).await == "1"
            })
            .await;
            server.kill("app").await;
        };
        let (outcome, ()) = tokio::join!(lost, kill);
        match outcome {
            // The server's own words, or the relay's.
            Err(Error::Server(why)) => assert!([1158, 1317, 1927].contains(&why.code), "{why:?}"),
            other => panic!("{other:?}"),
        }
        drop(conn);
        let mut conn = connect(&relay).await.unwrap();
        run(&mut conn, "SELECT 1").await.unwrap();
        // One that dies idle is nobody's loss where connections are shared.
        if *mode == "transaction" {
            server.kill("app").await;
            run(&mut conn, "SELECT 1").await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_gone_is_told_and_served_again_when_it_is_back() {
    let mut server = MariaServer::start().await;
    for mode in MODES {
        let relay = relay_to(&server, mode).await;
        let mut conn = connect(&relay).await.unwrap();
        run(&mut conn, "SELECT 1").await.unwrap();
        server.crash().await;
        let outcome = run(&mut conn, "INSERT INTO nothing VALUES (1)").await;
        assert!(outcome.is_err());
        drop(conn);
        let outcome = match connect(&relay).await {
            Ok(mut conn) => run(&mut conn, "SELECT 1").await,
            Err(why) => Err(why),
        };
        assert_eq!(told(outcome), is(1042, "08S01"));
        server.restart().await;
        eventually("it is served again", GENEROUS, async || {
            match connect(&relay).await {
                Ok(mut conn) => run(&mut conn, "SELECT 1").await.is_ok(),
                Err(_) => false,
            }
        })
        .await;
        let faults = "leaseway_plugin_faults_total";
        assert_eq!(relay.metric_sum(faults).await, 0.0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_of_the_server_keeps_its_number() {
    let server = MariaServer::start().await;
    for mode in MODES {
        let relay = relay_to(&server, mode).await;
        let outcome = Conn::new(opts(&relay, "other")).await;
        assert_eq!(told(outcome), is(1045, "28000"));
        let outcome = Conn::new(opts(&relay, "app").db_name(Some("nothing"))).await;
        assert_eq!(told(outcome), is(1044, "42000"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_log_in_must_go() {
    use tokio::io::AsyncReadExt as _;
    let server = MariaServer::start().await;
    let relay = relay_to(&server, "session").await;
    let mut mute = tokio::net::TcpStream::connect(relay.addr()).await.unwrap();
    let mut said = Vec::new();
    let end = timeout(GENEROUS, mute.read_to_end(&mut said)).await;
    end.expect("it may stay for ever").unwrap();
    let (_, last) = said.split_at(4 + usize::from(said[0]));
    assert_eq!(&last[3..7], b"\x01\xff\x87\x04", "ER_NET_READ_INTERRUPTED");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_probe_works_from_the_command_line() {
    let server = MariaServer::start().await;
    let plugin = plugins::path("mysql").to_string_lossy().into_owned();
    let config = r#"{"check-user": "app", "get-server-public-key": true, "users": {"app": {"password": "secret"}}}"#;
    let address = server.addr().to_string();
    let args = [
        "probe",
        "--plugin",
        &*plugin,
        "--plugin-config",
        config,
        &*address,
    ];
    let args = args.map(str::to_owned);
    let probe = move || leaseway(&args.each_ref().map(String::as_str));
    let (status, said) = tokio::task::spawn_blocking(probe.clone()).await.unwrap();
    assert_eq!(status, 0, "{said}");
    drop(server);
    let (status, said) = tokio::task::spawn_blocking(probe).await.unwrap();
    assert_ne!(status, 0, "{said}");
}
