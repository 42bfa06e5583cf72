//! What clients leave on a connection in ways that are easily overlooked: nobody else may find it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::*;
use leaseway_plugin_mysql::Mysql;
use leaseway_plugin_mysql::settings::Tracked;
use leaseway_plugin_mysql::wire::capability::{
    AUTOCOMMIT, IN_TRANS, MORE_RESULTS, NO_BACKSLASH_ESCAPES, STATE_CHANGED,
};
use leaseway_plugin_mysql::wire::ok::Failure;
use leaseway_plugin_mysql::wire::write;
use leaseway_sdk::Disposition;
use leaseway_sdk::testing::{LeaseEnd, ScriptedSession};

const FORGET: &str = "DO (SELECT COUNT(*) FROM information_schema.ENGINES LIMIT 0)";
const STATISTICS: u8 = 0x09;
const PING: u8 = 0x0e;
const PREPARE: u8 = 0x16;
const EXECUTE: u8 = 0x17;
const LONG_DATA: u8 = 0x18;
const CLOSE: u8 = 0x19;
const RESET: u8 = 0x1f;

/// A session in which a statement of this text, without parameters and columns, has the number 5.
fn prepared(capabilities: u32, sql: &str) -> ScriptedSession<Mysql> {
    let mut session = ready("transaction", capabilities);
    prepares(&mut session, sql, 0);
    session
}

fn prepares(session: &mut ScriptedSession<Mysql>, sql: &str, warnings: u8) {
    let answer = write::packet(1, &[0, 5, 0, 0, 0, 0, 0, 0, 0, 0, warnings, 0]);
    reaches(session, &command(PREPARE, sql.as_bytes()));
    session.upstream(&answer);
    assert_eq!(shown(&session.take_client()), shown(&answer));
}

fn executes(session: &mut ScriptedSession<Mysql>, answer: &[u8]) {
    let execute = command(EXECUTE, &[5, 0, 0, 0, 0, 1, 0, 0, 0]);
    exchange(session, &execute, answer);
}

fn closes(session: &mut ScriptedSession<Mysql>) {
    let close = command(CLOSE, &[5, 0, 0, 0]);
    session.client(&close);
    assert_eq!(shown(&session.take_upstream()), shown(&close));
}

/// The next thing that the server gets is this, of ours, and it agrees.
#[track_caller]
fn asked(session: &mut ScriptedSession<Mysql>, sent: &[u8]) {
    assert_eq!(shown(&session.take_upstream()), shown(sent));
    session.upstream(&ok(1, AUTOCOMMIT));
    assert_eq!(session.take_client(), b"");
}

#[test]
fn a_prepared_lock_is_not_forgotten_when_it_is_taken_again() {
    let mut session = prepared(OLD, "LOCK TABLES t WRITE");
    exchange(&mut session, &query("UNLOCK TABLES"), &ok(1, AUTOCOMMIT));
    executes(&mut session, &ok(1, AUTOCOMMIT));
    closes(&mut session);
    assert!(session.is_leased());
}

#[test]
fn to_prepare_an_unlock_unlocks_nothing() {
    let mut session = ready("transaction", OLD);
    exchange(
        &mut session,
        &query("LOCK TABLES t WRITE"),
        &ok(1, AUTOCOMMIT),
    );
    prepares(&mut session, "UNLOCK TABLES", 0);
    closes(&mut session);
    assert!(session.is_leased());
}

#[test]
fn a_prepared_set_transaction_is_not_forgotten_when_it_is_carried_out_again() {
    let mut session = prepared(OLD, "SET TRANSACTION READ ONLY");
    executes(&mut session, &ok(1, AUTOCOMMIT));
    exchange(&mut session, &query("BEGIN"), &ok(1, AUTOCOMMIT | IN_TRANS));
    exchange(&mut session, &query("COMMIT"), &ok(1, AUTOCOMMIT));
    executes(&mut session, &ok(1, AUTOCOMMIT));
    closes(&mut session);
    assert!(session.is_leased());
}

#[test]
fn what_holds_for_the_next_transaction_keeps_it_however_it_is_said() {
    for sql in [
        "SET @@tx_read_only = 1",
        "SET @@transaction_isolation = 'SERIALIZABLE'",
        "SET autocommit = 1, @@tx_isolation = 'SERIALIZABLE'",
    ] {
        let mut session = ready("transaction", OLD);
        exchange(&mut session, &query(sql), &ok(1, AUTOCOMMIT));
        assert!(session.is_leased(), "{sql}");
    }
    let mut session = ready("transaction", OLD);
    exchange(&mut session, &query("BEGIN"), &ok(1, AUTOCOMMIT | IN_TRANS));
    let answers = [ok(1, AUTOCOMMIT | MORE_RESULTS), ok(2, AUTOCOMMIT)].concat();
    exchange(
        &mut session,
        &query("COMMIT; SET TRANSACTION READ ONLY"),
        &answers,
    );
    assert!(session.is_leased());
}

#[test]
fn a_change_that_an_eof_packet_flags_and_nothing_explains_keeps_it() {
    let rows = result(OLD, &[b"1"], AUTOCOMMIT | STATE_CHANGED);
    let mut session = ready("transaction", OLD);
    reaches(&mut session, &query("SELECT f()"));
    session.upstream(&rows);
    session.take_client();
    asked(&mut session, &command(PING, b""));
    assert!(session.is_leased());
    // MySQL tells of them with the next OK, and MariaDB does not.
    let mut session = prepared(OLD, "SELECT 1");
    exchange(&mut session, &query("SELECT a FROM view"), &rows);
    assert_eq!(session.take_upstream(), command(PING, b""));
    session.upstream(&told(1, AUTOCOMMIT, ANY));
    closes(&mut session);
    assert!(session.is_leased());
    let mut session = prepared(OLD, "SELECT f()");
    executes(&mut session, &rows);
    asked(&mut session, &command(PING, b""));
    closes(&mut session);
    assert!(session.is_leased());
}

#[test]
fn to_have_been_prepared_explains_no_change_of_what_is_carried_out() {
    // As a trigger may have done.
    let mut session = prepared(MODERN, "INSERT INTO t (a) VALUES (1)");
    executes(&mut session, &told(1, AUTOCOMMIT, ANY));
    closes(&mut session);
    assert!(session.is_leased());
}

#[test]
fn a_variable_that_follows_explains_no_other_change_of_a_function() {
    let zone = [variable("time_zone", "+05:00"), ANY.to_vec()].concat();
    let mut session = ready("transaction", MODERN);
    reaches(&mut session, &query("SELECT f()"));
    session.upstream(&told(1, AUTOCOMMIT, &zone));
    assert!(session.is_leased());
    let mut session = ready("transaction", MODERN);
    let set = query("SET time_zone = '+05:00'");
    exchange(&mut session, &set, &told(1, AUTOCOMMIT, &zone));
    assert!(!session.is_leased());
    let mut session = prepared(MODERN, "SET time_zone = '+05:00'");
    executes(&mut session, &told(1, AUTOCOMMIT, &zone));
    closes(&mut session);
    assert!(!session.is_leased());
}

#[test]
fn a_set_statement_is_not_taken_for_a_set() {
    let mut session = ready("transaction", MODERN);
    let zone = [variable("time_zone", "+05:00"), ANY.to_vec()].concat();
    let sql = "SET STATEMENT time_zone = '+05:00' FOR SELECT NOW()";
    exchange(&mut session, &query(sql), &told(1, AUTOCOMMIT, &zone));
    assert!(session.is_leased());
}

#[test]
fn what_is_done_in_a_block_is_reset() {
    for sql in [
        "IF 1 THEN FLUSH TABLES WITH READ LOCK; END IF",
        "BEGIN NOT ATOMIC SET ROLE admin; END",
        "BEGIN NOT ATOMIC SET TRANSACTION READ ONLY; END",
        "a: WHILE 0 DO SET TRANSACTION READ ONLY; END WHILE",
        "SELECT NEXTVAL(s)",
        "SELECT NEXT VALUE FOR s",
        // The second text ends elsewhere for the server.
        "SET sql_mode = 'NO_BACKSLASH_ESCAPES'; SELECT '\\', GET_LOCK('a', 1), 'b' -- '",
    ] {
        let mut session = ready("transaction", OLD);
        reaches(&mut session, &query(sql));
        session.upstream(&ok(1, AUTOCOMMIT));
        if session.is_leased() {
            let status = command(PING, b"");
            assert_eq!(session.take_upstream(), status, "{sql}");
            session.upstream(&ok(1, AUTOCOMMIT));
        }
        assert_eq!(returned(&mut session), Disposition::Reset, "{sql}");
    }
}

#[test]
fn a_backslash_in_a_name_escapes_nothing() {
    let mut session = ready("transaction", MODERN);
    let ansi = [
        variable("sql_mode", "PIPES_AS_CONCAT,ANSI_QUOTES"),
        ANY.to_vec(),
    ]
    .concat();
    let set = query("SET sql_mode = 'PIPES_AS_CONCAT,ANSI_QUOTES'");
    exchange(&mut session, &set, &told(1, AUTOCOMMIT, &ansi));
    assert!(!session.is_leased());
    let mut backend = fresh("shop");
    let mode = leaseway_plugin_mysql::settings::Tracked::new(&[]).unwrap();
    let mode = mode.find(b"sql_mode").unwrap();
    backend
        .original
        .insert(mode, b"PIPES_AS_CONCAT,ANSI_QUOTES");
    let mut session = session.with_tag(&backend.tag());
    let sql = r#"SELECT 1 AS "\", GET_LOCK('a', 1) AS "b" -- ""#;
    exchange(
        &mut session,
        &query(sql),
        &result(MODERN, &[b"1"], AUTOCOMMIT),
    );
    assert!(session.is_leased());
}

#[test]
fn a_text_is_read_as_its_connection_reads_it() {
    let at = Tracked::new(&[]).unwrap().find(b"sql_mode").unwrap();
    let mut backend = fresh("shop");
    backend.original.insert(at, b"");
    let mut session = ready("transaction", OLD).with_tag(&backend.tag());
    let select = query("SELECT 1");
    exchange(&mut session, &select, &result(OLD, &[b"1"], AUTOCOMMIT));
    // Another server, or one with other defaults than before.
    backend
        .original
        .insert(at, b"ANSI_QUOTES,NO_BACKSLASH_ESCAPES");
    let mut session = session.with_tag(&backend.tag());
    let locks = query(r"SELECT 'a\', GET_LOCK('a', 1) -- '");
    let status = AUTOCOMMIT | NO_BACKSLASH_ESCAPES;
    exchange(&mut session, &locks, &result(OLD, &[b"1"], status));
    assert!(session.is_leased());
}

#[test]
fn a_connection_is_not_given_back_in_the_middle_of_a_command() {
    let mut session = ready("transaction", OLD);
    let first = [b"\xff\xff\xff\0\x03".to_vec(), vec![b' '; 0xff_fffe]].concat();
    reaches(&mut session, &first);
    // The server does not read on.
    session.upstream(&error(1, 1153));
    assert!(session.is_leased());
    session.client(&write::packet(1, b"x"));
    session.upstream(&ok(1, AUTOCOMMIT));
    assert!(!session.is_leased());
}

#[test]
fn what_the_server_would_refuse_without_being_asked_is_not_sent() {
    let mut misnumbered = command(CLOSE, &[5, 0, 0, 0]);
    misnumbered[3] = 3;
    let long = [b"\xff\xff\xff\0\x19\x05\0\0\0".to_vec(), vec![0; 0xff_fffa]].concat();
    // To what has no answer.
    for sent in [
        misnumbered,
        command(LONG_DATA, &[5, 0, 0, 0, 0]),
        command(CLOSE, &[5, 0, 0, 0, 0]),
        long,
    ] {
        let mut session = prepared(OLD, "SELECT 1");
        session.client(&sent);
        assert_eq!(session.take_upstream(), b"");
        let said = session.take_client();
        assert_eq!(Failure::read(&said[4..]).unwrap().code, 1047);
        assert!(session.end().is_some());
    }
}

#[test]
fn data_that_nothing_shows_to_be_taken_close_the_connection() {
    let data = command(LONG_DATA, b"\x05\0\0\0\0\0too long, perhaps");
    let mut session = prepared(OLD, "SELECT ?");
    session.client(&data);
    session.take_upstream();
    closes(&mut session);
    assert_eq!(returned(&mut session), Disposition::Close);
    // An error may be the answer to the data.
    let mut session = prepared(OLD, "SELECT ?");
    session.client(&data);
    session.take_upstream();
    executes(&mut session, &error(1, 1153));
    asked(&mut session, &command(PING, b""));
    closes(&mut session);
    assert_eq!(returned(&mut session), Disposition::Close);
    // Also to what is answered in any words.
    let mut session = prepared(OLD, "SELECT ?");
    session.client(&data);
    session.take_upstream();
    exchange(&mut session, &command(STATISTICS, b""), &error(1, 1153));
    closes(&mut session);
    assert_eq!(returned(&mut session), Disposition::Close);
    let mut session = prepared(OLD, "SELECT ?");
    session.client(&data);
    session.take_upstream();
    executes(&mut session, &ok(1, AUTOCOMMIT));
    closes(&mut session);
    assert_eq!(returned(&mut session), Disposition::Keep);
}

#[test]
fn what_no_reset_takes_back_closes_the_connection() {
    for pooling in ["session", "transaction"] {
        let mut session = ready(pooling, OLD);
        exchange(&mut session, &command(0x1b, &[0, 0]), &eof(1, AUTOCOMMIT));
        session.client(&command(RESET, b""));
        assert_eq!(returned(&mut session), Disposition::Close, "{pooling}");
    }
}

#[test]
fn the_last_insert_id_of_another_is_not_told_to_who_gives_its_own() {
    let mut session = ready("transaction", OLD);
    exchange(&mut session, &query("BEGIN"), &ok(1, AUTOCOMMIT | IN_TRANS));
    // Of a value that is given, the connection remembers nothing.
    let insert = query("INSERT INTO t (id) VALUES (9)");
    exchange(
        &mut session,
        &insert,
        &inserted(1, 9, AUTOCOMMIT | IN_TRANS),
    );
    let select = query("SELECT LAST_INSERT_ID()");
    session.client(&select);
    assert_eq!(
        shown(&session.take_upstream()),
        shown(&query("SET last_insert_id=9"))
    );
    session.upstream(&ok(1, AUTOCOMMIT | IN_TRANS));
    assert_eq!(session.take_upstream(), select);
}

#[test]
fn the_last_insert_id_of_another_is_not_found_by_null() {
    let at = Tracked::new(&[])
        .unwrap()
        .find(b"sql_auto_is_null")
        .unwrap();
    let select = query("SELECT a FROM t WHERE id IS NULL");
    // It is so for all, or for this client.
    let mut backend = fresh("shop");
    backend.original.insert(at, b"ON");
    let mut session = ready("transaction", MODERN).with_tag(&backend.tag());
    session.client(&select);
    assert_eq!(session.take_upstream(), query("SET last_insert_id=0"));
    backend.original.insert(at, b"OFF");
    let mut session = ready("transaction", MODERN).with_tag(&backend.tag());
    let is_null = [variable("sql_auto_is_null", "ON"), ANY.to_vec()].concat();
    let set = query("SET sql_auto_is_null = 1");
    exchange(&mut session, &set, &told(1, AUTOCOMMIT, &is_null));
    assert!(!session.is_leased());
    let mut session = session.with_tag(&backend.tag());
    session.client(&select);
    let ahead = [
        query("SET SESSION sql_auto_is_null='ON'"),
        query("SET last_insert_id=0"),
    ];
    assert_eq!(shown(&session.take_upstream()), shown(&ahead.concat()));
}

#[test]
fn warnings_of_a_preparation_are_forgotten() {
    let mut session = ready("transaction", OLD);
    prepares(&mut session, "CREATE TABLE t (a YEAR(2))", 1);
    let close = command(CLOSE, &[5, 0, 0, 0]);
    session.client(&close);
    assert_eq!(session.take_upstream(), [close, query(FORGET)].concat());
    session.upstream(&ok(1, AUTOCOMMIT));
    assert!(!session.is_leased());
}

#[test]
fn the_collation_follows_also_from_a_connection_that_is_reset() {
    let mut session = ready("transaction", OLD);
    reaches(&mut session, &query("/*!40101 SET NAMES latin1 */"));
    let names = [variable("character_set_connection", "latin1"), ANY.to_vec()].concat();
    session.upstream(&told(1, AUTOCOMMIT, &names));
    assert_eq!(session.take_client(), ok(1, AUTOCOMMIT));
    assert_eq!(
        session.take_upstream(),
        query("SELECT @@collation_connection")
    );
    session.upstream(&result(OLD, &[b"latin1_swedish_ci"], AUTOCOMMIT));
    assert_eq!(returned(&mut session), Disposition::Reset);
    let mut session = session.with_tag(&fresh("shop").tag());
    session.client(&query("SELECT 1"));
    let restore = "SET SESSION character_set_connection='latin1',\
                   SESSION collation_connection='latin1_swedish_ci'";
    assert_eq!(shown(&session.take_upstream()), shown(&query(restore)));
}

#[test]
fn nobody_gets_a_connection_that_is_in_the_middle_of_data() {
    let mut session = prepared(OLD, "SELECT ?");
    let first = [
        b"\xff\xff\xff\0\x18\x05\0\0\0\0\0".to_vec(),
        vec![b'x'; 0xff_fff8],
    ]
    .concat();
    session.client(&first);
    session.client_error();
    let end = &session.leases().last().unwrap().end;
    assert!(!matches!(
        end,
        LeaseEnd::Returned(Disposition::Keep | Disposition::Reset)
    ));
}

#[test]
fn what_stored_functions_leave_is_reset() {
    for sql in [
        "SELECT leaves()",
        "DO `shop`.`leaves` ()",
        "INSERT INTO t (a) VALUES (leaves())",
    ] {
        let mut session = ready("transaction", MODERN);
        reaches(&mut session, &query(sql));
        session.upstream(&ok(1, AUTOCOMMIT));
        assert_eq!(returned(&mut session), Disposition::Reset, "{sql}");
        let mut session = prepared(MODERN, sql);
        executes(&mut session, &ok(1, AUTOCOMMIT));
        closes(&mut session);
        assert_eq!(returned(&mut session), Disposition::Reset, "{sql}");
    }
    // It may ask for it.
    let mut session = ready("transaction", MODERN);
    exchange(
        &mut session,
        &query("INSERT INTO t (a) VALUES (1)"),
        &inserted(1, 9, AUTOCOMMIT),
    );
    let mut session = session.with_tag(&fresh("shop").tag());
    session.client(&query("SELECT f()"));
    let ahead = [query(FORGET), query("SET last_insert_id=9")].concat();
    assert_eq!(shown(&session.take_upstream()), shown(&ahead));
}

#[test]
fn what_triggers_have_left_of_what_fails_is_reset() {
    let insert = "INSERT INTO t (a) VALUES (1)";
    let mut session = ready("transaction", MODERN);
    exchange(&mut session, &query(insert), &error(1, 1062));
    asked(&mut session, &command(PING, b""));
    assert_eq!(returned(&mut session), Disposition::Reset);
    let mut session = prepared(MODERN, insert);
    executes(&mut session, &error(1, 1062));
    asked(&mut session, &command(PING, b""));
    closes(&mut session);
    assert_eq!(returned(&mut session), Disposition::Reset);
}

#[test]
fn every_connection_is_reset_unless_the_operator_knows_better() {
    let mut session = ready_for_resets(OLD);
    exchange(&mut session, &query("BEGIN"), &ok(1, AUTOCOMMIT | IN_TRANS));
    exchange(
        &mut session,
        &query("INSERT INTO t (a) VALUES (1)"),
        &ok(1, AUTOCOMMIT | IN_TRANS),
    );
    assert!(session.is_leased());
    exchange(&mut session, &query("COMMIT"), &ok(1, AUTOCOMMIT));
    assert_eq!(returned(&mut session), Disposition::Reset);
    // Whether a transaction is open has to be known all the same, and nothing else has to be forgotten.
    let mut session = session.with_tag(&fresh("shop").tag());
    exchange(&mut session, &query("SELECT a"), &error(1, 1054));
    asked(&mut session, &command(PING, b""));
    assert_eq!(returned(&mut session), Disposition::Reset);
    let mut session = ready("transaction", OLD);
    exchange(&mut session, &query("COMMIT"), &ok(1, AUTOCOMMIT));
    assert_eq!(returned(&mut session), Disposition::Keep);
}
