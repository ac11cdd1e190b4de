#!/bin/sh
# Runs the step `coturn` of tests/run.sh against another coturn than Debian's: tests/coturn/binary.sh /path/to/turnserver
set -eu
binary=$(realpath "${1:?the path of a turnserver}")
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
ln -s "$binary" "$directory/turnserver"
PATH=$directory:$PATH
export PATH
echo "coturn $(turnserver --version 2>/dev/null | tail -n 1)"
sh "$(dirname "$0")/run.sh"
