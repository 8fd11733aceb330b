"""A program that defines its tables one after the other, as migrations and restored dumps do."""

import subprocess
import time

from measure import MeasureFailed

TABLES = 100


def statements():
    """For each table what a migration does, with its first rows; now and then a view, and a trigger with its function."""
    for number in range(TABLES):
        table = f"bench_migration_{number}"
        parent = f" REFERENCES bench_migration_{number - 1}" if number else ""
        yield f"CREATE TABLE {table} (id serial PRIMARY KEY, name text NOT NULL, price numeric CHECK (price > 0), parent int{parent})"
        yield f"CREATE INDEX ON {table} (name)"
        yield f"COMMENT ON TABLE {table} IS 'made by a migration'"
        yield f"INSERT INTO {table} (name, price) VALUES ('one', 1), ('two', 2)"
        yield f"SELECT count(*) FROM {table} WHERE price > 1"
        yield f"ALTER TABLE {table} ADD COLUMN note text"
        yield f"UPDATE {table} SET note = 'new' WHERE id = 1"
        if number % 10 == 0:
            yield f"CREATE VIEW {table}_names AS SELECT id, name FROM {table}"
            yield f"SELECT * FROM {table}_names"
            yield f"CREATE FUNCTION {table}_noted() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN new.note := 'x'; RETURN new; END $$"
            yield f"CREATE TRIGGER noted BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION {table}_noted()"
            yield f"INSERT INTO {table} (name) VALUES ('three')"
    yield "DROP TABLE " + ", ".join(f"bench_migration_{number}" for number in range(TABLES)) + " CASCADE"
    yield "DROP FUNCTION " + ", ".join(f"bench_migration_{number}_noted" for number in range(0, TABLES, 10))


def seconds(contender):
    """How long psql takes for all of them, one at a time."""
    text = ";\n".join(statements()) + ";\n"
    command = ["psql", "-qX", "-v", "ON_ERROR_STOP=1", contender.url]
    started = time.monotonic()
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        raise MeasureFailed(f"psql through {contender.name}: {done.stderr.strip()[-500:]}")
    return time.monotonic() - started
