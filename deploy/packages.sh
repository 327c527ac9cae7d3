#!/usr/bin/env bash
# packages.sh NAME…: installs Debian packages without letting them start a server or make a cluster of their own.
# Exits 2 with the exact command where it may not install (no root, no sudo without a password) or cannot (no apt-get).
set -euo pipefail

say() { printf '%s\n' "packages: $*" >&2; }

if ! command -v apt-get >/dev/null; then
    say "missing here: $*. There is no apt-get, so please install what provides them (Postgres 15 or later, Redis 7 or later)"
    exit 2
fi
if [[ $(id -u) -ne 0 ]]; then
    if command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
        exec sudo -n "${BASH_SOURCE[0]}" "$@"
    fi
    say "missing here: $*. Please run: sudo ${BASH_SOURCE[0]} $*"
    exit 2
fi

# What the packages would do to the machine is held back while they install, and only then: an existing policy stays.
policy=/usr/sbin/policy-rc.d
cluster_conf=/etc/postgresql-common/createcluster.d/zz-fanfare.conf
made=()
cleanup() { [[ ${#made[@]} -eq 0 ]] || rm -f -- "${made[@]}"; }
trap cleanup EXIT
if [[ ! -e $policy ]]; then
    made+=("$policy")
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi
made+=("$cluster_conf")
mkdir -p "$(dirname "$cluster_conf")"
echo 'create_main_cluster = false' >"$cluster_conf"

export DEBIAN_FRONTEND=noninteractive
options=(-y -q --no-install-recommends -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0)
say "installing $* with apt-get"
apt-get update -q >&2 </dev/null || say "apt-get update failed: trying with the lists that are here"
apt-get install "${options[@]}" "$@" >&2 </dev/null

# Debian's Redis would start with the next boot; Postgres without a cluster has nothing to start.
for package in "$@"; do
    if [[ $package == redis-server ]] && command -v systemctl >/dev/null; then
        systemctl disable redis-server >&2 || true
    fi
done
