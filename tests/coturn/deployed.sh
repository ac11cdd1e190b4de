#!/bin/sh
# What docs/DEPLOYMENT.md says of a coturn of one's own: its lines are run as they stand, and then the configuration that they
# make, by Debian's coturn, and the settings, by the broker, in a network namespace with one made-up public address. Half a minute
# once the broker is built; prints what was asked and got; exit status 0 or 1.
#   TURN_BROKER_BIN  test this binary instead of building one
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
isolate sh "$here/deployed-checks.sh"
