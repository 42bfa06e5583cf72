//! Short ways to write messages, and sessions that are logged in.
#![allow(dead_code)]

use std::collections::BTreeMap;

use leaseway_plugin_postgres::Postgres;
use leaseway_plugin_postgres::wire::write;
use leaseway_sdk::Disposition;
use leaseway_sdk::testing::{LeaseEnd, ScriptedSession};

/// What connections announce.
pub(crate) const PARAMETERS: &[u8] = b"S\0\0\0\x17server_version\x0015\0\0\0";

/// A session of a plugin with this pooling, whose user `app` is trusted and `safe` has a password.
pub(crate) fn session(pooling: &str) -> ScriptedSession<Postgres> {
    let config = format!(
        r#"{{"pooling": "{pooling}", "users": {{
            "app": {{"auth": "trust"}},
            "safe": {{"password": "secret"}},
            "plain": {{"password": "secret", "auth": "password"}}
        }}}}"#
    );
    ScriptedSession::new(&config).with_tag(PARAMETERS)
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

/// What became of the last lease, if it was given back.
#[track_caller]
pub(crate) fn returned(session: &mut ScriptedSession<Postgres>) -> Disposition {
    match session.leases().last().map(|lease| &lease.end) {
        Some(LeaseEnd::Returned(disposition)) => *disposition,
        other => panic!("the last lease was not given back: {other:?}"),
    }
}
