"""pgweir's console through psycopg, asyncpg and SQLAlchemy, with what they say at the start on their own."""

import contextlib
import datetime
import decimal

import asyncpg
import psycopg
import sqlalchemy
from checks import URL, Checks
from psycopg.rows import dict_row

checks = Checks("console-python")
check = checks.check

@contextlib.asynccontextmanager
async def asynchronous():
    c = await asyncpg.connect(URL, ssl=False)
    try:
        yield c
    finally:
        await c.close()


@check
def psycopg_reads_values_by_their_types():
    with psycopg.connect(URL, row_factory=dict_row) as c:
        for binary in (False, True):
            row = c.execute("SHOW CLIENTS WHERE user = %s", ("shopkeeper",), binary=binary).fetchone()
            assert isinstance(row["pid"], int) and isinstance(row["connected"], datetime.datetime), row
            assert row["connected"].tzinfo is not None
            row = c.execute("SHOW LIMITS (met) LIMIT 1", binary=binary).fetchone()
            assert row == {"met": 0}


@check
def psycopg_works_in_transactions_and_prepares():
    with psycopg.connect(URL, prepare_threshold=1) as c:
        for _ in range(3):
            with c.transaction():
                key = c.execute("SHOW CONFIG (value) WHERE key = %s", ("pool.size",)).fetchone()
                assert key == ("3",)
        with contextlib.suppress(psycopg.errors.SyntaxError), c.transaction():
            c.execute("SHOW NONSENSE")
            raise AssertionError("no error")
        assert c.execute("SELECT 1").fetchone() == (1,)


@check
def psycopg_streams_with_a_pipeline():
    with psycopg.connect(URL, autocommit=True) as c, c.pipeline():
        cursors = [c.execute("SHOW VERSION") for _ in range(5)]
        assert len({cursor.fetchone() for cursor in cursors}) == 1


@check
def an_error_points_at_its_place():
    with psycopg.connect(URL, autocommit=True) as c:
        try:
            c.execute("SHOW POOLS WHERE siez > 1")
            raise AssertionError("no error")
        except psycopg.errors.UndefinedColumn as error:
            assert error.diag.statement_position == "18" and "size" in error.diag.message_hint


@check
async def asyncpg_reads_values_in_binary():
    async with asynchronous() as c:
        row = await c.fetchrow("SHOW CLIENTS WHERE user = $1", "shopkeeper")
        assert isinstance(row["pid"], int) and row["connected"].tzinfo is not None, row
        assert await c.fetchval("SHOW CONFIG (live) WHERE key = $1", "pool.size") is True
        assert isinstance(await c.fetchval("SHOW SUMMARY (total_ms)"), float)
        assert await c.fetchval("SELECT 1") == 1


@check
async def asyncpg_keeps_a_pool_of_consoles():
    async with asyncpg.create_pool(URL, ssl=False, min_size=1, max_size=2) as pool:
        for _ in range(4):
            async with pool.acquire() as c, c.transaction():
                assert (await c.fetchval("SHOW VERSION")).startswith("pgweir ")


@check
async def asyncpg_fetches_in_portions():
    async with asynchronous() as c, c.transaction():
        keys = [row["key"] async for row in c.cursor("SHOW CONFIG", prefetch=7)]
        assert len(keys) > 50 and "pool.size" in keys


@check
def sqlalchemy_connects_and_reads():
    engine = sqlalchemy.create_engine(URL.replace("postgres://", "postgresql+psycopg://"))
    with engine.connect() as c:
        rows = c.execute(sqlalchemy.text("SHOW CONFIG WHERE key LIKE :key ORDER BY key"), {"key": "pool.s%"}).mappings()
        keys = [row["key"] for row in rows]
        assert "pool.size" in keys and keys == sorted(keys) and all(key.startswith("pool.s") for key in keys)
    engine.dispose()


@check
def numbers_of_any_type_are_bound():
    with psycopg.connect(URL, autocommit=True) as c:
        for number in (1, 2**40, 0.5, decimal.Decimal("0.5")):
            assert c.execute("SHOW POOLS (size) WHERE size < %s LIMIT %s", (number, 5)).fetchall() is not None


checks.run()
