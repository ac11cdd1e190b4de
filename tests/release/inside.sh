#!/bin/sh
# inside.sh ROOT [RUNNER]: runs ROOT/turn-broker in a chroot with two files in /etc, in a network that has only `lo`, a name
# server and a provider. run.sh isolates it. Exit status 0 if it mints over a resolved name, answers its health check and stops.
set -eu
root=$1
shift
export CLOUDFLARE_API_BASE=http://provider.test:8787 CLOUDFLARE_TURN_KEY_ID=demo CLOUDFLARE_TURN_API_TOKEN=demo-token
mkdir -p "$root/etc"
echo 'nameserver 127.0.0.1' >"$root/etc/resolv.conf"
# As on a desktop. A static glibc would look for these modules.
echo 'hosts: files myhostname resolve [!UNAVAIL=return] dns' >"$root/etc/nsswitch.conf"
broker() { chroot "$root" "$@"; }
mints() { curl -sf --max-time 10 http://127.0.0.1:3001/api/turn-credentials | grep -q '"source":"cloudflare"'; }

python3 "$(dirname "$0")/../image/provider.py" &
version=$(broker "$@" /turn-broker --version)
echo "        $version"
[ "${version%% *}" = turn-broker ]
chroot "$root" "$@" /turn-broker >"$root/log" 2>&1 &
process=$!
end() { echo "$1" >&2 && cat "$root/log" >&2 && exit 1; }
for _ in $(seq 240); do
    broker "$@" /turn-broker healthcheck >/dev/null 2>&1 && break
    sleep 0.5
done
broker "$@" /turn-broker healthcheck || end 'the health check fails'
mints || end 'it does not mint at the provider'
kill "$process"
wait "$process" || end 'it does not stop with status 0'
