//! What makes a used connection as good as new, and what cannot be made so.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::*;
use leaseway_plugin_mysql::Mysql;
use leaseway_plugin_mysql::identity::Identity;
use leaseway_plugin_mysql::settings::{Tracked, Values};
use leaseway_plugin_mysql::wire::capability::{self as has, AUTOCOMMIT};
use leaseway_plugin_mysql::wire::greeting::Greeting;
use leaseway_plugin_mysql::wire::login::Login;
use leaseway_plugin_mysql::wire::write;
use leaseway_sdk::Target;
use leaseway_sdk::testing::{ScriptedConnection, clear_store, configure, connect, reset};

const ROLE: &str = "SELECT CURRENT_ROLE() <=> (SELECT MAX(ROLE_NAME) \
                    FROM information_schema.APPLICABLE_ROLES WHERE IS_DEFAULT='YES'), \
                    (SELECT COUNT(*) FROM information_schema.PROFILING)";

fn plugin() -> Mysql {
    configure(&CONFIG.replace("POOLING", "session")).unwrap()
}

fn target(collation: u16) -> Target {
    let identity = Identity {
        user: "app".to_owned(),
        database: b"shop".to_vec(),
        collation,
        ..Identity::default()
    };
    identity.target()
}

/// A result of these columns in one row.
fn row(columns: &[&str]) -> Vec<u8> {
    rows(&[columns])
}

/// A result of these rows.
fn rows(rows: &[&[&str]]) -> Vec<u8> {
    let count = rows[0].len() as u8;
    let mut bytes = write::packet(1, &[count]);
    for number in 0..count {
        bytes.extend(write::packet(number + 2, b"\x03def"));
    }
    bytes.extend(eof(count + 2, AUTOCOMMIT));
    let mut number = count + 3;
    for row in rows {
        let mut payload = Vec::new();
        for column in *row {
            write::counted(&mut payload, column.as_bytes());
        }
        bytes.extend(write::packet(number, &payload));
        number += 1;
    }
    bytes.extend(eof(number, AUTOCOMMIT));
    bytes
}

/// Up to what is said of the role, on a server of this version.
fn begun(version: &str) -> ScriptedConnection {
    ScriptedConnection::new()
        .expect(&command(0x1f, b""))
        .reply(&ok(1, AUTOCOMMIT))
        .expect(&query("SET NAMES utf8mb4 COLLATE utf8mb4_general_ci"))
        .reply(&ok(1, AUTOCOMMIT))
        .expect(&query(&Tracked::new(&[]).unwrap().ask()))
        .reply(&row(&["version", version]))
}

/// The rest of it.
fn done(upstream: ScriptedConnection) -> ScriptedConnection {
    let track = Tracked::new(&[]).unwrap().track(&Values::default());
    upstream
        .expect(&query(&track))
        .reply(&ok(1, AUTOCOMMIT))
        .expect(&command(2, b"shop"))
        .reply(&ok(1, AUTOCOMMIT))
}

#[test]
fn roles_are_those_of_a_new_connection() {
    let maria = || begun("10.11.14-MariaDB-log").expect(&query(ROLE));
    let good = done(maria().reply(&row(&["1", "0"])));
    assert_eq!(reset(&plugin(), good, &target(45)), Ok(()));
    // Another role, and the text of statements.
    for left in [["0", "0"], ["1", "3"]] {
        let why = reset(&plugin(), maria().reply(&row(&left)), &target(45)).unwrap_err();
        assert!(why.contains("role"), "{why}");
    }
    let mysql = || begun("8.0.36").expect(&query("SET ROLE DEFAULT"));
    let good = done(mysql().reply(&ok(1, AUTOCOMMIT)));
    assert_eq!(reset(&plugin(), good, &target(45)), Ok(()));
    // MySQL 5.7 does not know what that is.
    let old = done(mysql().reply(&error(1, 1064)));
    assert_eq!(reset(&plugin(), old, &target(45)), Ok(()));
    let why = reset(&plugin(), mysql().reply(&error(1, 3530)), &target(45)).unwrap_err();
    assert!(why.starts_with("3530 "), "{why}");
}

#[test]
fn a_connection_that_has_other_variables_than_a_new_one_is_not_kept() {
    clear_store();
    let plugin = plugin();
    let variables = |autocommit| rows(&[&["autocommit", autocommit], &["version", "5.7.44"]]);
    let tracked = Tracked::new(&[]).unwrap();
    let mut known = Values::default();
    known.insert(0, b"OFF");
    let greeting = Greeting {
        version: b"5.7.44".to_vec(),
        connection: 1,
        challenge: *b"abcdefghijklmnopqrst",
        capabilities: u32::MAX,
        status: AUTOCOMMIT,
        plugin: b"mysql_native_password".to_vec(),
    };
    let login = Login {
        capabilities: has::NEEDED,
        collation: 45,
        user: b"app".to_vec(),
        database: b"shop".to_vec(),
        plugin: b"mysql_native_password".to_vec(),
        ..Login::default()
    };
    // init_connect='SET autocommit=0'
    let fresh = ScriptedConnection::new()
        .reply(&greeting.packet())
        .expect(&login.packet())
        .reply(&ok(2, AUTOCOMMIT))
        .expect(&query("SET NAMES utf8mb4 COLLATE utf8mb4_general_ci"))
        .reply(&ok(1, AUTOCOMMIT))
        .expect(&query(&tracked.ask()))
        .reply(&variables("OFF"))
        .expect(&query(&tracked.track(&known)))
        .reply(&ok(1, AUTOCOMMIT));
    assert!(connect(&plugin, fresh, &target(45)).is_ok());
    let used = ScriptedConnection::new()
        .expect(&command(0x1f, b""))
        .reply(&ok(1, AUTOCOMMIT))
        .expect(&query("SET NAMES utf8mb4 COLLATE utf8mb4_general_ci"))
        .reply(&ok(1, AUTOCOMMIT))
        .expect(&query(&tracked.ask()))
        .reply(&variables("ON"));
    let why = reset(&plugin, used, &target(45)).unwrap_err();
    assert!(why.contains("init_connect"), "{why}");
}

#[test]
fn character_sets_that_only_the_server_knows_are_put_back_too() {
    let upstream = ScriptedConnection::new()
        .expect(&command(0x1f, b""))
        .reply(&ok(1, AUTOCOMMIT))
        .expect(&query(
            "SELECT CHARACTER_SET_NAME,COLLATION_NAME FROM information_schema.COLLATIONS WHERE ID=7",
        ))
        .reply(&row(&["koi8r", "koi8r_general_ci"]))
        .expect(&query("SET NAMES koi8r COLLATE koi8r_general_ci"))
        .reply(&ok(1, AUTOCOMMIT))
        .expect(&query(&Tracked::new(&[]).unwrap().ask()))
        .reply(&row(&["version", "5.7.44"]))
        .expect(&query("SET ROLE DEFAULT"))
        .reply(&error(1, 1064));
    assert_eq!(reset(&plugin(), done(upstream), &target(7)), Ok(()));
}
