#!/usr/bin/env bash
# `make sqlx-prepare`: checks every query against the migrations in a private Postgres and writes the answers to .sqlx.
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

need_build_tools
need_cargo_tool cargo-sqlx sqlx-cli --version '^0.9' --no-default-features --features rustls,postgres
servers_up prepare
cargo sqlx migrate run --source migrations 8>&-
SQLX_OFFLINE=false cargo sqlx prepare --workspace -- --all-targets 8>&-
