//! A client that ends its side: what is still owed to it comes, and nobody waits for its sake.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::*;
use leaseway_sdk::Disposition;

const BLOCKING: &[&str] = &[
    "BLPOP q 0",
    "BRPOP q 0",
    "BRPOPLPUSH q p 0",
    "BLMOVE q p LEFT LEFT 0",
    "BLMPOP 0 1 q LEFT",
    "BZPOPMIN q 0",
    "BZPOPMAX q 0",
    "BZMPOP 0 1 q MIN",
    "BLMOVEM q p LEFT LEFT 0",
    "XREAD BLOCK 0 STREAMS s $",
    "XREADGROUP GROUP g c BLOCK 0 STREAMS s >",
    "WAIT 1 0",
    "WAITAOF 1 0 0",
];

#[test]
fn a_server_that_may_wait_for_others_is_told_of_the_end() {
    for text in BLOCKING {
        let mut session = session();
        session.client(&requests(text));
        session.client_eof();
        assert_eq!(session.end(), None, "{text}");
        // A server at work closes, or answers what it need not wait for.
        session.upstream_eof();
        assert!(session.end().is_some(), "{text}");
        assert_eq!(session.take_client(), b"", "{text}");
    }
}

#[test]
fn what_needs_not_wait_is_answered() {
    let mut session = session();
    session.client(&requests("BLPOP q 0; QUIT"));
    session.client_eof();
    assert_eq!(session.take_upstream(), requests("BLPOP q 0; QUIT"));
    session.upstream(b"*2\r\n$1\r\nq\r\n$1\r\nx\r\n+OK\r\n");
    session.upstream_eof();
    assert_eq!(
        session.take_client(),
        b"*2\r\n$1\r\nq\r\n$1\r\nx\r\n+OK\r\n"
    );
    assert!(session.end().is_some());
    assert_eq!(returned(&mut session), Disposition::Close);
}

#[test]
fn replies_before_it_are_awaited() {
    let mut session = session();
    session.client(&requests("GET a; GET b; BLPOP q 0; GET c"));
    session.client_eof();
    session.upstream(b"$-1\r\n");
    assert_eq!(session.end(), None);
    session.upstream(b"$-1\r\n");
    assert_eq!(session.take_client(), b"$-1\r\n$-1\r\n");
    assert!(session.end().is_some());
    assert_eq!(returned(&mut session), Disposition::Close);
}

#[test]
fn replies_behind_one_that_has_been_answered_are_awaited_too() {
    let mut session = session();
    session.client(&requests("BLPOP q 0; WAIT 1 0; GET b; BLPOP q 0"));
    session.upstream(b"*-1\r\n:1\r\n");
    session.client_eof();
    assert_eq!(session.end(), None);
    session.upstream(b"$-1\r\n*2\r\n$1\r\nq\r\n$1\r\nx\r\n");
    assert!(session.end().is_some());
    assert_eq!(returned(&mut session), Disposition::Keep);
}

#[test]
fn a_stream_behind_it_takes_the_end_along() {
    let mut session = session();
    session.client(&requests(
        "CLIENT SETNAME x; CLIENT SETINFO lib-name y; BLPOP q 0; SUBSCRIBE a",
    ));
    session.client_eof();
    session.upstream(b"+OK\r\n");
    assert_eq!(session.take_client(), b"+OK\r\n+OK\r\n");
    assert_eq!(
        session.take_upstream(),
        requests("CLIENT SETNAME x; BLPOP q 0; SUBSCRIBE a")
    );
    assert_eq!(session.end(), None);
}

#[test]
fn nothing_waits_in_a_transaction() {
    let mut session = session();
    session.client(&requests("MULTI; BLPOP q 0; EXEC"));
    session.client_eof();
    session.upstream(b"+OK\r\n");
    assert_eq!(session.end(), None);
    session.upstream(b"+QUEUED\r\n*1\r\n*-1\r\n");
    assert!(session.end().is_some());
    assert_eq!(returned(&mut session), Disposition::Keep);
}

#[test]
fn all_that_was_sent_is_answered_on_a_pinned_connection() {
    let mut session = session();
    session.client(&requests(
        "CLIENT SETNAME x; CLIENT SETINFO lib-name y; GET a",
    ));
    session.client_eof();
    session.upstream(b"+OK\r\n");
    assert_eq!(session.end(), None, "GET has not been sent");
    assert_eq!(session.take_upstream(), requests("CLIENT SETNAME x; GET a"));
    session.upstream(b"$-1\r\n");
    assert_eq!(session.take_client(), b"+OK\r\n+OK\r\n$-1\r\n");
    assert!(session.end().is_some());
    assert_eq!(returned(&mut session), Disposition::Reset);
    let mut session = common::session();
    session.client(&requests("CLIENT SETNAME x; RESET; GET a"));
    session.client_eof();
    session.upstream(b"+OK\r\n");
    session.upstream(b"$-1\r\n");
    assert_eq!(session.take_client(), b"+OK\r\n+RESET\r\n$-1\r\n");
    assert_eq!(session.leases().len(), 2);
}

#[test]
fn a_request_that_will_never_be_whole_takes_no_reply_with_it() {
    let mut session = session();
    session.client(&requests("GET a"));
    session.client(b"*2\r\n$3\r\nGET\r\n$100");
    session.client_eof();
    assert_eq!(session.end(), None);
    session.upstream(b"$-1\r\n");
    assert_eq!(session.take_client(), b"$-1\r\n");
    assert!(session.end().is_some());
    assert_eq!(returned(&mut session), Disposition::Keep);
}
