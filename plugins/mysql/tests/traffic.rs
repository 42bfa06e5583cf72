//! What passes, how long a connection is kept, and what others find of it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::*;
use leaseway_plugin_mysql::wire::capability::{AUTOCOMMIT, IN_TRANS, MORE_RESULTS};
use leaseway_plugin_mysql::wire::ok::Failure;
use leaseway_plugin_mysql::wire::write;
use leaseway_sdk::Disposition;
use leaseway_sdk::testing::LeaseEnd;

const FORGET: &str = "DO (SELECT COUNT(*) FROM information_schema.ENGINES LIMIT 0)";

#[test]
fn a_connection_goes_back_with_the_end_of_a_transaction() {
    for capabilities in [OLD, MODERN] {
        let mut session = ready("transaction", capabilities);
        let rows = result(capabilities, &[b"1", b"", b"\xfe2"], AUTOCOMMIT);
        exchange(&mut session, &query("SELECT 1"), &rows);
        assert!(!session.is_leased());
        assert_eq!(returned(&mut session), Disposition::Keep);
        exchange(&mut session, &query("BEGIN"), &ok(1, AUTOCOMMIT | IN_TRANS));
        assert!(session.is_leased());
        let rows = result(capabilities, &[b"1"], AUTOCOMMIT | IN_TRANS);
        exchange(&mut session, &query("SELECT 1"), &rows);
        assert!(session.is_leased());
        exchange(&mut session, &query("COMMIT"), &ok(1, AUTOCOMMIT));
        assert!(!session.is_leased());
        assert_eq!(session.leases().len(), 3);
    }
}

#[test]
fn several_results_are_one_answer() {
    for capabilities in [OLD, MODERN] {
        let mut session = ready("transaction", capabilities);
        let more = AUTOCOMMIT | MORE_RESULTS;
        let first = result(capabilities, &[b"1"], more);
        session.client(&query("SELECT 1; SELECT 2"));
        session.upstream(&first);
        session.upstream(&ok(10, more));
        assert!(session.is_leased());
        session.upstream(&result_from(11, capabilities, &[b"2"], AUTOCOMMIT));
        assert!(!session.is_leased());
    }
}

#[test]
fn what_is_left_on_a_connection_keeps_it() {
    for sql in [
        "SET @a = 1",
        "SELECT GET_LOCK('a', 1)",
        "CREATE TEMPORARY TABLE t (a INT)",
        "LOCK TABLES t WRITE",
        "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
        "SET foreign_key_checks = 0",
    ] {
        let mut session = ready("transaction", OLD);
        exchange(&mut session, &query(sql), &ok(1, AUTOCOMMIT));
        assert!(session.is_leased(), "{sql}");
        session.client(&command(1, b""));
        assert_eq!(returned(&mut session), Disposition::Reset, "{sql}");
    }
}

#[test]
fn what_is_taken_back_does_not() {
    let mut session = ready("transaction", OLD);
    exchange(
        &mut session,
        &query("LOCK TABLES t WRITE"),
        &ok(1, AUTOCOMMIT),
    );
    exchange(&mut session, &query("UNLOCK TABLES"), &ok(1, AUTOCOMMIT));
    assert!(!session.is_leased());
    exchange(
        &mut session,
        &query("SET TRANSACTION READ ONLY"),
        &ok(1, AUTOCOMMIT),
    );
    exchange(&mut session, &query("BEGIN"), &ok(1, AUTOCOMMIT | IN_TRANS));
    exchange(&mut session, &query("COMMIT"), &ok(1, AUTOCOMMIT));
    assert!(!session.is_leased());
    let sql = "SELECT SQL_CALC_FOUND_ROWS * FROM t LIMIT 1";
    exchange(&mut session, &query(sql), &result(OLD, &[b"1"], AUTOCOMMIT));
    assert!(session.is_leased());
    exchange(
        &mut session,
        &query("SELECT FOUND_ROWS()"),
        &result(OLD, &[b"9"], AUTOCOMMIT),
    );
    assert!(!session.is_leased());
}

#[test]
fn what_the_server_says_has_changed_keeps_it_too() {
    let mut session = ready("transaction", MODERN);
    // As a trigger may have done.
    let insert = query("INSERT INTO t (a) VALUES (1)");
    exchange(&mut session, &insert, &told(1, AUTOCOMMIT, ANY));
    assert!(session.is_leased());
}

#[test]
fn variables_follow_their_client() {
    let mut session = ready("transaction", OLD);
    let changes = [variable("autocommit", "OFF"), ANY.to_vec()].concat();
    session.client(&query("SET autocommit = 0"));
    session.take_upstream();
    session.upstream(&told(1, 0, &changes));
    // Without what it has not asked for.
    assert_eq!(session.take_client(), ok(1, 0));
    assert!(!session.is_leased());
    let retagged = session.leases().last().unwrap().retagged.clone().unwrap();
    // The next one is as nobody has used it.
    let mut session = session.with_tag(&fresh("shop").tag());
    session.client(&query("SELECT 1"));
    let restore = query("SET SESSION autocommit='OFF'");
    assert_eq!(shown(&session.take_upstream()), shown(&restore));
    session.upstream(&told(1, 0, &changes));
    assert_eq!(session.take_client(), b"");
    assert_eq!(session.take_upstream(), query("SELECT 1"));
    session.upstream(&result(OLD, &[b"1"], 0));
    assert!(!session.is_leased());
    session.take_client();
    // And the one after it as it has left it.
    let mut session = session.with_tag(&retagged);
    exchange(&mut session, &query("SELECT 2"), &result(OLD, &[b"2"], 0));
}

#[test]
fn what_cannot_be_restored_is_told_and_nothing_is_sent() {
    let mut session = ready("transaction", OLD).with_tag(&fresh("store").tag());
    session.client(&query("INSERT INTO t VALUES (1)"));
    assert_eq!(session.take_upstream(), command(2, b"shop"));
    session.upstream(&error(1, 1049));
    assert_eq!(session.take_upstream(), b"");
    assert_eq!(session.take_client(), error(1, 1049));
    assert!(session.end().is_some());
    assert_ne!(
        session.leases().last().unwrap().end,
        leaseway_sdk::testing::LeaseEnd::Returned(Disposition::Keep)
    );
}

#[test]
fn a_client_without_a_database_may_choose_one() {
    let mut session = session("transaction").with_tag(&fresh("").tag());
    let greeting = greeting(&mut session);
    let mut login = login(&greeting, "app", "secret", MODERN);
    login.database = Vec::new();
    session.client(&login.packet());
    session.take_client();
    exchange(
        &mut session,
        &command(2, b"shop"),
        &told(1, AUTOCOMMIT, &database("shop")),
    );
    // Nobody can be without one there again.
    assert_eq!(returned(&mut session), Disposition::Close);
    let mut session = session.with_tag(&fresh("shop").tag());
    exchange(&mut session, &query("SELECT 1"), &ok(1, AUTOCOMMIT));
    let identity = &session.leases().last().unwrap().target.identity;
    assert!(identity.contains("db=shop"), "{identity}");
}

#[test]
fn who_has_dropped_its_database_gets_no_other_one() {
    let mut session = ready("transaction", MODERN);
    exchange(
        &mut session,
        &query("DROP DATABASE shop"),
        &told(1, AUTOCOMMIT, &database("")),
    );
    assert!(session.is_leased());
    session.client(&command(0x1f, b""));
    assert_eq!(returned(&mut session), Disposition::Reset);
    let mut session = session.with_tag(&fresh("store").tag());
    session.client(&query("CREATE TABLE t (a INT)"));
    assert_eq!(session.take_upstream(), command(2, b"shop"));
}

#[test]
fn a_database_that_is_not_named_in_ascii_is_not_taken_for_another() {
    let mut session = ready("transaction", MODERN);
    let chosen = told(1, AUTOCOMMIT, &database("größe"));
    exchange(&mut session, &query("USE `größe`"), &chosen);
    assert!(session.is_leased());
    let mut session = self::session("transaction").with_tag(&fresh("größe").tag());
    let greeting = greeting(&mut session);
    let mut login = login(&greeting, "app", "secret", MODERN);
    login.database = "größe".into();
    session.client(&login.packet());
    session.take_client();
    let chosen = told(1, AUTOCOMMIT, &database("store"));
    exchange(&mut session, &command(2, b"store"), &chosen);
    assert_eq!(returned(&mut session), Disposition::Reset);
}

#[test]
fn the_last_insert_id_follows_its_client() {
    let mut session = ready("transaction", OLD);
    exchange(
        &mut session,
        &query("INSERT INTO t VALUES (1)"),
        &inserted(1, 7, AUTOCOMMIT),
    );
    assert!(!session.is_leased());
    session.client(&query("SELECT LAST_INSERT_ID()"));
    assert_eq!(session.take_upstream(), query("SET last_insert_id=7"));
    session.upstream(&ok(1, AUTOCOMMIT));
    assert_eq!(session.take_upstream(), query("SELECT LAST_INSERT_ID()"));
    session.upstream(&result(OLD, &[b"7"], AUTOCOMMIT));
    assert!(!session.is_leased());
}

#[test]
fn nobody_gets_the_warnings_of_another() {
    let mut session = ready("transaction", OLD);
    session.client(&query("SELECT a"));
    session.take_upstream();
    session.upstream(&error(1, 1054));
    assert_eq!(session.take_client(), error(1, 1054));
    assert_eq!(session.take_upstream(), query(FORGET));
    assert!(session.is_leased());
    session.upstream(&ok(1, AUTOCOMMIT));
    assert_eq!(session.take_client(), b"");
    assert!(!session.is_leased());
}

#[test]
fn after_an_error_it_is_asked_whether_a_transaction_is_open() {
    let mut session = ready("transaction", OLD);
    exchange(&mut session, &query("BEGIN"), &ok(1, AUTOCOMMIT | IN_TRANS));
    session.client(&query("UPDATE t SET a = 1"));
    session.take_upstream();
    session.upstream(&error(1, 1213));
    session.take_client();
    assert_eq!(session.take_upstream(), command(0x0e, b""));
    // What comes meanwhile waits.
    session.client(&query("ROLLBACK"));
    assert_eq!(session.take_upstream(), b"");
    session.upstream(&ok(1, AUTOCOMMIT));
    assert_eq!(session.take_client(), b"");
    assert_eq!(session.leases().len(), 3);
    let failed = &session.leases()[1];
    assert_eq!(failed.end, LeaseEnd::Returned(Disposition::Reset));
    assert_eq!(session.take_upstream(), query("ROLLBACK"));
}

#[test]
fn a_prepared_statement_keeps_it_until_it_is_closed() {
    let mut session = ready("transaction", OLD);
    let prepared = [
        write::packet(1, &[0, 5, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0]),
        write::packet(2, b"\x03def"),
        eof(3, AUTOCOMMIT),
        write::packet(4, b"\x03def"),
        eof(5, AUTOCOMMIT),
    ];
    exchange(
        &mut session,
        &command(0x16, b"SELECT ?"),
        &prepared.concat(),
    );
    assert!(session.is_leased());
    let execute = command(0x17, &[5, 0, 0, 0, 0, 1, 0, 0, 0]);
    exchange(&mut session, &execute, &result(OLD, &[b"1"], AUTOCOMMIT));
    assert!(session.is_leased());
    let close = command(0x19, &[5, 0, 0, 0]);
    session.client(&close);
    assert_eq!(session.take_upstream(), close);
    assert!(!session.is_leased());
    // It is nobody's any more, and another's is not to be had.
    session.client(&execute);
    let said = session.take_client();
    assert_eq!(Failure::read(&said[4..]).unwrap().code, 1243);
    session.client(&close);
    assert_eq!(session.take_client(), b"");
    assert!(!session.is_leased());
}

#[test]
fn what_is_not_relayed_is_refused() {
    let mut session = ready("transaction", OLD);
    for code in [0, 5, 7, 8, 0x0c, 0x12, 0x1e, 0xfa] {
        session.client(&command(code, b"x"));
        let said = session.take_client();
        let failure = Failure::read(&said[4..]).unwrap();
        assert_eq!(
            (said[3], failure.code, failure.sqlstate),
            (1, 1047, "08S01")
        );
    }
    assert_eq!(session.take_upstream(), b"");
    exchange(&mut session, &command(0x0e, b""), &ok(1, AUTOCOMMIT));
}

#[test]
fn a_local_file_is_never_asked_for() {
    let mut session = ready("transaction", OLD);
    session.client(&query("LOAD DATA LOCAL INFILE 'x' INTO TABLE t"));
    session.upstream(&write::packet(1, b"\xfb/etc/passwd"));
    assert_eq!(session.take_client(), b"");
    assert!(session.end().is_some());
    assert!(
        session.leases().last().unwrap().end
            != leaseway_sdk::testing::LeaseEnd::Returned(Disposition::Keep)
    );
}

#[test]
fn a_reset_is_one_of_the_connection() {
    let mut session = ready("transaction", OLD);
    exchange(&mut session, &query("SET @a = 1"), &ok(1, AUTOCOMMIT));
    session.client(&command(0x1f, b""));
    assert_eq!(session.take_client(), ok(1, AUTOCOMMIT));
    assert_eq!(session.take_upstream(), b"");
    assert_eq!(returned(&mut session), Disposition::Reset);
    session.client(&command(0x1f, b""));
    assert_eq!(session.take_client(), ok(1, AUTOCOMMIT));
}

#[test]
fn a_client_may_become_somebody_else() {
    use leaseway_plugin_mysql::auth::Method;
    let mut session = ready("transaction", OLD);
    exchange(&mut session, &query("SET @a = 1"), &ok(1, AUTOCOMMIT));
    let change = command(0x11, b"open\0\0store\0\x2d\0mysql_native_password\0");
    session.client(&change);
    assert_eq!(returned(&mut session), Disposition::Reset);
    let request = session.take_client();
    assert_eq!((request[3], request[4]), (1, 0xfe));
    let proof = Method::Native.prove(b"", &request[27..47]);
    session.client(&write::packet(2, &proof));
    assert_eq!(session.take_client(), ok(3, AUTOCOMMIT));
    let target = &session.leases().last().unwrap().target;
    assert!(
        target.identity.starts_with("user=open db=store "),
        "{}",
        target.identity
    );
}

#[test]
fn a_long_command_goes_in_several_packets() {
    let mut session = ready("transaction", OLD);
    let sql = [
        b"\x03INSERT INTO t VALUES ('".to_vec(),
        vec![b'x'; 0xff_ffff - 24],
    ]
    .concat();
    let first = [b"\xff\xff\xff\0".to_vec(), sql].concat();
    let second = write::packet(1, b"')");
    reaches(&mut session, &first);
    session.client(&second);
    assert_eq!(session.take_upstream(), second);
    session.upstream(&ok(2, AUTOCOMMIT));
    assert_eq!(session.take_client(), ok(2, AUTOCOMMIT));
    // Its end was not looked at.
    assert_eq!(returned(&mut session), Disposition::Reset);
}

#[test]
fn a_long_row_goes_in_several_packets() {
    let mut session = ready("transaction", OLD);
    session.client(&query("SELECT a FROM t"));
    let begin = [
        write::packet(1, &[1]),
        write::packet(2, b"\x03def"),
        eof(3, AUTOCOMMIT),
    ];
    session.upstream(&begin.concat());
    let row = [b"\xff\xff\xff\x04".to_vec(), vec![b'x'; 0xff_ffff]].concat();
    session.upstream(&row);
    // What looks like an end is the rest of it.
    let rest = [eof(5, AUTOCOMMIT), write::packet(6, b"\xff\xff")].concat();
    session.upstream(&rest[..9]);
    assert!(session.is_leased());
    session.upstream(&eof(6, AUTOCOMMIT));
    assert!(!session.is_leased());
}

#[test]
fn a_lost_connection_is_told_with_the_right_number() {
    let mut session = ready("transaction", OLD);
    session.client(&query("SELECT a FROM t"));
    session.upstream(&write::packet(1, &[1]));
    session.upstream(&write::packet(2, b"\x03def"));
    session.take_client();
    session.lose("it is gone");
    let said = session.take_client();
    let failure = Failure::read(&said[4..]).unwrap();
    assert_eq!(
        (said[3], failure.code, failure.sqlstate),
        (3, 1158, "08S01")
    );
    assert!(session.end().is_some());
}

#[test]
fn a_server_that_says_why_it_goes_is_heard() {
    let mut session = ready("session", OLD);
    session.upstream(&error(0, 1927));
    assert_eq!(session.take_client(), error(1, 1927));
    assert!(session.end().is_some());
}

#[test]
fn a_client_that_leaves_in_an_answer_takes_the_connection_along() {
    let mut session = ready("transaction", OLD);
    session.client(&query("SELECT a FROM t"));
    session.client_error();
    assert_ne!(
        session.leases().last().unwrap().end,
        leaseway_sdk::testing::LeaseEnd::Returned(Disposition::Keep)
    );
    assert_ne!(
        session.leases().last().unwrap().end,
        leaseway_sdk::testing::LeaseEnd::Returned(Disposition::Reset)
    );
}
