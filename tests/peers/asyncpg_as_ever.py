"""Ordinary use of asyncpg. How it is run, see steps.py."""

import asyncio
import io
import itertools

import asyncpg

from steps import CROWD, LARGE, MODE, PATIENCE, ROWS, TABLE, TEXT, URL, VALUES
from steps import check, run_async, step, step_with_block


class Session:
    """A connection for the length of a block."""

    def __init__(self, **options):
        self.options = options

    async def __aenter__(self):
        self.conn = await asyncpg.connect(URL, **self.options)
        return self.conn

    async def __aexit__(self, *_):
        await self.conn.close()


async def make_table(conn, columns):
    # Of a new name: when a table changes its columns, what was prepared before fails once on each
    # connection, as behind any pooler.
    global TABLE
    TABLE += "_"
    await conn.execute(f"DROP TABLE IF EXISTS {TABLE}; CREATE TABLE {TABLE} ({columns})")


async def count(conn):
    return await conn.fetchval(f"SELECT count(*) FROM {TABLE}")


async def fails(work, error):
    try:
        await work
    except error:
        return
    raise AssertionError("it does not fail")


@step
async def parameters():
    # With statements that have names, and with those that have none.
    for options in ({}, {"statement_cache_size": 0}):
        async with Session(**options) as conn:
            for kind, values in VALUES.items():
                for value in [*values, None]:
                    check(await conn.fetchval(f"SELECT $1::{kind}", value), value)


@step
async def prepared_statements_are_used_again_and_again():
    async with Session() as conn:
        twice = await conn.prepare("SELECT $1::int8 * 2")
        text = await conn.prepare("SELECT $1::text || $2")
        for n in range(50):
            check(await twice.fetchval(n), n * 2)
            check(await text.fetchval(TEXT, str(n)), f"{TEXT}{n}")
        check(await twice.fetchmany([[1], [2]]), [(2,), (4,)])
        # More than it keeps.
        for n in range(150):
            check(await conn.fetchval(f"SELECT $1::int8 + {n}", n), n * 2)


@step
async def more_clients_than_connections():
    async def client(id):
        for _ in range(5):
            async with Session() as conn:
                for n in range(10):
                    check(await conn.fetchval("SELECT $1::int8 * $2::int8", id, n), id * n)
                    check(await conn.fetchval(f"SELECT '{id} {n}'"), f"{id} {n}")

    await asyncio.gather(*(client(id) for id in range(CROWD)))


@step
async def its_own_pool_resets_what_it_takes_back():
    async with asyncpg.create_pool(URL, min_size=1, max_size=2) as pool:

        async def user(n):
            async with pool.acquire() as conn:
                check(await conn.fetchval("SHOW search_path"), '"$user", public')
                await conn.execute("SET search_path = mine")
                check(await conn.fetchval("SELECT $1::int8", n), n)

        await asyncio.gather(*(user(n) for n in range(20)))


@step_with_block
async def transactions_commit_and_roll_back():
    async with Session() as conn:
        await make_table(conn, "n int")
        async with conn.transaction(isolation="serializable"):
            await conn.execute(f"INSERT INTO {TABLE} VALUES ($1)", 1)
            inner = conn.transaction()
            await inner.start()
            await conn.executemany(f"INSERT INTO {TABLE} VALUES ($1)", [[2], [3]])
            check(await count(conn), 3)
            await inner.rollback()
        outer = conn.transaction()
        await outer.start()
        await conn.execute(f"INSERT INTO {TABLE} VALUES (4)")
        await outer.rollback()
        check(await conn.fetch(f"SELECT n FROM {TABLE}"), [(1,)])


@step_with_block
async def a_failed_block_stays_failed_until_it_ends():
    async with Session() as conn:
        transaction = conn.transaction()
        await transaction.start()
        await fails(conn.fetchval("SELECT 1 / $1::int", 0), asyncpg.DivisionByZeroError)
        await fails(conn.execute("SELECT 1"), asyncpg.InFailedSQLTransactionError)
        await transaction.rollback()
        check(await conn.fetchval("SELECT 2"), 2)


@step_with_block
async def cursors_of_the_server():
    async with Session() as conn, conn.transaction():
        total = 0
        async for (n,) in conn.cursor("SELECT generate_series(1, $1::int)", 10_000, prefetch=500):
            total += n
        check(total, 50_005_000)
        cursor = await conn.cursor("SELECT generate_series(1, 100)")
        await cursor.forward(50)
        check(await cursor.fetchrow(), (51,))


@step
async def copies_in_and_out():
    async with Session() as conn:
        await make_table(conn, "n int8, v text")
        rows = ((n, f"{TEXT} {n}") for n in range(ROWS))
        # Which is binary.
        check(await conn.copy_records_to_table(TABLE, records=rows), f"COPY {ROWS}")
        check(await conn.fetchval(f"SELECT sum(n) FROM {TABLE}"), ROWS * (ROWS - 1) // 2)
        for form in ("csv", "binary", "text"):
            out = io.BytesIO()
            said = await conn.copy_from_query(f"SELECT * FROM {TABLE} ORDER BY n", output=out, format=form)
            check(said, f"COPY {ROWS}")
            await conn.execute(f"CREATE TABLE {TABLE}_2 (LIKE {TABLE})")
            out.seek(0)
            check(await conn.copy_to_table(f"{TABLE}_2", source=out, format=form), f"COPY {ROWS}")
            same = f"SELECT count(*) FROM {TABLE} JOIN {TABLE}_2 USING (n, v)"
            check(await conn.fetchval(same), ROWS)
            await conn.execute(f"DROP TABLE {TABLE}_2")


@step
async def a_copy_may_fail_in_the_middle():
    class Enough(Exception):
        pass

    def numbers():
        yield from ((n,) for n in range(ROWS))
        raise Enough

    async with Session() as conn:
        await make_table(conn, "n int8")
        await fails(conn.copy_records_to_table(TABLE, records=numbers()), Enough)
        check(await count(conn), 0)
        wrong = io.BytesIO(b"1\n" * 100 + b"no number\n" + b"2\n" * ROWS)
        await fails(conn.copy_to_table(TABLE, source=wrong), asyncpg.InvalidTextRepresentationError)
        check(await count(conn), 0)

        async def full(_):
            raise Enough

        await fails(conn.copy_from_query("SELECT generate_series(1, 100000)", output=full), Enough)
        check(await conn.fetchval("SELECT 3"), 3)


@step
async def notifications_are_heard():
    async with Session() as listener, Session() as other:
        heard = asyncio.Queue()
        await listener.add_listener(TABLE, lambda *said: heard.put_nowait(said[2:]))
        await other.execute("SELECT pg_notify($1, $2)", TABLE, TEXT)
        await other.execute(f"NOTIFY {TABLE}, 'again'")
        for wanted in (TEXT, "again"):
            check(await asyncio.wait_for(heard.get(), PATIENCE), (TABLE, wanted))
        check(await listener.fetchval("SELECT 4"), 4)
        await listener.reset()


@step
async def notices_are_heard():
    said = []
    async with Session() as conn:
        conn.add_log_listener(lambda _, notice: said.append((notice.severity, notice.message)))
        await conn.execute(f"DO $$ BEGIN RAISE NOTICE '%', $x${TEXT}$x$; RAISE WARNING 'hm'; END $$")
        # It is told of them in a turn of the loop that may come later.
        for _ in itertools.takewhile(lambda _: len(said) < 2, range(1000)):
            await asyncio.sleep(0)
        check(said, [("NOTICE", TEXT), ("WARNING", "hm")])


@step
async def many_at_once_fail_as_a_whole():
    async with Session() as conn:
        await make_table(conn, f"n int CHECK (n <> {ROWS})")
        insert = f"INSERT INTO {TABLE} VALUES ($1)"
        await fails(conn.executemany(insert, [[n] for n in range(ROWS + 1)]), asyncpg.CheckViolationError)
        check(await count(conn), 0)
        await conn.executemany(insert, [[n] for n in range(ROWS)])
        check(await count(conn), ROWS)


@step
async def odd_queries_are_answered():
    async with Session() as conn:
        check(await conn.fetch("SELECT 1 WHERE $1", False), [])
        check(await conn.fetch(""), [])
        check(await conn.fetch("SELECT"), [()])
        check(await conn.execute("SELECT 1; SELECT 2 WHERE false; SELECT 'é'"), "SELECT 1")
        await fails(conn.fetch("SELECT 1; SELECT 2"), asyncpg.PostgresSyntaxError)
        check(await conn.fetchval("SELECT 5"), 5)


@step
async def a_row_of_100_mib():
    value = (bytes(range(251)) * (LARGE // 251 + 1))[:LARGE]
    async with Session() as conn:
        await make_table(conn, "v bytea")
        await conn.execute(f"ALTER TABLE {TABLE} ALTER v SET STORAGE EXTERNAL")
        await conn.execute(f"INSERT INTO {TABLE} VALUES ($1)", value)
        if await conn.fetchval(f"SELECT v FROM {TABLE}") != value:
            raise AssertionError("it came back as another")
        await make_table(conn, "v bytea")


if __name__ == "__main__":
    print(f"asyncpg {asyncpg.__version__}, {MODE}")
    asyncio.run(run_async())
