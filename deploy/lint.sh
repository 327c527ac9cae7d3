#!/usr/bin/env bash
# lint.sh [fmt|clippy|deny]…: what can be said about the code without running it; all three by default.
set -euo pipefail
# shellcheck source=deploy/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

lint_fmt() {
    need_component rustfmt cargo fmt --version
    cargo fmt --all --check
}

lint_clippy() {
    need_component clippy cargo clippy --version
    cargo clippy --workspace --all-targets -- -D warnings
}

# Advisories need a database that a closed network does not reach: `cargo deny check advisories` where there is one.
lint_deny() {
    # A workspace of its own beside this one: its lock file has to follow what both use.
    cargo metadata --locked --format-version 1 --manifest-path loadtests/peers/apalis/Cargo.toml >/dev/null
    if command -v cargo-deny >/dev/null; then
        cargo deny --locked --log-level error check --hide-inclusion-graph bans licenses sources
    else
        echo "cargo-deny is not installed: bans, licences and sources are NOT checked (cargo install cargo-deny --locked)"
    fi
}

need_build_tools
[[ $# -gt 0 ]] || set -- fmt clippy deny
for kind in "$@"; do
    "lint_$kind"
done
