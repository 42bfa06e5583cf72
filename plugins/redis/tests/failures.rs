//! No connection, or no longer one: one error for each command, and never one in the middle of a
//! reply.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::*;
use leaseway_sdk::LeaseError;

const BUSY: &str = "-ERR leaseway: all 5 connections stayed leased\r\n";
const LOST: &str = "-ERR leaseway: the connection was lost: reset by peer\r\n";

fn busy() -> LeaseError {
    LeaseError::WaitTimeout("all 5 connections stayed leased".into())
}

#[test]
fn without_a_connection_each_command_gets_an_error_and_the_session_goes_on() {
    let mut session = session();
    session.fail_leases(busy());
    answered(&mut session, "GET a; SET b c", &BUSY.repeat(2));
    session.grant_leases();
    exchange(&mut session, "GET a", "$-1\r\n");
}

#[test]
fn what_is_still_to_come_of_a_failed_request_is_swallowed() {
    let request = requests("SET key value; MSET a b c d e f");
    for pieces in [1, 3, 10] {
        for cut in 70..request.len() {
            let mut session = session().in_pieces_of(pieces);
            session.hold_leases();
            session.client(&request[..cut]);
            assert!(session.is_waiting());
            while session.is_waiting() {
                session.fail(busy());
            }
            session.fail_leases(busy());
            session.client(&request[cut..]);
            let said = String::from_utf8(session.take_client()).unwrap();
            assert_eq!(said, BUSY.repeat(2), "cut at {cut} in pieces of {pieces}");
            session.grant_leases();
            exchange(&mut session, "GET a", "$-1\r\n");
        }
    }
}

#[test]
fn a_large_value_of_a_failed_request_is_swallowed_unseen() {
    let mut session = session().with_max_shown(100);
    session.fail_leases(busy());
    session.client(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1000\r\n");
    assert_eq!(session.take_client(), BUSY.as_bytes());
    session.client(&[b'*'; 1002]);
    session.grant_leases();
    exchange(&mut session, "GET a", "$-1\r\n");
}

#[test]
fn a_transaction_that_never_began_ends_the_session() {
    let mut session = session();
    session.fail_leases(busy());
    answered(&mut session, "MULTI", BUSY);
    assert!(
        session.end().is_some(),
        "SET would be carried out on its own"
    );
    let mut session = common::session();
    session.fail_leases(busy());
    answered(&mut session, "MULTI; SET a b; EXEC", &BUSY.repeat(3));
    assert!(session.end().is_none(), "all of it has failed");
}

#[test]
fn a_lost_connection_is_one_error_for_each_reply_that_is_missing() {
    let mut session = session();
    session.client(&requests("GET a; GET b; SET c d"));
    session.upstream(b"$1\r\na\r\n");
    session.lose("reset by peer");
    let said = String::from_utf8(session.take_client()).unwrap();
    assert_eq!(said, format!("$1\r\na\r\n{}", LOST.repeat(2)));
    assert_eq!(session.end(), None);
    session.take_upstream();
    exchange(&mut session, "GET a", "$-1\r\n");
}

#[test]
fn a_request_that_was_sent_in_part_is_swallowed_to_its_end() {
    let mut session = session();
    session.client(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\nab");
    session.lose("reset by peer");
    assert_eq!(session.take_client(), LOST.as_bytes());
    session.client(b"cde\r\n");
    session.client(b"*3\r\n$3\r\nSET\r\n$20000\r\nk");
    session.lose("reset by peer");
    assert_eq!(session.take_client(), LOST.as_bytes());
    session.client(&[b'k'; 19_999]);
    session.client(b"\r\n$1\r\nx\r\n");
    session.take_upstream();
    exchange(&mut session, "GET a", "$-1\r\n");
}

#[test]
fn a_reply_that_is_cut_is_followed_by_nothing() {
    for cut in [
        &b"$10\r\nabc"[..],
        b"*2\r\n:1\r\n",
        b"+O",
        b"$-1\r\n$3\r\nab",
    ] {
        for more in ["", "; GET c"] {
            let mut session = session();
            session.client(&requests(&format!("GET a; GET b{more}")));
            session.upstream(cut);
            session.take_client();
            session.lose("reset by peer");
            assert_eq!(session.take_client(), b"", "{}", cut.escape_ascii());
            assert!(session.end().is_some(), "{}", cut.escape_ascii());
        }
    }
}

#[test]
fn half_a_header_was_never_passed_on_and_is_no_cut() {
    let mut session = session();
    session.client(&requests("GET a"));
    session.upstream(b"$1");
    session.lose("reset by peer");
    assert_eq!(session.take_client(), LOST.as_bytes());
    assert_eq!(session.end(), None);
}

#[test]
fn state_that_is_lost_ends_the_session() {
    let mut session = session();
    exchange(&mut session, "MULTI", "+OK\r\n");
    session.client(&requests("INCR n"));
    session.lose("reset by peer");
    assert_eq!(session.take_client(), LOST.as_bytes());
    assert!(session.end().is_some());
    let mut session = common::session();
    exchange(&mut session, "CLIENT SETNAME x", "+OK\r\n");
    session.lose("reset by peer");
    assert_eq!(session.take_client(), b"", "nothing was asked");
    assert!(session.end().is_some());
    let mut session = session_pooling();
    exchange(&mut session, "GET a", "$-1\r\n");
    session.lose("reset by peer");
    assert!(session.end().is_some());
}

#[test]
fn a_whole_transaction_that_is_lost_is_errors_and_no_more() {
    let mut session = session();
    session.client(&requests("MULTI; INCR n; EXEC"));
    session.upstream(b"+OK\r\n");
    session.take_client();
    session.lose("reset by peer");
    assert_eq!(session.take_client(), LOST.repeat(2).as_bytes());
    assert_eq!(session.end(), None);
}

#[test]
fn a_subscriber_is_told_nothing_that_could_be_a_message() {
    let mut session = session();
    session.client(&requests("SUBSCRIBE a"));
    session.lose("reset by peer");
    assert_eq!(session.take_client(), b"");
    assert!(session.end().is_some());
}
