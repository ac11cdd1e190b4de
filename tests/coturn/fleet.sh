#!/bin/sh
# Three real coturns at 127.0.0.1 to 127.0.0.3 and a broker, in a network namespace with only `lo`: a credential names a relay that works,
# each relay is counted, one that dies is left out within 20 s, one can be drained, and the sessions of a program that
# knows the secret have a user who can be blocked and who has a limit; the limit of a relay and that of all end theirs and ours. Takes three
# minutes after the build. Prints each check with its result.
#   TURN_BROKER_BIN  the binary to test instead of building one
#   RELAY_DEATHS     how often a relay dies, 2 if unset. With 10 one dies each minute, and calls are long enough to compare bytes within 1.5 %
set -eu
[ -z "${TURN_BROKER_BIN:-}" ] || TURN_BROKER_BIN=$(realpath "$TURN_BROKER_BIN")
here=$(realpath "$(dirname "$0")")
cd "$here/../.."
PATH=$PATH:/usr/sbin:/sbin
# shellcheck source=tests/machine.sh
. tests/machine.sh

need turnserver=coturn turnutils_uclient=coturn python3=python3 ip=iproute2 unshare=util-linux
broker .
WORK_DIR=$(mktemp -d)
export TURN_BROKER_BIN WORK_DIR
trap 'rm -rf "$WORK_DIR"' EXIT
isolate python3 "$here/fleet-checks.py"
