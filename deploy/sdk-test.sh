#!/usr/bin/env bash
# The providers' own SDKs against the simulated providers: loadtests/sdk/run.sh on a sandbox of its own, on a free port.
# The SDKs are installed into .fanfare/sdk, once.
set -euo pipefail
# shellcheck source=deploy/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

finish() {
    local code=$?
    trap - EXIT
    [[ -z ${sandbox_PID:-} ]] || { kill -TERM "$sandbox_PID" 2>/dev/null && wait "$sandbox_PID"; } || true
    exit "$code"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

need_build_tools
command -v curl >/dev/null || deploy/packages.sh curl
python3 -c 'import ensurepip' 2>/dev/null || deploy/packages.sh python3 python3-venv
command -v npm >/dev/null || deploy/packages.sh nodejs npm
need_fanfare

mkdir -p .fanfare/sdk
exec 7>.fanfare/sdk/lock
flock -w 300 7 || { echo "another run has used .fanfare/sdk in this checkout for five minutes: wait for it, or stop it" >&2; exit 1; }
sandbox_up "$root/.fanfare/sdk/sandbox.log"
loadtests/sdk/run.sh "$sandbox" "$root/.fanfare/sdk" 7>&-
