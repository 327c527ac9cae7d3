#!/usr/bin/env bash
# bench.sh [OPTION of Criterion]…: the benches, on DATABASE_URL and REDIS_URL, or on private servers where they are not set.
# BENCH (one of benches/benches) may be set.
set -euo pipefail
# shellcheck source=deploy/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

finish() {
    local code=$?
    trap - EXIT
    servers_down "$code"
    exit "$code"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

need_build_tools
# Built before the servers are there: they are for what is measured.
which=(-p fanfare-benches)
[[ -z ${BENCH:-} ]] || which+=(--bench "$BENCH")
cargo bench "${which[@]}" --no-run
[[ -n ${DATABASE_URL:-} && -n ${REDIS_URL:-} ]] || servers_up bench
cargo bench "${which[@]}" -- "$@" 8>&-
