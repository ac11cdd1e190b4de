#!/bin/sh
# Runs the steps `coturn`, `fleet` and `exact` of tests/run.sh against another coturn than Debian's: tests/coturn/binary.sh /path/to/turnserver
# The clients of Debian's tools get no data through coturn 4.17, so those beside the program are used if they are there.
set -eu
binary=$(realpath "${1:?the path of a turnserver}")
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
ln -s "$binary" "$directory/turnserver"
[ ! -x "${binary%/*}/turnutils_uclient" ] || ln -s "${binary%/*}/turnutils_uclient" "$directory"
PATH=$directory:$PATH
export PATH
echo "coturn $(turnserver --version 2>/dev/null | tail -n 1)"
sh "$(dirname "$0")/run.sh"
sh "$(dirname "$0")/fleet.sh"
sh "$(dirname "$0")/exact.sh"
