"""Ordinary use of PyMySQL: `pymysql_as_ever.py PORT MODE`. Ends with status 1 at the first thing that is wrong."""

import sys

import pymysql

PORT, MODE = int(sys.argv[1]), sys.argv[2]
TABLE = f"pymysql_{MODE}"
TEXT = "Grüße, 世界! 👩‍👩‍👧‍👦 '\"\\ %s \t\r\n end"


def connect(**options):
    settings = {"user": "app", "password": "secret", "database": "shop", **options}
    return pymysql.connect(host="127.0.0.1", port=PORT, **settings)


def check(got, wanted):
    if got != wanted:
        raise AssertionError(f"{got!r:.300} instead of {wanted!r:.300}")


def ask(conn, sql, *args):
    with conn.cursor() as cursor:
        cursor.execute(sql, args or None)
        return cursor.fetchall()


def fails(code, work, *args):
    try:
        work(*args)
    except pymysql.MySQLError as why:
        check(why.args[0], code)
        return
    raise AssertionError("it does not fail")


with connect() as conn:
    # Without autocommit, which is what PyMySQL does by itself.
    check(ask(conn, "SELECT @@autocommit"), ((0,),))
    ask(conn, f"DROP TABLE IF EXISTS {TABLE}")
    ask(conn, f"CREATE TABLE {TABLE} (id int PRIMARY KEY AUTO_INCREMENT, text text) CHARSET utf8mb4")
    with conn.cursor() as cursor:
        cursor.execute(f"INSERT INTO {TABLE} (text) VALUES (%s)", (TEXT,))
        check(cursor.lastrowid, 1)
        cursor.executemany(f"INSERT INTO {TABLE} (text) VALUES (%s)", [(str(n),) for n in range(1000)])
        check(cursor.rowcount, 1000)
    conn.rollback()
    check(ask(conn, f"SELECT COUNT(*) FROM {TABLE}"), ((0,),))
    ask(conn, f"INSERT INTO {TABLE} (text) VALUES (%s)", TEXT)
    conn.commit()
    check(ask(conn, f"SELECT text FROM {TABLE}"), ((TEXT,),))
    fails(1054, ask, conn, "SELECT nothing")
    fails(1062, ask, conn, f"INSERT INTO {TABLE} SELECT * FROM {TABLE}")
    conn.rollback()
    conn.select_db("store")
    check(ask(conn, "SELECT DATABASE()"), (("store",),))
    conn.commit()
    conn.ping(reconnect=False)

with connect(autocommit=True, client_flag=pymysql.constants.CLIENT.MULTI_STATEMENTS) as conn:
    with conn.cursor() as cursor:
        cursor.execute("SELECT 1; SELECT 2; DO 3; SELECT 4")
        results = [list(cursor.fetchall())]
        while cursor.nextset():
            results.append(list(cursor.fetchall()))
        check(results, [[(1,)], [(2,)], [], [(4,)]])
    # Rows as they come.
    with conn.cursor(pymysql.cursors.SSCursor) as cursor:
        cursor.execute("WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 900) "
                       "SELECT n, REPEAT('x', 10000) FROM n")
        check(sum(len(text) for _, text in cursor), 9_000_000)

crowd = [connect(autocommit=True) for _ in range(3)]
for n, conn in enumerate(crowd):
    ask(conn, "SET time_zone = %s", f"+0{n}:00")
for n, conn in enumerate(crowd):
    check(ask(conn, "SELECT @@time_zone"), ((f"+0{n}:00",),))
    conn.close()
fails(1045, lambda: connect(password="wrong"))
print("all is well")
