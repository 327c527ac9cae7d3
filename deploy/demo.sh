#!/usr/bin/env bash
# `make demo`: private servers, a build, and `fanfare demo`; afterwards nothing of it runs.
#   ONCE=1      ends by itself when the campaigns have finished; the exit code says whether everybody is accounted for
#   MESSAGES=n  how many recipients the sample campaign has
set -euo pipefail
# shellcheck source=deploy/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

child=''
finish() {
    local code=$?
    trap - EXIT
    [[ -z $child ]] || { kill -TERM "$child" 2>/dev/null && wait "$child"; } || true
    servers_down "$code"
    exit "$code"
}
trap finish EXIT
# Ctrl-C reaches fanfare by itself, as one of the terminal's processes; TERM is passed on.
interrupted=''
trap 'interrupted=130' INT
trap 'interrupted=143; [[ -z $child ]] || kill -TERM "$child" 2>/dev/null' TERM HUP

# Waits, through signals, until fanfare has drained and ended by itself.
wait_for_child() {
    local code=0 before
    while :; do
        before=$interrupted
        code=0
        wait "$child" || code=$?
        [[ $interrupted != "$before" ]] || break
    done
    child=''
    # A demo that a person ends with Ctrl-C has not failed.
    [[ $interrupted != 130 || ${ONCE:-} == 1 ]] || return 0
    return "$code"
}

options=()
[[ ${ONCE:-} != 1 ]] || options+=(--once)
[[ -z ${MESSAGES:-} ]] || options+=(--messages "$MESSAGES")

need_build_tools
step 'private Postgres and Redis' servers_up demo
step 'build fanfare (the first time takes some minutes)' cargo build -p fanfare

printf '\n==> fanfare demo %s\n' "${options[*]}"
[[ -z $interrupted ]] || exit "$interrupted"
"${CARGO_TARGET_DIR:-$root/target}/debug/fanfare" demo "${options[@]}" 8>&- &
child=$!
wait_for_child
