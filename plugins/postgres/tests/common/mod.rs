//! Short ways to write messages, and sessions that are logged in.
#![allow(dead_code)]

pub(crate) mod server;

use std::collections::BTreeMap;

use leaseway_plugin_postgres::Postgres;
use leaseway_plugin_postgres::backend::Backend;
use leaseway_plugin_postgres::settings::Values;
use leaseway_plugin_postgres::wire::write;
use leaseway_sdk::Disposition;
use leaseway_sdk::testing::{LeaseEnd, ScriptedSession};

/// What connections announce.
pub(crate) fn parameters() -> Vec<u8> {
    let server = write::parameter_status(b"server_version", b"15");
    let zone = write::parameter_status(b"TimeZone", b"UTC");
    [server, zone].concat()
}

/// What their settings are that follow clients.
pub(crate) fn settings() -> Values {
    ["UTF8", "ISO, MDY", "UTC", "on", ""].iter().collect()
}

/// A connection that nobody has used.
pub(crate) fn fresh() -> Backend {
    Backend::fresh(*b"pid-key!", &parameters(), &settings())
}

/// A session of a plugin with this pooling, whose user `app` is trusted and `safe` has a password.
pub(crate) fn session(pooling: &str) -> ScriptedSession<Postgres> {
    let config = format!(
        r#"{{"pooling": "{pooling}", "max-prepared-statements": 3, "users": {{
            "app": {{"auth": "trust"}},
            "safe": {{"password": "secret"}},
            "plain": {{"password": "secret", "auth": "password"}}
        }}}}"#
    );
    ScriptedSession::new(&config).with_tag(fresh().tag())
}

/// The same for a client that has been greeted.
pub(crate) fn greeted(pooling: &str) -> ScriptedSession<Postgres> {
    let mut session = session(pooling);
    session.client(&start(&[("user", "app"), ("database", "shop")]));
    let said = session.take_client();
    assert!(said.ends_with(b"Z\0\0\0\x05I"), "{}", said.escape_ascii());
    session
}

pub(crate) fn start(parameters: &[(&str, &str)]) -> Vec<u8> {
    let parameters: BTreeMap<String, String> = parameters
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    write::start(&parameters)
}

pub(crate) fn query(sql: &str) -> Vec<u8> {
    write::query(sql)
}

/// `Parse` of a statement of this name, which is empty for none.
pub(crate) fn parse(name: &str, sql: &str) -> Vec<u8> {
    let body = [name.as_bytes(), b"\0", sql.as_bytes(), b"\0\0\0"].concat();
    write::message(b'P', &body)
}

/// `Bind` of the portal without a name to a statement.
pub(crate) fn bind(statement: &str) -> Vec<u8> {
    let body = [b"\0", statement.as_bytes(), &[0; 7]].concat();
    write::message(b'B', &body)
}

/// `Bind` with a row of parameters so long.
pub(crate) fn bind_long(statement: &str, length: usize) -> Vec<u8> {
    let body = [b"\0", statement.as_bytes(), b"\0", &vec![b'x'; length]].concat();
    write::message(b'B', &body)
}

/// `Describe` of a statement.
pub(crate) fn describe(statement: &str) -> Vec<u8> {
    write::message(b'D', &[b"S", statement.as_bytes(), b"\0"].concat())
}

/// `Close` of a statement.
pub(crate) fn close(statement: &str) -> Vec<u8> {
    write::close_statement(statement)
}

/// `ParseComplete`.
pub(crate) fn parsed() -> Vec<u8> {
    write::message(b'1', b"")
}

/// `BindComplete`.
pub(crate) fn bound() -> Vec<u8> {
    write::message(b'2', b"")
}

/// `CloseComplete`.
pub(crate) fn closed() -> Vec<u8> {
    write::message(b'3', b"")
}

/// `DataRow`.
pub(crate) fn row(values: &[&str]) -> Vec<u8> {
    let mut body = (values.len() as u16).to_be_bytes().to_vec();
    for value in values {
        body.extend((value.len() as u32).to_be_bytes());
        body.extend(value.as_bytes());
    }
    write::message(b'D', &body)
}

/// The server reports a time zone.
pub(crate) fn zone(name: &str) -> Vec<u8> {
    write::parameter_status(b"TimeZone", name.as_bytes())
}

/// `ErrorResponse` that leaves the session alive.
pub(crate) fn failed(sqlstate: &str) -> Vec<u8> {
    write::error("ERROR", sqlstate, "no")
}

/// `Execute` of a portal.
pub(crate) fn execute(portal: &str) -> Vec<u8> {
    write::message(b'E', &[portal.as_bytes(), &[0; 5]].concat())
}

pub(crate) fn sync() -> Vec<u8> {
    write::message(b'S', b"")
}

/// `CommandComplete`.
pub(crate) fn complete(tag: &str) -> Vec<u8> {
    write::message(b'C', &[tag.as_bytes(), b"\0"].concat())
}

/// `ReadyForQuery`.
pub(crate) fn ready(status: u8) -> Vec<u8> {
    write::message(b'Z', &[status])
}

/// Lets the client send messages, all of which reach the server, and the server answer.
#[track_caller]
pub(crate) fn exchange(
    session: &mut ScriptedSession<Postgres>,
    messages: &[Vec<u8>],
    answers: &[Vec<u8>],
) {
    let (sent, answered) = (messages.concat(), answers.concat());
    session.client(&sent);
    assert_eq!(session.take_upstream(), sent);
    session.upstream(&answered);
    assert_eq!(session.take_client(), answered);
}

/// Lets the client send messages, and the server get others for them; and the server answer, and the client
/// get something else.
#[track_caller]
pub(crate) fn translate(
    session: &mut ScriptedSession<Postgres>,
    (messages, sent): (&[Vec<u8>], &[Vec<u8>]),
    (answers, told): (&[Vec<u8>], &[Vec<u8>]),
) {
    session.client(&messages.concat());
    let upstream = session.take_upstream();
    let shown = |bytes: &[u8]| bytes.escape_ascii().to_string();
    assert_eq!(shown(&upstream), shown(&sent.concat()));
    session.upstream(&answers.concat());
    assert_eq!(shown(&session.take_client()), shown(&told.concat()));
}

/// What became of the last lease, if it was given back.
#[track_caller]
pub(crate) fn returned(session: &mut ScriptedSession<Postgres>) -> Disposition {
    match session.leases().last().map(|lease| &lease.end) {
        Some(LeaseEnd::Returned(disposition)) => *disposition,
        other => panic!("the last lease was not given back: {other:?}"),
    }
}
