#!/usr/bin/env bash
# Sends through a running sandbox with the providers' own SDKs, unchanged: only their public options say where to.
#
#   run.sh BASE_URL [SCRATCH_FOLDER]
#
# The SDKs are installed into SCRATCH_FOLDER (default: a new temporary folder, removed at the end) at the versions
# pinned here. The sandbox must have its default accounts; its audit is reset. Exits non-zero when anything differs
# from what is expected.
set -euo pipefail

base_url=${1:?"usage: run.sh BASE_URL [SCRATCH_FOLDER]"}
here=$(cd "$(dirname "$0")" && pwd)
if [[ -n ${2:-} ]]; then
    scratch=$2
    mkdir -p "$scratch"
else
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
fi

echo "Installing the SDKs into $scratch"
[[ -x $scratch/venv/bin/python ]] || python3 -m venv "$scratch/venv"
"$scratch/venv/bin/pip" install --quiet --disable-pip-version-check -r "$here/requirements.txt"
cp "$here/package.json" "$here/brevo_node.mjs" "$scratch/"
(cd "$scratch" && npm install --silent --no-audit --no-fund)

curl --fail --silent --show-error -X DELETE "$base_url/sandbox/faults"
for check in brevo_python pywa_python brevo_node; do
    echo "== $check"
    curl --fail --silent --show-error -X DELETE "$base_url/sandbox/audit"
    case $check in
        *_node) node "$scratch/$check.mjs" "$base_url" ;;
        *) "$scratch/venv/bin/python" -B "$here/$check.py" "$base_url" ;;
    esac
done
echo "All SDKs agree with the sandbox"
