//! AUTH, HELLO and SELECT choose among connections, and never change one that others borrow.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::*;
use leaseway_plugin_redis::Redis;
use leaseway_sdk::testing::{LeaseEnd, ScriptedSession, configure};
use leaseway_sdk::{Disposition, LeaseError, Plugin};

const HELLO_REPLY: &str = "%1\r\n$5\r\nproto\r\n:3\r\n";

fn last_identity(session: &mut ScriptedSession<Redis>) -> String {
    session.leases().last().unwrap().target.identity.clone()
}

#[test]
fn auth_and_select_lease_as_whom_they_name_and_forward_nothing() {
    let mut session = session();
    answered(&mut session, "SELECT 3", "+OK\r\n");
    assert_eq!(
        last_identity(&mut session),
        "user=default db=3 proto=2 auth=none"
    );
    answered(&mut session, "AUTH app hunter2", "+OK\r\n");
    let identity = last_identity(&mut session);
    assert!(
        identity.starts_with("user=app db=3 proto=2 auth="),
        "{identity}"
    );
    assert!(!identity.contains("hunter2"));
    exchange(&mut session, "GET a", "$-1\r\n");
    assert_eq!(last_identity(&mut session), identity);
    assert!(
        session
            .leases()
            .iter()
            .all(|lease| lease.end == leaseway_sdk::testing::LeaseEnd::Returned(Disposition::Keep))
    );
}

#[test]
fn the_database_that_is_selected_already_needs_no_connection() {
    let mut session = session();
    // Whether the server lets the client do so, only the server knows.
    exchange(&mut session, "SELECT 0", "-NOAUTH\r\n");
    exchange(&mut session, "SELECT 0", "+OK\r\n");
    assert_eq!(returned(&mut session), Disposition::Keep);
    answered(&mut session, "SELECT 0", "+OK\r\n");
    answered(&mut session, "SELECT 1; SELECT 1", "+OK\r\n+OK\r\n");
    assert_eq!(session.leases().len(), 3);
    answered(&mut session, "RESET", "+RESET\r\n");
    exchange(&mut session, "GET a", "$-1\r\n");
    answered(&mut session, "SELECT 0", "+OK\r\n");
}

#[test]
fn identity_changes_wait_for_replies_and_hold_back_what_follows() {
    let mut session = session();
    session.client(&requests("GET a; SELECT 1; GET b"));
    assert_eq!(session.take_upstream(), requests("GET a"));
    session.upstream(b"$-1\r\n");
    assert_eq!(session.take_client(), b"$-1\r\n+OK\r\n");
    assert_eq!(session.take_upstream(), requests("GET b"));
    assert_eq!(
        last_identity(&mut session),
        "user=default db=1 proto=2 auth=none"
    );
}

#[test]
fn what_the_server_refuses_is_refused_in_its_words_and_nothing_changes() {
    let mut session = session();
    let wrong = "WRONGPASS invalid username-password pair or user is disabled.";
    session.fail_leases(LeaseError::HandshakeFailed(wrong.into()));
    answered(
        &mut session,
        "AUTH wrong; PING",
        &format!("-{wrong}\r\n-ERR leaseway: the handshake failed: {wrong}\r\n"),
    );
    session.fail_leases(LeaseError::HandshakeFailed(
        "ERR DB index is out of range".into(),
    ));
    answered(
        &mut session,
        "SELECT 99",
        "-ERR DB index is out of range\r\n",
    );
    session.fail_leases(LeaseError::HandshakeFailed(
        "the upstream closed the connection".into(),
    ));
    answered(
        &mut session,
        "SELECT 1",
        "-ERR leaseway: the handshake failed: the upstream closed the connection\r\n",
    );
    session.grant_leases();
    exchange(&mut session, "GET a", "$-1\r\n");
    assert_eq!(
        last_identity(&mut session),
        "user=default db=0 proto=2 auth=none"
    );
}

#[test]
fn nonsense_is_refused_without_a_connection() {
    let mut session = session();
    for (text, error) in [
        ("SELECT", "wrong number of arguments for 'select' command"),
        ("SELECT x", "value is not an integer or out of range"),
        ("SELECT -1", "DB index is out of range"),
        ("SELECT +3", "value is not an integer or out of range"),
        ("SELECT 03", "value is not an integer or out of range"),
        (
            "SELECT 2147483648",
            "value is out of range, value must between -2147483648 and 2147483647",
        ),
        ("RESET x", "wrong number of arguments for 'reset' command"),
        (
            "HELLO abc",
            "Protocol version is not an integer or out of range",
        ),
        (
            "HELLO +3",
            "Protocol version is not an integer or out of range",
        ),
        ("AUTH", "wrong number of arguments for 'auth' command"),
        ("AUTH a b c", "syntax error"),
        (
            "HELLO 3 NONSENSE",
            "Syntax error in HELLO option 'NONSENSE'",
        ),
        ("HELLO 3 AUTH a", "Syntax error in HELLO option 'AUTH'"),
    ] {
        answered(&mut session, text, &format!("-ERR {error}\r\n"));
    }
    answered(
        &mut session,
        "HELLO 4",
        "-NOPROTO unsupported protocol version\r\n",
    );
    assert_eq!(session.leases().len(), 0);
}

#[test]
fn hello_is_answered_by_a_connection_of_that_protocol_and_no_secret_is_sent_on() {
    let mut session = session();
    session.client(&requests("HELLO 3 AUTH app hunter2; GET a"));
    assert_eq!(session.take_upstream(), requests("HELLO 3"));
    let identity = last_identity(&mut session);
    assert!(
        identity.starts_with("user=app db=0 proto=3 auth="),
        "{identity}"
    );
    session.upstream(HELLO_REPLY.as_bytes());
    assert_eq!(session.take_client(), HELLO_REPLY.as_bytes());
    assert_eq!(session.leases().len(), 2, "GET waited for the reply");
    assert_eq!(last_identity(&mut session), identity);
    session.upstream(b"$-1\r\n");
    assert!(!session.is_leased());
}

#[test]
fn hello_without_arguments_asks_as_whom_the_client_is() {
    let mut session = session();
    session.client(b"HELLO\r\n");
    assert_eq!(session.take_upstream(), requests("HELLO"));
    session.upstream(HELLO_REPLY.as_bytes());
    assert!(!session.is_leased());
    assert_eq!(
        last_identity(&mut session),
        "user=default db=0 proto=2 auth=none"
    );
}

#[test]
fn a_hello_that_the_server_refuses_changes_nothing() {
    let mut session = session();
    session.client(&requests("HELLO 3"));
    session.upstream(b"-NOAUTH HELLO must be called with the client already authenticated\r\n");
    assert!(!session.is_leased());
    assert_eq!(returned(&mut session), Disposition::Reset);
    session.take_client();
    session.take_upstream();
    exchange(&mut session, "GET a", "$-1\r\n");
    assert_eq!(
        last_identity(&mut session),
        "user=default db=0 proto=2 auth=none"
    );
}

#[test]
fn a_name_given_with_hello_pins() {
    let mut session = session();
    session.client(&requests("HELLO 3 SETNAME worker"));
    assert_eq!(session.take_upstream(), requests("HELLO 3 SETNAME worker"));
    session.upstream(HELLO_REPLY.as_bytes());
    session.take_client();
    assert!(session.is_leased());
    exchange(&mut session, "GET a", "$-1\r\n");
    session.client_eof();
    assert_eq!(returned(&mut session), Disposition::Reset);
}

#[test]
fn a_name_that_the_server_refuses_pins_nothing_and_changes_nothing() {
    for per_session in [false, true] {
        let mut session = match per_session {
            true => session_pooling(),
            false => session(),
        };
        session.client(&requests("HELLO 3 SETNAME a?b; HGETALL h"));
        session.take_upstream();
        let refused = b"-ERR Client names cannot contain spaces\r\n";
        session.upstream(refused);
        assert_eq!(escaped(&session.take_client()), escaped(refused));
        let ends: Vec<_> = session.leases().iter().map(|l| l.end.clone()).collect();
        assert_eq!(ends.len(), 2);
        assert_eq!(ends[0], LeaseEnd::Returned(Disposition::Reset));
        assert_eq!(session.take_upstream(), requests("HGETALL h"));
        assert_eq!(
            last_identity(&mut session),
            "user=default db=0 proto=2 auth=none"
        );
    }
}

#[test]
fn the_default_user_by_name_is_not_the_one_without() {
    let mut session = session();
    answered(&mut session, "AUTH pw", "+OK\r\n");
    let without = last_identity(&mut session);
    answered(&mut session, "AUTH default pw", "+OK\r\n");
    assert_ne!(last_identity(&mut session), without);
    assert!(last_identity(&mut session).starts_with("user=default db=0 proto=2 auth="));
}

#[test]
fn a_lost_hello_is_one_error_and_nothing_changes() {
    let mut session = session();
    session.client(&requests("HELLO 3"));
    session.lose("broken pipe");
    assert_eq!(
        escaped(&session.take_client()),
        escaped(b"-ERR leaseway: the connection was lost: broken pipe\r\n")
    );
    session.take_upstream();
    exchange(&mut session, "GET a", "$-1\r\n");
    assert_eq!(
        last_identity(&mut session),
        "user=default db=0 proto=2 auth=none"
    );
}

#[test]
fn reset_makes_the_client_who_the_config_says() {
    let mut session =
        ScriptedSession::<Redis>::new(r#"{"pooling": "command-exclusive", "database": 5}"#);
    answered(&mut session, "SELECT 1; RESET", "+OK\r\n+RESET\r\n");
    exchange(&mut session, "GET a", "$-1\r\n");
    assert_eq!(
        last_identity(&mut session),
        "user=default db=5 proto=2 auth=none"
    );
}

#[test]
fn identity_commands_may_come_in_any_split() {
    for pieces in 1..30 {
        let mut session = session().in_pieces_of(pieces);
        session.client(&requests(
            "SELECT 3; AUTH a b; CLIENT SETINFO lib-ver 1; RESET; QUIT",
        ));
        assert_eq!(
            session.take_client(),
            b"+OK\r\n+OK\r\n+OK\r\n+RESET\r\n+OK\r\n"
        );
        assert_eq!(session.leases().len(), 2);
    }
}

#[test]
fn a_command_that_must_be_seen_whole_has_its_limit() {
    let mut session = session();
    session.client(b"*2\r\n$4\r\nAUTH\r\n$20000\r\n");
    assert_eq!(
        session.take_client(),
        b"-ERR leaseway: over 16 KiB for a command of this kind\r\n"
    );
    session.client(&[b'*'; 20_000]);
    session.client(b"\r\n");
    exchange(&mut session, "WATCH a", "+OK\r\n");
    session.client(b"*2\r\n$5\r\nRESET\r\n$20000\r\n");
    session.client(&[b'*'; 20_002]);
    session.take_client();
    exchange(&mut session, "GET a", "$-1\r\n");
    session.client(b"*3\r\n$5\r\nRESET\r\n$20000\r\n");
    assert!(session.end().is_some(), "the rest is not to be told apart");
}

#[test]
fn too_many_arguments_are_an_error_and_no_more() {
    let mut session = session();
    let many = |name: &str| format!("{name}{}", " x".repeat(20));
    for held in [false, true] {
        if held {
            exchange(&mut session, "WATCH a", "+OK\r\n");
        }
        for (name, error) in [
            ("RESET", "wrong number of arguments for 'reset' command"),
            (
                "CLIENT SETINFO",
                "wrong number of arguments for 'client|setinfo' command",
            ),
            (
                "QUIT",
                "leaseway: too many arguments for a command of this kind",
            ),
        ] {
            answered(&mut session, &many(name), &format!("-ERR {error}\r\n"));
        }
    }
    exchange(&mut session, "GET a", "$-1\r\n");
    let mut session = common::session();
    for (name, error) in [
        ("SELECT", "wrong number of arguments for 'select' command"),
        ("AUTH", "syntax error"),
        (
            "HELLO",
            "leaseway: too many arguments for a command of this kind",
        ),
    ] {
        answered(&mut session, &many(name), &format!("-ERR {error}\r\n"));
    }
    for cut in 100..requests(&many("AUTH")).len() {
        let mut session = common::session();
        session.client(&requests(&many("AUTH"))[..cut]);
        session.client(&requests(&many("AUTH"))[cut..]);
        assert_eq!(session.take_client(), b"-ERR syntax error\r\n", "{cut}");
        exchange(&mut session, "GET a", "$-1\r\n");
    }
}

#[test]
fn the_config_says_who_connections_are_at_first() {
    let target = |json: &str| configure::<Redis>(json).unwrap().default_target();
    assert_eq!(target("{}").identity, "user=default db=0 proto=2 auth=none");
    let app = target(r#"{"username": "app", "password": "hunter2", "database": 4}"#);
    assert!(app.identity.starts_with("user=app db=4 proto=2 auth="));
    assert!(!app.identity.contains("hunter2"));
}

#[test]
fn config_mistakes_are_named() {
    let error = |json: &str| configure::<Redis>(json).err().unwrap();
    for (json, part) in [
        (r#"{"username": "app"}"#, "no `password`"),
        (
            r#"{"max-commands-per-lease": 0}"#,
            "`max-commands-per-lease`",
        ),
        (r#"{"max-commands-per-lease": 1000000}"#, "1 to 16384"),
        (
            r#"{"pooling": "none"}"#,
            "`command`, `command-exclusive`, `session`",
        ),
        (r#"{"pool": "command"}"#, "unknown field `pool`"),
        (r#"{"database": -1}"#, "`database`"),
    ] {
        let message = error(json);
        assert!(message.contains(part), "{json}: {message}");
    }
}
