#!/bin/sh
# Two real coturns and a broker in strict mode, in a network namespace with only `lo`: what the ledger has of sessions that are too short for
# coturn's command line, over UDP, TCP, TLS and with TCP to peers, against what their clients received. Then the reports are cut for 10 s
# and the broker is killed, each while sessions end: what nobody saw stays promised. Prints each check with its result.
#   TURN_BROKER_BIN  the binary to test instead of building one
#   ROUNDS           how often each kind of session is tried, 1 if unset. 14 rounds are 1,008 sessions
set -eu
[ -z "${TURN_BROKER_BIN:-}" ] || TURN_BROKER_BIN=$(realpath "$TURN_BROKER_BIN")
here=$(realpath "$(dirname "$0")")
cd "$here/../.."
PATH=$PATH:/usr/sbin:/sbin
# shellcheck source=tests/machine.sh
. tests/machine.sh

need turnserver=coturn turnutils_uclient=coturn python3=python3 openssl=openssl iptables=iptables ip=iproute2 unshare=util-linux
broker .
WORK_DIR=$(mktemp -d)
export TURN_BROKER_BIN WORK_DIR
trap 'rm -rf "$WORK_DIR"' EXIT
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$WORK_DIR/key" -out "$WORK_DIR/cert" -days 2 -subj /CN=exact \
    2>"$WORK_DIR/openssl.log"
isolate python3 "$here/exact-checks.py"
