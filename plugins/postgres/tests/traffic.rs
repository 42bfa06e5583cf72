//! When a connection goes back, and when it stays.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::*;
use leaseway_plugin_postgres::wire::write;
use leaseway_sdk::Disposition;
use leaseway_sdk::testing::SessionEnd;

#[test]
fn a_transaction_has_a_connection_and_no_longer() {
    let mut session = greeted("transaction");
    exchange(
        &mut session,
        &[query("BEGIN")],
        &[complete("BEGIN"), ready(b'T')],
    );
    assert!(session.is_leased());
    let failed = write::error("ERROR", "22012", "division by zero");
    exchange(&mut session, &[query("SELECT 1/0")], &[failed, ready(b'E')]);
    assert!(session.is_leased());
    exchange(
        &mut session,
        &[query("ROLLBACK")],
        &[complete("ROLLBACK"), ready(b'I')],
    );
    assert!(!session.is_leased());
    assert_eq!(returned(&mut session), Disposition::Keep);
    exchange(
        &mut session,
        &[query("SELECT 1")],
        &[complete("SELECT 1"), ready(b'I')],
    );
    assert!(!session.is_leased());
}

#[test]
fn messages_are_followed_however_they_come() {
    for pieces in [1, 2, 7] {
        let mut session = greeted("transaction").in_pieces_of(pieces);
        let messages = [parse("", "SELECT $1"), bind(""), execute(""), sync()];
        let row = write::message(b'D', &[b'x'; 300]);
        let answers = [parsed(), bound(), row, complete("SELECT 1"), ready(b'I')];
        exchange(&mut session, &messages, &answers);
        assert!(!session.is_leased(), "in pieces of {pieces}");
    }
}

#[test]
fn a_pipeline_has_the_connection_until_its_last_sync_is_answered() {
    let mut session = greeted("transaction");
    let two = [query("SELECT 1"), query("SELECT 2")];
    exchange(&mut session, &two, &[complete("SELECT 1"), ready(b'I')]);
    assert!(session.is_leased());
    exchange(&mut session, &[], &[complete("SELECT 1"), ready(b'I')]);
    assert!(!session.is_leased());
    // What has no Sync behind it is not done, whatever was answered.
    let open = [query("SELECT 1"), parse("", "SELECT 2"), bind("")];
    exchange(&mut session, &open, &[complete("SELECT 1"), ready(b'I')]);
    assert!(session.is_leased());
    exchange(&mut session, &[sync()], &[parsed(), bound(), ready(b'I')]);
    assert!(!session.is_leased());
}

/// While the server takes data it passes over `Sync`.
#[test]
fn a_sync_in_front_of_copied_data_has_no_answer() {
    let mut session = greeted("transaction");
    let copy = [
        parse("", "COPY t FROM STDIN"),
        bind(""),
        execute(""),
        sync(),
    ];
    let copy_in = write::message(b'G', b"\0\0\0");
    exchange(&mut session, &copy, &[parsed(), bound(), copy_in.clone()]);
    let data = [
        write::message(b'd', b"1\n"),
        write::message(b'c', b""),
        sync(),
    ];
    exchange(&mut session, &data, &[complete("COPY 1"), ready(b'I')]);
    assert!(!session.is_leased());
    exchange(&mut session, &[query("COPY t FROM STDIN")], &[copy_in]);
    let data = [write::message(b'd', b"1\n"), write::message(b'c', b"")];
    exchange(&mut session, &data, &[complete("COPY 1"), ready(b'I')]);
    assert!(!session.is_leased());
}

#[test]
fn what_a_client_leaves_behind_keeps_its_connection() {
    for (sql, tag) in [
        ("LISTEN news", "LISTEN"),
        ("SET search_path = mine", "SET"),
        ("PREPARE s AS SELECT 1", "PREPARE"),
        ("SET LOCAL x.y = '1'; SET x.y = '2'", "SET"),
    ] {
        let mut session = greeted("transaction");
        exchange(&mut session, &[query(sql)], &[complete(tag), ready(b'I')]);
        assert!(session.is_leased(), "{sql}");
        exchange(
            &mut session,
            &[query("SELECT 1")],
            &[complete("SELECT 1"), ready(b'I')],
        );
        assert!(session.is_leased(), "{sql}");
        session.client(&write::message(b'X', b""));
        assert_eq!(returned(&mut session), Disposition::Reset, "{sql}");
        let mut session = greeted("transaction");
        exchange(&mut session, &[query(sql)], &[complete(tag), ready(b'I')]);
        let discard = [complete("DISCARD ALL"), ready(b'I')];
        exchange(&mut session, &[query("DISCARD ALL")], &discard);
        assert!(!session.is_leased(), "{sql}");
    }
    // One that is too long to be followed.
    let mut session = greeted("transaction");
    let named = [parse("s", &"x".repeat(40_000)), sync()];
    exchange(&mut session, &named, &[parsed(), ready(b'I')]);
    assert!(session.is_leased());
    let bind = [bind("s"), execute(""), sync()];
    exchange(
        &mut session,
        &bind,
        &[bound(), complete("SELECT 1"), ready(b'I')],
    );
    assert!(session.is_leased());
}

#[test]
fn a_setting_of_a_transaction_ends_with_it() {
    let set_local = vec![query("set local x.y = '1';")];
    // By the extended protocol a portal of before may do the setting.
    let portal = vec![
        parse("", "SET LOCAL x.y = '1'"),
        bind(""),
        execute("p"),
        sync(),
    ];
    let simple = vec![complete("SET"), ready(b'T')];
    let extended = [&[parsed(), bound()], &simple[..]].concat();
    for (set, answers, is_local) in [(set_local, simple, true), (portal, extended, false)] {
        let mut session = greeted("transaction");
        let begun = [complete("BEGIN"), ready(b'T')];
        exchange(&mut session, &[query("BEGIN")], &begun);
        exchange(&mut session, &set, &answers);
        let ended = [complete("COMMIT"), ready(b'I')];
        exchange(&mut session, &[query("COMMIT")], &ended);
        assert_eq!(session.is_leased(), !is_local);
    }
}

/// As a library does that sends everything by the extended protocol.
#[test]
fn a_setting_that_follows_its_client_keeps_no_connection() {
    let mut session = greeted("transaction");
    let set = [
        parse("", "SET TimeZone TO 'Asia/Tokyo'"),
        bind(""),
        execute(""),
        sync(),
    ];
    let answers = [
        parsed(),
        bound(),
        complete("SET"),
        zone("Asia/Tokyo"),
        ready(b'I'),
    ];
    exchange(&mut session, &set, &answers);
    assert!(!session.is_leased());
    let set = [query("SET timezone = 'CET'")];
    exchange(
        &mut session,
        &set,
        &[complete("SET"), zone("CET"), ready(b'I')],
    );
    assert!(!session.is_leased());
}

/// `Sync` behind the data is answered; the one in front of them is not.
#[test]
fn answers_are_counted_through_a_copy() {
    let copy_in = write::message(b'G', b"\0\0\0");
    let data = || [write::message(b'd', b"1\n"), write::message(b'c', b"")].concat();
    let copy = || {
        [
            parse("", "COPY t FROM STDIN"),
            bind(""),
            execute(""),
            sync(),
        ]
        .concat()
    };
    let ask = || [parse("", "SELECT 1"), bind(""), execute(""), sync()].concat();
    let mut session = greeted("transaction");
    let all = [copy(), data(), sync(), ask()];
    let copied = [
        parsed(),
        bound(),
        copy_in.clone(),
        complete("COPY 1"),
        ready(b'I'),
    ];
    exchange(&mut session, &all, &copied);
    let answers = [parsed(), bound(), complete("SELECT 1"), ready(b'I')];
    exchange(&mut session, &[ask()], &answers);
    assert!(session.is_leased(), "an answer is still to come");
    exchange(&mut session, &[], &answers);
    assert!(!session.is_leased());
    // It failed, and nobody knows whether the first `Sync` was passed over: the server is asked.
    for is_answered in [false, true] {
        let opened = [parsed(), bound(), copy_in.clone()];
        exchange(&mut session, &[copy()], &opened);
        session.client(&[data(), sync()].concat());
        session.take_upstream();
        session.upstream(&[failed("55000"), ready(b'I')].concat());
        assert_eq!(session.take_upstream(), query(""));
        session.client(&query("SELECT 2"));
        assert_eq!(session.take_upstream(), b"", "it waits until that is clear");
        let mut told = vec![failed("55000"), ready(b'I')];
        if is_answered {
            session.upstream(&ready(b'I'));
            told.push(ready(b'I'));
        }
        session.upstream(&[write::message(b'I', b""), ready(b'I')].concat());
        assert_eq!(session.take_client(), told.concat());
        assert_eq!(session.take_upstream(), query("SELECT 2"));
        session.upstream(&[complete("SELECT 1"), ready(b'I')].concat());
        session.take_client();
        assert!(!session.is_leased());
        assert_eq!(returned(&mut session), Disposition::Keep);
    }
}

#[test]
fn what_is_sent_behind_a_discard_is_left_behind() {
    let mut session = greeted("transaction");
    let all = [query("DISCARD ALL"), query("LISTEN news")];
    let answers = [complete("DISCARD ALL"), ready(b'I')];
    exchange(&mut session, &all, &answers);
    exchange(&mut session, &[], &[complete("LISTEN"), ready(b'I')]);
    assert!(session.is_leased());
}

#[test]
fn the_statement_without_a_name_is_nobody_elses() {
    let unknown = [failed("26000"), ready(b'I')];
    for (asks, sent) in [(bind(""), bind("lw_")), (describe(""), describe("lw_"))] {
        let mut session = greeted("transaction");
        translate(
            &mut session,
            (&[asks, sync()], &[sent, sync()]),
            (&unknown, &unknown),
        );
        assert!(!session.is_leased());
    }
    // Parsed and described first, and bound later.
    let mut session = greeted("transaction");
    let describe = write::message(b'D', b"S\0");
    let answers = [parsed(), write::message(b'n', b""), ready(b'I')];
    let asks = [parse("", "SELECT $1"), describe, sync()];
    exchange(&mut session, &asks, &answers);
    assert!(session.is_leased());
    let answers = [bound(), complete("SELECT 1"), ready(b'I')];
    exchange(&mut session, &[bind(""), execute(""), sync()], &answers);
    assert!(!session.is_leased());
}

/// It may be somebody else's that is there, where the server has passed over the client's own.
#[test]
fn a_statement_without_a_name_that_was_passed_over_is_not_the_clients() {
    let mut session = greeted("transaction");
    exchange(
        &mut session,
        &[query("BEGIN")],
        &[complete("BEGIN"), ready(b'T')],
    );
    let skipped = [execute("nowhere"), parse("", "SELECT 1"), sync()];
    exchange(&mut session, &skipped, &[failed("34000"), ready(b'E')]);
    let unknown = [failed("26000"), ready(b'E')];
    translate(
        &mut session,
        (
            &[bind(""), execute(""), sync()],
            &[bind("lw_"), execute(""), sync()],
        ),
        (&unknown, &unknown),
    );
    // Nor does one that has failed keep the connection.
    let mut session = greeted("transaction");
    let bad = [parse("", "bad"), write::message(b'D', b"S\0"), sync()];
    exchange(&mut session, &bad, &[failed("42601"), ready(b'I')]);
    assert!(!session.is_leased());
}

/// The `SET` that was parsed before is not the one that is parsed behind it.
#[test]
fn a_setting_is_not_taken_for_the_one_that_follows_it() {
    let mut session = greeted("transaction");
    let set = [parse("", "SET statement_timeout = 1"), sync()];
    exchange(&mut session, &set, &[parsed(), ready(b'I')]);
    let messages = [
        bind(""),
        execute(""),
        parse("", "SET LOCAL a.b = 1"),
        sync(),
    ];
    let answers = [bound(), complete("SET"), parsed(), ready(b'I')];
    exchange(&mut session, &messages, &answers);
    let answers = [complete("SELECT 1"), ready(b'I')];
    exchange(&mut session, &[query("SELECT 1")], &answers);
    assert!(session.is_leased());
}

#[test]
fn what_comes_too_late_for_a_copy_leases_nothing() {
    let mut session = greeted("transaction");
    let leases = session.leases().len();
    session.client(&[write::message(b'd', b"1\n"), write::message(b'c', b"")].concat());
    session.client(&write::message(b'H', b""));
    assert_eq!(session.leases().len(), leases);
    exchange(
        &mut session,
        &[query("SELECT 1")],
        &[complete("SELECT 1"), ready(b'I')],
    );
}

#[test]
fn a_flood_of_requests_without_answers_ends() {
    let mut session = greeted("transaction");
    session.client(&query("COPY t FROM STDIN"));
    session.upstream(&write::message(b'G', b"\0\0\0"));
    session.take_client();
    let floods = sync().repeat(4096);
    while session.end().is_none() {
        session.client(&floods);
    }
    let said = session.take_client();
    assert!(
        said.windows(6).any(|word| word == b"C08P01"),
        "{}",
        said.escape_ascii()
    );
}

#[test]
fn a_session_keeps_its_connection_and_leaves_it_to_be_reset() {
    let mut session = greeted("session");
    assert!(session.is_leased());
    exchange(
        &mut session,
        &[query("SELECT 1")],
        &[complete("SELECT 1"), ready(b'I')],
    );
    assert!(session.is_leased());
    session.client(&write::message(b'X', b""));
    assert_eq!(session.take_upstream(), b"");
    assert_eq!(returned(&mut session), Disposition::Reset);
}

#[test]
fn who_leaves_in_a_transaction_takes_the_connection_along() {
    for goodbye in [true, false] {
        let mut session = greeted("transaction");
        exchange(
            &mut session,
            &[query("BEGIN")],
            &[complete("BEGIN"), ready(b'T')],
        );
        match goodbye {
            true => session.client(&write::message(b'X', b"")),
            false => session.client_eof(),
        }
        assert_eq!(returned(&mut session), Disposition::Close);
    }
}

#[test]
fn what_is_no_message_ends_the_session() {
    for bytes in [
        &b"R\0\0\0\x04"[..],
        b"Q\0\0\0\x03",
        b"\0\0\0\0\x04",
        b"Q\xff\xff\xff\xff",
    ] {
        let mut session = greeted("transaction");
        session.client(bytes);
        let said = session.take_client();
        assert!(said.starts_with(b"E"), "{}", said.escape_ascii());
        assert!(matches!(session.end(), Some(SessionEnd::Plugin(_))));
    }
}
