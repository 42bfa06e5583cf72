//! Logging in to servers, and what makes a used connection as good as new, or cannot make it so.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::*;
use leaseway_plugin_mysql::Mysql;
use leaseway_plugin_mysql::auth::Method;
use leaseway_plugin_mysql::identity::Identity;
use leaseway_plugin_mysql::settings::Tracked;
use leaseway_plugin_mysql::wire::capability::{self as has, AUTOCOMMIT};
use leaseway_plugin_mysql::wire::greeting::Greeting;
use leaseway_plugin_mysql::wire::login::Login;
use leaseway_plugin_mysql::wire::write;
use leaseway_sdk::Target;
use leaseway_sdk::testing::{ScriptedConnection, clear_store, configure, connect, reset};

const GENERAL: &str = "utf8mb4 COLLATE utf8mb4_general_ci";

fn plugin() -> Mysql {
    configure(&CONFIG.replace("POOLING", "session")).unwrap()
}

fn target(collation: u16, database: &str) -> Target {
    let identity = Identity {
        user: "app".to_owned(),
        database: database.into(),
        collation,
        ..Identity::default()
    };
    identity.target()
}

fn tracked() -> Tracked {
    Tracked::new(&[]).unwrap()
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

/// A server, and what is found on its connections.
#[derive(Clone, Copy)]
struct Server {
    version: &'static str,
    user: &'static str,
    role: &'static str,
    autocommit: &'static str,
}

const MARIADB: Server = Server {
    version: "10.11.14-MariaDB-log",
    user: "app@%",
    role: "",
    autocommit: "1",
};

const MYSQL: Server = Server {
    version: "9.7.4",
    role: "NONE",
    ..MARIADB
};

const OLD_MYSQL: Server = Server {
    version: "5.7.44-log",
    ..MARIADB
};

impl Server {
    fn is_mariadb(self) -> bool {
        self.version.contains("MariaDB")
    }

    fn has_default_roles(self) -> bool {
        self.version.starts_with('9')
    }

    /// Makes texts and changes what they should be.
    fn sets(names: &str) -> Vec<u8> {
        query(&format!("SET NAMES {names},{}", tracked().track(&[0])))
    }

    fn asks(self) -> Vec<u8> {
        let role = match self.version.starts_with('5') {
            true => "NULL",
            false => "CURRENT_ROLE()",
        };
        query(&format!(
            "SELECT DATABASE(),@@hostname,@@port,@@version,CURRENT_USER(),{role},@@autocommit"
        ))
    }

    fn found(self, database: &str) -> Vec<u8> {
        row(&[
            database,
            "db1",
            "3306",
            self.version,
            self.user,
            self.role,
            self.autocommit,
        ])
    }

    /// What is said and answered to learn what the server is like.
    fn learned(self, upstream: ScriptedConnection, names: &str) -> ScriptedConnection {
        upstream
            .expect(&query(&format!("SET NAMES {names}")))
            .reply(&ok(1, AUTOCOMMIT))
            .expect(&query(&tracked().ask()))
            .reply(&rows(&[&["autocommit", "ON"], &["version", self.version]]))
    }

    /// A login of this target.
    fn opens(self, database: &str) {
        let greeting = greeting(self.version);
        let login = Login {
            capabilities: match database {
                "" => has::NEEDED,
                _ => has::NEEDED | has::CONNECT_WITH_DB,
            },
            collation: 45,
            user: b"app".to_vec(),
            database: database.into(),
            plugin: b"mysql_native_password".to_vec(),
            ..Login::default()
        };
        let upstream = ScriptedConnection::new()
            .reply(&greeting.packet())
            .expect(&login.packet())
            .reply(&ok(2, AUTOCOMMIT));
        let upstream = self
            .learned(upstream, GENERAL)
            .expect(&[Self::sets(GENERAL), self.asks()].concat())
            .reply(&[ok(1, AUTOCOMMIT), self.found(database)].concat());
        connect(&plugin(), upstream, &target(45, database)).unwrap();
    }

    /// All that a reset asks, in one go.
    fn renewal(self) -> Vec<u8> {
        let mut commands = [query("ROLLBACK"), command(0x1f, b""), Self::sets(GENERAL)].concat();
        if self.has_default_roles() {
            commands.extend(query("SET ROLE DEFAULT"));
        }
        commands.extend(self.asks());
        if self.is_mariadb() {
            commands.extend(query("SHOW PROFILES"));
        }
        commands
    }

    /// The answers, where this is found.
    fn renewed(self, database: &str) -> Vec<u8> {
        let mut answers = ok(1, AUTOCOMMIT).repeat(3);
        if self.has_default_roles() {
            answers.extend(ok(1, AUTOCOMMIT));
        }
        answers.extend(self.found(database));
        if self.is_mariadb() {
            answers.extend(no_profiles());
        }
        answers
    }

    /// A connection that answers this to a reset.
    fn answers(self, answers: &[u8]) -> ScriptedConnection {
        ScriptedConnection::new()
            .expect(&self.renewal())
            .reply(answers)
    }
}

fn greeting(version: &str) -> Greeting {
    Greeting {
        version: version.into(),
        connection: 1,
        challenge: *b"abcdefghijklmnopqrst",
        capabilities: u32::MAX,
        status: AUTOCOMMIT,
        plugin: b"mysql_native_password".to_vec(),
    }
}

fn no_profiles() -> Vec<u8> {
    [
        write::packet(1, &[1]),
        write::packet(2, b"\x03def"),
        eof(3, AUTOCOMMIT),
        eof(4, AUTOCOMMIT),
    ]
    .concat()
}

fn again(upstream: ScriptedConnection) -> Result<(), String> {
    reset(&plugin(), upstream, &target(45, "shop"))
}

#[test]
fn one_round_trip_makes_a_connection_as_good_as_new() {
    for server in [MARIADB, MYSQL, OLD_MYSQL] {
        clear_store();
        server.opens("shop");
        assert_eq!(again(server.answers(&server.renewed("shop"))), Ok(()));
        // The client has chosen another database.
        let moved = server
            .answers(&server.renewed("store"))
            .expect(&command(2, b"shop"))
            .reply(&ok(1, AUTOCOMMIT));
        assert_eq!(again(moved), Ok(()));
    }
}

#[test]
fn a_database_whose_name_may_be_another_is_chosen_again() {
    clear_store();
    MYSQL.opens("a?");
    // By the name of another one that is not of the client's character set, too.
    let upstream = MYSQL
        .answers(&MYSQL.renewed("a?"))
        .expect(&command(2, b"a?"))
        .reply(&ok(1, AUTOCOMMIT));
    assert_eq!(reset(&plugin(), upstream, &target(45, "a?")), Ok(()));
}

#[test]
fn what_is_not_as_on_a_new_connection_is_not_kept() {
    for server in [MARIADB, MYSQL] {
        clear_store();
        server.opens("shop");
        for other in [
            Server {
                role: "boss",
                ..server
            },
            Server {
                user: "root@%",
                ..server
            },
            // init_connect='SET autocommit=0', say.
            Server {
                autocommit: "0",
                ..server
            },
        ] {
            let why = again(server.answers(&other.renewed("shop"))).unwrap_err();
            assert!(
                why.contains("role") && why.contains("init_connect"),
                "{why}"
            );
        }
    }
    clear_store();
    MARIADB.opens("shop");
    let mut profiled = MARIADB.renewed("shop");
    profiled.truncate(profiled.len() - no_profiles().len());
    let has_profiles = [&profiled[..], &row(&["1"])].concat();
    let why = again(MARIADB.answers(&has_profiles)).unwrap_err();
    assert!(why.contains("profiled"), "{why}");
    // A server that is built without.
    let has_none = [&profiled[..], &error(1, 1289)].concat();
    assert_eq!(again(MARIADB.answers(&has_none)), Ok(()));
}

#[test]
fn what_cannot_be_rolled_back_is_not_kept() {
    clear_store();
    MARIADB.opens("shop");
    let first = ok(1, AUTOCOMMIT).len();
    // XAER_RMFAIL
    let refused = [error(1, 1399), MARIADB.renewed("shop")[first..].to_vec()].concat();
    let why = again(MARIADB.answers(&refused)).unwrap_err();
    assert!(why.contains("rolled back: 1399"), "{why}");
}

#[test]
fn nobody_can_be_without_a_database_again() {
    clear_store();
    MARIADB.opens("");
    let target = target(45, "");
    let none = MARIADB.answers(&MARIADB.renewed(""));
    assert_eq!(reset(&plugin(), none, &target), Ok(()));
    let one = MARIADB.answers(&MARIADB.renewed("shop"));
    let why = reset(&plugin(), one, &target).unwrap_err();
    assert!(why.contains("database"), "{why}");
}

#[test]
fn a_server_of_another_kind_is_looked_at_anew() {
    clear_store();
    MARIADB.opens("shop");
    MYSQL.opens("shop");
    // As MySQL's are, which have logged in last; MariaDB knows no `SET ROLE DEFAULT`.
    let mut refused = ok(1, AUTOCOMMIT).repeat(3);
    refused.extend([error(1, 1064), MARIADB.found("shop")].concat());
    let upstream = MARIADB
        .learned(MYSQL.answers(&refused), GENERAL)
        .expect(&MARIADB.renewal())
        .reply(&MARIADB.renewed("shop"));
    assert_eq!(again(upstream), Ok(()));
    // Where nothing is known of new connections, none is as good as they are.
    clear_store();
    let upstream = MARIADB
        .learned(ScriptedConnection::new(), GENERAL)
        .expect(&MARIADB.renewal())
        .reply(&MARIADB.renewed("shop"));
    let why = again(upstream).unwrap_err();
    assert!(why.contains("not known"), "{why}");
}

#[test]
fn a_server_that_refuses_nothing_is_known_by_its_version() {
    clear_store();
    MARIADB.opens("shop");
    OLD_MYSQL.opens("shop");
    // As an old MySQL is, which has logged in last, and has neither roles nor profiles that a reset leaves.
    let mut answers = MARIADB.renewed("shop");
    answers.truncate(answers.len() - no_profiles().len());
    let upstream = MARIADB
        .learned(OLD_MYSQL.answers(&answers), GENERAL)
        .expect(&MARIADB.renewal())
        .reply(&MARIADB.renewed("shop"));
    assert_eq!(again(upstream), Ok(()));
}

#[test]
fn what_cannot_be_an_answer_ends_a_reset() {
    clear_store();
    MYSQL.opens("shop");
    let whole = MYSQL.renewed("shop");
    for answers in [
        // A refusal in front of it is no reason to go on.
        [error(1, 1064), write::packet(1, b"?"), whole.clone()].concat(),
        [ok(1, AUTOCOMMIT), row(&["1"]), whole].concat(),
    ] {
        let why = again(MYSQL.answers(&answers)).unwrap_err();
        assert!(
            why.contains("unexpected") || why.contains("nobody has asked"),
            "{why}"
        );
    }
    let why = again(MYSQL.answers(&ok(1, AUTOCOMMIT)).close()).unwrap_err();
    assert!(why.contains("closed"), "{why}");
}

#[test]
fn character_sets_that_only_the_server_knows_are_put_back_too() {
    clear_store();
    let koi8 = "koi8r COLLATE koi8r_general_ci";
    let upstream = ScriptedConnection::new()
        .expect(&query(
            "SELECT CHARACTER_SET_NAME,COLLATION_NAME FROM information_schema.COLLATIONS WHERE ID=7",
        ))
        .reply(&row(&["koi8r", "koi8r_general_ci"]));
    let upstream = OLD_MYSQL.learned(upstream, koi8).expect(
        &[
            query("ROLLBACK"),
            command(0x1f, b""),
            Server::sets(koi8),
            OLD_MYSQL.asks(),
        ]
        .concat(),
    );
    let upstream = upstream.reply(&OLD_MYSQL.renewed("shop"));
    let why = reset(&plugin(), upstream, &target(7, "shop")).unwrap_err();
    assert!(why.contains("not known"), "{why}");
}

#[test]
fn a_collation_that_the_server_lacks_is_left_out() {
    clear_store();
    let upstream = ScriptedConnection::new()
        .expect(&query("SET NAMES utf8mb4 COLLATE utf8mb4_general_ci"))
        .reply(&error(1, 1273));
    let upstream = OLD_MYSQL
        .learned(upstream, "utf8mb4")
        .expect(
            &[
                query("ROLLBACK"),
                command(0x1f, b""),
                Server::sets("utf8mb4"),
                OLD_MYSQL.asks(),
            ]
            .concat(),
        )
        .reply(&OLD_MYSQL.renewed("shop"));
    let why = again(upstream).unwrap_err();
    assert!(why.contains("not known"), "{why}");
}

/// A server that wants the password itself, up to its public key.
fn wants_the_password(plugin: &Mysql, key: Option<&[u8]>) -> String {
    let method = b"caching_sha2_password";
    let greeting = Greeting {
        plugin: method.to_vec(),
        ..greeting("9.7.4")
    };
    let identity = Identity {
        user: "app".to_owned(),
        password: "secret".to_owned(),
        collation: 45,
        ..Identity::default()
    };
    let login = Login {
        capabilities: has::NEEDED,
        collation: 45,
        user: b"app".to_vec(),
        proof: Method::Sha2.prove(b"secret", &greeting.challenge),
        plugin: method.to_vec(),
        ..Login::default()
    };
    let mut upstream = ScriptedConnection::new()
        .reply(&greeting.packet())
        .expect(&login.packet())
        .reply(&write::packet(2, &[1, 4]));
    if let Some(key) = key {
        upstream = upstream
            .expect(&write::packet(3, &[2]))
            .reply(&write::packet(4, &[&[1], key].concat()));
    }
    connect(plugin, upstream, &identity.target()).unwrap_err()
}

#[test]
fn nobody_gets_a_password_who_may_not_be_the_server() {
    let why = wants_the_password(&plugin(), None);
    assert!(why.contains("server-public-key-path"), "{why}");
    let config = CONFIG.replace(
        "\"POOLING\"",
        "\"session\", \"get-server-public-key\": true",
    );
    let takes_any: Mysql = configure(&config).unwrap();
    let why = wants_the_password(&takes_any, Some(b"-----BEGIN PUBLIC KEY-----\n"));
    assert!(why.contains("no RSA public key"), "{why}");
}
