#!/usr/bin/env bash
# schemathesis against a real `fanfare serve`, on servers of its own: what the OpenAPI document promises is tried on every
# operation, with good and bad requests. It fails when a check of schemathesis does, or when fewer than nine in ten
# operations were ever answered 2xx: then it tried too little.
#
#   deploy/api-fuzz.sh [SECONDS]     60 if not said; 1800 before a release
#
# schemathesis is installed into .fanfare/api-fuzz-venv, once.
set -euo pipefail
# shellcheck source=deploy/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
seconds=${1:-60}
here=$root/loadtests/api

finish() {
    local code=$?
    trap - EXIT
    for process in "${serve_PID:-}" "${sandbox_PID:-}"; do
        [[ -z $process ]] || { kill -TERM "$process" 2>/dev/null && wait "$process"; } || true
    done
    [[ -z ${scratch:-} || $code -ne 0 ]] || rm -rf "$scratch"
    [[ -z ${scratch:-} || $code -eq 0 ]] || echo "what was run and answered is in $scratch" >&2
    servers_down "$code"
    exit "$code"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

need_build_tools
command -v curl >/dev/null || deploy/packages.sh curl
python3 -c 'import ensurepip' 2>/dev/null || deploy/packages.sh python3 python3-venv
need_fanfare
servers_up api-fuzz
venv=$root/.fanfare/api-fuzz-venv
[[ -x $venv/bin/python ]] || python3 -m venv "$venv"
"$venv/bin/pip" install --quiet --disable-pip-version-check -r "$here/requirements.txt"

scratch=$(mktemp -d)
export FANFARE_CONFIG=$here/fanfare.toml
export FANFARE_SEALING_KEYS=2026:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=
export FANFARE__REDIS__PREFIX=api-fuzz PORT=0

# field NAME: what one JSON document says.
field() { python3 -c 'import json, sys; print(json.load(sys.stdin)[sys.argv[1]])' "$1"; }
sandbox_up "$scratch/sandbox.log"
export FANFARE__ACCOUNTS__SMS__BASE_URL=$sandbox/v3 FANFARE__ACCOUNTS__MAIL__BASE_URL=$sandbox/v3
export FANFARE__ACCOUNTS__WHATSAPP__BASE_URL=$sandbox
"$fanfare" migrate
"$fanfare" serve >"$scratch/serve.log" 2>&1 8>&- &
serve_PID=$!
address=$(awaited "$scratch/serve.log" '.*listening address=([0-9.:]+).*')

export FANFARE_URL=http://$address FANFARE_STATUSES=$scratch/statuses.json
invitation=$("$fanfare" --json user owner owner@acme.example --name Asha --tenant acme | field url)
FANFARE_TOKEN=$(curl --fail --silent --show-error -H 'Content-Type: application/json' \
    -d '{"password": "correct horse battery staple"}' "$FANFARE_URL/api/auth/accept-invitation/${invitation##*/}" |
    python3 -c 'import json, sys; print(json.load(sys.stdin)["data"]["token"])')
export FANFARE_TOKEN

cd "$here"
export PYTHONDONTWRITEBYTECODE=1
code=0
"$venv/bin/st" --config-file schemathesis.toml run "$FANFARE_URL/api/openapi.json" --url "$FANFARE_URL" --workers 1 \
    --max-time "$seconds" --no-color --report ndjson --report-dir "$scratch" || code=$?
python3 reached.py "$FANFARE_URL" "$FANFARE_STATUSES" || code=$?
if grep -E ' (ERROR|panicked)' "$scratch/serve.log"; then
    echo "the service says that something went wrong" >&2
    code=1
fi
exit "$code"
