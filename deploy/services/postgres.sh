# The private Postgres: one cluster, superuser and database `fanfare`. Sourced by services.sh.
# shellcheck shell=bash
#
# A crash leaves a pid file, perhaps processes whose parent is gone, and perhaps a recycled id in the pid file; `start_postgres`
# clears all three before it starts. The cluster's name in the process titles tells our processes from those of other clusters.

# The programs of the version that made the data, else the newest.
find_postgres() {
    local candidate version=''
    [[ ! -f $pg_data/PG_VERSION ]] || version=$(<"$pg_data/PG_VERSION")
    pg_bin=''
    while read -r candidate; do
        pg_bin=$candidate
    done < <(printf '%s\n' /usr/lib/postgresql/*/bin | sort -V | while read -r candidate; do
        [[ ! -x $candidate/initdb ]] || [[ -n $version && $candidate != */"$version"/bin ]] || echo "$candidate"
    done)
    [[ -n $pg_bin ]] || pg_bin=$(dirname -- "$(command -v initdb || true)")
    [[ -x $pg_bin/initdb && -x $pg_bin/pg_ctl && -x $pg_bin/psql ]] || return 1
    [[ -z $version || $("$pg_bin/postgres" --version) =~ \)\ $version[.[:alpha:]] ]] \
        || die 2 "the data in $dir are of Postgres $version, found was $pg_bin: install that version or 'down --wipe'"
}

postgres_url() { echo "postgres://fanfare:$(password)@127.0.0.1:$(port_of postgres)/fanfare"; }

postmaster_pid() {
    local pid
    read -r pid 2>/dev/null <"$pg_data/postmaster.pid" || return 1
    [[ $pid =~ ^[0-9]+$ ]] && process_has "$pid" "$pg_data" && echo "$pid"
}

# Every process of this cluster, also those that outlived their postmaster.
postgres_pids() {
    local process title
    postmaster_pid || true
    for process in /proc/[0-9]*; do
        IFS= read -r -d '' title 2>/dev/null <"$process/cmdline" || continue
        [[ $title != "postgres: $cluster:"* ]] || echo "${process#/proc/}"
    done
}

postgres_gone() { [[ -z $(postgres_pids) ]]; }

sql() { PGPASSWORD=$(password) "$pg_bin/psql" -XAtq -h 127.0.0.1 -p "$(port_of postgres)" -U fanfare -d postgres -v ON_ERROR_STOP=1 -c "$1"; }

start_postgres() {
    if postmaster_pid >/dev/null; then
        say "Postgres is up already"
        until_true 600 postgres_answers || die 1 "Postgres runs but does not answer: see $data/log/postgres.log"
        return
    fi
    make_cluster
    clear_crash
    for _ in 1 2 3; do
        settle_port postgres
        configure_postgres
        say "starting Postgres on 127.0.0.1:$(port_of postgres) (after a crash it replays its log first)"
        if run_as "$pg_bin/pg_ctl" start --silent --wait --timeout=600 -D "$pg_data" -l "$data/log/postgres.log" </dev/null >&2; then
            make_database
            return
        fi
        # Somebody may have taken the port since it was probed; anything else is not healed by another try.
        port_taken "$(port_of postgres)" || break
    done
    tail -n 20 -- "$data/log/postgres.log" >&2 || true
    die 1 "Postgres did not start; the end of its log is above"
}

# An interrupted initdb leaves nothing that looks like a cluster.
make_cluster() {
    local output
    [[ ! -f $pg_data/PG_VERSION ]] || return 0
    say "making a Postgres cluster in $pg_data"
    rm -rf -- "$pg_data" "$pg_data.new"
    output=$(run_as "$pg_bin/initdb" -D "$pg_data.new" -U fanfare --auth=scram-sha-256 --pwfile="$data/password" \
        --encoding=UTF8 --locale=C.UTF-8 </dev/null 2>&1) || die 1 "initdb failed: $output"
    run_as mv -- "$pg_data.new" "$pg_data"
}

clear_crash() {
    local pids
    mapfile -t pids < <(postgres_pids)
    if [[ ${#pids[@]} -gt 0 ]]; then
        say "ending ${#pids[@]} Postgres processes that outlived a crash"
        kill -KILL "${pids[@]}" 2>/dev/null || true
        until_true 10 postgres_gone || die 1 "Postgres processes ${pids[*]} do not end"
    fi
    # What they name is not ours, or not there. Postgres itself would refuse to start where the id has been recycled, or
    # belongs to a dead process that its parent has not collected (the first process of many containers collects nobody).
    rm -f -- "$pg_data/postmaster.pid" "$data/run/.s.PGSQL."*
}

configure_postgres() {
    write_private "$pg_data/postgresql.conf" <<CONF
# Written at every start by deploy/services.sh.
cluster_name = '$cluster'
listen_addresses = '127.0.0.1'
port = $(port_of postgres)
unix_socket_directories = '$(if socket_fits ".s.PGSQL.$(port_of postgres)"; then echo "\"$data/run\""; fi)'
max_connections = 200
password_encryption = scram-sha-256

# What is measured and tested here must hold where it counts: durability is never off.
fsync = on
synchronous_commit = on
full_page_writes = on

shared_buffers = $(shared_buffers_mb)MB
max_wal_size = 4GB
checkpoint_timeout = 15min
$(if small_shm; then echo 'dynamic_shared_memory_type = mmap'; fi)

shared_preload_libraries = ''
timezone = 'UTC'
log_timezone = 'UTC'
log_line_prefix = '%m [%p] %d '
log_checkpoints = on
CONF
    # Not every build has lz4.
    if run_as "$pg_bin/postgres" -D "$pg_data" -C wal_compression -c wal_compression=lz4 >/dev/null 2>&1; then
        { cat -- "$pg_data/postgresql.conf"; echo 'wal_compression = lz4'; } | write_private "$pg_data/postgresql.conf"
    fi
}

# A quarter of the memory (of the container's, if that is less), between 128 MB and 2 GB.
shared_buffers_mb() {
    local kilobytes limit megabytes
    kilobytes=$(awk '/^MemTotal:/ { print $2 }' /proc/meminfo)
    limit=$(cat /sys/fs/cgroup/memory.max 2>/dev/null || echo max)
    if [[ $limit =~ ^[0-9]+$ ]] && ((limit / 1024 < kilobytes)); then kilobytes=$((limit / 1024)); fi
    megabytes=$((kilobytes / 1024 / 4))
    ((megabytes <= 2048)) || megabytes=2048
    ((megabytes >= 128)) || megabytes=128
    echo "$megabytes"
}

# Containers often give /dev/shm 64 MB, which parallel queries outgrow, or nothing that the owner may write.
small_shm() {
    local kilobytes
    run_as test -w /dev/shm || return 0
    kilobytes=$(df -k --output=size /dev/shm 2>/dev/null | tail -n 1) || return 0
    ((kilobytes < 256 * 1024))
}

make_database() {
    [[ $(sql "SELECT count(*) FROM pg_database WHERE datname = 'fanfare'") == 1 ]] || sql 'CREATE DATABASE fanfare'
}

postgres_answers() { "$pg_bin/pg_isready" -q -h 127.0.0.1 -p "$(port_of postgres)" -d postgres; }

stop_postgres() {
    if postmaster_pid >/dev/null; then
        find_postgres || die 2 "the programs of Postgres are gone"
        say "stopping Postgres"
        run_as "$pg_bin/pg_ctl" stop --silent --wait --timeout=120 -m fast -D "$pg_data" >&2 \
            || run_as "$pg_bin/pg_ctl" stop --silent --wait --timeout=60 -m immediate -D "$pg_data" >&2 \
            || die 1 "Postgres does not stop: see $data/log/postgres.log"
    fi
    if ! postgres_gone; then clear_crash; fi
}

kill_postgres() {
    local pid pids
    # Stopped first, so that it starts no process between the listing and the kill.
    pid=$(postmaster_pid) && kill -STOP "$pid" 2>/dev/null
    mapfile -t pids < <(postgres_pids)
    [[ ${#pids[@]} -gt 0 ]] || { say "Postgres was not running"; return 0; }
    kill -KILL "${pids[@]}" 2>/dev/null || true
    until_true 10 postgres_gone || die 1 "Postgres processes ${pids[*]} do not end"
    say "killed ${#pids[@]} Postgres processes"
}

describe_postgres() {
    say "Postgres $(sql 'SHOW server_version') on 127.0.0.1:$(port_of postgres):" \
        "$(sql "SELECT string_agg(name || ' ' || current_setting(name), ', ' ORDER BY name) FROM pg_settings WHERE name IN
            ('shared_buffers', 'max_wal_size', 'checkpoint_timeout', 'fsync', 'synchronous_commit', 'full_page_writes', 'wal_compression', 'max_connections')")"
}

status_postgres() {
    local pid
    if pid=$(postmaster_pid) && find_postgres && postgres_answers; then
        echo "postgres  up    127.0.0.1:$(port_of postgres)  pid $pid  $pg_data"
    else
        echo "postgres  down  $pg_data"
        return 1
    fi
}
