//! What clients say and get, without any wasm: each dialogue whole, and byte by byte.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use leaseway_plugin_redis::Redis;
use leaseway_sdk::testing::{LeaseEnd, ScriptedConnection, ScriptedSession, connect, probe, reset};
use leaseway_sdk::{Disposition, LeaseError, Target, testing};

fn session(config: &str) -> ScriptedSession<Redis> {
    ScriptedSession::new(config)
}

/// Runs a dialogue with the bytes whole, and again in pieces of one and of three.
fn in_all_splits(config: &str, dialogue: impl Fn(&mut ScriptedSession<Redis>)) {
    for pieces in [usize::MAX, 1, 3] {
        dialogue(&mut session(config).in_pieces_of(pieces));
    }
}

/// What became of each lease.
fn ends(session: &mut ScriptedSession<Redis>) -> Vec<LeaseEnd> {
    session
        .leases()
        .iter()
        .map(|lease| lease.end.clone())
        .collect()
}

const KEPT: LeaseEnd = LeaseEnd::Returned(Disposition::Keep);
const RESET: LeaseEnd = LeaseEnd::Returned(Disposition::Reset);
const CLOSED: LeaseEnd = LeaseEnd::Returned(Disposition::Close);

#[test]
fn a_command_leases_and_its_reply_releases() {
    in_all_splits("{}", |s| {
        for value in ["a", "b"] {
            s.client(b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n");
            assert_eq!(s.take_upstream(), b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n");
            s.upstream(format!("$1\r\n{value}\r\n").as_bytes());
            assert_eq!(s.take_client(), format!("$1\r\n{value}\r\n").as_bytes());
            assert!(!s.is_leased());
        }
        assert_eq!(ends(s), [KEPT; 2]);
    });
}

#[test]
fn a_pipeline_is_released_behind_its_last_reply() {
    in_all_splits("{}", |s| {
        s.client(b"PING\r\nINCR n\r\n*1\r\n$4\r\nPING\r\n");
        s.upstream(b"+PONG\r\n:1\r\n");
        assert!(s.is_leased());
        s.upstream(b"+PONG\r\n");
        assert!(!s.is_leased());
        assert_eq!(s.take_client(), b"+PONG\r\n:1\r\n+PONG\r\n");
    });
}

#[test]
fn a_transaction_keeps_its_connection() {
    in_all_splits("{}", |s| {
        for (command, reply, leased) in [
            ("WATCH k\r\n", "+OK\r\n", true),
            ("MULTI\r\n", "+OK\r\n", true),
            ("INCR k\r\n", "+QUEUED\r\n", true),
            ("EXEC\r\n", "*1\r\n:1\r\n", false),
            ("WATCH k\r\n", "+OK\r\n", true),
            ("UNWATCH\r\n", "+OK\r\n", false),
            ("MULTI\r\n", "+OK\r\n", true),
            ("DISCARD\r\n", "+OK\r\n", false),
        ] {
            s.client(command.as_bytes());
            s.upstream(reply.as_bytes());
            assert_eq!(s.is_leased(), leased, "after {command}");
        }
        assert_eq!(ends(s), [KEPT; 3]);
    });
}

#[test]
fn a_transaction_that_was_refused_is_reset_rather_than_trusted() {
    let mut s = session("{}");
    s.client(b"MULTI\r\n");
    s.upstream(b"-NOPERM this user has no permissions\r\n");
    s.client(b"EXEC\r\n");
    s.upstream(b"-ERR EXEC without MULTI\r\n");
    assert_eq!(ends(&mut s), [RESET]);
}

#[test]
fn quit_is_answered_here_behind_what_is_under_way() {
    in_all_splits("{}", |s| {
        s.client(b"GET k\r\nQUIT\r\n");
        assert_eq!(s.take_upstream(), b"GET k\r\n");
        s.upstream(b"$-1\r\n");
        assert_eq!(s.take_client(), b"$-1\r\n+OK\r\n");
        assert!(s.end().is_some());
        assert_eq!(ends(s), [KEPT]);
    });
}

#[test]
fn auth_and_select_choose_the_connections() {
    in_all_splits(r#"{"database": 2}"#, |s| {
        s.client(b"AUTH app s3cret\r\nSELECT 5\r\nGET k\r\n");
        assert_eq!(s.take_upstream(), b"GET k\r\n");
        assert_eq!(s.take_client(), b"+OK\r\n+OK\r\n");
        s.upstream(b"$-1\r\n");
        let identities: Vec<String> = s
            .leases()
            .iter()
            .map(|lease| lease.target.identity.clone())
            .collect();
        assert_eq!(identities.len(), 3);
        assert!(
            identities[0].starts_with("user=app db=2 proto=2 auth="),
            "{identities:?}"
        );
        assert!(
            identities[1].starts_with("user=app db=5 proto=2 auth="),
            "{identities:?}"
        );
        assert_eq!(identities[1], identities[2]);
        assert!(
            identities
                .iter()
                .all(|identity| !identity.contains("s3cret"))
        );
        assert!(!s.is_leased());
    });
}

#[test]
fn a_refused_auth_is_told_and_changes_nothing() {
    let mut s = session("{}");
    s.fail_leases(LeaseError::HandshakeFailed(
        "WRONGPASS invalid password".into(),
    ));
    s.client(b"AUTH app wrong\r\n");
    assert_eq!(s.take_client(), b"-WRONGPASS invalid password\r\n");
    s.grant_leases();
    s.client(b"GET k\r\n");
    s.upstream(b"$-1\r\n");
    assert_eq!(s.leases().last().unwrap().target.identity, "db=0 proto=2");
    assert_eq!(s.take_client(), b"$-1\r\n");
}

#[test]
fn hello_is_answered_by_a_server_of_that_protocol() {
    in_all_splits("{}", |s| {
        s.client(b"HELLO 3\r\nGET k\r\n");
        let sent = b"*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\nGET k\r\n";
        assert_eq!(s.take_upstream(), sent);
        s.upstream(b"%1\r\n$5\r\nproto\r\n:3\r\n");
        s.upstream(b"_\r\n");
        assert_eq!(s.take_client(), b"%1\r\n$5\r\nproto\r\n:3\r\n_\r\n");
        assert!(
            s.leases()
                .iter()
                .all(|l| l.target.identity == "db=0 proto=3")
        );
        assert!(!s.is_leased());
    });
}

#[test]
fn without_a_connection_each_command_gets_one_error() {
    let mut s = session("{}");
    s.fail_leases(LeaseError::ConnectFailed("nobody there".into()));
    s.client(b"GET a\r\nSET b 1\r\n");
    let told = String::from_utf8(s.take_client()).unwrap();
    assert_eq!(told.matches("-ERR leaseway: ").count(), 2, "{told}");
    assert!(s.end().is_none());
    s.grant_leases();
    s.client(b"PING\r\n");
    s.upstream(b"+PONG\r\n");
    assert_eq!(s.take_client(), b"+PONG\r\n");
}

#[test]
fn a_lost_connection_costs_an_error_for_each_reply_and_the_session_goes_on() {
    let mut s = session("{}");
    s.client(b"INCR a\r\nINCR b\r\n");
    s.upstream(b":1\r\n");
    s.lose("gone");
    let told = String::from_utf8(s.take_client()).unwrap();
    assert!(told.starts_with(":1\r\n-ERR leaseway: "), "{told}");
    assert_eq!(told.matches("-ERR").count(), 1, "{told}");
    s.client(b"PING\r\n");
    s.upstream(b"+PONG\r\n");
    assert_eq!(s.take_client(), b"+PONG\r\n");
}

#[test]
fn a_reply_that_was_cut_ends_the_session() {
    let mut s = session("{}");
    s.client(b"LRANGE l 0 -1\r\n");
    s.upstream(b"*2\r\n$1\r\na\r\n");
    s.lose("gone");
    assert!(s.end().is_some());
}

#[test]
fn subscribers_are_copied_to_and_closed() {
    let mut s = session("{}");
    s.client(b"SUBSCRIBE c\r\n");
    s.upstream(b"*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n");
    s.upstream(b"*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$2\r\nhi\r\n");
    assert!(s.take_client().ends_with(b"$2\r\nhi\r\n"));
    s.client(b"QUIT\r\n");
    assert_eq!(s.take_upstream(), b"SUBSCRIBE c\r\n");
    assert_eq!(s.take_client(), b"+OK\r\n");
    assert_eq!(ends(&mut s), [CLOSED]);
}

#[test]
fn a_name_pins_until_the_end_and_is_reset() {
    let mut s = session("{}");
    s.client(b"CLIENT SETNAME me\r\n");
    s.upstream(b"+OK\r\n");
    assert!(s.is_leased());
    s.client_eof();
    assert_eq!(ends(&mut s), [RESET]);
}

#[test]
fn setinfo_is_answered_here() {
    let mut s = session("{}");
    s.client(b"CLIENT SETINFO LIB-NAME x\r\n");
    assert_eq!(s.take_client(), b"+OK\r\n");
    assert!(s.leases().is_empty());
}

#[test]
fn what_is_no_resp_is_refused_as_redis_does() {
    let mut s = session("{}");
    s.client(b"*1\r\n+PING\r\n");
    assert!(s.take_client().starts_with(b"-ERR Protocol error: "));
    assert!(s.end().is_some());
}

#[test]
fn session_pooling_holds_until_the_end() {
    let mut s = session(r#"{"pooling": "session"}"#);
    for _ in 0..3 {
        s.client(b"PING\r\n");
        s.upstream(b"+PONG\r\n");
        assert!(s.is_leased());
    }
    s.client_eof();
    assert_eq!(ends(&mut s), [RESET]);
}

#[test]
fn configs_that_make_no_sense_are_refused_by_key() {
    for (config, key) in [
        (r#"{"username": "x"}"#, "username"),
        (r#"{"max-commands-per-lease": 0}"#, "max-commands-per-lease"),
        (r#"{"pooling": "commands"}"#, "pooling"),
        (r#"{"poling": "command"}"#, "poling"),
    ] {
        let Err(why) = testing::configure::<Redis>(config) else {
            panic!("{config} was accepted");
        };
        assert!(why.contains(key), "{why}");
    }
}

fn redis(config: &str) -> (Redis, Target) {
    let redis = testing::configure::<Redis>(config).unwrap();
    let target = leaseway_sdk::Plugin::default_target(&redis);
    (redis, target)
}

#[test]
fn connect_becomes_the_identity() {
    let (plugin, target) = redis(r#"{"username": "app", "password": "pw", "database": 3}"#);
    let upstream = ScriptedConnection::new()
        .expect(b"*3\r\n$4\r\nAUTH\r\n$3\r\napp\r\n$2\r\npw\r\n")
        .reply(b"+OK\r\n")
        .expect(b"*2\r\n$6\r\nSELECT\r\n$1\r\n3\r\n")
        .reply(b"+OK\r\n")
        .in_pieces_of(1);
    connect(&plugin, upstream, &target).unwrap();
    let upstream = ScriptedConnection::new()
        .expect(b"*3\r\n$4\r\nAUTH\r\n$3\r\napp\r\n$2\r\npw\r\n")
        .reply(b"-WRONGPASS no\r\n");
    assert_eq!(
        connect(&plugin, upstream, &target).unwrap_err(),
        "WRONGPASS no"
    );
}

#[test]
fn reset_restores_the_identity_and_takes_nothing_else() {
    let (plugin, target) = redis(r#"{"database": 3}"#);
    let upstream = ScriptedConnection::new()
        .expect(b"*1\r\n$5\r\nRESET\r\n")
        .reply(b"+RESET\r\n")
        .expect(b"*2\r\n$6\r\nSELECT\r\n$1\r\n3\r\n")
        .reply(b"+OK\r\n");
    reset(&plugin, upstream, &target).unwrap();
    let upstream = ScriptedConnection::new()
        .expect(b"*1\r\n$5\r\nRESET\r\n")
        .reply(b"+OK\r\n");
    assert!(reset(&plugin, upstream, &target).is_err());
}

#[test]
fn a_probe_takes_pong_and_nothing_else() {
    let (plugin, _) = redis("{}");
    for (reply, alive) in [
        (&b"+PONG\r\n"[..], true),
        (
            b"-LOADING Redis is loading the dataset in memory\r\n",
            false,
        ),
        (b"$4\r\nPONG\r\n", false),
        (b"+PONG\r\n+PONG\r\n", false),
    ] {
        let upstream = ScriptedConnection::new()
            .expect(b"*1\r\n$4\r\nPING\r\n")
            .reply(reply);
        assert_eq!(
            probe(&plugin, upstream, 0).is_ok(),
            alive,
            "{}",
            reply.escape_ascii()
        );
    }
}

#[test]
fn a_name_in_hello_pins_as_setname_does() {
    in_all_splits("{}", |s| {
        s.client(b"HELLO 3 SETNAME me\r\n");
        let sent = b"*4\r\n$5\r\nHELLO\r\n$1\r\n3\r\n$7\r\nSETNAME\r\n$2\r\nme\r\n";
        assert_eq!(s.take_upstream(), sent);
        s.upstream(b"%1\r\n$5\r\nproto\r\n:3\r\n");
        assert!(s.is_leased());
        s.client_eof();
        assert_eq!(ends(s), [RESET]);
    });
}

#[test]
fn a_refused_hello_pins_nothing() {
    let mut s = session("{}");
    s.fail_leases(LeaseError::HandshakeFailed("NOAUTH no".into()));
    s.client(b"HELLO 3 SETNAME me\r\n");
    assert_eq!(s.take_client(), b"-NOAUTH no\r\n");
    s.grant_leases();
    s.client(b"PING\r\n");
    s.upstream(b"+PONG\r\n");
    assert!(s.end().is_none() && !s.is_leased());
}
