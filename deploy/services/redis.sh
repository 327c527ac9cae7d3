# The private Redis: append-only file, nothing evicted. Sourced by services.sh.
# shellcheck shell=bash

redis_url() { echo "redis://default:$(password)@127.0.0.1:$(port_of redis)/0"; }

redis_pid() {
    local pid
    read -r pid 2>/dev/null <"$redis_data/redis.pid" || return 1
    [[ $pid =~ ^[0-9]+$ ]] && process_has "$pid" "$redis_data/redis.conf" && echo "$pid"
}

redis_gone() { ! redis_pid >/dev/null; }

redis_answers() {
    [[ $(REDISCLI_AUTH=$(password) redis-cli -h 127.0.0.1 -p "$(port_of redis)" ping 2>/dev/null) == PONG ]]
}

start_redis() {
    if redis_pid >/dev/null; then
        say "Redis is up already"
    else
        settle_port redis
        launch_redis
    fi
    # It answers LOADING while it reads its file; a minute is a file of several gigabytes.
    until_true 60 redis_ready || redis_failed
    redis_pid >/dev/null || redis_failed
}

launch_redis() {
    configure_redis
    rm -f -- "$redis_data/redis.pid"
    say "starting Redis on 127.0.0.1:$(port_of redis)"
    run_as redis-server "$redis_data/redis.conf" </dev/null >&2 || redis_failed
    until_true 10 redis_began || redis_failed
}

# The launcher returns before the server has bound its port and written its pid.
redis_began() { redis_pid >/dev/null; }

redis_ready() { redis_gone || redis_answers; }

redis_failed() {
    tail -n 20 -- "$data/log/redis.log" >&2 || true
    die 1 "Redis did not start; the end of its log is above. If its port was taken in that moment, run this again"
}

configure_redis() {
    write_private "$redis_data/redis.conf" <<CONF
# Written at every start by deploy/services.sh.
bind 127.0.0.1
protected-mode yes
port $(port_of redis)
requirepass $(password)
$(if socket_fits redis.sock; then printf 'unixsocket "%s"\nunixsocketperm 700' "$data/run/redis.sock"; fi)
daemonize yes
set-proc-title no
pidfile "$redis_data/redis.pid"
logfile "$data/log/redis.log"
dir "$redis_data"
appendonly yes
appendfsync everysec
save ""
maxmemory-policy noeviction
CONF
}

stop_redis() {
    local pid
    pid=$(redis_pid) || return 0
    say "stopping Redis"
    kill -TERM "$pid" 2>/dev/null || true
    until_true 60 redis_gone || { say "Redis does not stop: killing it"; kill_redis; }
}

kill_redis() {
    local pid
    pid=$(redis_pid) || { say "Redis was not running"; return 0; }
    kill -KILL "$pid" 2>/dev/null || true
    until_true 10 redis_gone || die 1 "Redis process $pid does not end"
    say "killed Redis"
}

describe_redis() {
    say "Redis $(REDISCLI_AUTH=$(password) redis-cli -h 127.0.0.1 -p "$(port_of redis)" info server | sed -n 's/^redis_version:\([0-9.]*\).*/\1/p')" \
        "on 127.0.0.1:$(port_of redis): appendonly yes, appendfsync everysec, maxmemory-policy noeviction"
}

status_redis() {
    local pid
    if pid=$(redis_pid) && redis_answers; then
        echo "redis     up    127.0.0.1:$(port_of redis)  pid $pid  $redis_data"
    else
        echo "redis     down  $redis_data"
        return 1
    fi
}
