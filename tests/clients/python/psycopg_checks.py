"""psycopg 3, synchronous and asynchronous."""

import asyncio
import datetime
import decimal
import threading
import uuid

import psycopg
from cancelling import assert_that_a_cancel_stops_a_statement_and_spares_the_session
from checks import URL, Checks
from psycopg import errors, sql
from psycopg.rows import dict_row, scalar_row
from psycopg.types.json import Jsonb

checks = Checks("psycopg")
check = checks.check


def connect(**options):
    return psycopg.connect(URL, **{"autocommit": True, **options})


def value(connection, query, parameters=None, **options):
    return connection.execute(query, parameters, **options).fetchone()[0]


@check
def the_table_is_made():
    with connect() as c:
        c.execute("DROP TABLE IF EXISTS psycopg_items")
        c.execute("CREATE TABLE psycopg_items (id int PRIMARY KEY, name text NOT NULL, data jsonb)")


@check
def parameters_of_many_types_come_back_as_sent():
    sent = (
        1, 2**40, 1.5, decimal.Decimal("12.340"), True, None, "naïve 'quoted' \\ text", b"\x00\xff\x01",
        datetime.date(2024, 2, 29), datetime.datetime(2024, 2, 29, 12, 30, tzinfo=datetime.timezone.utc),
        datetime.timedelta(days=1, seconds=2), uuid.UUID(int=7), [1, 2, None],
    )
    with connect() as c:
        for binary in (False, True):
            row = c.execute("SELECT " + ", ".join(["%s"] * len(sent)), sent, binary=binary).fetchone()
            assert row == sent, row
        assert value(c, "SELECT %s::text[]", (["a", "b,c", None],)) == ["a", "b,c", None]
        assert value(c, "SELECT %s::jsonb", (Jsonb({"a": [1, None]}),)) == {"a": [1, None]}


@check
def every_prepare_threshold_gives_the_same_rows():
    for threshold in (0, 1, 5, None):
        with connect(prepare_threshold=threshold) as c:
            for n in range(20):
                assert value(c, "SELECT %s::int + 1", (n,)) == n + 1
                assert value(c, "SELECT %s::text || 'x'", (str(n),)) == f"{n}x"


@check
def a_statement_prepared_in_one_transaction_is_used_in_the_next():
    with connect(autocommit=False, prepare_threshold=0) as c:
        for n in range(10):
            assert value(c, "SELECT %s::int * 2", (n,), prepare=True) == 2 * n
            c.commit() if n % 2 else c.rollback()


@check
def many_sessions_share_few_backends_with_equal_statement_names():
    wrong = []

    def work(number):
        try:
            with connect(prepare_threshold=0) as c:
                for n in range(30):
                    # The driver names its statements by order, so one name means another text in each session.
                    if value(c, f"SELECT %s::int + {number}", (n,)) != n + number:
                        wrong.append((number, n))
        except Exception as error:
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong, wrong[:3]


@check
def more_statements_than_the_driver_keeps():
    with connect(prepare_threshold=0) as c:
        c.prepared_max = 5
        for n in range(40):
            assert value(c, f"SELECT %s::int + {n % 12}", (n,)) == n + n % 12


@check
def a_statement_follows_a_change_of_its_table():
    with connect(prepare_threshold=0) as c, connect() as other:
        other.execute("DROP TABLE IF EXISTS psycopg_shape")
        other.execute("CREATE TABLE psycopg_shape AS SELECT 1 AS a")
        assert value(c, "SELECT a FROM psycopg_shape WHERE a = %s", (1,)) == 1
        other.execute("ALTER TABLE psycopg_shape ADD b int")
        assert value(c, "SELECT a FROM psycopg_shape WHERE a = %s", (1,)) == 1
        other.execute("DROP TABLE psycopg_shape")


@check
def transactions_commit_and_roll_back():
    with connect(autocommit=False) as c:
        c.execute("INSERT INTO psycopg_items VALUES (1, 'kept')")
        c.commit()
        c.execute("INSERT INTO psycopg_items VALUES (2, 'lost')")
        c.rollback()
        assert c.execute("SELECT id FROM psycopg_items").fetchall() == [(1,)]


@check
def nested_transactions_are_savepoints():
    with connect() as c:
        with c.transaction():
            c.execute("INSERT INTO psycopg_items VALUES (10, 'outer')")
            try:
                with c.transaction():
                    c.execute("INSERT INTO psycopg_items VALUES (11, 'inner')")
                    c.execute("INSERT INTO psycopg_items VALUES (11, 'inner')")
            except errors.UniqueViolation:
                pass
            with c.transaction(force_rollback=True):
                c.execute("INSERT INTO psycopg_items VALUES (12, 'undone')")
        rows = c.execute("SELECT id FROM psycopg_items WHERE id >= 10 AND id < 20").fetchall()
        assert rows == [(10,)], rows


@check
def errors_carry_their_diagnostics_and_the_session_goes_on():
    with connect() as c:
        try:
            c.execute("INSERT INTO psycopg_items VALUES (%s, 'twice')", (1,))
            raise AssertionError("no error")
        except errors.UniqueViolation as error:
            assert error.diag.constraint_name == "psycopg_items_pkey"
            assert error.diag.table_name == "psycopg_items"
        try:
            c.execute("SELEC 1")
            raise AssertionError("no error")
        except errors.SyntaxError as error:
            assert error.diag.statement_position == "1"
        assert value(c, "SELECT 1") == 1


@check
def a_failed_transaction_refuses_until_rollback():
    with connect(autocommit=False) as c:
        for attempt in (errors.DivisionByZero, errors.InFailedSqlTransaction):
            try:
                c.execute("SELECT 1 / %s", (0,))
                raise AssertionError("no error")
            except attempt:
                assert c.info.transaction_status == psycopg.pq.TransactionStatus.INERROR
        c.rollback()
        assert value(c, "SELECT 1") == 1


@check
def isolation_level_and_read_only_are_obeyed():
    with connect(autocommit=False) as c:
        c.isolation_level = psycopg.IsolationLevel.SERIALIZABLE
        c.read_only = True
        assert value(c, "SHOW transaction_isolation") == "serializable"
        try:
            c.execute("DELETE FROM psycopg_items")
            raise AssertionError("no error")
        except errors.ReadOnlySqlTransaction:
            c.rollback()


@check
def executemany_with_and_without_returning():
    with connect() as c, c.cursor() as cursor:
        cursor.executemany("INSERT INTO psycopg_items VALUES (%s, %s)", [(n, f"n{n}") for n in range(100, 400)])
        assert cursor.rowcount == 300
        cursor.executemany(
            "UPDATE psycopg_items SET name = name || '!' WHERE id = %s RETURNING name", [(100,), (101,)], returning=True
        )
        names = [cursor.fetchone()[0]]
        while cursor.nextset():
            names.append(cursor.fetchone()[0])
        assert names == ["n100!", "n101!"], names


@check
def pipeline_mode_keeps_order():
    with connect() as c, c.pipeline():
        cursors = [c.execute("SELECT %s::int", (n,)) for n in range(200)]
        assert [cursor.fetchone()[0] for cursor in cursors] == list(range(200))


@check
def pipeline_mode_with_transactions_and_syncs():
    with connect() as c:
        with c.pipeline() as pipeline:
            with c.transaction():
                c.execute("INSERT INTO psycopg_items VALUES (500, 'piped')")
            pipeline.sync()
            with c.transaction():
                kept = c.execute("SELECT count(*) FROM psycopg_items WHERE id = 500")
            pipeline.sync()
            assert kept.fetchone() == (1,)
        assert value(c, "SELECT 1") == 1


@check
def an_error_in_a_pipeline_aborts_up_to_the_next_sync():
    with connect() as c:
        c.execute("DELETE FROM psycopg_items WHERE id IN (601, 602)")
        with c.pipeline() as pipeline:
            first = c.execute("SELECT 1")
            # The driver raises as soon as it reads the error, which may be before the sync.
            try:
                c.execute("INSERT INTO psycopg_items VALUES (601, 'undone')")
                c.execute("SELECT 1 / %s", (0,))
                c.execute("INSERT INTO psycopg_items VALUES (602, 'skipped')")
                pipeline.sync()
                raise AssertionError("no error")
            except errors.DivisionByZero:
                pipeline.sync()
            after = c.execute("SELECT 3")
            pipeline.sync()
            assert first.fetchone() == (1,) and after.fetchone() == (3,)
        assert value(c, "SELECT count(*) FROM psycopg_items WHERE id IN (601, 602)") == 0


@check
def server_side_cursors_read_in_pieces():
    with connect() as c, c.transaction():
        with c.cursor("big") as cursor:
            cursor.itersize = 1000
            cursor.execute("SELECT n FROM generate_series(1, 10000) n WHERE n > %s", (0,))
            assert sum(row[0] for row in cursor) == 50005000
        with c.cursor("moving", scrollable=True) as cursor:
            cursor.execute("SELECT generate_series(0, 99)")
            cursor.scroll(50)
            assert cursor.fetchone() == (50,)
            cursor.scroll(-10)
            assert cursor.fetchmany(2) == [(41,), (42,)]


@check
def results_can_be_streamed_row_by_row():
    with connect() as c, c.cursor(row_factory=scalar_row) as cursor:
        assert sum(cursor.stream("SELECT generate_series(1, %s)", (5000,))) == 12502500


@check
def copy_in_and_out():
    with connect() as c, c.cursor() as cursor:
        cursor.execute("CREATE TABLE IF NOT EXISTS psycopg_copied (id int, name text)")
        with cursor.copy("COPY psycopg_copied FROM STDIN") as copy:
            for n in range(20000):
                copy.write_row((n, f"tab\there {n}"))
        with cursor.copy("COPY (SELECT * FROM psycopg_copied ORDER BY id) TO STDOUT") as copy:
            copy.set_types(["int4", "text"])
            rows = list(copy.rows())
        assert len(rows) == 20000 and rows[-1] == (19999, "tab\there 19999")
        with cursor.copy("COPY psycopg_copied TO STDOUT (FORMAT binary)") as copy:
            assert sum(len(block) for block in copy) > 20000 * 20
        cursor.execute("DROP TABLE psycopg_copied")


@check
def copy_fails_from_either_side():
    with connect() as c, c.cursor() as cursor:
        try:
            with cursor.copy("COPY psycopg_items (id, name) FROM STDIN") as copy:
                copy.write_row((900, "never"))
                raise ZeroDivisionError
        except ZeroDivisionError:
            pass
        try:
            with cursor.copy("COPY psycopg_items (id, name) FROM STDIN") as copy:
                copy.write("not a number\tx\n")
            raise AssertionError("no error")
        except errors.InvalidTextRepresentation:
            pass
        assert value(c, "SELECT count(*) FROM psycopg_items WHERE id = 900") == 0


@check
def cancel_stops_a_statement_and_spares_the_session():
    with connect() as c:
        assert_that_a_cancel_stops_a_statement_and_spares_the_session(c)


@check
def notices_reach_their_handler():
    heard = []
    with connect() as c:
        c.add_notice_handler(lambda diagnostic: heard.append((diagnostic.severity, diagnostic.message_primary)))
        c.execute("DO $$ BEGIN RAISE NOTICE 'one'; RAISE WARNING 'two'; END $$")
    assert heard == [("NOTICE", "one"), ("WARNING", "two")], heard


@check
def large_values_go_both_ways():
    with connect() as c:
        text = "å" * 3_000_000
        assert value(c, "SELECT %s::text", (text,)) == text
        assert value(c, "SELECT length(%s::bytea)", (b"x" * 8_000_000,)) == 8_000_000


@check
def startup_parameters_are_the_sessions_own():
    with connect(options="-c TimeZone=Asia/Tokyo", application_name="one") as a, connect(application_name="two") as b:
        for _ in range(5):
            assert value(a, "SHOW TimeZone") == "Asia/Tokyo" and value(b, "SHOW TimeZone") != "Asia/Tokyo"
            assert value(a, "SHOW application_name") == "one" and value(b, "SHOW application_name") == "two"
        assert a.info.timezone.key == "Asia/Tokyo" and a.info.encoding == "utf-8"


@check
def server_side_composition_and_row_factories():
    with connect(row_factory=dict_row) as c:
        query = sql.SQL("SELECT {} FROM {} WHERE id = %s").format(sql.Identifier("name"), sql.Identifier("psycopg_items"))
        assert c.execute(query, (1,)).fetchone() == {"name": "kept"}


@check
def one_statement_that_yields_several_results():
    with connect() as c:
        cursor = c.execute("SELECT 1; SELECT 2; SELECT 3")
        assert [row for _ in range(3) for row in (cursor.fetchall(), cursor.nextset())[:1]] == [[(1,)], [(2,)], [(3,)]]


@check
async def asynchronous_sessions_outnumber_backends():
    async def work(number):
        async with await psycopg.AsyncConnection.connect(URL, prepare_threshold=1) as c:
            for n in range(10):
                async with c.transaction():
                    cursor = await c.execute("SELECT %s::int + %s::int", (number, n))
                    assert await cursor.fetchone() == (number + n,)

    await asyncio.gather(*(work(n) for n in range(15)))


@check
async def a_cancelled_task_cancels_its_statement():
    async with await psycopg.AsyncConnection.connect(URL, autocommit=True) as c:
        try:
            await asyncio.wait_for(c.execute("SELECT pg_sleep(30)"), 0.3)
            raise AssertionError("no timeout")
        except asyncio.TimeoutError:
            pass
        assert await (await c.execute("SELECT 5")).fetchone() == (5,)


@check
def the_table_is_dropped():
    with connect() as c:
        c.execute("DROP TABLE psycopg_items")


checks.run()
