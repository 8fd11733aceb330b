"""Alembic: migrations up and down, under an advisory lock, and each tenant's schema by its search path."""

import pathlib
import subprocess
import sys
import tempfile

import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from checks import URL, Checks

checks = Checks("alembic")
check = checks.check

engine = sa.create_engine(URL.replace("postgres://", "postgresql+psycopg://"), pool_size=5)
LOCK = 727274

# `lock` is what people write in env.py so that two deployments do not migrate at once.
ENVIRONMENT = """
import os

import sqlalchemy as sa
from alembic import context

engine = context.config.attributes.get("engine")
engine = engine or sa.create_engine(os.environ["DATABASE_URL"].replace("postgres://", "postgresql+psycopg://"))
lock = context.config.attributes.get("lock") or context.get_x_argument(as_dictionary=True).get("lock")
schema = context.config.attributes.get("schema")
with engine.connect() as connection:
    if schema:
        connection.execute(sa.text(f"SET search_path TO {schema}"))
        connection.commit()
        connection.dialect.default_schema_name = schema
    if lock == "session":
        connection.execute(sa.text("SELECT pg_advisory_lock(%d)"))
        connection.commit()
    try:
        context.configure(connection=connection, transaction_per_migration=True)
        with context.begin_transaction():
            if lock == "transaction":
                connection.execute(sa.text("SELECT pg_advisory_xact_lock(%d)"))
            context.run_migrations()
    finally:
        connection.rollback()
        if lock == "session":
            connection.execute(sa.text("SELECT pg_advisory_unlock(%d)"))
            connection.commit()
        if schema:
            connection.execute(sa.text("RESET search_path"))
            connection.commit()
""" % (LOCK, LOCK, LOCK)

MIGRATIONS = {
    "one": (None, "op.create_table('alembic_items', sa.Column('id', sa.Integer, primary_key=True), "
                  "sa.Column('name', sa.Text))", "op.drop_table('alembic_items')"),
    "two": ("one", "op.bulk_insert(sa.table('alembic_items', sa.column('name')), "
                   "[{'name': f'item {n}'} for n in range(50)])", "op.execute('DELETE FROM alembic_items')"),
    "three": ("two", "op.add_column('alembic_items', sa.Column('price', sa.Numeric(10, 2), server_default='0'))",
              "op.drop_column('alembic_items', 'price')"),
    # CREATE INDEX CONCURRENTLY runs in no transaction.
    "four": ("three", "exec(\"with op.get_context().autocommit_block():\\n"
                      "    op.create_index('alembic_names', 'alembic_items', ['name'], postgresql_concurrently=True)\")",
             "op.drop_index('alembic_names')"),
}

folder = tempfile.TemporaryDirectory()
root = pathlib.Path(folder.name)
(root / "versions").mkdir()
(root / "env.py").write_text(ENVIRONMENT)
(root / "alembic.ini").write_text(f"[alembic]\nscript_location = {root}\npath_separator = os\n")
for revision, (down, upgrade, downgrade) in MIGRATIONS.items():
    (root / "versions" / f"{revision}.py").write_text(
        f"from alembic import op\nimport sqlalchemy as sa\nrevision = {revision!r}\ndown_revision = {down!r}\n"
        f"def upgrade():\n    {upgrade}\ndef downgrade():\n    {downgrade}\n"
    )


def config(**attributes):
    made = Config()
    made.set_main_option("script_location", str(root))
    made.set_main_option("path_separator", "os")
    made.attributes.update({"engine": engine, **attributes})
    return made


def scalar(query):
    with engine.connect() as c:
        return c.scalar(sa.text(query))


@check
def migrations_go_up_and_down():
    command.upgrade(config(), "head")
    assert scalar("SELECT version_num FROM alembic_version") == "four"
    assert scalar("SELECT count(*) FROM alembic_items WHERE price = 0") == 50
    assert scalar("SELECT indisvalid FROM pg_index WHERE indexrelid = 'alembic_names'::regclass") is True
    command.downgrade(config(), "two")
    assert [column["name"] for column in sa.inspect(engine).get_columns("alembic_items")] == ["id", "name"]
    command.downgrade(config(), "base")
    assert "alembic_items" not in sa.inspect(engine).get_table_names()


@check
def two_deployments_at_once_migrate_once():
    alembic = [sys.executable, "-m", "alembic", "-c", str(root / "alembic.ini"), "-x"]
    # The first of all makes the table of versions, which no lock inside its transaction could guard.
    command.stamp(config(), "base")
    for lock in ("session", "transaction"):
        deployments = [
            subprocess.Popen([*alembic, f"lock={lock}", "upgrade", "one"], stderr=subprocess.PIPE, text=True)
            for _ in range(2)
        ]
        ended = [(process.communicate()[1], process.returncode) for process in deployments]
        if lock == "session":
            assert all(code == 0 for _, code in ended), ended
        else:
            # Who waited for the lock in its transaction has read the old version before: it fails, and changes nothing.
            assert any(code == 0 for _, code in ended), ended
        assert scalar("SELECT version_num FROM alembic_version") == "one"
        assert scalar(f"SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = {LOCK}") == 0
        command.downgrade(config(), "base")


@check
def a_migration_that_fails_changes_nothing():
    broken = root / "versions" / "broken.py"
    broken.write_text(
        "from alembic import op\nrevision = 'broken'\ndown_revision = 'four'\n"
        "def upgrade():\n    op.execute('DROP TABLE alembic_items')\n    op.execute('SELECT 1 / 0')\n"
        "def downgrade():\n    pass\n"
    )
    try:
        command.upgrade(config(), "four")
        try:
            command.upgrade(config(lock="session"), "broken")
            raise AssertionError("no error")
        except sa.exc.DataError as error:
            assert error.orig.sqlstate == "22012"
        assert scalar("SELECT count(*) FROM alembic_items") == 50
        assert scalar("SELECT version_num FROM alembic_version") == "four"
        assert scalar(f"SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = {LOCK}") == 0
    finally:
        broken.unlink()


@check
def models_and_database_are_compared():
    metadata = sa.MetaData()
    sa.Table(
        "alembic_items", metadata, sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.Text),
        sa.Column("colour", sa.Text),
    )
    with engine.connect() as c:
        wanted = {"include_name": lambda name, kind, _: kind != "table" or name == "alembic_items"}
        found = compare_metadata(MigrationContext.configure(c, opts=wanted), metadata)
    kinds = sorted(str(change[0]) for change in found)
    assert kinds == ["add_column", "remove_column", "remove_index"], found


@check
def each_tenant_has_its_own_versions():
    schemas = ["alembic_tenant_a", "alembic_tenant_b"]
    with engine.begin() as c:
        for schema in schemas:
            c.execute(sa.text(f"CREATE SCHEMA {schema}"))
    command.upgrade(config(schema=schemas[0]), "two")
    command.upgrade(config(schema=schemas[1]), "one")
    counts = [scalar(f"SELECT count(*) FROM {schema}.alembic_items") for schema in schemas]
    assert counts == [50, 0], counts
    versions = [scalar(f"SELECT version_num FROM {schema}.alembic_version") for schema in [*schemas, "public"]]
    assert versions == ["two", "one", "four"], versions
    assert scalar("SHOW search_path") == '"$user", public'
    with engine.begin() as c:
        for schema in schemas:
            c.execute(sa.text(f"DROP SCHEMA {schema} CASCADE"))


@check
def the_tables_are_dropped():
    command.downgrade(config(), "base")
    with engine.begin() as c:
        c.execute(sa.text("DROP TABLE alembic_version"))
    engine.dispose()
    folder.cleanup()


checks.run()
