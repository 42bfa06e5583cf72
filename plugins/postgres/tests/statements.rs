//! Prepared statements go with their client from one connection to the next, and no client meets another's.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::*;
use leaseway_plugin_postgres::backend::Backend;
use leaseway_plugin_postgres::settings::Tracked;
use leaseway_plugin_postgres::statements::{Catalog, server_name};
use leaseway_plugin_postgres::wire::write;
use leaseway_sdk::testing::ScriptedSession;

/// What a statement is called on connections.
fn name_of(sql: &str) -> String {
    let body = [sql.as_bytes(), b"\0\0\0"].concat();
    let tracked = Tracked::new(&[]).unwrap();
    server_name(
        &Catalog::default()
            .get(&body)
            .key(tracked.digest(&settings())),
    )
}

/// What the last lease has left as the connection's tag.
fn left(session: &mut ScriptedSession<leaseway_plugin_postgres::Postgres>) -> Backend {
    let lease = session.leases().last().unwrap();
    let tag = lease.retagged.as_deref().unwrap_or(fresh().tag()).to_vec();
    Backend::read(&tag).unwrap()
}

#[test]
fn a_statement_is_parsed_once_on_a_connection() {
    let sql = "SELECT $1";
    let name = name_of(sql);
    let mut one = greeted("transaction");
    translate(
        &mut one,
        (
            &[parse("s", sql), sync()],
            &[close(&name), parse(&name, sql), sync()],
        ),
        (&[closed(), parsed(), ready(b'I')], &[parsed(), ready(b'I')]),
    );
    assert!(!one.is_leased());
    let used = left(&mut one);
    assert_eq!(used.statements().len(), 24);
    // On the same connection it is there, for its client and for another one.
    let row = row(&["x"]);
    let answers = [bound(), row, complete("SELECT 1"), ready(b'I')];
    translate(
        &mut one,
        (
            &[bind("s"), execute(""), sync()],
            &[bind(&name), execute(""), sync()],
        ),
        (&answers, &answers),
    );
    let mut other = greeted("transaction").with_tag(used.tag());
    translate(
        &mut other,
        (
            &[parse("t", sql), bind("t"), execute(""), sync()],
            &[bind(&name), execute(""), sync()],
        ),
        (&answers, &[&[parsed()], &answers[..]].concat()),
    );
    // On another one it is parsed first.
    let mut one = one.with_tag(fresh().tag());
    let described = write::message(b'n', b"");
    translate(
        &mut one,
        (
            &[describe("s"), sync()],
            &[close(&name), parse(&name, sql), describe(&name), sync()],
        ),
        (
            &[closed(), parsed(), described.clone(), ready(b'I')],
            &[described, ready(b'I')],
        ),
    );
}

#[test]
fn a_long_row_of_parameters_passes_unseen() {
    let mut session = greeted("transaction");
    let name = name_of("SELECT $1");
    session.client(&[parse("s", "SELECT $1"), sync()].concat());
    session.take_upstream();
    session.upstream(&[closed(), parsed(), ready(b'I')].concat());
    session.take_client();
    for length in [10, 1990, 2000, 3000, 100_000] {
        let answers = [bound(), complete("SELECT 1"), ready(b'I')];
        translate(
            &mut session,
            (
                &[bind_long("s", length), execute(""), sync()],
                &[bind_long(&name, length), execute(""), sync()],
            ),
            (&answers, &answers),
        );
    }
}

#[test]
fn an_error_leaves_no_statement_behind_that_is_not_there() {
    let sql = "SELECT bad";
    let name = name_of(sql);
    let mut session = greeted("transaction");
    translate(
        &mut session,
        (
            &[parse("s", sql), bind("s"), sync()],
            &[close(&name), parse(&name, sql), bind(&name), sync()],
        ),
        (
            &[closed(), failed("42601"), ready(b'I')],
            &[failed("42601"), ready(b'I')],
        ),
    );
    assert_eq!(left(&mut session).statements(), b"");
    // The client does not have it either.
    let unknown = [failed("26000"), ready(b'I')];
    translate(
        &mut session,
        (&[bind("s"), sync()], &[bind("s"), sync()]),
        (&unknown, &unknown),
    );
    // One that fails only where it is needed again.
    let sql = "SELECT * FROM t";
    let name = name_of(sql);
    session.client(&[parse("t", sql), sync()].concat());
    session.take_upstream();
    session.upstream(&[closed(), parsed(), ready(b'I')].concat());
    session.take_client();
    let mut session = session.with_tag(fresh().tag());
    for _ in 0..2 {
        translate(
            &mut session,
            (
                &[bind("t"), execute(""), sync()],
                &[
                    close(&name),
                    parse(&name, sql),
                    bind(&name),
                    execute(""),
                    sync(),
                ],
            ),
            (
                &[closed(), failed("42P01"), ready(b'I')],
                &[failed("42P01"), ready(b'I')],
            ),
        );
        assert_eq!(left(&mut session).statements(), b"");
    }
}

/// What it means may depend on what was set, also where it is not what follows clients.
#[test]
fn a_statement_that_was_parsed_under_other_settings_is_nobody_elses() {
    let sql = "SELECT '{NULL}'::text[]";
    let shared = name_of(sql);
    let mut session = greeted("transaction");
    exchange(
        &mut session,
        &[query("BEGIN")],
        &[complete("BEGIN"), ready(b'T')],
    );
    let set = [complete("SET"), ready(b'T')];
    exchange(&mut session, &[query("SET LOCAL array_nulls = off")], &set);
    session.client(&[parse("a", sql), sync()].concat());
    let sent = session.take_upstream();
    assert!(
        !sent
            .windows(shared.len())
            .any(|part| part == shared.as_bytes())
    );
    session.upstream(&[closed(), parsed(), ready(b'T')].concat());
    session.take_client();
    exchange(
        &mut session,
        &[query("COMMIT")],
        &[complete("COMMIT"), ready(b'I')],
    );
    assert!(!session.is_leased());
    let mut other = greeted("transaction").with_tag(left(&mut session).tag());
    translate(
        &mut other,
        (
            &[parse("b", sql), sync()],
            &[close(&shared), parse(&shared, sql), sync()],
        ),
        (&[closed(), parsed(), ready(b'I')], &[parsed(), ready(b'I')]),
    );
}

/// `set_config()` may change back what it has changed before the server reports anything.
#[test]
fn a_statement_that_is_parsed_behind_who_knows_what_is_nobody_elses() {
    let sql = "SELECT '01/02/2020'::date";
    let shared = name_of(sql);
    let names = |sent: &[u8], name: &str| {
        let name = name.as_bytes();
        sent.windows(name.len()).any(|part| part == name)
    };
    for (first, is_shared) in [
        ("SELECT set_config('datestyle', 'German', true)", false),
        ("BEGIN", true),
    ] {
        let mut session = greeted("transaction");
        session.client(&[parse("", first), bind(""), execute("")].concat());
        session.client(&[parse("a", sql), bind("a"), execute(""), sync()].concat());
        assert_eq!(
            names(&session.take_upstream(), &shared),
            is_shared,
            "{first}"
        );
    }
    // Bound in another segment, the statement without a name may be another one.
    let mut session = greeted("transaction");
    session.client(&[parse("", "BEGIN"), sync()].concat());
    session.upstream(&[parsed(), ready(b'I')].concat());
    session.client(&[bind(""), execute(""), parse("a", sql)].concat());
    assert!(!names(&session.take_upstream(), &shared));
    // What is there already is used as ever.
    let mut session = greeted("transaction");
    session.client(&[parse("a", sql), sync()].concat());
    session.take_upstream();
    session.upstream(&[closed(), parsed(), ready(b'I')].concat());
    let mut other = greeted("transaction").with_tag(left(&mut session).tag());
    other.client(&[parse("", "SELECT f()"), bind(""), execute("")].concat());
    other.client(&[parse("b", sql), bind("b"), execute(""), sync()].concat());
    assert!(names(&other.take_upstream(), &shared));
}

/// Statements that end a transaction are parsed also in one that has failed.
#[test]
fn a_rollback_is_prepared_in_a_transaction_that_has_failed() {
    let name = name_of("ROLLBACK");
    let mut session = greeted("transaction");
    session.client(&[parse("s", "ROLLBACK"), sync()].concat());
    session.take_upstream();
    session.upstream(&[closed(), parsed(), ready(b'I')].concat());
    session.take_client();
    let begun = [complete("BEGIN"), ready(b'T')];
    exchange(&mut session, &[query("BEGIN")], &begun);
    exchange(
        &mut session,
        &[query("fail")],
        &[failed("22012"), ready(b'E')],
    );
    translate(
        &mut session,
        (
            &[parse("t", "ROLLBACK"), sync()],
            &[close(&name), parse(&name, "ROLLBACK"), sync()],
        ),
        (&[closed(), parsed(), ready(b'E')], &[parsed(), ready(b'E')]),
    );
}

#[test]
fn a_setting_ahead_of_a_lease_takes_no_statement_off_the_connection() {
    let mut session = greeted("transaction");
    session.client(&[parse("s", "SELECT 1"), sync()].concat());
    session.take_upstream();
    session.upstream(&[closed(), parsed(), ready(b'I')].concat());
    session.take_client();
    let set = [complete("SET"), zone("CET"), ready(b'I')];
    exchange(&mut session, &[query("SET TimeZone = 'CET'")], &set);
    assert_eq!(left(&mut session).statements().len(), 24);
}

#[test]
fn a_flood_of_closes_is_answered_at_once() {
    let mut session = greeted("transaction");
    session.client(&query("SELECT pg_sleep(1)"));
    session.client(&close("x").repeat(5000));
    session.client(&sync());
    session.upstream(&[complete("SELECT 1"), ready(b'I')].concat());
    session.upstream(&ready(b'I'));
    let told = [
        complete("SELECT 1"),
        ready(b'I'),
        closed().repeat(5000),
        ready(b'I'),
    ];
    assert_eq!(session.take_client(), told.concat());
    assert!(!session.is_leased());
}

#[test]
fn no_more_are_kept_than_the_config_says() {
    let mut session = greeted("transaction");
    let all = ["SELECT 1", "SELECT 2", "SELECT 3", "SELECT 4"];
    for sql in &all[..3] {
        session.client(&[parse(sql, sql), sync()].concat());
        session.take_upstream();
        session.upstream(&[closed(), parsed(), ready(b'I')].concat());
    }
    session.take_client();
    let [first, .., fourth] = all.map(name_of);
    translate(
        &mut session,
        (
            &[parse("four", all[3]), sync()],
            &[
                close(&first),
                close(&fourth),
                parse(&fourth, all[3]),
                sync(),
            ],
        ),
        (
            &[closed(), closed(), parsed(), ready(b'I')],
            &[parsed(), ready(b'I')],
        ),
    );
    assert_eq!(left(&mut session).statements().len(), 3 * 24);
}

#[test]
fn a_client_that_closes_its_statement_takes_it_from_nobody() {
    let mut session = greeted("transaction");
    let name = name_of("SELECT 1");
    session.client(&[parse("s", "SELECT 1"), sync()].concat());
    session.take_upstream();
    session.upstream(&[closed(), parsed(), ready(b'I')].concat());
    session.take_client();
    let answers = [bound(), complete("SELECT 1"), ready(b'I')];
    let told = [&answers[..2], &[closed(), ready(b'I')]].concat();
    translate(
        &mut session,
        (
            &[bind("s"), execute(""), close("s"), sync()],
            &[bind(&name), execute(""), sync()],
        ),
        (&answers, &told),
    );
    assert_eq!(left(&mut session).statements().len(), 24);
    // Now the client may use the name for another.
    let other = name_of("SELECT 2");
    translate(
        &mut session,
        (
            &[parse("s", "SELECT 2"), sync()],
            &[close(&other), parse(&other, "SELECT 2"), sync()],
        ),
        (&[closed(), parsed(), ready(b'I')], &[parsed(), ready(b'I')]),
    );
    // By SQL it is the same, and no server is asked.
    let leases = session.leases().len();
    session.client(&query("DEALLOCATE s"));
    let told = [complete("DEALLOCATE"), ready(b'I')].concat();
    assert_eq!(session.take_client(), told);
    assert_eq!(session.leases().len(), leases);
}

#[test]
fn what_discards_all_statements_is_believed() {
    for (sql, tag) in [
        ("DISCARD ALL", "DISCARD ALL"),
        ("DEALLOCATE ALL", "DEALLOCATE ALL"),
    ] {
        let mut session = greeted("transaction");
        session.client(&[parse("s", "SELECT 1"), sync()].concat());
        session.take_upstream();
        session.upstream(&[closed(), parsed(), ready(b'I')].concat());
        session.take_client();
        exchange(&mut session, &[query(sql)], &[complete(tag), ready(b'I')]);
        assert_eq!(left(&mut session).statements(), b"");
        let unknown = [failed("26000"), ready(b'I')];
        exchange(&mut session, &[bind("s"), sync()], &unknown);
    }
}

#[test]
fn nobody_names_a_statement_as_connections_do() {
    let mut session = greeted("transaction");
    let unknown = [failed("26000"), ready(b'I')];
    translate(
        &mut session,
        (
            &[bind(&name_of("SELECT 1")), sync()],
            &[bind("lw_"), sync()],
        ),
        (&unknown, &unknown),
    );
    // Nor is what a client calls so the one that is called so.
    let theirs = name_of("SELECT 1");
    let own = name_of("SELECT 2");
    translate(
        &mut session,
        (
            &[parse(&theirs, "SELECT 2"), sync()],
            &[close(&own), parse(&own, "SELECT 2"), sync()],
        ),
        (&[closed(), parsed(), ready(b'I')], &[parsed(), ready(b'I')]),
    );
}

#[test]
fn a_session_with_a_connection_of_its_own_names_statements_itself() {
    let mut session = greeted("session");
    let messages = [
        parse("s", "SELECT 1"),
        bind("s"),
        execute(""),
        close("s"),
        sync(),
    ];
    let answers = [
        parsed(),
        bound(),
        complete("SELECT 1"),
        closed(),
        ready(b'I'),
    ];
    exchange(&mut session, &messages, &answers);
}

/// An error passes over what was sent up to the next `Sync`, and nothing behind that.
#[test]
fn the_statement_without_a_name_of_a_later_segment_outlives_an_error() {
    let mut session = greeted("transaction");
    let first = [parse("", "bad"), bind(""), execute(""), sync()].concat();
    let second = parse("", "SELECT 1");
    session.client(&[&first[..], &second].concat());
    assert_eq!(session.take_upstream(), [&first[..], &second].concat());
    session.upstream(&[failed("42601"), ready(b'I')].concat());
    session.take_client();
    exchange(&mut session, &[sync()], &[parsed(), ready(b'I')]);
    assert!(session.is_leased(), "it may be bound yet");
    exchange(
        &mut session,
        &[bind(""), execute(""), sync()],
        &[bound(), complete("SELECT 1"), ready(b'I')],
    );
    assert!(!session.is_leased());
}

/// What is sent behind it, in one go, is about other statements than those that were there.
#[test]
fn statements_are_named_again_behind_what_discards_all() {
    let sql = "SELECT 1";
    let name = name_of(sql);
    for (forgets, tag) in [
        ("DISCARD ALL", "DISCARD ALL"),
        ("DEALLOCATE ALL", "DEALLOCATE ALL"),
    ] {
        let mut session = greeted("transaction");
        session.client(&[parse("s", sql), sync()].concat());
        session.take_upstream();
        session.upstream(&[closed(), parsed(), ready(b'I')].concat());
        session.take_client();
        let first = [parse("", forgets), bind(""), execute("")].concat();
        let second = [parse("t", sql), bind("t"), execute(""), sync()].concat();
        session.client(&[&first[..], &second].concat());
        assert_eq!(session.take_upstream(), [first, write::flush()].concat());
        session.upstream(&[parsed(), bound(), complete(tag)].concat());
        let sent = session.take_upstream();
        let usual = [close(&name), parse(&name, sql), bind(&name)].concat();
        // Under which settings it is parsed behind `DISCARD ALL` nobody knows yet.
        assert_eq!(
            sent.starts_with(&usual),
            forgets == "DEALLOCATE ALL",
            "{}",
            sent.escape_ascii()
        );
        session.upstream(
            &[
                closed(),
                parsed(),
                bound(),
                complete("SELECT 1"),
                ready(b'I'),
            ]
            .concat(),
        );
        let told = session.take_client();
        let expected = [parsed(), bound(), complete("SELECT 1"), ready(b'I')].concat();
        assert!(told.ends_with(&expected), "{}", told.escape_ascii());
        assert!(!session.is_leased());
        session.client(&[bind("t"), execute(""), sync()].concat());
        assert!(!session.take_upstream().starts_with(&bind("t")));
        assert!(session.end().is_none());
    }
}

/// What a function has closed nobody sees: the client hears of it, and after it nobody does.
#[test]
fn a_statement_that_is_not_there_after_all_is_parsed_again() {
    let sql = "SELECT 1";
    let name = name_of(sql);
    let mut session = greeted("transaction");
    session.client(&[parse("s", sql), sync()].concat());
    session.take_upstream();
    session.upstream(&[closed(), parsed(), ready(b'I')].concat());
    session.take_client();
    let unknown = [failed("26000"), ready(b'I')];
    translate(
        &mut session,
        (&[bind("s"), sync()], &[bind(&name), sync()]),
        (&unknown, &unknown),
    );
    let used = left(&mut session);
    assert_eq!(used.statements(), b"");
    let mut session = session.with_tag(used.tag());
    translate(
        &mut session,
        (
            &[bind("s"), sync()],
            &[close(&name), parse(&name, sql), bind(&name), sync()],
        ),
        (
            &[closed(), parsed(), bound(), ready(b'I')],
            &[bound(), ready(b'I')],
        ),
    );
}

/// However much of it there is, each message takes the same time: an instance has many sessions.
#[test]
fn a_long_pipeline_behind_a_statement_that_is_slow_is_taken_at_once() {
    let mut session = greeted("transaction");
    session.client(&parse("s", "SELECT 1"));
    session.client(&[parse("", "SELECT pg_sleep(1)"), bind(""), execute("")].concat());
    session.take_upstream();
    let all = bind("s").repeat(16_000);
    let started = std::time::Instant::now();
    session.client(&all);
    let taken = started.elapsed();
    let sent = bind(&name_of("SELECT 1")).repeat(16_000);
    assert!(session.take_upstream() == sent);
    // A look at all of them for each would be a quarter of a billion.
    assert!(taken < std::time::Duration::from_millis(100), "{taken:?}");
}
