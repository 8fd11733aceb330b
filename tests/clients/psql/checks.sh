#!/usr/bin/env bash
# psql through pgweir: what people and deployment scripts do with it.
set -uo pipefail

passed=0 failed=0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# psql that stops at the first error and prints bare values.
query() { psql -XqAt -v ON_ERROR_STOP=1 -d "$DATABASE_URL" "$@"; }

# expect NAME WANTED COMMAND...: the command's output, errors included, must be exactly WANTED.
expect() {
  local name=$1 wanted=$2 got
  shift 2
  got=$("$@" 2>&1)
  judge "$name" "$wanted" "$got"
}

judge() {
  if [ "$2" = "$3" ]; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    printf 'psql: FAILED %s\n  wanted: %q\n  got:    %q\n' "$1" "$2" "$3"
  fi
}

script() { query -f -; }

# The same, but it goes on after errors, of which it prints the SQLSTATE.
tolerant_script() { psql -XqAt -v VERBOSITY=sqlstate -d "$DATABASE_URL" -f - 2>&1 | sed 's/^psql:[^ ]* //'; }

query >/dev/null 2>&1 -c 'DROP TABLE IF EXISTS psql_items'

expect 'one query' 42 query -c 'SELECT 40 + 2'
expect 'several statements in one query message' $'1\n2\n3' query -c 'SELECT 1; SELECT 2; SELECT 3'
expect 'an empty query' '' query -c ';'
expect 'a table is made' '' query -c \
  'CREATE TABLE psql_items (id int PRIMARY KEY, name text NOT NULL, price numeric(10,2))'

expect '\copy from a file' 3 script <<SQL
\! printf '1,pear,1.50\n2,"a, quoted",2.25\n3,plum,0.10\n' > $work/in.csv
\copy psql_items FROM '$work/in.csv' CSV
SELECT count(*) FROM psql_items
SQL
expect '\copy to a file' '2,"a, quoted",2.25' script <<SQL
\copy (SELECT * FROM psql_items WHERE id = 2) TO '$work/out.csv' CSV
\! cat $work/out.csv
SQL
expect 'COPY FROM STDIN in a script' 'fig' script <<'SQL'
COPY psql_items (id, name) FROM STDIN;
4	fig
5	lime
\.
SELECT name FROM psql_items WHERE id = 4;
SQL
expect 'a bad COPY line is an error and the session goes on' $'ERROR:  22P02\nalive' tolerant_script <<'SQL'
COPY psql_items (id, name) FROM STDIN;
six	apple
\.
SELECT 'alive';
SQL

expect '\gdesc describes without running' 'a|integer
b|text' script <<'SQL'
SELECT 1 AS a, 'x'::text AS b \gdesc
SQL
expect '\gset keeps a value' '7' script <<'SQL'
SELECT 7 AS seven \gset
SELECT :seven;
SQL
expect '\gexec runs what was selected' $'10\n20' script <<'SQL'
SELECT 'SELECT ' || n * 10 FROM generate_series(1, 2) n \gexec
SQL
if [ "$(psql --version | sed 's/[^0-9]*\([0-9]*\).*/\1/')" -ge 16 ]; then
  # shellcheck disable=SC2016 # the dollar is PostgreSQL's
  expect '\bind sends parameters' 'pear' script <<'SQL'
SELECT name FROM psql_items WHERE id = $1 \bind 1 \g
SQL
fi

expect 'a transaction that commits' 2 script <<'SQL'
BEGIN;
UPDATE psql_items SET price = 9 WHERE id IN (1, 2);
COMMIT;
SELECT count(*) FROM psql_items WHERE price = 9;
SQL
expect 'a transaction that rolls back' 5 script <<'SQL'
BEGIN;
DELETE FROM psql_items;
ROLLBACK;
SELECT count(*) FROM psql_items;
SQL
expect 'savepoints' 'kept' script <<'SQL'
BEGIN;
UPDATE psql_items SET name = 'kept' WHERE id = 5;
SAVEPOINT s;
UPDATE psql_items SET name = 'lost' WHERE id = 5;
ROLLBACK TO s;
COMMIT;
SELECT name FROM psql_items WHERE id = 5;
SQL
expect 'ON_ERROR_ROLLBACK saves a transaction from its errors' $'ERROR:  23505\n6' tolerant_script <<'SQL'
\set ON_ERROR_ROLLBACK on
BEGIN;
INSERT INTO psql_items VALUES (6, 'quince');
INSERT INTO psql_items VALUES (6, 'quince');
COMMIT;
SELECT count(*) FROM psql_items;
SQL
expect 'statements in a failed transaction' $'ERROR:  22012\nERROR:  25P02\nalive' tolerant_script <<'SQL'
BEGIN;
SELECT 1 / 0;
SELECT 2;
ROLLBACK;
SELECT 'alive';
SQL
expect 'a syntax error with its position' 'ERROR:  syntax error at or near "SELEC"
LINE 1: SELEC 1
        ^' query -c 'SELEC 1'
expect 'a syntax error and the session goes on' $'ERROR:  42601\nalive' tolerant_script <<'SQL'
SELEC 1;
SELECT 'alive';
SQL
expect 'a notice' 'NOTICE:  hello from the server' query -c "DO \$\$ BEGIN RAISE NOTICE 'hello from the server'; END \$\$"
expect 'a big result in pieces (FETCH_COUNT)' '50000' bash -c \
  "psql -XqAt -v FETCH_COUNT=1000 -d '$DATABASE_URL' -c 'SELECT repeat(md5(n::text), 4) FROM generate_series(1, 50000) n' | wc -l"
expect 'a value of 20 MB' '20000001' bash -c \
  "psql -XqAt -d '$DATABASE_URL' -c \"SELECT repeat('x', 20000000)\" | wc -c"
expect 'startup parameters in options' 'Pacific/Auckland|psql-checks' env \
  PGOPTIONS='-c TimeZone=Pacific/Auckland' PGAPPNAME=psql-checks psql -XqAt -d "$DATABASE_URL" -c \
  "SELECT current_setting('TimeZone'), current_setting('application_name')"
expect 'the next session has its own settings' 'UTC' env PGTZ=UTC psql -XqAt -d "$DATABASE_URL" -c 'SHOW TimeZone'
expect 'client_encoding at startup' 'LATIN1|1' env PGCLIENTENCODING=LATIN1 psql -XqAt -d "$DATABASE_URL" -c \
  "SELECT current_setting('client_encoding'), length(E'\\u00e9')"

# psql sends a cancel request on SIGINT.
expect 'Ctrl-C cancels' $'Cancel request sent\nERROR:  57014' timeout --preserve-status -s INT 1 \
  psql -XqAt -v VERBOSITY=sqlstate -d "$DATABASE_URL" -c 'SELECT pg_sleep(30)'
wrong=$(sed -E 's#//([^:]+):[^@]*@#//\1:wrong@#' <<<"$DATABASE_URL")
expect 'a wrong password is refused' 'FATAL:  password authentication failed' bash -c \
  "psql -Xd '$wrong' -c 'SELECT 1' 2>&1 | grep -o 'FATAL:  password authentication failed' | head -n 1"

# Twelve sessions add to one row in transactions; none may be lost.
crowd() {
  query -c "INSERT INTO psql_items VALUES (100, 'counter', 0)"
  for _ in {1..12}; do
    script <<'SQL' &
BEGIN;
UPDATE psql_items SET price = price + 1 WHERE id = 100;
SELECT pg_sleep(0.01) \g /dev/null
COMMIT;
BEGIN;
UPDATE psql_items SET price = price + 1 WHERE id = 100;
COMMIT;
SQL
  done
  wait
  query -c 'SELECT price::int FROM psql_items WHERE id = 100'
}
expect 'twelve sessions at once' 24 crowd

# A dump sets many settings and an empty search_path for its session; both are gone with it.
query >/dev/null <<'SQL'
CREATE SCHEMA psql_dumped;
CREATE TABLE psql_dumped.parents (id serial PRIMARY KEY, name text, payload bytea);
CREATE TABLE psql_dumped.children (parent int REFERENCES psql_dumped.parents, at timestamptz DEFAULT '2024-02-29 12:30+00');
CREATE VIEW psql_dumped.joined AS SELECT name, at FROM psql_dumped.parents JOIN psql_dumped.children ON parent = id;
CREATE FUNCTION psql_dumped.twice(n int) RETURNS int LANGUAGE sql AS 'SELECT n * 2';
INSERT INTO psql_dumped.parents (name, payload) SELECT 'name ' || n, decode(md5(n::text), 'hex') FROM generate_series(1, 2000) n;
INSERT INTO psql_dumped.children SELECT n FROM generate_series(1, 2000, 2) n;
SQL
contents() {
  query -c "SELECT count(*), sum(hashtext(p::text)::bigint) FROM psql_dumped.parents p" -c \
    "SELECT count(*), max(at) AT TIME ZONE 'UTC', psql_dumped.twice(21), nextval('psql_dumped.parents_id_seq') > 2000 FROM psql_dumped.joined"
}
before=$(contents)
# Comments name the database and may name the moment.
dump() { pg_dump -d "$DATABASE_URL" -n psql_dumped "$@"; }
restored() {
  dump -f "$work/dump.sql" && query -q -c 'DROP SCHEMA psql_dumped CASCADE' >/dev/null 2>&1 &&
    psql -Xq -v ON_ERROR_STOP=1 -d "$DATABASE_URL" -f "$work/dump.sql" >/dev/null && contents
}
expect 'pg_dump and psql bring back what was there' "$before" restored
expect 'settings of a restore are gone' '"$user", public|t' query -c \
  "SELECT current_setting('search_path'), current_setting('statement_timeout') = '0'"
in_parallel() {
  dump -Fd -j 2 -f "$work/dump.d" && query -q -c 'DROP SCHEMA psql_dumped CASCADE' >/dev/null 2>&1 &&
    pg_restore -d "$DATABASE_URL" --exit-on-error -j 2 "$work/dump.d" && contents
}
expect 'pg_dump and pg_restore with two jobs' "$before" in_parallel
query -q -c 'DROP SCHEMA psql_dumped CASCADE' 2>/dev/null

query -c 'DROP TABLE psql_items'
[ "$failed" = 0 ] && echo "psql: $passed checks passed" || echo "psql: $passed checks passed, $failed failed"
[ "$failed" = 0 ]
