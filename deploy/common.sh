# Steps, tools and private servers for the scripts behind `make` and .ci/run. Sourced, after `set -euo pipefail`.
# A script that uses `summary` sets $title.
# shellcheck shell=bash

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
cd "$root" || exit

# Queries are checked against .sqlx, never against whatever DATABASE_URL names at the moment.
export SQLX_OFFLINE=true
# Tools that a target installs for itself live beside the build and go with it.
tools=${CARGO_TARGET_DIR:-$root/target}/tools
export PATH="$PATH:${CARGO_HOME:-$HOME/.cargo}/bin:$tools/bin"

current_step=''
steps=0

# step NAME COMMAND…: says what runs and how long it took.
step() {
    local name=$1 began=$SECONDS
    shift
    current_step=$name
    printf '\n==> %s\n' "$name"
    "$@"
    steps=$((steps + 1))
    printf '==> %s: done in %s\n' "$name" "$(took $((SECONDS - began)))"
    current_step=''
}

took() { printf '%d:%02d min' $(($1 / 60)) $(($1 % 60)); }

# summary CODE: the closing line; for an EXIT trap.
summary() {
    if [[ $1 -eq 0 ]]; then
        printf '\n==> %s: all %d steps passed in %s\n' "${title:?}" "$steps" "$(took $SECONDS)"
    else
        printf '\n==> %s: FAILED in step "%s" after %s\n' "${title:?}" "${current_step:-between steps}" "$(took $SECONDS)" >&2
    fi
}

need_build_tools() {
    if ! command -v cargo >/dev/null; then
        echo "Rust is missing here. Install it from https://rustup.rs (or your distribution, 1.95 or later) and run this again." >&2
        exit 2
    fi
    command -v cc >/dev/null || "$root/deploy/packages.sh" gcc libc6-dev
}

need_component() { # NAME as rustup calls it, COMMAND that proves it
    local name=$1
    shift
    "$@" >/dev/null 2>&1 || rustup component add "$name" || { echo "$name is missing: run 'rustup component add $name'" >&2; exit 2; }
}

# need_cargo_tool COMMAND CRATE [OPTION…]: installs a cargo sub-command under target/tools if it is nowhere yet.
need_cargo_tool() {
    local command=$1 crate=$2
    shift 2
    command -v "$command" >/dev/null || cargo install "$crate" --locked --root "$tools" "$@"
}

# need_fanfare: sets $fanfare. `make test` names the program that it has built; by itself a script builds its own.
need_fanfare() {
    fanfare=${FANFARE_PROGRAM:-}
    [[ -z $fanfare ]] || return 0
    cargo build -q -p fanfare
    fanfare=${CARGO_TARGET_DIR:-$root/target}/debug/fanfare
}

# awaited FILE PATTERN: waits until a line of the file has it, and prints what the group is.
awaited() {
    local end=$((SECONDS + 60)) found
    while ((SECONDS < end)); do
        found=$(sed -nE "s#$2#\1#p" "$1" | head -1)
        [[ -z $found ]] || { echo "$found"; return; }
        sleep 0.2
    done
    echo "$1 does not say within a minute where it listens" >&2
    return 1
}

# sandbox_up LOG: a sandbox on a free port; sets $sandbox, its address, and $sandbox_PID.
sandbox_up() {
    : >"$1"
    "$fanfare" --json sandbox >"$1" 2>&1 7>&- 8>&- &
    sandbox_PID=$!
    sandbox=$(awaited "$1" '.*"baseUrl": "([^"]+)".*') || { cat "$1" >&2; return 1; }
}

# servers_up NAME: fresh private servers in .fanfare/NAME, for one run at a time.
servers_up() {
    mkdir -p "$root/.fanfare"
    exec 8>"$root/.fanfare/$1.lock"
    flock -n 8 || { echo "another run uses .fanfare/$1 in this checkout: wait for it, or stop it" >&2; exit 1; }
    servers=$root/.fanfare/$1
    local exports
    "$root/deploy/services.sh" down --wipe --dir "$servers" 8>&-
    "$root/deploy/services.sh" up --dir "$servers" 8>&-
    exports=$("$root/deploy/services.sh" env --dir "$servers" 8>&-)
    eval "$exports"
}

# servers_down CODE: the data of a failed run stay for whoever looks into it, until the next run.
servers_down() {
    [[ -n ${servers:-} ]] || return 0
    if [[ $1 -eq 0 ]]; then
        "$root/deploy/services.sh" down --wipe --dir "$servers" 8>&- || true
    else
        "$root/deploy/services.sh" down --dir "$servers" 8>&- || true
        echo "logs and data of this run are in $servers/data until the next one" >&2
    fi
}
