//! Who may come in, and what the others hear.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::*;
use leaseway_plugin_postgres::auth::scram::{self, By};
use leaseway_plugin_postgres::wire::{self, write};
use leaseway_sdk::testing::{SessionEnd, clear_store, configure};
use leaseway_sdk::{Disposition, LeaseError};

/// The SQLSTATE of the error that was said.
#[track_caller]
fn refused(said: &[u8]) -> String {
    assert!(said.starts_with(b"E"), "{}", said.escape_ascii());
    wire::error(&said[wire::HEAD..]).0
}

#[test]
fn a_client_is_greeted_with_the_parameters_of_a_connection() {
    for pieces in [1, 3, 1000] {
        clear_store();
        let mut session = session("transaction").in_pieces_of(pieces);
        session.client(b"\0\0\0\x08\x04\xd2\x16\x2f");
        assert_eq!(session.take_client(), b"N");
        session.client(&start(&[("user", "app")]));
        let said = session.take_client();
        assert!(said.starts_with(b"R\0\0\0\x08\0\0\0\0S\0\0\0\x16server_version"));
        assert_eq!(returned(&mut session), Disposition::Keep);
        let identity = &session.leases()[0].target.identity;
        assert!(identity.starts_with("user=app db=app start="), "{identity}");
    }
}

/// All connections may be busy with whom it waits for.
#[test]
fn who_comes_later_is_greeted_without_a_connection() {
    clear_store();
    let login = |parameters: &[(&str, &str)]| {
        let mut session = session("transaction");
        session.fail_leases(LeaseError::Draining);
        session.client(&start(parameters));
        let said = session.take_client();
        (said.ends_with(&ready(b'I')), said)
    };
    let app = ("user", "app");
    assert!(!login(&[app]).0, "nobody knows how the server greets");
    let mut first = session("transaction");
    first.client(&start(&[app]));
    let greeting = first.take_client();
    let (is_greeted, said) = login(&[app]);
    assert!(is_greeted);
    // But for the key and the message behind it.
    let key = 8 + ready(b'I').len();
    assert_eq!(said[..said.len() - key], greeting[..greeting.len() - key]);
    assert!(login(&[app, ("application_name", "x"), ("timezone", "UTC")]).0);
    assert!(
        !login(&[app, ("timezone", "Mars")]).0,
        "the server has to look at it"
    );
    assert!(
        !login(&[app, ("options", "-c a.b=c")]).0,
        "other connections"
    );
    assert!(!login(&[("user", "nobody")]).0);
}

#[test]
fn a_client_has_so_much_time_to_log_in() {
    let mut session = session("transaction");
    session.client(&start(&[("user", "safe")]));
    session.take_client();
    assert_eq!(session.deadline().map(|deadline| deadline.ms), Some(60_000));
    session.deadline_passes();
    assert_eq!(refused(&session.take_client()), "08P01");
    assert_eq!(session.end(), Some(&SessionEnd::Deadline));
    let mut session = common::session("transaction");
    session.client(&start(&[("user", "app")]));
    assert!(session.deadline().is_none());
}

#[test]
fn each_client_has_a_key_of_its_own() {
    let key = || {
        let mut session = session("transaction");
        session.client(&start(&[("user", "app")]));
        let said = session.take_client();
        let at = said.windows(5).position(|head| head == b"K\0\0\0\x0c");
        said[at.expect("a key") + 5..][..8].to_vec()
    };
    assert_ne!(key(), key());
}

#[test]
fn a_password_is_asked_for_and_checked() {
    for (password, is_right) in [("secret", true), ("Secret", false), ("", false)] {
        let mut session = session("session");
        session.client(&start(&[("user", "plain")]));
        assert_eq!(session.take_client(), write::authentication(3, b""));
        assert!(session.leases().is_empty());
        session.client(&write::password(password.as_bytes()));
        assert_eq!(session.is_leased(), is_right);
        if !is_right {
            assert_eq!(refused(&session.take_client()), "28P01");
            assert!(session.end().is_some());
        }
    }
}

#[test]
fn scram_is_the_ordinary_way_and_tells_nothing_of_who_exists() {
    for (user, password, is_right) in [
        ("safe", "secret", true),
        ("safe", "wrong", false),
        ("nobody", "secret", false),
    ] {
        let mut session = session("session");
        session.client(&start(&[("user", user)]));
        let offer = write::authentication(10, b"SCRAM-SHA-256\0\0");
        assert_eq!(session.take_client(), offer, "{user}");
        let (client, first) = scram::Client::begin("abc");
        session.client(&write::sasl_initial(scram::MECHANISM, &first));
        let challenge = session.take_client();
        let (last, expected) = client
            .prove(By::Password(password.as_bytes()), &challenge[9..])
            .unwrap();
        session.client(&write::message(b'p', last.as_bytes()));
        let said = session.take_client();
        if is_right {
            let proof = &said[9..9 + 46];
            assert!(expected.is(proof), "{}", said.escape_ascii());
            assert!(session.is_leased());
        } else {
            assert_eq!(refused(&said), "28P01");
            assert!(session.leases().is_empty());
        }
    }
}

#[test]
fn what_is_no_login_is_refused_before_anything_is_leased() {
    let names: Vec<String> = (0..65).map(|n| format!("p{n}")).collect();
    let many: Vec<(&str, &str)> = names.iter().map(|name| (&**name, "")).collect();
    let old = [&b"\0\0\0\x08"[..], b"\0\x02\0\0"].concat();
    for (bytes, sqlstate) in [
        (b"\0\0\0\x07".to_vec(), "08P01"),
        (b"\x7f\0\0\0".to_vec(), "08P01"),
        (b"GET / HTTP/1.1\r\n".to_vec(), "08P01"),
        (old, "0A000"),
        (start(&many), "08P01"),
        (start(&[("database", "shop")]), "28000"),
        (start(&[("user", "app"), ("replication", "true")]), "0A000"),
    ] {
        let mut session = session("transaction");
        session.client(&bytes);
        let said = session.take_client();
        assert_eq!(refused(&said), sqlstate, "{}", bytes.escape_ascii());
        assert!(session.leases().is_empty());
    }
    let encrypt = b"\0\0\0\x08\x04\xd2\x16\x2f".repeat(3);
    let mut session = session("transaction");
    session.client(&encrypt);
    assert_eq!(refused(&session.take_client()[2..]), "08P01");
    // A query of somebody who has not proved anything.
    let mut session = common::session("transaction");
    session.client(&start(&[("user", "safe")]));
    assert!(session.take_client().starts_with(b"R"));
    session.client(&query("SELECT 1"));
    assert_eq!(refused(&session.take_client()), "08P01");
    assert!(session.leases().is_empty());
}

#[test]
fn newer_protocols_are_negotiated_down() {
    let mut session = session("transaction");
    let mut bytes = start(&[("user", "app"), ("_pq_.option", "x")]);
    bytes[7] = 2;
    session.client(&bytes);
    let said = session.take_client();
    let negotiated = b"v\0\0\0\x18\0\x03\0\0\0\0\0\x01_pq_.option\0";
    assert!(said.starts_with(negotiated), "{}", said.escape_ascii());
    assert!(said.ends_with(&ready(b'I')));
}

#[test]
fn who_gets_no_connection_hears_why_in_the_servers_words() {
    for (why, sqlstate) in [
        (
            LeaseError::HandshakeFailed("3D000 no such database".into()),
            "3D000",
        ),
        (
            LeaseError::HandshakeFailed("something else".into()),
            "08004",
        ),
        (LeaseError::WaitTimeout("all 5 are leased".into()), "53300"),
        (LeaseError::ConnectFailed("refused".into()), "08001"),
        (LeaseError::Draining, "57P01"),
    ] {
        let mut session = session("transaction");
        session.fail_leases(why);
        session.client(&start(&[("user", "app")]));
        assert_eq!(refused(&session.take_client()), sqlstate);
        assert!(session.end().is_some());
    }
}

#[test]
fn configs_that_cannot_work_say_why() {
    for (config, says) in [
        (r#"{"users": {"a": {}}}"#, "`users.a`: needs a `password`"),
        (
            r#"{"users": {"a": {"password": "md50123456789abcdef0123456789abcdef", "auth": "scram-sha-256"}}}"#,
            "an MD5 hash cannot be checked",
        ),
        (
            r#"{"users": {"a": {"password": "SCRAM-SHA-256$4096:c2FsdA==$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "auth": "password"}}}"#,
            "a SCRAM verifier cannot be checked",
        ),
        (
            r#"{"users": {"a": {"password": ""}}}"#,
            "`users.a.password`: is empty",
        ),
        (r#"{"check-user": "a"}"#, "a is neither among the `users`"),
        (
            r#"{"users": {}, "auth-file": "app secret"}"#,
            "`auth-file`: line 1: expected",
        ),
        (
            r#"{"max-prepared-statements": 1001}"#,
            "`max-prepared-statements`: at most 1000",
        ),
        (r#"{"track": ["a b"]}"#, "`track`: \"a b\" is not"),
        (r#"{"check-database": "a"}"#, "there is no `check-user`"),
        (r#"{"poling": "session"}"#, "unknown field `poling`"),
    ] {
        let why = configure::<leaseway_plugin_postgres::Postgres>(config)
            .err()
            .unwrap();
        assert!(why.contains(says), "{config}: {why}");
    }
}
