//! What a client of MySQL leaves on its connection, openly or in hidden ways, is found by nobody: each of these on one
//! connection, whose second client asks for it.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod mysql_pooled;

use std::pin::pin;

use leaseway_tests::mariadb::MariaServer;
use leaseway_tests::relay::Relay;
use leaseway_tests::wait::{GENEROUS, eventually};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use mysql_pooled::{CONFIG, WHEN_NEEDED, opts};

/// What one client does, and what another one must not find: what it asks, and is told.
const LEFT: &[(&[&str], &str, &str)] = &[
    (
        &["SET ROLE boss"],
        "SELECT IFNULL(NULLIF(CURRENT_ROLE(), 'NONE'), '-')",
        "-",
    ),
    (
        &["SET profiling = 1", "SELECT 'mine'"],
        "SELECT CAST(COUNT(*) AS CHAR) FROM information_schema.PROFILING",
        "0",
    ),
    (&["SELECT leaves_one()"], "SELECT IFNULL(@left, '-')", "-"),
    // Of these the server tells nothing.
    (&["SELECT assigns()"], "SELECT IFNULL(@assigned, '-')", "-"),
    (
        &["INSERT INTO plain (id) VALUES (`shop` . assigns ())"],
        "SELECT IFNULL(@assigned, '-')",
        "-",
    ),
    (
        &["DO takes_a_lock()"],
        "SELECT CAST(IS_USED_LOCK('mine') IS NULL AS CHAR)",
        "1",
    ),
    (
        &["INSERT INTO tags () VALUES ()"],
        "SELECT CAST(last_one() AS CHAR)",
        "0",
    ),
    (
        &["INSERT INTO tags () VALUES ()"],
        "SELECT CAST(@@`identity` AS CHAR)",
        "0",
    ),
    // Whoever comes next could not write.
    (
        &["SET TRANSACTION READ ONLY"],
        "SELECT CAST(writes() AS CHAR)",
        "1",
    ),
];

/// The same, in words that only MariaDB knows.
const LEFT_ON_MARIADB: &[(&[&str], &str, &str)] = &[
    (
        &["BEGIN NOT ATOMIC SET ROLE boss; END"],
        "SELECT IFNULL(NULLIF(CURRENT_ROLE(), 'NONE'), '-')",
        "-",
    ),
    (
        &["SELECT NEXTVAL(numbers)"],
        "SELECT IFNULL(LASTVAL(numbers), '-')",
        "-",
    ),
    (
        &["SET @@tx_read_only = 1"],
        "SELECT CAST(writes() AS CHAR)",
        "1",
    ),
    (
        &["BEGIN NOT ATOMIC SET TRANSACTION READ ONLY; END"],
        "SELECT CAST(writes() AS CHAR)",
        "1",
    ),
];

/// The same of triggers, of which neither the text nor the server tells.
const LEFT_BY_TRIGGERS: &[(&[&str], &str, &str)] = &[
    (
        &["INSERT INTO triggers VALUES (1)"],
        "SELECT IFNULL(@triggered, '-')",
        "-",
    ),
    (
        &["INSERT INTO triggers VALUES (1)"],
        "SELECT CAST(IS_USED_LOCK('triggered') IS NULL AS CHAR)",
        "1",
    ),
];

/// What leaves something in hidden ways.
const HIDDEN: &str = "
    CREATE ROLE boss; GRANT boss TO app@'127.0.0.1';
    CREATE TABLE shop.tags (id bigint PRIMARY KEY AUTO_INCREMENT);
    CREATE TABLE shop.plain (id bigint);
    CREATE TABLE shop.triggers (id bigint);
    DELIMITER $$
    CREATE FUNCTION shop.writes() RETURNS int BEGIN INSERT INTO tags () VALUES (); RETURN 1; END $$
    CREATE FUNCTION shop.leaves_one() RETURNS int BEGIN SET @left = 'mine'; RETURN 1; END $$
    CREATE FUNCTION shop.assigns() RETURNS int
        BEGIN DECLARE x int; SELECT @assigned := 1 INTO x; RETURN x; END $$
    CREATE FUNCTION shop.takes_a_lock() RETURNS int RETURN GET_LOCK('mine', 0) $$
    CREATE FUNCTION shop.last_one() RETURNS int RETURN LAST_INSERT_ID() $$
    CREATE TRIGGER shop.fires BEFORE INSERT ON shop.triggers FOR EACH ROW
        BEGIN DECLARE x int; SELECT @triggered := GET_LOCK('triggered', 0) INTO x; END $$
    DELIMITER ;";

#[tokio::test]
async fn what_is_left_in_hidden_ways_is_found_by_nobody() {
    let server = MariaServer::start().await;
    server.sql(HIDDEN).await;
    for pooling in ["\"session\"", WHEN_NEEDED] {
        let config = CONFIG.replace("\"transaction\"", pooling);
        nobody_finds(LEFT, &server, &config).await;
        if server.is_mariadb() {
            server.sql("CREATE OR REPLACE SEQUENCE shop.numbers").await;
            nobody_finds(LEFT_ON_MARIADB, &server, &config).await;
        }
    }
}

#[tokio::test]
async fn what_is_prepared_of_xa_spoils_the_connection_for_nobody() {
    let server = MariaServer::start().await;
    server.sql(HIDDEN).await;
    for pooling in ["session", "transaction"] {
        let config = CONFIG.replace("\"transaction\"", &format!("\"{pooling}\""));
        let begin = format!("XA START '{pooling}'");
        let end = format!("XA END '{pooling}'");
        let prepare = format!("XA PREPARE '{pooling}'");
        let write = "INSERT INTO plain (id) VALUES (1)";
        let left = [&*begin, write, &*end, &*prepare];
        // MariaDB answers 1031 to all of InnoDB on a connection that is reset behind that.
        let all = [(&left[..], "SELECT CAST(writes() AS CHAR)", "1")];
        nobody_finds(&all, &server, &config).await;
    }
}

#[tokio::test]
async fn what_triggers_leave_is_found_by_nobody() {
    let server = MariaServer::start().await;
    server.sql(HIDDEN).await;
    for pooling in ["\"session\"", "\"transaction\""] {
        let config = CONFIG.replace("\"transaction\"", pooling);
        for left in [LEFT, LEFT_BY_TRIGGERS] {
            nobody_finds(left, &server, &config).await;
        }
    }
}

/// On one connection, whose second client asks for what the first has left, and gets it at once if it is not kept.
async fn nobody_finds(all: &[(&[&str], &str, &str)], server: &MariaServer, config: &str) {
    let address = server.addr().to_string();
    let relay = Relay::start_with(config, &[("server", &address), ("connections", "1")]).await;
    for (left, asked, wanted) in all {
        let mut one = Conn::new(opts(&relay)).await.unwrap();
        for sql in *left {
            one.query_drop(*sql).await.unwrap();
        }
        let asks = async {
            let mut other = Conn::new(opts(&relay)).await.unwrap();
            let found: Option<String> = other.query_first(*asked).await.unwrap();
            other.disconnect().await.unwrap();
            found
        };
        let mut asks = pin!(asks);
        let waits = async || relay.metric_sum("leaseway_pool_waiting").await > 0.0;
        let at_once = tokio::select! {
            found = &mut asks => Some(found),
            () = eventually("the other client waits for it", GENEROUS, waits) => None,
        };
        one.disconnect().await.unwrap();
        let found = match at_once {
            Some(found) => found,
            None => asks.await,
        };
        assert_eq!(found.as_deref(), Some(*wanted), "{left:?} ({config})");
    }
}
