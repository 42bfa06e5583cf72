//! State of the client's own keeps the connection with the client, and what RESET cannot clear
//! keeps it from everybody else.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::*;
use leaseway_sdk::Disposition;
use leaseway_sdk::testing::{LeaseEnd, SessionEnd};

#[test]
fn a_transaction_stays_on_one_connection_and_ends_with_exec() {
    let mut session = session();
    exchange(&mut session, "MULTI", "+OK\r\n");
    assert!(session.is_leased());
    exchange(&mut session, "INCR n; SET a b", "+QUEUED\r\n+QUEUED\r\n");
    assert!(session.is_leased());
    exchange(&mut session, "EXEC", "*2\r\n:1\r\n+OK\r\n");
    assert!(!session.is_leased());
    assert_eq!(returned(&mut session), Disposition::Keep);
    assert_eq!(session.leases().len(), 1);
}

#[test]
fn watched_keys_hold_the_connection_until_something_ends_them() {
    for (texts, replies) in [
        (
            &["WATCH a", "GET a", "MULTI", "EXEC"][..],
            &["+OK\r\n", "$-1\r\n", "+OK\r\n", "*0\r\n"][..],
        ),
        (&["WATCH a", "UNWATCH"], &["+OK\r\n", "+OK\r\n"]),
        (
            &["WATCH a", "MULTI", "DISCARD"],
            &["+OK\r\n", "+OK\r\n", "+OK\r\n"],
        ),
    ] {
        let mut session = session();
        for (at, (text, reply)) in texts.iter().zip(replies).enumerate() {
            exchange(&mut session, text, reply);
            assert_eq!(session.is_leased(), at + 1 < texts.len(), "{texts:?}");
        }
        assert_eq!(returned(&mut session), Disposition::Keep, "{texts:?}");
    }
}

#[test]
fn an_end_that_the_server_refused_is_followed_by_a_reset() {
    let mut session = session();
    exchange(&mut session, "MULTI", "+OK\r\n");
    exchange(&mut session, "DISCARD", "-NOPERM no permission\r\n");
    assert!(!session.is_leased());
    assert_eq!(returned(&mut session), Disposition::Reset);
    let mut session = common::session();
    exchange(
        &mut session,
        "WATCH a; UNWATCH; GET a",
        "+OK\r\n-NOPERM\r\n$-1\r\n",
    );
    assert_eq!(returned(&mut session), Disposition::Reset);
}

#[test]
fn an_exec_that_ends_nothing_holds_nothing_either() {
    let mut session = session();
    exchange(&mut session, "EXEC", "-ERR EXEC without MULTI\r\n");
    assert_eq!(returned(&mut session), Disposition::Keep);
    exchange(
        &mut session,
        "WATCH a; EXEC",
        "+OK\r\n-ERR EXEC without MULTI\r\n",
    );
    assert!(session.is_leased(), "the key is still watched");
    exchange(
        &mut session,
        "MULTI; EXEC x",
        "+OK\r\n-ERR wrong number\r\n",
    );
    assert!(session.is_leased(), "EXEC with an argument is none");
}

#[test]
fn asking_holds_until_the_next_command() {
    let mut session = session();
    exchange(&mut session, "ASKING", "+OK\r\n");
    assert!(session.is_leased());
    exchange(&mut session, "GET a", "$-1\r\n");
    assert!(!session.is_leased());
    assert_eq!(returned(&mut session), Disposition::Keep);
}

#[test]
fn a_session_that_ends_in_a_transaction_has_its_connection_reset() {
    let mut session = session();
    exchange(&mut session, "MULTI; INCR n", "+OK\r\n+QUEUED\r\n");
    session.client_eof();
    assert!(session.end().is_some());
    assert_eq!(returned(&mut session), Disposition::Reset);
}

#[test]
fn a_client_that_closes_its_side_in_a_transaction_gets_its_replies_first() {
    let mut session = session();
    session.client(&requests("MULTI; INCR n"));
    session.client_eof();
    assert_eq!(session.end(), None);
    session.upstream(b"+OK\r\n+QUEUED\r\n");
    assert_eq!(session.take_client(), b"+OK\r\n+QUEUED\r\n");
    assert!(session.end().is_some());
    assert_eq!(returned(&mut session), Disposition::Reset);
}

#[test]
fn quit_in_a_transaction_is_answered_behind_its_replies() {
    let mut session = session();
    session.client(&requests("MULTI; QUIT"));
    session.client_eof();
    assert_eq!(session.take_upstream(), requests("MULTI"));
    session.upstream(b"+OK\r\n");
    assert_eq!(session.take_client(), b"+OK\r\n+OK\r\n");
    assert_eq!(
        session.end(),
        Some(&SessionEnd::Plugin(Some("QUIT".into())))
    );
    assert_eq!(returned(&mut session), Disposition::Reset);
}

#[test]
fn state_that_stays_pins_to_the_end_of_the_session() {
    for (text, end) in [
        ("CLIENT SETNAME x", Disposition::Reset),
        ("CLIENT TRACKING ON", Disposition::Close),
        ("CLIENT CACHING YES", Disposition::Close),
        ("READONLY", Disposition::Reset),
        ("CLIENT NO-EVICT ON", Disposition::Close),
        ("CLIENT NO-TOUCH ON", Disposition::Close),
    ] {
        let mut session = session();
        exchange(&mut session, text, "+OK\r\n");
        exchange(&mut session, "GET a", "$-1\r\n");
        exchange(&mut session, "MULTI; EXEC", "+OK\r\n*0\r\n");
        assert!(session.is_leased(), "{text}");
        answered(&mut session, "QUIT", "+OK\r\n");
        assert_eq!(returned(&mut session), end, "{text}");
    }
}

#[test]
fn on_a_pinned_connection_the_client_speaks_for_itself() {
    for (text, end) in [
        ("SELECT 3", Disposition::Reset),
        ("AUTH secret", Disposition::Close),
        ("HELLO 3", Disposition::Close),
    ] {
        let mut session = session();
        exchange(&mut session, "WATCH a", "+OK\r\n");
        exchange(&mut session, text, "+OK\r\n");
        exchange(&mut session, "UNWATCH", "+OK\r\n");
        assert!(session.is_leased(), "{text}");
        session.client_eof();
        assert_eq!(returned(&mut session), end, "{text}");
    }
}

#[test]
fn pushes_reach_a_pinned_client_between_its_commands() {
    let mut session = session();
    exchange(&mut session, "CLIENT TRACKING ON", "+OK\r\n");
    let push = b">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n";
    for byte in push {
        session.upstream(&[*byte]);
    }
    assert_eq!(session.take_client(), push);
    exchange(&mut session, "GET k", "$-1\r\n");
    session.client_eof();
    assert_eq!(returned(&mut session), Disposition::Close);
}

#[test]
fn a_local_answer_does_not_stand_in_a_push() {
    let mut session = session();
    exchange(&mut session, "CLIENT TRACKING ON", "+OK\r\n");
    session.upstream(b">2\r\n$10\r\ninvalidate\r\n");
    answered(
        &mut session,
        "CLIENT SETINFO lib-name x",
        ">2\r\n$10\r\ninvalidate\r\n",
    );
    session.upstream(b"*1\r\n$1\r\nk\r\n");
    assert_eq!(
        escaped(&session.take_client()),
        escaped(b"*1\r\n$1\r\nk\r\n+OK\r\n")
    );
}

#[test]
fn a_connection_whose_id_a_pinned_client_knows_is_nobody_elses() {
    for (text, replies, end) in [
        ("CLIENT ID", ":7\r\n", Disposition::Keep),
        (
            "CLIENT SETNAME x; CLIENT ID",
            "+OK\r\n:7\r\n",
            Disposition::Close,
        ),
        (
            "CLIENT ID; CLIENT SETNAME x",
            ":7\r\n+OK\r\n",
            Disposition::Close,
        ),
        (
            "MULTI; CLIENT ID; EXEC",
            "+OK\r\n+QUEUED\r\n*1\r\n:7\r\n",
            Disposition::Close,
        ),
    ] {
        let mut session = session();
        exchange(&mut session, text, replies);
        session.client_eof();
        assert_eq!(returned(&mut session), end, "{text}");
    }
}

#[test]
fn what_a_library_says_of_itself_in_a_transaction_is_part_of_it() {
    for text in ["CLIENT SETINFO lib-name x", "CLIENT MAINT_NOTIFICATIONS ON"] {
        let mut session = session();
        exchange(
            &mut session,
            &format!("MULTI; {text}; EXEC"),
            "+OK\r\n+QUEUED\r\n*1\r\n+OK\r\n",
        );
        assert!(!session.is_leased());
        assert_eq!(returned(&mut session), Disposition::Close);
    }
}

#[test]
fn a_reply_that_nobody_asked_for_ends_a_pinned_session() {
    let mut session = session();
    exchange(&mut session, "CLIENT TRACKING ON", "+OK\r\n");
    session.upstream(b"+OK\r\n");
    assert!(session.end().is_some());
    assert_eq!(session.take_client(), b"");
}

#[test]
fn where_replies_cannot_be_counted_they_are_copied_and_the_connection_closed() {
    for text in [
        "SUBSCRIBE a b",
        "PSUBSCRIBE a*",
        "SSUBSCRIBE a",
        "MONITOR",
        "SYNC",
        "PSYNC ? -1",
        "CLIENT REPLY OFF",
        "CLIENT REPLY SKIP",
        "SCRIPT DEBUG YES",
        "DEBUG SLEEP 0",
        "CLUSTER SYNCSLOTS x",
        "SOME.MODULE x",
        "CLIENT SOMETHING",
    ] {
        let mut session = session();
        exchange(&mut session, text, "any\r\nthing at all");
        let more = "PING; RESET; CLIENT SETINFO lib-name x; AUTH a; HELLO 3; FOO; QUIT";
        session.client(&requests(more));
        assert_eq!(session.take_upstream(), requests(more), "{text}");
        session.upstream(b"more");
        assert_eq!(session.take_client(), b"more", "{text}");
        session.client(b"*x no request");
        assert_eq!(session.take_upstream(), b"*x no request", "{text}");
        session.upstream_eof();
        session.client_eof();
        assert!(session.end().is_some());
        assert_eq!(returned(&mut session), Disposition::Close, "{text}");
    }
}

#[test]
fn a_subscriber_that_leaves_is_ended_by_the_server() {
    let mut session = session();
    exchange(
        &mut session,
        "SUBSCRIBE a",
        "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n",
    );
    session.client_eof();
    assert!(session.upstream_saw_eof(), "the server ends it");
    session.upstream_eof();
    assert!(session.end().is_some());
    assert_eq!(returned(&mut session), Disposition::Close);
}

#[test]
fn reset_gives_a_pinned_connection_back_and_makes_the_client_anew() {
    for (text, end) in [
        ("MULTI", Disposition::Reset),
        ("CLIENT SETNAME x", Disposition::Reset),
        ("CLIENT TRACKING ON", Disposition::Close),
    ] {
        let mut session = session();
        exchange(&mut session, text, "+OK\r\n");
        answered(&mut session, "RESET", "+RESET\r\n");
        assert!(!session.is_leased());
        assert_eq!(returned(&mut session), end, "{text}");
        exchange(&mut session, "GET a", "$-1\r\n");
        assert_eq!(returned(&mut session), Disposition::Keep);
    }
}

#[test]
fn session_pooling_has_one_lease_from_the_first_command_to_the_end() {
    let mut session = session_pooling();
    answered(&mut session, "CLIENT SETINFO lib-name x", "+OK\r\n");
    assert_eq!(session.leases().len(), 0);
    exchange(&mut session, "GET a; SELECT 2", "$-1\r\n+OK\r\n");
    exchange(&mut session, "MULTI; EXEC", "+OK\r\n*0\r\n");
    assert!(session.is_leased());
    answered(&mut session, "QUIT", "+OK\r\n");
    assert_eq!(session.leases().len(), 1);
    assert_eq!(returned(&mut session), Disposition::Reset);
}

#[test]
fn session_pooling_takes_who_the_client_is_before_its_first_command() {
    let mut session = session_pooling();
    answered(&mut session, "SELECT 2", "+OK\r\n");
    assert!(!session.is_leased());
    exchange(&mut session, "GET a", "$-1\r\n");
    assert_eq!(
        session.leases()[1].target.identity,
        "user=default db=2 proto=2 auth=none"
    );
    session.client(&requests("GET b"));
    session.client_error();
    assert_eq!(returned(&mut session), Disposition::Close);
    assert!(matches!(
        session.leases()[0].end,
        LeaseEnd::Returned(Disposition::Keep)
    ));
}
