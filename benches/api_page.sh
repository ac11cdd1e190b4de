#!/usr/bin/env bash
# Compares pages that show /openapi.json, with libraries from npm and with our own page, under the content security policy of our pages:
# bytes, refusals by the policy, operations shown, axe findings. Installs the libraries into a temporary directory and deletes it at the end.
#   benches/api_page.sh          CHROMIUM=/usr/bin/chromium    TURN_BROKER_BIN=… (built in debug form if not given)
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$root/target} CHROMIUM=${CHROMIUM:-/usr/bin/chromium}
if [ -z "${TURN_BROKER_BIN:-}" ]; then
  (cd "$root" && cargo build --quiet --locked --bin turn-broker)
  TURN_BROKER_BIN=$CARGO_TARGET_DIR/debug/turn-broker
fi
WORK_DIR=$(mktemp -d)
export WORK_DIR TURN_BROKER_BIN
trap 'rm -rf "$WORK_DIR"' EXIT
(cd "$root/tests/browser" && npm ci --prefer-offline --loglevel=error >/dev/null)
(cd "$WORK_DIR" && echo '{}' >package.json &&
  npm install --ignore-scripts --no-audit --no-fund --loglevel=error \
    swagger-ui-dist@5.35.0 redoc@2.5.4 rapidoc@9.3.8 @scalar/api-reference@1.46.4 >/dev/null)
node "$root/benches/api_page.mjs"
