"""asyncpg: everything is prepared and binary, types are looked up in the catalog, timeouts cancel."""

import asyncio
import contextlib
import datetime
import decimal
import io
import uuid

import asyncpg
from checks import URL, Checks

checks = Checks("asyncpg")
check = checks.check


@contextlib.asynccontextmanager
async def connection(**options):
    c = await asyncpg.connect(URL, ssl=False, **options)
    try:
        yield c
    finally:
        await c.close()


async def raises(expected, awaitable):
    try:
        await awaitable
    except expected as error:
        return error
    raise AssertionError(f"no {expected.__name__}")


@check
async def the_table_is_made():
    async with connection() as c:
        await c.execute("""
            DROP TABLE IF EXISTS asyncpg_items;
            DROP TYPE IF EXISTS asyncpg_mood;
            DROP TYPE IF EXISTS asyncpg_pair;
            CREATE TYPE asyncpg_mood AS ENUM ('glad', 'sad');
            CREATE TYPE asyncpg_pair AS (n int, t text);
            CREATE TABLE asyncpg_items (id int PRIMARY KEY, name text, mood asyncpg_mood, pairs asyncpg_pair[]);
        """)


@check
async def parameters_of_many_types_come_back_as_sent():
    sent = {
        "int8": 2**40, "float8": 1.5, "numeric": decimal.Decimal("12.340"), "bool": True, "text": "naïve 'q'",
        "bytea": b"\x00\xff", "date": datetime.date(2024, 2, 29), "uuid": uuid.UUID(int=7), "int4[]": [1, 2, None],
        "timestamptz": datetime.datetime(2024, 2, 29, 12, tzinfo=datetime.timezone.utc), "json": '{"a": 1}',
        "int4range": asyncpg.Range(1, 5), "interval": datetime.timedelta(days=1, seconds=2), "varchar": None,
    }
    columns = ", ".join(f"${n}::{kind}" for n, kind in enumerate(sent, 1))
    async with connection() as c:
        assert list(await c.fetchrow(f"SELECT {columns}", *sent.values())) == list(sent.values())


@check
async def types_of_ones_own_are_looked_up():
    async with connection() as c:
        await c.execute("INSERT INTO asyncpg_items VALUES ($1, $2, $3, $4)", 1, "one", "glad", [(1, "a"), (2, None)])
        row = await c.fetchrow("SELECT mood, pairs FROM asyncpg_items WHERE id = $1", 1)
        assert row["mood"] == "glad" and [tuple(pair) for pair in row["pairs"]] == [(1, "a"), (2, None)]
        await c.set_type_codec("json", encoder=str, decoder=len, schema="pg_catalog")
        assert await c.fetchval("SELECT '[1,2]'::json") == 5


@check
async def cached_statements_work_across_transactions():
    async with connection() as c:
        for n in range(20):
            async with c.transaction():
                assert await c.fetchval("SELECT $1::int + 1", n) == n + 1


@check
async def the_statement_cache_evicts_and_can_be_off():
    for size in (0, 3, 100):
        async with connection(statement_cache_size=size) as c:
            for n in range(30):
                assert await c.fetchval(f"SELECT $1::int + {n % 10}", n) == n + n % 10


@check
async def a_prepared_statement_is_described_and_used_again():
    async with connection() as c:
        statement = await c.prepare("SELECT name, id FROM asyncpg_items WHERE id = $1")
        assert [a.name for a in statement.get_attributes()] == ["name", "id"]
        assert [p.name for p in statement.get_parameters()] == ["int4"]
        for _ in range(10):
            assert await statement.fetchval(1) == "one"
        named = await c.prepare("SELECT $1::int", name="asyncpg_named")
        assert await named.fetchval(3) == 3


@check
async def a_statement_follows_a_change_of_its_table():
    async with connection() as c, connection() as other:
        await other.execute("DROP TABLE IF EXISTS asyncpg_shape; CREATE TABLE asyncpg_shape AS SELECT 1 AS a")
        assert list(await c.fetchrow("SELECT * FROM asyncpg_shape")) == [1]
        await other.execute("ALTER TABLE asyncpg_shape ADD b int DEFAULT 2")
        # Outside a transaction the driver prepares again on "cached plan must not change result type".
        assert list(await c.fetchrow("SELECT * FROM asyncpg_shape")) == [1, 2]
        await other.execute("DROP TABLE asyncpg_shape")


@check
async def many_sessions_share_few_backends_with_equal_statement_names():
    async def work(number):
        async with connection() as c:
            for n in range(20):
                assert await c.fetchval(f"SELECT $1::int + {number}", n) == n + number
                async with c.transaction():
                    assert await c.fetchval("SELECT $1::text", f"{number}/{n}") == f"{number}/{n}"

    await asyncio.gather(*(work(n) for n in range(15)))


@check
async def transactions_and_savepoints():
    async with connection() as c:
        async with c.transaction():
            await c.execute("INSERT INTO asyncpg_items VALUES (10, 'outer')")
            with contextlib.suppress(asyncpg.UniqueViolationError):
                async with c.transaction():
                    await c.execute("INSERT INTO asyncpg_items VALUES (11, 'inner')")
                    await c.execute("INSERT INTO asyncpg_items VALUES (11, 'inner')")
        rolled = c.transaction(isolation="repeatable_read")
        await rolled.start()
        await c.execute("INSERT INTO asyncpg_items VALUES (12, 'lost')")
        await rolled.rollback()
        assert await c.fetch("SELECT id FROM asyncpg_items WHERE id >= 10") == [(10,)]


@check
async def errors_carry_their_details_and_the_session_goes_on():
    async with connection() as c:
        error = await raises(
            asyncpg.UniqueViolationError, c.execute("INSERT INTO asyncpg_items VALUES ($1, 'twice')", 1)
        )
        assert error.constraint_name == "asyncpg_items_pkey"
        error = await raises(asyncpg.PostgresSyntaxError, c.fetch("SELEC $1", 1))
        assert error.position == "1"
        await raises(asyncpg.DivisionByZeroError, c.fetchval("SELECT 1 / $1::int", 0))
        await raises(asyncpg.UndefinedTableError, c.execute("SELECT * FROM asyncpg_nothing"))
        await raises(asyncpg.DataError, c.fetchval("SELECT $1::int", "text"))
        assert await c.fetchval("SELECT 1") == 1


@check
async def a_failed_transaction_refuses_until_rollback():
    async with connection() as c:
        transaction = c.transaction()
        await transaction.start()
        await raises(asyncpg.DivisionByZeroError, c.fetchval("SELECT 1 / $1::int", 0))
        await raises(asyncpg.InFailedSQLTransactionError, c.fetchval("SELECT $1::int", 0))
        await transaction.rollback()
        assert await c.fetchval("SELECT 1") == 1


@check
async def executemany_is_all_or_nothing():
    async with connection() as c:
        rows = [(n, f"n{n}") for n in range(100, 1100)]
        await c.executemany("INSERT INTO asyncpg_items VALUES ($1, $2)", rows)
        assert await c.fetchval("SELECT count(*) FROM asyncpg_items WHERE id >= 100") == 1000
        again = [(2000, "new"), (100, "old")]
        await raises(
            asyncpg.UniqueViolationError, c.executemany("INSERT INTO asyncpg_items VALUES ($1, $2)", again)
        )
        assert await c.fetchval("SELECT count(*) FROM asyncpg_items WHERE id = 2000") == 0


@check
async def cursors_read_in_pieces_inside_a_transaction():
    async with connection() as c, c.transaction():
        total = 0
        async for row in c.cursor("SELECT generate_series(1, $1::int) AS n", 5000, prefetch=100):
            total += row["n"]
        assert total == 12502500
        cursor = await c.cursor("SELECT generate_series(1, 100)")
        await cursor.forward(50)
        assert await cursor.fetchrow() == (51,)
        assert len(await cursor.fetch(100)) == 49


@check
async def copy_in_and_out():
    async with connection() as c:
        await c.execute("DROP TABLE IF EXISTS asyncpg_copied; CREATE TABLE asyncpg_copied (id int, name text)")
        records = [(n, f"tab\there {n}") for n in range(20000)]
        assert await c.copy_records_to_table("asyncpg_copied", records=records) == "COPY 20000"
        out = io.BytesIO()
        await c.copy_from_query("SELECT * FROM asyncpg_copied WHERE id < $1", 100, output=out, format="csv")
        assert out.getvalue().count(b"\n") == 100
        await c.copy_to_table("asyncpg_copied", source=io.BytesIO(out.getvalue()), format="csv")
        assert await c.fetchval("SELECT count(*) FROM asyncpg_copied") == 20100
        await raises(
            asyncpg.InvalidTextRepresentationError,
            c.copy_to_table("asyncpg_copied", source=io.BytesIO(b"x,y\n"), format="csv"),
        )
        await c.execute("DROP TABLE asyncpg_copied")


@check
async def copy_whose_source_fails_stores_nothing():
    async def source():
        yield b"9000,never\n"
        raise ZeroDivisionError

    async with connection() as c:
        await raises(
            ZeroDivisionError,
            c.copy_to_table("asyncpg_items", source=source(), columns=["id", "name"], format="csv"),
        )
        assert await c.fetchval("SELECT count(*) FROM asyncpg_items WHERE id = 9000") == 0


@check
async def a_timeout_cancels_and_spares_the_session():
    async with connection() as c:
        for _ in range(3):
            await raises(asyncio.TimeoutError, c.fetchval("SELECT pg_sleep(30)", timeout=0.2))
            assert await c.fetchval("SELECT $1::int", 1) == 1


@check
async def a_cancelled_task_cancels_inside_a_transaction():
    async with connection() as c:
        transaction = c.transaction()
        await transaction.start()
        task = asyncio.ensure_future(c.execute("SELECT pg_sleep(30)"))
        await asyncio.sleep(0.2)
        task.cancel()
        await raises(asyncio.CancelledError, task)
        await raises(asyncpg.InFailedSQLTransactionError, c.fetchval("SELECT 1"))
        await transaction.rollback()
        assert await c.fetchval("SELECT 1") == 1


@check
async def notices_reach_their_listener():
    heard = []
    async with connection() as c:
        c.add_log_listener(lambda _, message: heard.append((message.severity, message.message)))
        await c.execute("DO $$ BEGIN RAISE NOTICE 'one'; RAISE WARNING 'two'; END $$")
        await asyncio.sleep(0)
    assert heard == [("NOTICE", "one"), ("WARNING", "two")], heard


@check
async def big_results_and_values():
    async with connection() as c:
        rows = await c.fetch("SELECT n, repeat('x', 100) FROM generate_series(1, $1::int) n", 50000)
        assert len(rows) == 50000 and rows[-1][0] == 50000
        value = b"y" * 8_000_000
        assert await c.fetchval("SELECT $1::bytea", value) == value


@check
async def startup_parameters_are_the_sessions_own():
    async with connection(server_settings={"TimeZone": "Asia/Tokyo"}) as a, connection() as b:
        for _ in range(5):
            assert await a.fetchval("SHOW TimeZone") == "Asia/Tokyo"
            assert await b.fetchval("SHOW TimeZone") != "Asia/Tokyo"
        assert a.get_settings().TimeZone == "Asia/Tokyo"
        assert a.get_server_pid() != b.get_server_pid()


@check
async def the_drivers_own_pool_works_on_top():
    async with asyncpg.create_pool(URL, ssl=False, min_size=2, max_size=8) as pool:
        async def work(n):
            async with pool.acquire() as c, c.transaction():
                return await c.fetchval("SELECT $1::int * 2", n)

        assert await asyncio.gather(*(work(n) for n in range(100))) == [2 * n for n in range(100)]


@check
async def the_table_is_dropped():
    async with connection() as c:
        await c.execute("DROP TABLE asyncpg_items; DROP TYPE asyncpg_mood; DROP TYPE asyncpg_pair")


checks.run()
