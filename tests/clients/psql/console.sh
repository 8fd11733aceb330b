#!/usr/bin/env bash
# psql in pgweir's console: what an operator types.
set -uo pipefail

passed=0 failed=0

# expect NAME WANTED SQL: what psql prints, errors included, must match this pattern of the shell.
expect() {
  local got
  got=$(psql -XqAt -d "$DATABASE_URL" -c "$3" 2>&1)
  # shellcheck disable=SC2053
  if [[ $got == $2 ]]; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    printf 'console-psql: FAILED %s\n  wanted: %q\n  got:    %q\n' "$1" "$2" "$got"
  fi
}

expect 'the version' 'pgweir *' 'SHOW VERSION'
expect 'a value of the configuration' 'pool.size|3|20|t' "SHOW CONFIG WHERE key = 'pool.size';"
expect 'columns of choice, in order' $'pool.mode\npool.size' "SHOW CONFIG (key) WHERE key IN ('pool.size', 'pool.mode') ORDER BY key"
expect 'a mistake, with a mark under it' $'*expected the name of a report\nLINE 1: SHOW POOL\n             ^\nHINT:  Perhaps you meant POOLS.' 'SHOW POOL'
expect 'several commands' $'1\npgweir *' 'SELECT 1; SHOW VERSION'
expect 'help' '*SHOW N_PLUS_ONE*' 'SHOW HELP'
expect 'connection info' 'You are connected to database "pgweir" as user "shopkeeper"*' '\conninfo'

echo "console-psql: $passed checks passed$([ "$failed" = 0 ] || echo ", $failed failed")"
[ "$failed" = 0 ]
