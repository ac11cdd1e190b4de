#!/bin/sh
# Every code block of a document runs, as it stands but for host and port: in Chromium, in Node, in a shell, or through the
# TypeScript compiler. The network is a namespace with only `lo`. A block that no test names fails the run.
#   run.sh              all documents
#   run.sh NAME...      only these: readme, clients (docs/CLIENTS.md), and what else is in DOCUMENTS below
#   TURN_BROKER_BIN, FAKE_CLOUDFLARE_BIN   programs to test instead of building them      CHROMIUM  the browser to use
#
# To test another document, add NAME.mjs beside this file and NAME to DOCUMENTS:
#   const page = new Document('docs/PAGE.md');
#   page.block('a text that only this block contains')   its code; a text in no block, or in two, is an error
#   page.leave('text', 'why nobody can paste this')      for a block that cannot run, such as a picture of an answer
#   page.allNamed()                                      at the end: an error that lists the blocks that nobody named
# How to run the code, all in examples.mjs: `inBrowser` for a module of a page, `inNode`, `inShell`, `typeChecked` and `settings`
# for a `.env`. Packages that an example imports come from the lock file here or from that of tests/browser. clients.mjs shows each.
set -eu
DOCUMENTS='readme clients signaling'
[ -z "${TURN_BROKER_BIN:-}" ] || TURN_BROKER_BIN=$(realpath "$TURN_BROKER_BIN")
cd "$(dirname "$0")"
PATH=$PATH:/usr/sbin:/sbin
CHROMIUM=${CHROMIUM:-/usr/bin/chromium}

# shellcheck source=tests/machine.sh
. ../machine.sh

need "$CHROMIUM=chromium" node=nodejs npm=npm curl=curl ip=iproute2 unshare=util-linux python3=python3-venv 'go=golang-go golang-github-pion-webrtc.v3-dev'
npm_packages
(cd ../browser && npm_packages)
EXAMPLES_PYTHON=$(cd ../.. && venv examples tests/examples/requirements.txt --no-deps >&2 && echo "$venv/bin/python")
export EXAMPLES_PYTHON
# Debian has the version before that of the example, and without modules its path has no version.
go=$(cd ../.. && realpath -m "${CARGO_TARGET_DIR:-target}/go")
mkdir -p "$go/src/call"
sed 's|pion/webrtc/v4|pion/webrtc|' ../../docs/native/call.go >"$go/src/call/call.go"
GO111MODULE=off GOPATH=$go:/usr/share/gocode GOCACHE=$go/cache go build -o "$go/two_ends" two_ends.go
EXAMPLES_GO=$go/two_ends
export EXAMPLES_GO

broker ../..
if [ -z "${FAKE_CLOUDFLARE_BIN:-}" ]; then
    FAKE_CLOUDFLARE_BIN=$(cd ../.. && cargo build $one_build --example fake-cloudflare &&
        realpath "$built/examples/fake-cloudflare")
fi
export TURN_BROKER_BIN FAKE_CLOUDFLARE_BIN CHROMIUM
# shellcheck disable=SC2086 # a list of words
[ $# -gt 0 ] || set -- $DOCUMENTS
for name; do
    echo "$name"
    WORK_DIR=$(mktemp -d)
    export WORK_DIR
    trap 'rm -rf "$WORK_DIR"' EXIT
    ln -s "$PWD/node_modules" "$WORK_DIR/node_modules"
    isolate node "$name.mjs"
    rm -rf "$WORK_DIR"
done
