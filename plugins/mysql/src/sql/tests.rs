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
            "SELECT SESSION_VALUE FROM information_schema.`SYSTEM_VARIABLES`",
            true,
            false,
        ),
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

#[test]
fn what_ordinary_statements_call_is_known() {
    for sql in [
        // sysbench
        "SELECT SUM(k) FROM sbtest1 WHERE id BETWEEN ? AND ?",
        "SELECT DISTINCT c FROM sbtest1 WHERE id BETWEEN 1 AND 100 ORDER BY c",
        "INSERT INTO sbtest1 (id, k, c, pad) VALUES (?, ?, ?, ?)",
        "INSERT INTO sbtest1(k, c, pad) VALUES(1, 'a(b)', 'c'),(2, 'd', 'e')",
        "CREATE TABLE sbtest1(id INTEGER NOT NULL AUTO_INCREMENT, k INTEGER DEFAULT '0' NOT NULL, c CHAR(120), PRIMARY KEY (id))",
        // Programs and what writes SQL for them
        "INSERT INTO `shop`.`orders` (`id`, `total`) VALUES (1, 2.50)",
        "INSERT INTO shop.orders(id) SELECT (1)",
        "INSERT IGNORE INTO t (a) VALUES (1)",
        "INSERT IGNORE t (a) VALUE (1)",
        "insert into \"t\" (\"a\") values (1)",
        "INSERT INTO `tür` (a) VALUES (1)",
        "REPLACE t(a) VALUES (1)",
        "INSERT INTO t (a, b) VALUES (1, 2) ON DUPLICATE KEY UPDATE a = VALUES(a), b = VALUES (`b`)",
        "INSERT INTO t (a) VALUES (1) AS new (x) ON DUPLICATE KEY UPDATE a = new.x",
        "INSERT INTO t PARTITION (p0) (a) VALUES (1) RETURNING (a)",
        "SELECT COUNT(*), COUNT(DISTINCT a), MAX(b), AVG(c), GROUP_CONCAT(d ORDER BY d SEPARATOR ',') FROM t",
        "SELECT `t0`.`id` FROM `t` AS `t0` WHERE `t0`.`id` IN (?, ?) AND (`t0`.`a` = 1 OR NOT (b IS NULL))",
        "SELECT a FROM t WHERE EXISTS (SELECT 1 FROM u) AND a = ANY (SELECT b FROM u) AND (a, b) IN ((1, 2))",
        "SELECT CAST(x AS CHAR(10)), CONVERT(x, DECIMAL(10,2)), BINARY(x), CONVERT(x USING utf8mb4) FROM t",
        "SELECT CONCAT (a, 'x'), COALESCE(a, b), IFNULL(a, 0), NULLIF(a, 1), IF (a, b, c), LEFT(a, 1), REPLACE(a, 'b', 'c')",
        "SELECT NOW(), NOW(6), CURRENT_TIMESTAMP(6), DATE_ADD(a, INTERVAL 1 DAY), DATE(a), YEAR(a), UNIX_TIMESTAMP(), \
         DATE_FORMAT(a, '%Y'), TIMESTAMPDIFF(DAY, a, b), EXTRACT(YEAR FROM a), STR_TO_DATE(a, '%Y')",
        "SELECT JSON_EXTRACT(a, '$.b'), JSON_UNQUOTE(JSON_EXTRACT(a, '$')), JSON_ARRAYAGG(b), JSON_OBJECT('a', 1), JSON_CONTAINS(a, '1'), JSON_VALUE(a, '$')",
        "SELECT ROW_NUMBER() OVER (PARTITION BY a ORDER BY b), RANK() OVER w, LAG(a) OVER (w ROWS 2 PRECEDING) FROM t WINDOW w AS (ORDER BY a)",
        "SELECT MATCH (a, b) AGAINST ('c' IN BOOLEAN MODE) FROM t USE INDEX (i) JOIN u USING (id) LEFT JOIN (v) ON (v.a = t.a)",
        "SELECT CASE WHEN (a) THEN (b) ELSE (c) END, a DIV (2), a LIKE (b), a REGEXP ('x'), -(1), a*(b) FROM (SELECT 1) t (a)",
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL (SELECT i + 1 FROM n LIMIT 3)) SELECT * FROM n",
        "(SELECT 1) UNION (SELECT 2) ORDER BY 1 LIMIT 1",
        "UPDATE t SET a = (a + 1), b = UUID(), c = SHA2('x', 256) WHERE id = (SELECT MIN(id) FROM u)",
        "SELECT DATABASE(), VERSION(), USER(), CONNECTION_ID(), FOUND_ROWS(), ROW_COUNT(), LAST_INSERT_ID()",
        "SELECT RELEASE_LOCK('a'), SLEEP(0), RAND(), INET_ATON('::'), ST_DISTANCE(a, b), HEX(a), CRC32(b)",
        "SELECT 'größe' AS größe, COUNT(*) FROM t WHERE `größe` IN (1) AND naïve IN (2)",
        "SELECT a FROM t WHERE f = (1) AND `f` IN (2) -- f(1)",
        // What migrations do
        "CREATE TABLE IF NOT EXISTS `t` (`id` BIGINT(20) UNSIGNED, a VARCHAR(10), b ENUM('x'), c DATETIME(6) DEFAULT CURRENT_TIMESTAMP(6), \
         PRIMARY KEY (`id`), KEY `k` (`a`), UNIQUE KEY u (a, b), UNIQUE INDEX (b), CONSTRAINT `fk` FOREIGN KEY (`a`) REFERENCES `u` (`id`), CHECK (a > 1))",
        "ALTER TABLE t ADD COLUMN (d INT), ADD INDEX i (a), ADD FULLTEXT f (b)",
        "SET time_zone = '+00:00', sql_mode = (SELECT CONCAT(@@sql_mode, ',ANSI'))",
        "GRANT SELECT (a, b) ON shop.t TO 'app'@'%'",
    ] {
        let text = read(sql);
        assert!(!text.calls && !text.is_unsure, "{sql}");
    }
}

#[test]
fn what_may_be_a_stored_function_is_not_trusted() {
    for sql in [
        "SELECT f()",
        "SELECT f (1)",
        "SELECT f\n/* x */(1)",
        "select 1 + f(1)",
        "SELECT shop.f()",
        "SELECT `shop` . `f` ()",
        "SELECT shop.count(1)",
        "SELECT pack.age.f()",
        "SELECT `f`(1)",
        "SELECT `count`(1)",
        "SELECT `in`(1)",
        // No longer built in, on MySQL 9.
        "SELECT MD5(1)",
        "SELECT \"f\"(1)",
        // Functions only where the parenthesis follows at once.
        "SELECT COUNT (1)",
        "SELECT NOW/**/()",
        // Keywords that are not reserved, and functions that the other server has.
        "SELECT ACTION(1)",
        "SELECT AGAINST(1)",
        "SELECT JSON_TABLE(1)",
        "SELECT ANY_VALUE(1)",
        "SELECT NVL(1, 2)",
        "SELECT SETVAL(s, 1)",
        // Names that are not all of ASCII, whatever these bytes are.
        "SELECT écount(1)",
        "SELECT counté(1)",
        "SELECT é(1)",
        "INSERT INTO t (a) VALUES (é (1))",
        "INSERT INTO t (a) VALUES (1) RETURNING é(1)",
        "CREATE TABLE t AS SELECT é(1)",
        "SELECT éinto(1)",
        "INSERT INTO tür (a) VALUES (1)",
        "SELECT\u{a0}f(1)",
        "SELECT count\u{a0}(1)",
        "SELECT 1f(1)",
        "SELECT {fn f(1)}",
        "INSERT INTO t VALUES (f(1))",
        "INSERT INTO t (a) VALUES (1), (shop.f(1))",
        "INSERT INTO t (a) SELECT f(a) FROM u",
        "INSERT INTO t SET a = f(1)",
        "INSERT INTO t (a) VALUES (1) ON DUPLICATE KEY UPDATE a = f(a)",
        "INSERT INTO t (a) VALUES (1) RETURNING f(a)",
        "UPDATE IGNORE t SET a = shop.f(1) WHERE b",
        "DELETE FROM t WHERE f(a)",
        "SELECT a FROM t JOIN u ON f(a)",
        "SELECT a FROM t WHERE NOT f(a) ORDER BY a",
        "SELECT a FROM t GROUP BY f(a)",
        "SELECT HIGH_PRIORITY f(a) FROM t",
        "SELECT CASE f(1) WHEN 1 THEN 2 END",
        "SELECT IN_(1), (f(1))",
        "SET autocommit = f(1)",
        "DO f(1)",
        "DO RELEASE_LOCK(f(1))",
        "SHOW TABLES WHERE f(1)",
        "CREATE TABLE t AS SELECT f(1)",
        "SELECT 1; SELECT f(1)",
    ] {
        let text = read(sql);
        assert!(text.calls && text.is_unsure, "{sql}");
        assert!(
            text.wants_insert_id && text.wants_rows && !text.is_repeatable,
            "{sql}"
        );
    }
}
