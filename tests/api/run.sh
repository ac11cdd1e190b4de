#!/bin/sh
# The API against its own description: schemathesis reads /openapi.json of a running broker and sends what it allows and what it
# forbids, as a stranger, as an app server and as the operator. It checks status codes, content types, headers and schemas of
# the responses. The cases are the same in every run. Less than a minute, in a network namespace that has nothing but `lo`.
# Installs schemathesis from PyPI under target/ the first time. Exit status 0 or 1.
#   TURN_BROKER_BIN  test this binary instead of building one
set -eu
[ -z "${TURN_BROKER_BIN:-}" ] || TURN_BROKER_BIN=$(realpath "$TURN_BROKER_BIN")
here=$(realpath "$(dirname "$0")")
cd "$here/../.."
PATH=$PATH:/usr/sbin:/sbin
# shellcheck source=tests/machine.sh
. tests/machine.sh

need python3=python3-venv ip=iproute2 unshare=util-linux
venv=$(realpath -m "${CARGO_TARGET_DIR:-target}")/schemathesis
if ! cmp -s tests/api/requirements.txt "$venv/requirements.txt"; then
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/pip" install -q -r tests/api/requirements.txt
    cp tests/api/requirements.txt "$venv"
fi
broker .
WORK_DIR=$(mktemp -d)
export TURN_BROKER_BIN WORK_DIR
trap 'rm -rf "$WORK_DIR"' EXIT
isolate sh "$here/checks.sh" "$venv/bin/schemathesis" "$here/schemathesis.toml"
