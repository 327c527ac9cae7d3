#!/usr/bin/env bash
# profile.sh: flame graphs of a campaign that is being sent: of `fanfare serve`, and of everything that runs beside it.
# RECIPIENTS, SCENARIO (of the load tests) and SAMPLED (seconds) may be set.
set -euo pipefail
# shellcheck source=deploy/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

recipients=${RECIPIENTS:-500000} scenario=${SCENARIO:-single} sampled=${SAMPLED:-10}

need_build_tools
command -v perf >/dev/null || "$root/deploy/packages.sh" linux-perf
need_cargo_tool inferno-flamegraph inferno

# Stacks are walked by their frame pointers, which a build of its own keeps.
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$root/target}/profile
export RUSTFLAGS='-C force-frame-pointers=yes'
cargo build --release -p fanfare -p loadtests
out=$CARGO_TARGET_DIR
log=$out/loadtest.log

"$out/release/loadtests" run --scenario "$scenario" --recipients "$recipients" >"$log" 2>&1 &
load=$!
trap 'kill -INT "$load" 2>/dev/null && wait "$load" || true' EXIT
until grep -q '^  sending' "$log"; do
    kill -0 "$load" 2>/dev/null || { cat "$log" >&2; exit 1; }
    sleep 0.2
done
serve=$(pgrep -f "serve --config $out/loadtest/fanfare.toml" | head -n 1)
if ! perf record -q -a -g -F 399 -o "$out/perf.data" -- sleep "$sampled"; then
    echo "perf may not look at the whole machine here: run as root, or set kernel.perf_event_paranoid to -1" >&2
    exit 2
fi

graph() { # NAME TITLE [OPTION of perf script]…
    local name=$1 title=$2
    shift 2
    perf script -i "$out/perf.data" "$@" 2>/dev/null | inferno-collapse-perf 2>/dev/null |
        inferno-flamegraph --title "$title" >"$out/$name.svg"
    echo "$out/$name.svg"
}
graph fanfare "fanfare serve, $scenario, $recipients recipients" --pid "$serve"
graph machine "everything, $scenario, $recipients recipients"
wait "$load"
trap - EXIT
tail -n 45 "$log"
