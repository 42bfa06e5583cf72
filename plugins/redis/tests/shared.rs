//! Commands on a shared connection: what a client hears when that is lost.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::*;
use leaseway_plugin_redis::Redis;
use leaseway_sdk::testing::{ScriptedSession, SessionEnd};

const LOST: &str = "-ERR leaseway: the connection was lost: reset by peer\r\n";

fn shared() -> ScriptedSession<Redis> {
    ScriptedSession::new("{}")
}

#[test]
fn commands_share_and_the_session_goes_on_sharing() {
    let mut session = shared();
    exchange(&mut session, "SET a b; GET a", "+OK\r\n$1\r\nb\r\n");
    exchange(&mut session, "GET a", "$1\r\nb\r\n");
    assert!(session.leases().is_empty());
}

#[test]
fn each_command_that_was_under_way_gets_an_error_and_the_session_goes_on() {
    let mut session = shared();
    let bytes = requests("SET a b; INCR n; GET a");
    session.client(&bytes);
    assert_eq!(session.take_upstream(), bytes);
    session.upstream(b"+OK\r\n");
    session.lose("reset by peer");
    let said = format!("+OK\r\n{}", LOST.repeat(2));
    assert_eq!(escaped(&session.take_client()), escaped(said.as_bytes()));
    exchange(&mut session, "GET a", "$1\r\nb\r\n");
}

#[test]
fn half_a_reply_ends_the_session_without_another_word() {
    let mut session = shared();
    session.client(&requests("GET a; GET b"));
    session.upstream(b"$10\r\nhalf");
    session.lose("reset by peer");
    assert_eq!(session.take_client(), b"$10\r\nhalf");
    assert!(matches!(session.end(), Some(SessionEnd::ReplyCut(_))));
}

#[test]
fn a_transaction_waits_for_replies_and_leases() {
    let mut session = shared();
    let get = requests("GET a");
    session.client(&get);
    assert!(session.is_sharing());
    session.client(&requests("MULTI"));
    assert!(session.leases().is_empty());
    session.upstream(b"$-1\r\n");
    assert!(session.is_leased());
    assert_eq!(session.take_upstream(), [get, requests("MULTI")].concat());
    session.upstream(b"+OK\r\n");
    assert_eq!(session.take_client(), b"$-1\r\n+OK\r\n");
    exchange(&mut session, "INCR n", "+QUEUED\r\n");
    exchange(&mut session, "EXEC", "*1\r\n:1\r\n");
    assert!(!session.is_leased());
}
