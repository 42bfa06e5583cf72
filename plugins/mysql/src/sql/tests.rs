#![allow(clippy::unwrap_used)]

use super::*;

fn read(sql: &str) -> Text {
    let tracked = Tracked::new(&["wait_timeout".to_owned()]).unwrap();
    super::read(sql.as_bytes(), true, Quotes::default(), &tracked)
}

#[test]
fn what_is_ordinary_leaves_nothing() {
    for sql in [
        "SELECT 1",
        "INSERT INTO t VALUES ('me@example.org', \"a@b\")",
        "SELECT * FROM t WHERE a = 'it''s @x' -- @y\n AND b = 1 # @z",
        "SELECT /* @x */ 'GET_LOCK(1)', `a@b` FROM t",
        "SELECT @@version_comment, @@session.tx_isolation LIMIT 1",
        "UPDATE t SET a = 1",
        "BEGIN",
        "SET GLOBAL max_connections = 5",
        "SET @@global.max_connections = 5, @@persist.x = 1",
        "SET PASSWORD = PASSWORD('x')",
        "CREATE TABLE t (a INT)",
        "SELECT 5--1",
        "GRANT ALL ON shop.* TO 'app'@'%'",
        "CREATE DEFINER=`root`@`localhost` VIEW v AS SELECT 1",
        "BEGIN WORK",
        "(SELECT 1) UNION (SELECT 2)",
        "WITH a AS (SELECT 1) SELECT * FROM a FETCH NEXT ROW ONLY",
        "COMMIT AND CHAIN",
        "DO 1",
    ] {
        let text = read(sql);
        assert_eq!(text.pin, None, "{sql}");
        assert!(!text.is_unsure && !text.locks && !text.once, "{sql}");
    }
}

#[test]
fn what_leaves_something_is_known() {
    for sql in [
        "SELECT @x := 1",
        "SELECT@x",
        "set @a = 1",
        "SELECT 1 INTO @x",
        "SELECT get_lock('a', 1)",
        "SELECT `GET_LOCK`('a', 1)",
        // A space of some character sets, and a sign of control.
        "SELECT GET_LOCK\u{a0}('a', 1)",
        "SELECT 1 --\u{7f}'\n, GET_LOCK('a', 1) -- '",
        "SELECT \"GET_LOCK\"('a', 1)",
        "CREATE TEMPORARY TABLE t (a INT)",
        "CREATE OR REPLACE TEMPORARY TABLE t (a INT)",
        "SELECT 1; CREATE /* x */ TEMPORARY TABLE t (a INT)",
        "PREPARE s FROM 'SELECT 1'",
        "EXECUTE IMMEDIATE 'SELECT 1'",
        "HANDLER t OPEN",
        "XA START 'x'",
        "SET foreign_key_checks = 0",
        "SET SESSION foreign_key_checks = 0",
        "SET autocommit = 1, foreign_key_checks = 0",
        "SET GLOBAL a = 1, b = 2",
        "SET NAMES utf8, @x = 1",
        "SET sql_mode = CONCAT(@@sql_mode, ',X'), unique_checks = 0",
        "SET @@session.foreign_key_checks = 0",
        "SET @@foreign_key_checks = 0",
        "SET `foreign_key_checks` = 0",
        "SET ROLE admin",
        "SET PASSWORD = 'x', ROLE admin",
        "SET DEFAULT ROLE NONE, foreign_key_checks = 0",
        "SET STATEMENT max_statement_time=1 FOR SELECT 1",
        "LOCK INSTANCE FOR BACKUP",
        // With and without an escaped quote.
        "SELECT 'a\\', @x, 'b'",
    ] {
        assert!(read(sql).pin.is_some(), "{sql}");
        assert!(!read(sql).is_repeatable, "{sql}");
    }
    assert!(read("SET SESSION AUTHORIZATION x").closes);
    assert!(read("SET ROLE x").closes);
}

#[test]
fn what_follows_its_client_is_no_pin() {
    for sql in [
        "SET NAMES utf8mb4 COLLATE utf8mb4_bin",
        "SET CHARACTER SET utf8",
        "SET autocommit=0",
        "SET AUTOCOMMIT = 0, @@session.time_zone := '+00:00'",
        "SET sql_mode=(SELECT CONCAT(@@sql_mode, ',PIPES_AS_CONCAT')),time_zone='+00:00',NAMES utf8mb4 COLLATE utf8mb4_unicode_ci;",
        "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
        "set session wait_timeout = 60",
    ] {
        let text = read(sql);
        assert!(text.sets, "{sql}");
        assert_eq!(text.pin, None, "{sql}");
        assert!(!text.once, "{sql}");
    }
}

#[test]
fn what_ends_by_itself_is_known() {
    assert!(read("SET TRANSACTION READ ONLY").once);
    assert!(read("SET @@tx_read_only = 1").once);
    assert!(!read("SET @@session.tx_read_only = 1").once);
    assert!(!read("SET tx_read_only = 1").once);
    assert!(read("LOCK TABLES t WRITE").locks);
    assert_eq!(read("LOCK TABLES t WRITE, u READ").pin, None);
    assert!(read("FLUSH TABLES t WITH READ LOCK").locks);
    assert!(read("UNLOCK TABLES").unlocks);
    assert!(!read("UNLOCK TABLES; LOCK TABLES t WRITE").unlocks);
    assert!(read("SELECT SQL_CALC_FOUND_ROWS * FROM t LIMIT 1").counts_rows);
    assert!(read("SELECT FOUND_ROWS()").wants_rows);
    assert!(read("SELECT ROW_COUNT()").wants_rows);
}

#[test]
fn the_last_insert_id_is_asked_for_or_given() {
    for (sql, wants, gives) in [
        ("SELECT LAST_INSERT_ID()", true, false),
        ("SELECT last_insert_id ( )", true, false),
        ("SELECT @@identity", true, false),
        ("SELECT @@`identity`", true, false),
        ("SELECT @@session . identity", true, false),
        ("SHOW VARIABLES LIKE 'last%'", true, false),
        (
            "EXECUTE IMMEDIATE CONCAT('SELECT LAST_INSERT', '_ID()')",
            true,
            false,
        ),
        ("UPDATE seq SET id = LAST_INSERT_ID(id + 1)", true, true),
        ("CALL p()", true, false),
        ("SELECT last_insert_identity", false, false),
    ] {
        let text = read(sql);
        assert_eq!(text.wants_insert_id, wants, "{sql}");
        assert_eq!(text.gives_insert_id, gives, "{sql}");
    }
}

#[test]
fn what_may_be_hidden_is_not_trusted() {
    for sql in [
        "SELECT /*!50000 1 */",
        "/*M!100100 SELECT */ 1",
        "SELECT 'a",
        "SELECT $$'$$, GET_LOCK('a', 1) -- '",
        "SELECT 5--\u{e9}",
        "SELECT /* a",
        "CALL p()",
        "IF 1 THEN SET ROLE x; END IF",
        "BEGIN NOT ATOMIC DO 1; END",
        "again: LOOP LEAVE again; END LOOP",
        "SELECT 1; WHILE 0 DO DO 1; END WHILE",
        "SET sql_mode = ''; SELECT 1",
        "SELECT NEXTVAL(s)",
        "SELECT NEXT VALUE FOR s",
    ] {
        assert!(read(sql).is_unsure, "{sql}");
    }
    assert!(read("/*!50000 SET @x = 1 */").pin.is_some());
    let tracked = Tracked::new(&[]).unwrap();
    let cut = super::read(b"INSERT INTO t", false, Quotes::default(), &tracked);
    assert!(cut.is_unsure && cut.wants_insert_id && cut.wants_rows);
}

#[test]
fn only_what_just_reads_can_be_sent_twice() {
    for sql in [
        "SELECT a FROM t WHERE b = 1",
        "BEGIN",
        "START TRANSACTION",
        "show tables",
    ] {
        assert!(read(sql).is_repeatable, "{sql}");
    }
    for sql in [
        "SELECT f(1)",
        "SELECT a FROM t FOR UPDATE",
        "SELECT a INTO OUTFILE 'x' FROM t",
        "SELECT NEXT VALUE FOR s",
        "INSERT INTO t SELECT 1",
        "SELECT 1; DELETE FROM t",
        "BEGIN; DELETE FROM t",
        "COMMIT",
        "",
        "SELECT 'a\\' , f(1) , 'b'",
    ] {
        assert!(!read(sql).is_repeatable, "{sql}");
    }
}

#[test]
fn a_backslash_is_read_as_the_server_reads_it() {
    let tracked = Tracked::new(&[]).unwrap();
    let sql = b"SELECT 'a\\'b@c', 'd'";
    let quotes = |escapes, are_names| Quotes { escapes, are_names };
    let read = |escapes| super::read(sql, true, quotes(escapes, None), &tracked);
    assert_eq!(read(Some(true)).pin, None);
    assert!(read(Some(false)).pin.is_some());
    assert!(read(None).pin.is_some());
    // What is in front of the second double quote is a name or not.
    let sql = br#"SELECT 1 AS "\", @a AS "b" -- ""#;
    let read = |are_names| super::read(sql, true, quotes(Some(true), are_names), &tracked);
    assert_eq!(read(Some(false)).pin, None);
    assert!(read(Some(true)).pin.is_some());
    assert!(read(None).pin.is_some());
}
