#!/usr/bin/env bash
# pgbench through pgweir: 20 clients on 3 backends, in every query mode, with its own accounts for proof.
set -uo pipefail

passed=0 failed=0
ran() {
  local name=$1 output
  shift
  if output=$("$@" 2>&1) && ! grep -qE 'aborted|number of failed transactions: [1-9]' <<<"$output"; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    printf 'pgbench: FAILED %s\n%s\n' "$name" "$(tail -n 5 <<<"$output")"
  fi
}
value() { psql -XqAt -d "$DATABASE_URL" -c "$1"; }

# holds NAME CONDITION: the condition is true in the database.
holds() { ran "$1" test "$(value "SELECT $2")" = t; }

# pgbench prepares statements without giving way to the other clients of its thread, which may hold all backends in
# transactions: what others have prepared must not wait for one of them.
bench() { pgbench -n -c 20 -j 2 "$@" "$DATABASE_URL"; }

ran 'initialise with COPY' pgbench -i -q -s 2 "$DATABASE_URL"
holds 'all accounts are there' '(SELECT count(*) FROM pgbench_accounts) = 200000'

for mode in simple extended prepared; do
  ran "select only, $mode" bench -M "$mode" -S -t 100
  ran "TPC-B, $mode" bench -M "$mode" -t 25
  # Each connection of -C is a login and a logout.
  ran "a connection for each transaction, $mode" pgbench -n -c 5 -C -M "$mode" -S -t 10 "$DATABASE_URL"
done
holds 'every transaction is in the history' '(SELECT count(*) FROM pgbench_history) = 3 * 20 * 25'
holds 'balances agree' '(SELECT sum(abalance) FROM pgbench_accounts) = (SELECT sum(delta) FROM pgbench_history)
  AND (SELECT sum(tbalance) FROM pgbench_tellers) = (SELECT sum(delta) FROM pgbench_history)
  AND (SELECT sum(bbalance) FROM pgbench_branches) = (SELECT sum(delta) FROM pgbench_history)'

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# In a pipeline nothing waits for a reply before \endpipeline.
cat >"$work/pipeline.sql" <<'SQL'
\set id random(1, 200000)
\startpipeline
SELECT abalance FROM pgbench_accounts WHERE aid = :id;
BEGIN;
UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid = :id;
UPDATE pgbench_accounts SET abalance = abalance - 1 WHERE aid = :id;
COMMIT;
SELECT :id + 1;
\endpipeline
SQL
cat >"$work/rows.sql" <<'SQL'
SELECT aid, bid, abalance, filler FROM pgbench_accounts WHERE aid <= 1000;
SQL
ran 'pipelines, extended' bench -M extended -t 25 -f "$work/pipeline.sql"
ran 'pipelines, prepared' bench -M prepared -t 25 -f "$work/pipeline.sql"
ran 'results of 1000 rows' bench -M simple -t 10 -f "$work/rows.sql"
holds 'balances still agree' '(SELECT sum(abalance) FROM pgbench_accounts) = (SELECT sum(delta) FROM pgbench_history)'

value 'DROP TABLE pgbench_accounts, pgbench_branches, pgbench_history, pgbench_tellers'
[ "$failed" = 0 ] && echo "pgbench: $passed checks passed" || echo "pgbench: $passed checks passed, $failed failed"
[ "$failed" = 0 ]
