#!/bin/sh
# The API against its own description. schemathesis reads /openapi.json of a running broker and sends what it allows and what it
# forbids, as a stranger, as an app server and as the operator. It checks status codes, content types, headers and schemas of
# the responses. The cases are the same in every run. Then two clients that generators make from the description, which are compiled,
# open a connection and call signaling. Two minutes, in a network namespace that has nothing but `lo`.
# Installs schemathesis and the generators from PyPI and npm the first time. Exit status 0 or 1.
#   TURN_BROKER_BIN  test this binary instead of building one
set -eu
[ -z "${TURN_BROKER_BIN:-}" ] || TURN_BROKER_BIN=$(realpath "$TURN_BROKER_BIN")
here=$(realpath "$(dirname "$0")")
cd "$here/../.."
PATH=$PATH:/usr/sbin:/sbin
# shellcheck source=tests/machine.sh
. tests/machine.sh

need python3=python3-venv node=nodejs npm=npm ip=iproute2 unshare=util-linux

WORK_DIR=$(mktemp -d)
trap 'rm -rf "$WORK_DIR"' EXIT

(cd tests/api/clients && npm_packages)
ln -s "$here/clients/node_modules" "$WORK_DIR/node_modules"
cp tests/api/clients/client.ts tests/api/clients/client.py "$WORK_DIR"
echo '{ "type": "module" }' >"$WORK_DIR/package.json"
cat >"$WORK_DIR/tsconfig.json" <<'EOF'
{ "compilerOptions": { "strict": true, "target": "ES2022", "module": "NodeNext", "lib": ["ES2022", "DOM", "DOM.Iterable"], "types": [] } }
EOF
bin=tests/api/clients/node_modules/.bin
"$bin/openapi-typescript" src/web/openapi.json -o "$WORK_DIR/api.d.ts" >/dev/null
"$bin/tsc" --project "$WORK_DIR"
venv openapi-python-client tests/api/clients/requirements.txt
PATH=$venv/bin:$PATH "$venv/bin/openapi-python-client" generate --path src/web/openapi.json --meta none \
    --output-path "$WORK_DIR/turn_broker_client" >"$WORK_DIR/generated.txt" 2>&1 || { cat "$WORK_DIR/generated.txt" && exit 1; }
python=$venv/bin/python
"$python" -m compileall -q "$WORK_DIR/turn_broker_client"

venv schemathesis tests/api/requirements.txt
broker .
export TURN_BROKER_BIN WORK_DIR
isolate sh "$here/checks.sh" "$venv/bin/schemathesis" "$here/schemathesis.toml" "$python"
