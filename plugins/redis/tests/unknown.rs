//! Commands that the plugin does not know: the first bytes of the reply say whether the server does.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::*;
use leaseway_sdk::Disposition;

const UNKNOWN: &str = "-ERR unknown command `FOO`, with args beginning with: \r\n";

#[test]
fn what_the_server_does_not_know_either_leaves_nothing_behind() {
    for pieces in [1, 7, 1000] {
        for (text, reply) in [
            ("FOO", UNKNOWN),
            ("FOO x", "-ERR unknown command 'FOO'\r\n"),
            (
                "CLIENT FOO",
                "-ERR unknown subcommand 'FOO'. Try CLIENT HELP.\r\n",
            ),
            ("SCRIPT FOO", "-ERR Unknown subcommand or wrong number\r\n"),
        ] {
            let mut session = session().in_pieces_of(pieces);
            exchange(&mut session, text, reply);
            assert!(!session.is_leased(), "{text}");
            assert_eq!(returned(&mut session), Disposition::Keep, "{text}");
        }
    }
}

#[test]
fn what_the_server_knows_takes_the_connection_for_good() {
    for reply in ["+OK\r\n", "-ERR wrong number\r\n", ":1\r\n:2\r\n", "?"] {
        for pieces in [1, 1000] {
            let mut session = session().in_pieces_of(pieces);
            exchange(&mut session, "FOO", reply);
            exchange(&mut session, "QUIT", "+OK\r\n");
            session.upstream_eof();
            session.client_eof();
            assert_eq!(returned(&mut session), Disposition::Close);
        }
    }
}

#[test]
fn it_is_sent_when_nothing_else_is_owed_and_nothing_follows_before_its_reply() {
    let mut session = session();
    session.client(&requests("GET a; FOO; GET b; FOO; QUIT"));
    assert_eq!(session.take_upstream(), requests("GET a"));
    session.upstream(b":1\r\n");
    assert_eq!(session.take_upstream(), requests("FOO"));
    session.client(b"\r\n");
    session.upstream(UNKNOWN.as_bytes());
    assert_eq!(session.take_upstream(), requests("GET b"));
    session.upstream(b":2\r\n");
    assert_eq!(session.take_upstream(), requests("FOO"));
    session.upstream(b"+OK\r\n");
    assert_eq!(
        session.take_upstream(),
        [&requests("QUIT")[..], b"\r\n"].concat(),
        "the server knows it, so it ends the connection too"
    );
    session.upstream(b"+OK\r\n");
    assert_eq!(
        escaped(&session.take_client()),
        escaped(format!(":1\r\n{UNKNOWN}:2\r\n+OK\r\n+OK\r\n").as_bytes())
    );
    assert_eq!(session.leases().len(), 4);
}

#[test]
fn it_may_stand_in_a_transaction() {
    let mut session = session();
    exchange(&mut session, "MULTI", "+OK\r\n");
    exchange(&mut session, "FOO", UNKNOWN);
    exchange(&mut session, "EXEC", "-EXECABORT\r\n");
    assert_eq!(returned(&mut session), Disposition::Reset);
}

#[test]
fn a_large_one_passes_unseen() {
    let mut session = session().with_max_shown(100);
    session.client(b"*2\r\n$3\r\nFOO\r\n$1000\r\n");
    session.client(&[b'x'; 1002]);
    session.upstream(UNKNOWN.as_bytes());
    assert_eq!(returned(&mut session), Disposition::Keep);
    assert_eq!(session.take_upstream().len(), 20 + 1002);
}

#[test]
fn one_that_is_lost_is_one_error() {
    let mut session = session();
    session.client(&requests("FOO; GET a"));
    session.take_upstream();
    session.upstream(b"-ERR unkn");
    session.lose("gone");
    assert_eq!(
        session.take_client(),
        b"-ERR leaseway: the connection was lost: gone\r\n"
    );
    assert_eq!(session.take_upstream(), requests("GET a"));
}

#[test]
fn a_client_that_ends_behind_it_leaves_the_rest_to_the_server() {
    let mut session = session();
    session.client(&requests("FOO; QUIT"));
    session.client_eof();
    assert_eq!(session.end(), None);
    assert_eq!(session.take_upstream(), requests("FOO; QUIT"));
    session.upstream(b"+OK\r\n+OK\r\n");
    session.upstream_eof();
    assert!(session.end().is_some());
    assert_eq!(session.take_client(), b"+OK\r\n+OK\r\n");
    assert_eq!(returned(&mut session), Disposition::Close);
}

#[test]
fn what_stands_before_a_stream_is_forwarded_with_it() {
    let mut session = session();
    session.client(&requests(
        "GET a; SUBSCRIBE b; CLIENT SETINFO lib-name x; QUIT",
    ));
    assert_eq!(
        session.take_upstream(),
        requests("GET a; SUBSCRIBE b; CLIENT SETINFO lib-name x; QUIT")
    );
    assert_eq!(session.take_client(), b"");
    session.upstream(b"$-1\r\n*3\r\n");
    assert_eq!(session.take_client(), b"$-1\r\n*3\r\n");
}

#[test]
fn a_stream_without_a_connection_is_an_error_and_its_request_swallowed() {
    let mut session = session();
    session.fail_leases(leaseway_sdk::LeaseError::Draining);
    let request = requests("SUBSCRIBE a bbbbbbbbbb");
    session.client(&request[..40]);
    assert!(session.take_client().starts_with(b"-ERR leaseway: "));
    session.grant_leases();
    session.client(&request[40..]);
    exchange(&mut session, "GET a", "$-1\r\n");
    assert_eq!(returned(&mut session), Disposition::Keep);
}
