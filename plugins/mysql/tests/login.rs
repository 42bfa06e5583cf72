//! Who is let in, and what the others are told.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::*;
use leaseway_plugin_mysql::auth::Method;
use leaseway_plugin_mysql::wire::capability as has;
use leaseway_plugin_mysql::wire::ok::Failure;
use leaseway_plugin_mysql::wire::write;
use leaseway_sdk::{Disposition, LeaseError};

#[test]
fn the_relay_greets_first() {
    let mut session = session("session");
    let greeting = greeting(&mut session);
    assert_eq!(greeting.capabilities, has::OFFERED);
    assert_eq!(greeting.capabilities & (has::SSL | 0x80 | 0x20), 0);
    assert!(greeting.connection >= 1 << 31);
    assert!(session.leases().is_empty());
    let deadline = session.deadline().expect("a client must log in in time");
    assert_eq!(deadline.ms, 60_000);
    assert_eq!(deadline.farewell[4], 0xff);
}

#[test]
fn a_client_of_the_session_has_a_connection_at_once() {
    let mut session = ready("session", OLD);
    assert!(session.is_leased());
    assert!(session.deadline().is_none());
    session.client(&command(1, b""));
    assert_eq!(
        session.take_upstream(),
        b"",
        "a goodbye is not for the server"
    );
    assert!(session.end().is_some());
    assert_eq!(returned(&mut session), Disposition::Keep);
}

#[test]
fn a_client_of_transactions_gives_it_back() {
    let mut session = ready("transaction", OLD);
    assert!(!session.is_leased());
    assert_eq!(returned(&mut session), Disposition::Keep);
}

#[test]
fn a_users_own_pooling_holds() {
    let mut session = session("transaction");
    let greeting = greeting(&mut session);
    session.client(&login(&greeting, "own", "x", OLD).packet());
    assert!(session.is_leased());
}

#[test]
fn a_client_may_choose_sha2() {
    let mut session = session("transaction");
    let greeting = greeting(&mut session);
    let mut login = login(&greeting, "app", "secret", OLD);
    login.plugin = Method::Sha2.name().into();
    login.proof = Method::Sha2.prove(b"secret", &greeting.challenge);
    session.client(&login.packet());
    let wanted = [write::packet(2, &[1, 3]), ok(3, has::AUTOCOMMIT)].concat();
    assert_eq!(session.take_client(), wanted);
}

#[test]
fn who_proves_it_in_another_way_is_asked_again() {
    let mut session = session("transaction");
    let greeting = greeting(&mut session);
    let mut login = login(&greeting, "app", "secret", OLD);
    login.plugin = b"client_ed25519".to_vec();
    login.proof = vec![7; 64];
    session.client(&login.packet());
    let request = session.take_client();
    assert_eq!(&request[3..27], b"\x02\xfemysql_native_password\0");
    let challenge = &request[27..47];
    assert_ne!(challenge, greeting.challenge);
    let proof = Method::Native.prove(b"secret", challenge);
    session.client(&write::packet(3, &proof));
    assert_eq!(session.take_client(), ok(4, has::AUTOCOMMIT));
}

#[test]
fn nobody_learns_who_there_is() {
    for (user, password) in [("app", "wrong"), ("nobody", "secret"), ("app", "")] {
        let mut session = session("transaction");
        let greeting = greeting(&mut session);
        session.client(&login(&greeting, user, password, OLD).packet());
        let request = session.take_client();
        assert_eq!(request[4], 0xfe, "{user} is asked once more");
        let proof = Method::Native.prove(password.as_bytes(), &request[27..47]);
        session.client(&write::packet(3, &proof));
        let said = session.take_client();
        let failure = Failure::read(&said[4..]).expect("an error");
        assert_eq!(
            (said[3], failure.code, failure.sqlstate),
            (4, 1045, "28000")
        );
        let using = if password.is_empty() { "NO" } else { "YES" };
        assert_eq!(
            failure.text,
            format!("Access denied for user '{user}'@'127.0.0.1' (using password: {using})")
        );
        assert!(session.end().is_some());
        assert!(session.leases().is_empty());
    }
}

#[test]
fn an_empty_password_needs_no_proof() {
    let mut session = session("transaction");
    let greeting = greeting(&mut session);
    session.client(&login(&greeting, "open", "", OLD).packet());
    assert_eq!(session.take_client(), ok(2, has::AUTOCOMMIT));
}

#[test]
fn what_is_no_login_is_refused() {
    let mut old = login_of_chance();
    old[5] = 0;
    let mut tls = login_of_chance()[..36].to_vec();
    (tls[0], tls[5]) = (32, tls[5] | 0x08);
    let long = write::packet(1, &vec![1; 20_000]);
    for (packet, code) in [
        (old, 1251),
        (tls, 1043),
        (write::packet(1, b"\0\x02\0\0"), 1043),
        (long, 1043),
    ] {
        let mut session = session("transaction");
        session.take_client();
        session.client(&packet);
        let said = session.take_client();
        assert_eq!(Failure::read(&said[4..]).expect("an error").code, code);
        assert!(session.end().is_some());
    }
}

fn login_of_chance() -> Vec<u8> {
    let mut session = session("transaction");
    let greeting = greeting(&mut session);
    login(&greeting, "app", "secret", OLD).packet()
}

#[test]
fn failures_are_told_in_their_own_numbers() {
    for (why, code, sqlstate) in [
        (LeaseError::WaitTimeout("x".into()), 1040, "08004"),
        (LeaseError::ConnectFailed("x".into()), 1042, "08S01"),
        (LeaseError::Draining, 1053, "08S01"),
        (
            LeaseError::HandshakeFailed("1049 42000 Unknown database 'x'".into()),
            1049,
            "42000",
        ),
        (
            LeaseError::HandshakeFailed("no TLS here".into()),
            1042,
            "08S01",
        ),
    ] {
        let mut session = session("session");
        session.fail_leases(why);
        let greeting = greeting(&mut session);
        session.client(&login(&greeting, "app", "secret", OLD).packet());
        let said = session.take_client();
        let failure = Failure::read(&said[4..]).expect("an error");
        assert_eq!(
            (said[3], failure.code, failure.sqlstate),
            (2, code, sqlstate)
        );
        assert!(session.end().is_some());
    }
}

#[test]
fn what_servers_know_needs_no_connection() {
    let mut session = session("transaction");
    let first = greeting(&mut session);
    session.client(&login(&first, "app", "secret", OLD).packet());
    // As `connect` does when a server lets it in.
    let identity = session.leases()[0].target.identity.clone();
    let known = &identity.as_bytes()[identity.len() - 32..];
    leaseway_sdk::store::put(known, b"x", std::time::Duration::from_secs(60)).unwrap();
    let mut second = leaseway_sdk::testing::ScriptedSession::<leaseway_plugin_mysql::Mysql>::new(
        &CONFIG.replace("POOLING", "transaction"),
    );
    let greeted = greeting(&mut second);
    second.client(&login(&greeted, "app", "secret", OLD).packet());
    assert_eq!(second.take_client(), ok(2, has::AUTOCOMMIT));
    assert!(second.leases().is_empty());
}

#[test]
fn sessions_and_transactions_share_no_connections() {
    let mut targets = Vec::new();
    for user in ["app", "whole"] {
        let mut session = session("transaction");
        let greeting = greeting(&mut session);
        session.client(&login(&greeting, user, "secret", OLD).packet());
        targets.push(session.leases().last().unwrap().target.identity.clone());
    }
    assert!(targets[0].starts_with("user=app db=shop "));
    assert!(targets[1].starts_with("user=app db=shop "));
    assert_ne!(targets[0], targets[1]);
}
