#!/bin/sh
# Tests "With a coturn of your own" in docs/OPERATE.md. Runs the commands of that section, then Debian's coturn with the
# configuration that they create, and the broker with the settings that they create, in a network namespace with one made-up
# public address. Takes half a minute after the build. Prints each check with its result. The exit status is 0 or 1.
#   TURN_BROKER_BIN  the binary to test instead of building one
set -eu
[ -z "${TURN_BROKER_BIN:-}" ] || TURN_BROKER_BIN=$(realpath "$TURN_BROKER_BIN")
here=$(realpath "$(dirname "$0")")
cd "$here/../.."
PATH=$PATH:/usr/sbin:/sbin
# shellcheck source=tests/machine.sh
. tests/machine.sh
# shellcheck source=tests/documented.sh
. tests/documented.sh

need turnserver=coturn turnutils_uclient=coturn openssl=openssl curl=curl ip=iproute2 unshare=util-linux
broker .
WORK_DIR=$(mktemp -d)
export TURN_BROKER_BIN WORK_DIR
trap 'rm -rf "$WORK_DIR"' EXIT

mkdir "$WORK_DIR/docs" "$WORK_DIR/letsencrypt"
cp .env.example "$WORK_DIR"
cp docs/turnserver.conf "$WORK_DIR/docs"
documented 'With a coturn of your own' sh "$WORK_DIR/lines.sh"
documented 'With a coturn of your own' conf "$WORK_DIR/new-secret"
isolate sh "$here/deployed-checks.sh"
