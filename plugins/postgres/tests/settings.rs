//! Settings go with their client from one connection to the next.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::*;
use leaseway_plugin_postgres::Postgres;
use leaseway_plugin_postgres::backend::Backend;
use leaseway_plugin_postgres::wire::write;
use leaseway_sdk::Disposition;
use leaseway_sdk::testing::ScriptedSession;

const SET_TOKYO: &str = "SELECT pg_catalog.set_config('timezone', E'Asia/Tokyo', false)";

/// What the server says to a query for the values of settings.
fn learned(values: &[&str]) -> Vec<u8> {
    let described = write::message(b'T', b"\0\x01...");
    [described, row(values), complete("SELECT 1"), ready(b'I')].concat()
}

fn left(session: &mut ScriptedSession<Postgres>) -> Backend {
    let lease = session.leases().last().unwrap();
    let tag = lease.retagged.as_deref().unwrap_or(fresh().tag()).to_vec();
    Backend::read(&tag).unwrap()
}

#[test]
fn what_a_client_sets_as_it_starts_is_set_before_it_is_greeted() {
    let mut session = session("transaction");
    let parameters = [
        ("user", "app"),
        ("database", "shop"),
        ("timezone", "asia/tokyo"),
        ("application_name", "Kasse 1"),
    ];
    session.client(&start(&parameters));
    let sql = "SELECT pg_catalog.set_config('application_name', E'Kasse 1', false), \
               pg_catalog.set_config('timezone', E'asia/tokyo', false)";
    assert_eq!(session.take_upstream(), query(sql));
    assert_eq!(session.take_client(), b"");
    session.upstream(&[zone("Asia/Tokyo"), learned(&["Kasse 1", "Asia/Tokyo"])].concat());
    let said = session.take_client();
    assert!(said.starts_with(&write::authentication(0, &[])));
    let announced = zone("Asia/Tokyo");
    assert!(said.windows(announced.len()).any(|part| part == announced));
    assert!(said.ends_with(&ready(b'I')));
    assert!(!session.is_leased());
    // Who comes with the same name and zone finds them there.
    let used = left(&mut session);
    assert_eq!(used.current().iter().nth(2), Some(&b"Asia/Tokyo"[..]));
    assert_eq!(used.original(), settings());
    let mut session = session.with_tag(used.tag());
    exchange(
        &mut session,
        &[query("SELECT 1")],
        &[complete("SELECT 1"), ready(b'I')],
    );
}

/// `ISO` says nothing of the order of day and month, which is the server's own.
#[test]
fn a_part_of_a_value_is_not_completed_by_what_others_have_left() {
    let others = fresh().with(&settings().with(&[(1, b"SQL, DMY")]), b"");
    let mut session = session("transaction").with_tag(others.tag());
    session.client(&start(&[("user", "app"), ("DateStyle", "ISO")]));
    let sql = "SELECT pg_catalog.set_config('datestyle', E'ISO, MDY', false), \
               pg_catalog.set_config('datestyle', E'ISO', false)";
    assert_eq!(session.take_upstream(), query(sql));
    session.upstream(&learned(&["ISO, MDY", "ISO, MDY"]));
    assert!(session.take_client().ends_with(&ready(b'I')));
    assert_eq!(left(&mut session).current(), settings());
}

/// What becomes of a wish is remembered for others who have the same.
#[test]
fn a_setting_that_is_named_in_two_cases_is_set_once() {
    let mut session = session("transaction");
    let parameters = [
        ("user", "app"),
        ("TimeZone", "Asia/Tokyo"),
        ("timezone", "CET"),
    ];
    session.client(&start(&parameters));
    let sql = "SELECT pg_catalog.set_config('timezone', E'CET', false)";
    assert_eq!(session.take_upstream(), query(sql));
    session.upstream(&learned(&["CET"]));
    assert!(session.take_client().ends_with(&ready(b'I')));
}

#[test]
fn a_value_that_the_server_refuses_refuses_the_client() {
    let mut session = session("transaction");
    session.client(&start(&[("user", "app"), ("TimeZone", "Mars")]));
    session.upstream(&[write::error("ERROR", "22023", "no such zone"), ready(b'I')].concat());
    let said = session.take_client();
    assert_eq!(said, write::error("FATAL", "22023", "no such zone"));
    assert!(session.end().is_some());
}

#[test]
fn a_connection_that_others_have_changed_is_changed_back_first() {
    let other = fresh().with(&settings().with(&[(2, b"Asia/Tokyo")]), b"");
    let mut session = greeted("transaction").with_tag(other.tag());
    let restore = "SELECT pg_catalog.set_config('timezone', E'UTC', false)";
    let answers = [complete("SELECT 1"), ready(b'I')];
    translate(
        &mut session,
        (
            &[query("SELECT now()")],
            &[query(restore), query("SELECT now()")],
        ),
        (
            &[&[zone("UTC"), learned(&["UTC"])], &answers[..]].concat(),
            &answers,
        ),
    );
    assert!(!session.is_leased());
    assert_eq!(left(&mut session).current(), settings());
}

/// The answer to what we ask comes alone, and is not taken for the end of what the client wants.
#[test]
fn a_connection_that_is_changed_back_is_not_given_back_before_it_has_served() {
    let other = fresh().with(&settings().with(&[(2, b"Asia/Tokyo")]), b"");
    let mut session = greeted("transaction").with_tag(other.tag());
    let leases = session.leases().len();
    session.client(&[parse("s", "SELECT 1"), sync()].concat());
    let restore = "SELECT pg_catalog.set_config('timezone', E'UTC', false)";
    assert!(session.take_upstream().starts_with(&query(restore)));
    session.upstream(&[zone("UTC"), learned(&["UTC"])].concat());
    assert!(session.is_leased());
    session.upstream(&[closed(), parsed(), ready(b'I')].concat());
    assert_eq!(session.take_client(), [parsed(), ready(b'I')].concat());
    assert!(!session.is_leased());
    assert_eq!(session.leases().len(), leases + 1);
}

#[test]
fn what_a_client_changes_goes_with_it() {
    let mut session = greeted("transaction");
    let set = [complete("SET"), zone("Asia/Tokyo"), ready(b'I')];
    exchange(&mut session, &[query("SET TimeZone = 'Asia/Tokyo'")], &set);
    assert!(!session.is_leased());
    assert_eq!(
        left(&mut session).current().iter().nth(2),
        Some(&b"Asia/Tokyo"[..])
    );
    let mut session = session.with_tag(fresh().tag());
    let answers = [complete("SELECT 1"), ready(b'I')];
    translate(
        &mut session,
        (
            &[query("SELECT now()")],
            &[query(SET_TOKYO), query("SELECT now()")],
        ),
        (
            &[&[learned(&["Asia/Tokyo"])], &answers[..]].concat(),
            &answers,
        ),
    );
    // A transaction that is rolled back changes nothing.
    let mut session = greeted("transaction");
    exchange(
        &mut session,
        &[query("BEGIN")],
        &[complete("BEGIN"), ready(b'T')],
    );
    let set = [complete("SET"), zone("CET"), ready(b'T')];
    exchange(&mut session, &[query("SET TimeZone = 'CET'")], &set);
    let back = [complete("ROLLBACK"), zone("UTC"), ready(b'I')];
    exchange(&mut session, &[query("ROLLBACK")], &back);
    assert!(!session.is_leased());
    assert_eq!(left(&mut session).current(), settings());
}

#[test]
fn settings_that_do_not_follow_keep_the_connection() {
    for (sql, reports) in [
        ("SET work_mem = '1GB'", vec![]),
        ("SET TimeZone = 'UTC'; SET work_mem = '1GB'", vec![]),
        // Reported, and not followed; or not so that it could be set again.
        (
            "SET IntervalStyle = 'iso_8601'",
            vec![write::parameter_status(b"IntervalStyle", b"iso_8601")],
        ),
        ("SELECT set_zone()", vec![zone("\u{e9}")]),
    ] {
        let mut session = greeted("transaction");
        let answers = [&[complete("SET")], &reports[..], &[ready(b'I')]].concat();
        exchange(&mut session, &[query(sql)], &answers);
        assert!(session.is_leased(), "{sql}");
        session.client(&write::message(b'X', b""));
        assert_eq!(returned(&mut session), Disposition::Reset, "{sql}");
    }
}

/// A portal without a name outlives a `Sync` in a transaction, and need not be of what was parsed last.
#[test]
fn a_portal_from_before_a_harmless_set_may_be_of_another() {
    let mut session = greeted("transaction");
    exchange(
        &mut session,
        &[query("BEGIN")],
        &[complete("BEGIN"), ready(b'T')],
    );
    exchange(
        &mut session,
        &[parse("", "SET work_mem = '1GB'"), bind(""), sync()],
        &[parsed(), bound(), ready(b'T')],
    );
    exchange(
        &mut session,
        &[parse("", "SET LOCAL work_mem = '1MB'"), execute(""), sync()],
        &[parsed(), complete("SET"), ready(b'T')],
    );
    exchange(
        &mut session,
        &[query("COMMIT")],
        &[complete("COMMIT"), ready(b'I')],
    );
    assert!(session.is_leased());
    session.client(&write::message(b'X', b""));
    assert_eq!(returned(&mut session), Disposition::Reset);
}

#[test]
fn a_setting_that_is_not_reported_is_asked_for() {
    let config = r#"{"pooling": "transaction", "track": ["search_path"],
        "users": {"app": {"auth": "trust"}}}"#;
    let values = ["UTF8", "ISO, MDY", "UTC", "on", "", "public"].iter();
    let fresh = Backend::fresh(*b"pid-key!", &parameters(), &values.collect());
    let mut session: ScriptedSession<Postgres> = ScriptedSession::new(config).with_tag(fresh.tag());
    session.client(&start(&[("user", "app")]));
    session.take_client();
    let set = [complete("SET"), ready(b'I')];
    exchange(
        &mut session,
        &[query("SET search_path TO mine, public")],
        &set,
    );
    assert!(session.is_leased());
    let sql = "SELECT pg_catalog.current_setting('search_path')";
    assert_eq!(session.take_upstream(), query(sql));
    session.upstream(&learned(&["mine, public"]));
    assert_eq!(session.take_client(), b"");
    assert!(!session.is_leased());
    let mut session = session.with_tag(fresh.tag());
    session.client(&query("SELECT 1"));
    let sql = "SELECT pg_catalog.set_config('search_path', E'mine, public', false)";
    assert_eq!(
        session.take_upstream(),
        [query(sql), query("SELECT 1")].concat()
    );
}

#[test]
fn a_session_of_its_own_leaves_its_settings_to_be_reset() {
    let mut session = session("session");
    session.client(&start(&[("user", "app"), ("timezone", "Asia/Tokyo")]));
    assert_eq!(session.take_upstream(), query(SET_TOKYO));
    session.upstream(&learned(&["Asia/Tokyo"]));
    assert!(session.is_leased());
    session.client(&write::message(b'X', b""));
    assert_eq!(returned(&mut session), Disposition::Reset);
}
