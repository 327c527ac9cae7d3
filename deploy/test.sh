#!/usr/bin/env bash
# `make test`: everything that must hold before a change is merged, on private servers of its own.
set -euo pipefail
# shellcheck source=deploy/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
title="make test"

finish() {
    local code=$?
    trap - EXIT
    servers_down "$code"
    summary "$code"
    exit "$code"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

export FANFARE_PROGRAM=${CARGO_TARGET_DIR:-$root/target}/debug/fanfare

# Each test has a database of its own. As a copy of one that is migrated it is there in a fifth of the time.
migrate_template() {
    DATABASE_URL=${DATABASE_URL%/*}/template1 "$FANFARE_PROGRAM" migrate 8>&-
}

need_build_tools
step 'formatting' "$root/deploy/lint.sh" fmt
step 'lints' "$root/deploy/lint.sh" clippy
step 'dependencies' "$root/deploy/lint.sh" deny
step 'private Postgres and Redis' servers_up test
# What measures time wants the machine for itself: quotas and fault tests come after the rest, one by one.
step 'build of the tests' cargo test --workspace --no-run 8>&-
step 'schema for new databases' migrate_template
step 'tests of all crates' cargo test --workspace -- --skip limits:: --skip faults:: 8>&-
step 'quotas and faults' cargo test --workspace --test it -- --test-threads 1 limits:: faults:: 8>&-
step 'the API as its document describes it' "$root/deploy/api-fuzz.sh" 60 8>&-
if [[ -x $root/deploy/sdk-test.sh ]]; then
    step "the providers' official SDKs" "$root/deploy/sdk-test.sh" 8>&-
fi
