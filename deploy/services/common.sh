# Where the state of the servers lives, who owns it, on which ports they listen. Sourced by services.sh.
# shellcheck shell=bash
#
# DIR/data holds everything: the data of both servers, their ports, password, sockets and logs. It belongs to the user the
# servers run as: the caller, or `postgres` where the caller is root (Postgres refuses root, and a Redis that runs as root
# is a way to become root). Where that user cannot reach DIR, `data` is a link to a folder under /var/tmp.

say() { printf '%s\n' "services: $*" >&2; }

# die CODE MESSAGE: 1 = it failed, 2 = the caller or the machine must change something first.
die() {
    local code=$1
    shift
    say "$*"
    exit "$code"
}

as_root() { [[ $(id -u) -eq 0 ]]; }

# locate DIR: settles $dir, $data, $owner and what hangs on them, without writing anything.
locate() {
    dir=$(realpath -m -- "$1")
    # pg_ctl passes paths through a shell and both servers have quoting rules of their own.
    [[ $dir != *[\"\'\\\$\`,[:cntrl:]]* ]] || die 2 "the path $dir has a quote, comma, dollar or backslash in it: choose another with --dir"

    if [[ -d $dir/data ]]; then
        data=$(realpath -- "$dir/data")
        owner=$(stat -c %U -- "$data")
    elif as_root; then
        owner=postgres
        data=$dir/data
    else
        owner=$(id -un)
        data=$dir/data
    fi
    as_root || [[ $owner == "$(id -un)" ]] \
        || die 2 "the servers in $dir belong to user $owner: run this as $owner or root, or choose another --dir"
    place_within
}

# A root whose umask or home keeps `postgres` out of the checkout is common; that user can always reach /var/tmp.
choose_reachable_place() {
    local parent=$dir
    as_root || return 0
    run_as test -x "$parent" && return 0
    data=/var/tmp/fanfare-services-$(hash_of "$dir")
    place_within
    [[ ! -e $data && ! -L $data ]] || [[ ! -L $data && $(stat -c %U -- "$data") == "$owner" ]] \
        || die 2 "$data exists and is not ours: remove it, or choose a --dir that user $owner can reach"
    say "user $owner cannot reach $dir: the data goes to $data"
}

place_within() {
    pg_data=$data/postgres
    redis_data=$data/redis
    cluster=fanfare-$(hash_of "$data")
}

hash_of() { printf %s "$1" | sha256sum | cut -c1-12; }

made() { [[ -s $data/password && -s $data/postgres.port && -s $data/redis.port ]]; }

# Runs a command as the owner of the data, away from the caller's terminal signals and lock.
run_as() {
    if [[ $owner == "$(id -un)" ]]; then
        (cd / && exec setsid --wait "$@" 9>&-)
    else
        (cd / && exec setsid --wait runuser -u "$owner" -- "$@" 9>&-)
    fi
}

# write_private FILE: stdin becomes FILE at once or not at all, readable by the owner only.
write_private() {
    # shellcheck disable=SC2016 # expanded by the inner shell
    run_as bash -c 'umask 077; cat >"$1.new" && mv -f -- "$1.new" "$1"' - "$1"
}

# One command at a time in a folder. The lock is the folder itself, so nothing is left behind.
lock() {
    mkdir -p -- "$dir"
    exec 9<"$dir"
    flock -n 9 && return
    say "waiting for another command on $dir"
    flock -w 600 9 || die 1 "another command on $dir has held its lock for ten minutes"
}

make_state() {
    id -u "$owner" >/dev/null 2>&1 || die 2 "there is no user '$owner', as whom root starts the servers: run this as another user, or make that one"
    if [[ ! -d $data ]]; then
        rm -f -- "$dir/data" # a link whose target somebody deleted
        choose_reachable_place
        [[ -d $data ]] || install -d -m 700 -- "$data"
        ! as_root || chown -- "$owner" "$data"
        [[ $data == "$dir/data" ]] || ln -s -- "$data" "$dir/data"
    fi
    run_as mkdir -p -m 700 -- "$redis_data" "$data/run" "$data/log"
    # A password rather than trust: loopback is open to every user of the machine, and a superuser of Postgres or an
    # unguarded Redis can run commands and write files as the owner of the server.
    [[ -s $data/password ]] || od -An -v -tx1 -N24 /dev/urandom | tr -d ' \n' | write_private "$data/password"
}

wipe_state() {
    [[ -d $data ]] || return 0
    rm -rf -- "$data"
    rm -f -- "$dir/data"
    rmdir --ignore-fail-on-non-empty -- "$dir"
    say "wiped $dir"
}

password() { cat -- "$data/password"; }

port_taken() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

port_of() { cat -- "$data/$1.port" 2>/dev/null || true; }

# settle_port NAME: keeps the remembered port of a server that is not running, or finds a new one if somebody took it.
settle_port() {
    local port
    port=$(port_of "$1")
    if [[ -n $port ]]; then
        port_taken "$port" || return 0
        say "port $port of $1 is taken by somebody else: choosing another"
    fi
    # Below the range from which the kernel takes the ports of outgoing connections.
    for _ in {1..500}; do
        port=$((20000 + RANDOM % 12000))
        [[ $port != "$(port_of postgres)" && $port != "$(port_of redis)" ]] || continue
        port_taken "$port" || { write_private "$data/$1.port" <<<"$port"; return 0; }
    done
    die 1 "no free port between 20000 and 32000"
}

# Socket paths are limited to 107 bytes, also by what clients can address: longer ones are left out.
socket_fits() { [[ $(printf %s "$data/run/$1" | wc -c) -le 107 ]]; }

# process_has PID ARGUMENT: is PID a living process that was started with that argument? Guards against recycled ids.
process_has() {
    local argument arguments=()
    mapfile -d '' arguments 2>/dev/null <"/proc/$1/cmdline" || return 1
    for argument in "${arguments[@]}"; do
        [[ $argument != "$2" ]] || return 0
    done
    return 1
}

# until_true SECONDS COMMAND…: polls; false if it never came true.
until_true() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@"; do
        ((SECONDS < deadline)) || return 1
        sleep 0.05
    done
}

require_servers() {
    local missing=()
    find_postgres || missing+=(postgresql)
    command -v redis-server >/dev/null && command -v redis-cli >/dev/null || missing+=(redis-server)
    [[ ${#missing[@]} -gt 0 ]] || return 0
    "$here/packages.sh" "${missing[@]}" || exit $?
    find_postgres || die 2 "Postgres is installed, but no initdb was found in /usr/lib/postgresql/*/bin or PATH"
}
