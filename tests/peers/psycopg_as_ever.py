"""Ordinary use of psycopg 3. How it is run, see steps.py."""

import contextlib
from concurrent.futures import ThreadPoolExecutor

import psycopg
from psycopg import errors
from psycopg.rows import scalar_row

from steps import CROWD, LARGE, MODE, PATIENCE, ROWS, TABLE, TEXT, URL, VALUES
from steps import check, run, step, step_with_block


def connect():
    return psycopg.connect(URL, autocommit=True, row_factory=scalar_row)


def one(conn, sql, parameters=None, **options):
    return conn.execute(sql, parameters, **options).fetchone()


def make_table(conn, columns):
    # Of a new name: when a table changes its columns, what was prepared before fails once on each
    # connection, as behind any pooler.
    global TABLE
    TABLE += "_"
    conn.execute(f"DROP TABLE IF EXISTS {TABLE}")
    conn.execute(f"CREATE TABLE {TABLE} ({columns})")


def count(conn):
    return one(conn, f"SELECT count(*) FROM {TABLE}")


@step
def parameters():
    with connect() as conn:
        for binary in (False, True):
            for kind, values in VALUES.items():
                for value in [*values, None]:
                    got = one(conn, f"SELECT %b::{kind}" if binary else f"SELECT %t::{kind}", [value])
                    check(got, value)
        check(one(conn, "SELECT %(text)s || %(text)s", {"text": TEXT}), TEXT * 2)
        with psycopg.ClientCursor(conn) as cursor:
            check(cursor.execute("SELECT %s, %s", [TEXT, None]).fetchone(), TEXT)


@step
def results_in_binary():
    with connect() as conn, conn.cursor(binary=True) as cursor:
        for kind, values in VALUES.items():
            for value in values:
                check(cursor.execute(f"SELECT %s::{kind}", [value]).fetchone(), value)


@step
def prepared_statements_are_used_again_and_again():
    with connect() as conn:
        for n in range(50):
            check(one(conn, "SELECT %s::int8 * 2", [n], prepare=True), n * 2)
            # By itself after five times.
            check(one(conn, "SELECT %s::int8 * 3", [n]), n * 3)
        conn.prepared_max = 2
        for n in range(20):
            check(one(conn, f"SELECT %s::int8 + {n % 5}", [n], prepare=True), n + n % 5)


@step
def more_clients_than_connections():
    def client(id):
        for _ in range(5):
            with connect() as conn:
                for n in range(10):
                    check(one(conn, "SELECT %s::text || %s::text", [TEXT, id * n]), f"{TEXT}{id * n}")
                    check(one(conn, "SELECT %s::int8 - %s", [id, n], prepare=True), id - n)

    with ThreadPoolExecutor(CROWD) as crowd:
        list(crowd.map(client, range(CROWD)))


@step_with_block
def transactions_commit_and_roll_back():
    with connect() as conn:
        make_table(conn, "n int")
        with conn.transaction():
            conn.execute(f"INSERT INTO {TABLE} VALUES (1)")
            with conn.transaction(force_rollback=True):
                conn.execute(f"INSERT INTO {TABLE} VALUES (2)")
                check(count(conn), 2)
        with conn.transaction() as transaction:
            conn.execute(f"INSERT INTO {TABLE} VALUES (3)")
            raise psycopg.Rollback(transaction)
        check(count(conn), 1)
    # As it begins one itself when it is not told otherwise.
    with psycopg.connect(URL) as conn:
        conn.execute(f"INSERT INTO {TABLE} VALUES (4)")
        conn.rollback()
        conn.execute(f"INSERT INTO {TABLE} VALUES (5)")
    with connect() as conn:
        check(conn.execute(f"SELECT n FROM {TABLE} ORDER BY n").fetchall(), [1, 5])


@step_with_block
def a_failed_block_stays_failed_until_it_ends():
    with psycopg.connect(URL, row_factory=scalar_row) as conn:
        for sql, error in (
            ("SELECT 1/0", errors.DivisionByZero),
            ("SELECT 1", errors.InFailedSqlTransaction),
        ):
            try:
                conn.execute(sql)
                raise AssertionError(f"{sql} does not fail")
            except error:
                pass
        conn.rollback()
        check(one(conn, "SELECT 2"), 2)


@step_with_block
def cursors_of_the_server():
    with psycopg.connect(URL, row_factory=scalar_row) as conn:
        with conn.cursor("some") as cursor:
            cursor.itersize = 500
            cursor.execute("SELECT n FROM generate_series(1, %s) n", [10_000])
            check(sum(cursor), 50_005_000)
        with conn.cursor("back and forth", scrollable=True) as cursor:
            cursor.execute("SELECT generate_series(1, 100)")
            cursor.scroll(50)
            check(cursor.fetchone(), 51)
            cursor.scroll(-51)
            check(cursor.fetchmany(2), [1, 2])


@step
def copies_in_and_out():
    rows = [(n, f"{TEXT} {n}") for n in range(ROWS)]
    with connect() as conn:
        for form in ("text", "binary"):
            make_table(conn, "n int8, v text")
            with conn.cursor() as cursor:
                with cursor.copy(f"COPY {TABLE} FROM STDIN (FORMAT {form})") as copy:
                    copy.set_types(["int8", "text"])
                    for row in rows:
                        copy.write_row(row)
                check(cursor.rowcount, ROWS)
            check(one(conn, f"SELECT sum(n) FROM {TABLE}"), ROWS * (ROWS - 1) // 2)
            with conn.cursor().copy(f"COPY {TABLE} TO STDOUT (FORMAT {form})") as copy:
                copy.set_types(["int8", "text"])
                # One comes as it is, instead of a list that has to be held.
                for row, wanted in zip(copy.rows(), rows, strict=True):
                    if row != wanted:
                        check(row, wanted)


@step
def a_copy_may_fail_in_the_middle():
    class Enough(Exception):
        pass

    with connect() as conn:
        make_table(conn, "n int8")
        try:
            with conn.cursor().copy(f"COPY {TABLE} FROM STDIN") as copy:
                for n in range(ROWS):
                    copy.write_row([n])
                raise Enough
        except Enough:
            pass
        check(count(conn), 0)
        try:
            with conn.cursor().copy(f"COPY {TABLE} FROM STDIN") as copy:
                for n in range(ROWS):
                    copy.write_row(["no number" if n == 100 else n])
            raise AssertionError("it does not fail")
        except errors.InvalidTextRepresentation:
            pass
        check(count(conn), 0)
        check(one(conn, "SELECT 3"), 3)


@step
def notifications_are_heard():
    with connect() as listener, connect() as other:
        listener.execute(f'LISTEN "{TABLE}"')
        other.execute("SELECT pg_notify(%s, %s)", [TABLE, TEXT])
        other.execute(f"NOTIFY {TABLE}, 'again'")
        heard = listener.notifies(timeout=PATIENCE, stop_after=2)
        check([(n.channel, n.payload) for n in heard], [(TABLE, TEXT), (TABLE, "again")])
        check(one(listener, "SELECT 4"), 4)


@step
def notices_are_heard():
    said = []
    with connect() as conn:
        conn.add_notice_handler(lambda notice: said.append((notice.severity, notice.message_primary)))
        conn.execute(f"DO $$ BEGIN RAISE NOTICE '%', $x${TEXT}$x$; RAISE WARNING 'hm'; END $$")
        check(said, [("NOTICE", TEXT), ("WARNING", "hm")])


@step
def a_pipeline_goes_on_behind_an_error():
    with connect() as conn:
        with conn.pipeline():
            cursors = [conn.execute("SELECT %s::int8", [n]) for n in range(100)]
            check([cursor.fetchone() for cursor in cursors], list(range(100)))
        make_table(conn, "n int")
        with conn.pipeline() as pipeline:
            before = conn.execute("SELECT 1")
            pipeline.sync()
            try:
                conn.execute("SELECT 1 / %s", [0])
                # Passed over, up to the next Sync; unless the error has come already.
                conn.execute(f"INSERT INTO {TABLE} VALUES (1)")
                pipeline.sync()
                raise AssertionError("it does not fail")
            except errors.DivisionByZero:
                # Of what was passed over it tells as well, if it has heard of that.
                with contextlib.suppress(errors.PipelineAborted):
                    pipeline.sync()
            behind = conn.execute("SELECT 3")
            check((before.fetchone(), behind.fetchone()), (1, 3))
        check(count(conn), 0)
        check(one(conn, "SELECT 4"), 4)


@step
def odd_queries_are_answered():
    with connect() as conn:
        check(conn.execute("SELECT 1 WHERE %s", [False]).fetchall(), [])
        check(conn.execute("").description, None)
        check(conn.execute("", []).description, None)
        cursor = conn.execute("SELECT 1; SELECT 2 WHERE false; SELECT 'é'")
        results = [cursor.fetchall()]
        while cursor.nextset():
            results.append(cursor.fetchall())
        check(results, [[1], [], ["é"]])


@step
def a_row_of_100_mib():
    value = (bytes(range(251)) * (LARGE // 251 + 1))[:LARGE]
    with connect() as conn, conn.cursor(binary=True) as cursor:
        make_table(conn, "v bytea")
        conn.execute(f"ALTER TABLE {TABLE} ALTER v SET STORAGE EXTERNAL")
        cursor.execute(f"INSERT INTO {TABLE} VALUES (%b)", [value])
        if cursor.execute(f"SELECT v FROM {TABLE}").fetchone() != value:
            raise AssertionError("it came back as another")
        make_table(conn, "v bytea")


@step
def a_pipeline_may_be_long():
    with connect() as conn, conn.pipeline():
        cursors = [conn.execute("SELECT %s::int8", [n]) for n in range(5000)]
        check([cursor.fetchone() for cursor in cursors], list(range(5000)))


if __name__ == "__main__":
    print(f"psycopg {psycopg.__version__}, libpq {psycopg.pq.version()}, {MODE}")
    run()
