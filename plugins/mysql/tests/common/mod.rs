//! Short ways to write packets, and sessions that are logged in.
#![allow(dead_code)]

use leaseway_plugin_mysql::Mysql;
use leaseway_plugin_mysql::auth::Method;
use leaseway_plugin_mysql::backend::Backend;
use leaseway_plugin_mysql::settings::Tracked;
use leaseway_plugin_mysql::wire::capability as has;
use leaseway_plugin_mysql::wire::greeting::Greeting;
use leaseway_plugin_mysql::wire::login::Login;
use leaseway_plugin_mysql::wire::ok::Failure;
use leaseway_plugin_mysql::wire::write;
use leaseway_sdk::Disposition;
use leaseway_sdk::testing::{LeaseEnd, ScriptedSession, clear_store};

pub(crate) const CONFIG: &str = r#"{"pooling": "POOLING", "reset": "when-needed", "users": {
    "app": {"password": "secret"}, "open": {"password": ""}, "own": {"password": "x", "pooling": "session"},
    "whole": {"password": "secret", "server-user": "app", "pooling": "session"}
}}"#;

/// What a client of MySQL 5.6 has.
pub(crate) const OLD: u32 = has::PROTOCOL_41
    | has::SECURE_CONNECTION
    | has::PLUGIN_AUTH
    | has::CONNECT_WITH_DB
    | has::MULTI_RESULTS
    | has::PS_MULTI_RESULTS;

/// What one of MySQL 8 has.
pub(crate) const MODERN: u32 = OLD | has::DEPRECATE_EOF | has::SESSION_TRACK;

/// A connection that nobody has used, in this database.
pub(crate) fn fresh(database: &str) -> Backend {
    let tracked = Tracked::new(&[]).unwrap();
    let mut backend = Backend {
        database: database.into(),
        ..Backend::default()
    };
    for (name, value) in [
        ("autocommit", "ON"),
        ("time_zone", "SYSTEM"),
        ("character_set_connection", "utf8mb4"),
        ("collation_connection", "utf8mb4_general_ci"),
    ] {
        let at = tracked.find(name.as_bytes()).unwrap();
        backend.original.insert(at, value.as_bytes());
    }
    backend
}

/// A session of a plugin with this pooling, which nobody has been greeted in.
pub(crate) fn session(pooling: &str) -> ScriptedSession<Mysql> {
    clear_store();
    ScriptedSession::new(&CONFIG.replace("POOLING", pooling)).with_tag(&fresh("shop").tag())
}

/// What the relay has greeted with.
pub(crate) fn greeting(session: &mut ScriptedSession<Mysql>) -> Greeting {
    let said = session.take_client();
    Greeting::read(&said[4..]).unwrap()
}

/// The login of a client that has these capabilities.
pub(crate) fn login(greeting: &Greeting, user: &str, password: &str, capabilities: u32) -> Login {
    let method = Method::Native;
    Login {
        capabilities,
        collation: 45,
        user: user.into(),
        proof: method.prove(password.as_bytes(), &greeting.challenge),
        database: b"shop".to_vec(),
        plugin: method.name().into(),
    }
}

/// A session of a client that has been let in.
pub(crate) fn ready(pooling: &str, capabilities: u32) -> ScriptedSession<Mysql> {
    let_in(session(pooling), capabilities)
}

/// The same, of a plugin that resets every connection.
pub(crate) fn ready_for_resets(capabilities: u32) -> ScriptedSession<Mysql> {
    clear_store();
    let config = CONFIG.replace("POOLING", "transaction");
    let config = config.replace(" \"reset\": \"when-needed\",", "");
    let session = ScriptedSession::new(&config).with_tag(&fresh("shop").tag());
    let_in(session, capabilities)
}

fn let_in(mut session: ScriptedSession<Mysql>, capabilities: u32) -> ScriptedSession<Mysql> {
    let greeting = greeting(&mut session);
    session.client(&login(&greeting, "app", "secret", capabilities).packet());
    assert_eq!(session.take_client(), write::ok(2, has::AUTOCOMMIT));
    session
}

pub(crate) fn command(code: u8, rest: &[u8]) -> Vec<u8> {
    write::command(code, rest)
}

pub(crate) fn query(sql: &str) -> Vec<u8> {
    command(3, sql.as_bytes())
}

/// An OK packet of this number.
pub(crate) fn ok(number: u8, status: u16) -> Vec<u8> {
    write::ok(number, status)
}

/// OK for a column that was given this value.
pub(crate) fn inserted(number: u8, id: u8, status: u16) -> Vec<u8> {
    let [a, b] = status.to_le_bytes();
    write::packet(number, &[0, 1, id, a, b, 0, 0])
}

/// OK with what the server has tracked.
pub(crate) fn told(number: u8, status: u16, changes: &[u8]) -> Vec<u8> {
    let [a, b] = (status | has::STATE_CHANGED).to_le_bytes();
    let mut payload = vec![0, 0, 0, a, b, 0, 0, 0];
    write::counted(&mut payload, changes);
    write::packet(number, &payload)
}

/// That a variable has changed.
pub(crate) fn variable(name: &str, value: &str) -> Vec<u8> {
    let mut pair = Vec::new();
    write::counted(&mut pair, name.as_bytes());
    write::counted(&mut pair, value.as_bytes());
    let mut change = vec![0];
    write::counted(&mut change, &pair);
    change
}

/// That the default database has.
pub(crate) fn database(name: &str) -> Vec<u8> {
    let mut pair = Vec::new();
    write::counted(&mut pair, name.as_bytes());
    let mut change = vec![1];
    write::counted(&mut change, &pair);
    change
}

/// That something has.
pub(crate) const ANY: &[u8] = b"\x02\x011";

/// An EOF packet.
pub(crate) fn eof(number: u8, status: u16) -> Vec<u8> {
    let [a, b] = status.to_le_bytes();
    write::packet(number, &[0xfe, 0, 0, a, b])
}

pub(crate) fn error(number: u8, code: u16) -> Vec<u8> {
    write::error(number, &Failure::new(code, "42000", "no"))
}

/// A result of one column, for a client of these capabilities.
pub(crate) fn result(capabilities: u32, rows: &[&[u8]], status: u16) -> Vec<u8> {
    result_from(1, capabilities, rows, status)
}

/// The same, whose first packet has this number.
pub(crate) fn result_from(first: u8, capabilities: u32, rows: &[&[u8]], status: u16) -> Vec<u8> {
    let is_modern = capabilities & has::DEPRECATE_EOF != 0;
    let mut number = first;
    let mut bytes = Vec::new();
    let mut add = |packet: &dyn Fn(u8) -> Vec<u8>| {
        bytes.extend(packet(number));
        number = number.wrapping_add(1);
    };
    add(&|number| write::packet(number, &[1]));
    add(&|number| write::packet(number, b"\x03def"));
    if !is_modern {
        add(&|number| eof(number, status));
    }
    for row in rows {
        let mut payload = Vec::new();
        write::counted(&mut payload, row);
        add(&|number| write::packet(number, &payload));
    }
    let [a, b] = status.to_le_bytes();
    match is_modern {
        true => add(&|number| write::packet(number, &[0xfe, 0, 0, a, b, 0, 0])),
        false => add(&|number| eof(number, status)),
    }
    bytes
}

/// Lets the client send something that reaches the server, and the server answer.
#[track_caller]
pub(crate) fn exchange(session: &mut ScriptedSession<Mysql>, sent: &[u8], answer: &[u8]) {
    session.client(sent);
    assert_eq!(shown(&session.take_upstream()), shown(sent));
    session.upstream(answer);
    assert_eq!(shown(&session.take_client()), shown(answer));
}

/// The client sends this, and the server gets it when it has agreed to what we ask ahead of that.
#[track_caller]
pub(crate) fn reaches(session: &mut ScriptedSession<Mysql>, sent: &[u8]) {
    session.client(sent);
    let mut ahead = session.take_upstream();
    while ahead != sent {
        assert!(!ahead.is_empty(), "it waits");
        while !ahead.is_empty() {
            ahead.drain(..4 + usize::from(ahead[0]));
            session.upstream(&ok(1, has::AUTOCOMMIT));
        }
        ahead = session.take_upstream();
    }
}

pub(crate) fn shown(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

/// What became of the last lease, if it was given back.
#[track_caller]
pub(crate) fn returned(session: &mut ScriptedSession<Mysql>) -> Disposition {
    match session.leases().last().map(|lease| &lease.end) {
        Some(LeaseEnd::Returned(disposition)) => *disposition,
        other => panic!("the last lease was not given back: {other:?}"),
    }
}
