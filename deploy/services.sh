#!/usr/bin/env bash
# A private Postgres and Redis for this checkout: see deploy/README.md, or `deploy/services.sh help`.
set -euo pipefail
umask 022 # folders on the way to the data must be passable for the servers' user

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
# shellcheck source=deploy/services/common.sh
source "$here/services/common.sh"
# shellcheck source=deploy/services/postgres.sh
source "$here/services/postgres.sh"
# shellcheck source=deploy/services/redis.sh
source "$here/services/redis.sh"

usage() {
    cat <<'USAGE'
deploy/services.sh COMMAND [--dir DIR] [--wipe]

  up              start what is not running; make it on first use; heal it after a crash
  env             print `export DATABASE_URL=… REDIS_URL=…` for eval
  status          say what runs; exits 1 unless both servers answer
  down            stop both; with --wipe also delete their data

  For fault tests, each on the servers of DIR alone:
  start-postgres  stop-postgres  kill-postgres     (kill: SIGKILL of the server and all its processes)
  start-redis     stop-redis     kill-redis

DIR defaults to $FANFARE_SERVICES_DIR, then to .fanfare/services in the checkout.
USAGE
}

up() {
    require_servers
    lock
    make_state
    start_postgres
    start_redis
    describe_postgres
    describe_redis
}

down() {
    [[ -d $dir ]] || { say "nothing in $dir"; return; }
    lock
    stop_redis
    stop_postgres
    [[ $wipe == no ]] || wipe_state
}

status() {
    local code=0
    status_postgres || code=1
    status_redis || code=1
    return "$code"
}

print_env() {
    made || die 1 "no servers in $dir yet: run '$0 up' first"
    status >/dev/null || say "note: not everything in $dir answers at the moment"
    printf 'export DATABASE_URL=%q REDIS_URL=%q FANFARE_PG_PID_FILE=%q FANFARE_REDIS_PID_FILE=%q FANFARE_SERVICES_DIR=%q\n' \
        "$(postgres_url)" "$(redis_url)" "$pg_data/postmaster.pid" "$redis_data/redis.pid" "$dir"
}

# start-postgres and its like: the servers must have been made by `up`.
one() {
    made || die 1 "no servers in $dir yet: run '$0 up' first"
    [[ $1 != start_* ]] || require_servers
    lock
    "$1"
}

command=${1:-help}
[[ $# -eq 0 ]] || shift
dir=${FANFARE_SERVICES_DIR:-$here/../.fanfare/services}
wipe=no
while [[ $# -gt 0 ]]; do
    case $1 in
        --dir) dir=${2:?--dir needs a folder}; shift 2 ;;
        --dir=*) dir=${1#--dir=}; shift ;;
        --wipe) wipe=yes; shift ;;
        *) usage >&2; die 2 "unknown argument '$1'" ;;
    esac
done
[[ $wipe == no || $command == down ]] || die 2 "--wipe belongs to 'down'"

case $command in
    help | --help | -h) usage; exit 0 ;;
    up | env | status | down | start-postgres | stop-postgres | kill-postgres | start-redis | stop-redis | kill-redis) ;;
    *) usage >&2; die 2 "unknown command '$command'" ;;
esac

locate "$dir"
case $command in
    up) up ;;
    env) print_env ;;
    status) status ;;
    down) down ;;
    *) one "${command//-/_}" ;;
esac
