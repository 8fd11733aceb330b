"""SQLAlchemy's ORM and Core on psycopg, and on asyncpg where that differs."""

import asyncio
import datetime
import threading

import sqlalchemy as sa
from checks import URL, Checks
from sqlalchemy import exc
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, insert
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship, selectinload

checks = Checks("sqlalchemy")
check = checks.check


def url(driver):
    return URL.replace("postgres://", f"postgresql+{driver}://")


engine = sa.create_engine(url("psycopg"), pool_size=5, pool_pre_ping=True)


class Base(DeclarativeBase):
    pass


class Customer(Base):
    __tablename__ = "sqlalchemy_customers"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    joined: Mapped[datetime.datetime] = mapped_column(sa.DateTime(timezone=True), server_default=sa.func.now())
    tags: Mapped[list[str]] = mapped_column(ARRAY(sa.Text), default=list)
    extra: Mapped[dict] = mapped_column(JSONB, default=dict)
    version: Mapped[int] = mapped_column(default=0)
    orders: Mapped[list["Order"]] = relationship(back_populates="customer", cascade="all, delete-orphan")
    __mapper_args__ = {"version_id_col": version}


class Order(Base):
    __tablename__ = "sqlalchemy_orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    customer_id: Mapped[int] = mapped_column(sa.ForeignKey(Customer.id))
    total: Mapped[float] = mapped_column(sa.Numeric(10, 2))
    customer: Mapped[Customer] = relationship(back_populates="orders")


@check
def tables_are_reflected_made_and_dropped():
    Base.metadata.drop_all(engine)
    Base.metadata.create_all(engine)
    inspector = sa.inspect(engine)
    assert inspector.get_pk_constraint("sqlalchemy_orders")["constrained_columns"] == ["id"]
    assert [key["referred_table"] for key in inspector.get_foreign_keys("sqlalchemy_orders")] == ["sqlalchemy_customers"]


@check
def a_unit_of_work_is_one_transaction():
    with Session(engine) as session, session.begin():
        for n in range(20):
            orders = [Order(total=n + k) for k in range(3)]
            session.add(Customer(name=f"c{n}", tags=["a", "b,c"], extra={"n": n}, orders=orders))
    with Session(engine) as session:
        customers = session.scalars(sa.select(Customer).options(selectinload(Customer.orders))).all()
        assert len(customers) == 20 and all(len(customer.orders) == 3 for customer in customers)
        assert customers[0].tags == ["a", "b,c"] and customers[0].joined.tzinfo


@check
def rollback_and_savepoints():
    with Session(engine) as session:
        session.add(Customer(name="lost"))
        session.flush()
        session.rollback()
        session.add(Customer(name="kept"))
        session.flush()
        try:
            with session.begin_nested():
                session.add(Customer(name="kept"))
                session.flush()
            raise AssertionError("no error")
        except exc.IntegrityError as error:
            assert error.orig.sqlstate == "23505"
        session.commit()
        names = session.scalars(sa.select(Customer.name).where(Customer.name.in_(["lost", "kept"]))).all()
        assert names == ["kept"], names


@check
def a_stale_version_is_noticed():
    with Session(engine) as one, Session(engine) as two:
        customer = sa.select(Customer).where(Customer.name == "c1")
        mine, theirs = one.scalars(customer).one(), two.scalars(customer).one()
        mine.extra = {"by": "one"}
        one.commit()
        theirs.extra = {"by": "two"}
        try:
            two.commit()
            raise AssertionError("no error")
        except sa.orm.exc.StaleDataError:
            two.rollback()


@check
def insert_many_returning_and_upsert():
    with engine.begin() as c:
        made = c.execute(sa.insert(Customer).returning(Customer.id), [{"name": f"bulk{n}"} for n in range(1500)])
        assert len(made.all()) == 1500
        upsert = insert(Customer).values(name="bulk0", tags=["new"])
        upsert = upsert.on_conflict_do_update(index_elements=["name"], set_={"tags": upsert.excluded.tags})
        c.execute(upsert)
        assert c.scalar(sa.select(Customer.tags).where(Customer.name == "bulk0")) == ["new"]


@check
def rows_are_locked_in_a_transaction():
    with Session(engine) as one, Session(engine) as two:
        locked = sa.select(Customer).where(Customer.name == "c2")
        one.scalars(locked.with_for_update()).one()
        assert two.scalars(locked.with_for_update(skip_locked=True)).first() is None
        one.rollback()
        assert two.scalars(locked.with_for_update(skip_locked=True)).first() is not None


@check
def errors_leave_the_connection_usable():
    with engine.connect() as c:
        try:
            c.execute(sa.text("SELEC 1"))
            raise AssertionError("no error")
        except exc.ProgrammingError as error:
            assert error.orig.sqlstate == "42601"
        c.rollback()
        assert c.scalar(sa.text("SELECT 1")) == 1


@check
def server_side_cursors_stream():
    with engine.connect().execution_options(stream_results=True, max_row_buffer=500) as c:
        rows = c.execute(sa.text("SELECT generate_series(1, :n)"), {"n": 20000})
        assert sum(row[0] for row in rows) == 200010000


@check
def isolation_levels():
    with engine.connect().execution_options(isolation_level="SERIALIZABLE") as c:
        assert c.scalar(sa.text("SHOW transaction_isolation")) == "serializable"
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as c:
        c.execute(sa.text("INSERT INTO sqlalchemy_customers (name, tags, extra, version) VALUES ('auto', '{}', '{}', 1)"))
    with engine.connect() as c:
        assert c.scalar(sa.select(sa.func.count()).where(Customer.name == "auto")) == 1


@check
def threads_outnumber_backends():
    crowd = sa.create_engine(url("psycopg"), pool_size=12, pool_pre_ping=True, connect_args={"prepare_threshold": 1})
    wrong = []

    def work(number):
        try:
            for n in range(15):
                with Session(crowd) as session, session.begin():
                    if session.scalar(sa.select(sa.literal(number) + sa.literal(n))) != number + n:
                        wrong.append((number, n))
        except Exception as error:
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    crowd.dispose()
    assert not wrong, wrong[:3]


async def with_asyncpg(work):
    other = create_async_engine(url("asyncpg"), pool_size=10, pool_pre_ping=True)
    try:
        await work(async_sessionmaker(other, expire_on_commit=False), other)
    finally:
        await other.dispose()


@check
async def asyncpg_unit_of_work():
    async def work(sessions, _):
        async with sessions() as session, session.begin():
            session.add(Customer(name="async", orders=[Order(total=1), Order(total=2)]))
        async with sessions() as session:
            query = sa.select(Customer).where(Customer.name == "async").options(selectinload(Customer.orders))
            customer = (await session.scalars(query)).one()
            assert [float(order.total) for order in customer.orders] == [1, 2]
            await session.delete(customer)
            await session.commit()

    await with_asyncpg(work)


@check
async def asyncpg_errors_and_savepoints():
    async def work(sessions, _):
        async with sessions() as session:
            session.add(Customer(name="async kept"))
            await session.flush()
            try:
                async with session.begin_nested():
                    session.add(Customer(name="async kept"))
                raise AssertionError("no error")
            except exc.IntegrityError:
                pass
            await session.commit()
            assert await session.scalar(sa.select(sa.func.count()).where(Customer.name == "async kept")) == 1

    await with_asyncpg(work)


@check
async def asyncpg_sessions_outnumber_backends():
    async def work(sessions, _):
        async def one(number):
            async with sessions() as session:
                return await session.scalar(sa.select(sa.literal(number) * 2))

        assert await asyncio.gather(*(one(n) for n in range(60))) == [2 * n for n in range(60)]

    await with_asyncpg(work)


@check
async def asyncpg_streams():
    async def work(_, other):
        async with other.connect() as c:
            rows = await c.stream(sa.text("SELECT generate_series(1, 5000)"))
            assert sum([row[0] async for row in rows]) == 12502500

    await with_asyncpg(work)


@check
def what_a_pool_resets_is_reset():
    # As the manual shows: a session is made as the application wants it, and made new when it is given back.
    crowd = sa.create_engine(url("psycopg"), pool_size=2, max_overflow=0, pool_reset_on_return=None)

    @sa.event.listens_for(crowd, "connect")
    def prepare(connection, _):
        connection.autocommit = True
        connection.execute("SET statement_timeout = '9min'")
        connection.autocommit = False

    @sa.event.listens_for(crowd, "reset")
    def reset(connection, _, state):
        if not state.terminate_only:
            connection.rollback()
            connection.autocommit = True
            connection.execute("DISCARD ALL")
            connection.execute("SET statement_timeout = '9min'")
            connection.autocommit = False

    for _ in range(3):
        with crowd.connect() as one, crowd.connect() as two:
            assert one.scalar(sa.text("SHOW statement_timeout")) == "9min"
            one.execute(sa.text("SET search_path = pg_catalog"))
            one.execute(sa.text("SET app.user_id = '7'"))
            one.execute(sa.text("CREATE TEMP TABLE sqlalchemy_temporary (n int)"))
            one.scalar(sa.text("SELECT pg_advisory_lock(727273)"))
            one.commit()
            assert two.scalar(sa.text("SHOW search_path")) == '"$user", public'
            assert not two.scalar(sa.text("SELECT nullif(current_setting('app.user_id', true), '')"))
            assert not two.scalar(sa.text("SELECT pg_try_advisory_xact_lock(727273)"))
            assert one.scalar(sa.text("SHOW app.user_id")) == "7"
        with crowd.connect() as c:
            assert c.scalar(sa.text("SELECT to_regclass('sqlalchemy_temporary') IS NULL"))
            assert c.scalar(sa.text("SELECT pg_try_advisory_xact_lock(727273)"))
            assert c.scalar(sa.text("SHOW search_path")) == '"$user", public'
    crowd.dispose()


@check
def a_setting_for_each_request():
    # Row-level security by a setting of the transaction, as multi-tenant applications do it.
    with engine.begin() as c:
        c.execute(sa.text("CREATE TABLE sqlalchemy_tenants (tenant int, t text)"))
        c.execute(sa.text("INSERT INTO sqlalchemy_tenants VALUES (1, 'of one'), (2, 'of two')"))
        c.execute(sa.text("ALTER TABLE sqlalchemy_tenants ENABLE ROW LEVEL SECURITY"))
        c.execute(sa.text("ALTER TABLE sqlalchemy_tenants FORCE ROW LEVEL SECURITY"))
        policy = "CREATE POLICY own ON sqlalchemy_tenants USING (tenant = nullif(current_setting('app.tenant', true), '')::int)"
        c.execute(sa.text(policy))
    for _ in range(4):
        for tenant, name in ((1, "of one"), (2, "of two")):
            with Session(engine) as session, session.begin():
                session.execute(sa.text("SELECT set_config('app.tenant', :t, true)"), {"t": str(tenant)})
                assert session.scalars(sa.text("SELECT t FROM sqlalchemy_tenants")).all() == [name]
        with engine.connect() as c:
            assert c.scalar(sa.text("SELECT count(*) FROM sqlalchemy_tenants")) == 0
    with engine.begin() as c:
        c.execute(sa.text("DROP TABLE sqlalchemy_tenants"))


@check
def tables_are_dropped():
    Base.metadata.drop_all(engine)
    engine.dispose()


checks.run()
