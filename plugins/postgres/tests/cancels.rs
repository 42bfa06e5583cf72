//! A cancel request reaches the query of its session, and no connection on which it may come too late
//! goes to anybody else.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::*;
use leaseway_plugin_postgres::Postgres;
use leaseway_plugin_postgres::wire::write;
use leaseway_sdk::Disposition;
use leaseway_sdk::testing::{ScriptedSession, clear_store};

/// A session that is greeted, and its key.
fn with_key(pooling: &str) -> (ScriptedSession<Postgres>, [u8; 8]) {
    let mut session = session(pooling);
    session.client(&start(&[("user", "app")]));
    let said = session.take_client();
    let head = said.windows(5).position(|head| head == b"K\0\0\0\x0c");
    let key = said[head.expect("a key") + 5..][..8].try_into();
    (session, key.unwrap())
}

/// A client that asks to cancel; whether that goes to the server.
fn cancel(key: [u8; 8]) -> bool {
    let mut session = session("transaction");
    session.client(&write::cancel(key));
    let sent = session.take_upstream();
    let Some(lease) = session.leases().first().cloned() else {
        assert!(session.end().is_some());
        return false;
    };
    assert!(lease.target.unpooled);
    assert_eq!(lease.target.endpoint.as_deref(), Some("127.0.0.1:1"));
    assert_eq!(sent, write::cancel(*b"pid-key!"));
    // The server closes when it has done so, and only then the client may go.
    assert!(session.end().is_none());
    session.upstream_eof();
    assert!(session.end().is_some());
    assert_eq!(session.take_client(), b"");
    true
}

#[test]
fn a_query_is_cancelled_while_it_runs_and_not_before_or_after() {
    clear_store();
    let (mut session, key) = with_key("transaction");
    assert!(!cancel(key), "nothing runs");
    session.client(&query("SELECT pg_sleep(10)"));
    session.take_upstream();
    assert!(!cancel(*b"another."), "that is nobody's key");
    assert!(cancel(key));
    assert!(cancel(key), "the first may have come too early");
    let answers = [failed("57014"), ready(b'I')].concat();
    session.upstream(&answers);
    assert_eq!(session.take_client(), answers);
    assert!(!session.is_leased());
    assert_eq!(returned(&mut session), Disposition::Close);
    assert!(!cancel(key));
    // The next one is on another connection.
    let answers = [complete("SELECT 1"), ready(b'I')];
    exchange(&mut session, &[query("SELECT 1")], &answers);
    assert_eq!(returned(&mut session), Disposition::Keep);
    assert!(!cancel(key));
}

#[test]
fn a_session_with_a_connection_of_its_own_does_not_leave_it_to_others_either() {
    clear_store();
    let (mut session, key) = with_key("session");
    assert!(cancel(key));
    let answers = [complete("SELECT 1"), ready(b'I')];
    exchange(&mut session, &[query("SELECT 1")], &answers);
    session.client(&write::message(b'X', b""));
    assert_eq!(returned(&mut session), Disposition::Close);
    assert!(!cancel(key));
}

#[test]
fn who_leaves_or_loses_its_connection_cannot_be_cancelled_any_more() {
    clear_store();
    let (mut session, key) = with_key("transaction");
    session.client(&query("BEGIN"));
    session.lose("the server has gone");
    assert!(!cancel(key));
    let (mut session, key) = with_key("transaction");
    session.client(&query("BEGIN"));
    session.client_error();
    assert!(!cancel(key));
    let (mut session, key) = with_key("transaction");
    session.client(&query("BEGIN"));
    drop(session);
    assert!(!cancel(key));
}
