#!/bin/sh
# Sets two replicas up on two machines, as docs/OPERATE.md says, behind Debian's Caddy with docs/Caddyfile.replicas and with a PostgreSQL. The
# machines are network namespaces. The one that leads is lost while a client mints through Caddy, and comes back. Then the other replica does
# not reach the leader, which reaches the database, with clients and without. Then the only other replica is a new one that nobody reaches.
# Needs root. Takes a minute after the build.
#   TURN_BROKER_BIN  the binary to test instead of building one
set -eu
[ -z "${TURN_BROKER_BIN:-}" ] || TURN_BROKER_BIN=$(realpath "$TURN_BROKER_BIN")
here=$(realpath "$(dirname "$0")")
cd "$here/../.."
PATH=$PATH:/usr/sbin:/sbin
# shellcheck source=tests/machine.sh
. tests/machine.sh
# shellcheck source=tests/checks.sh
. tests/checks.sh

if [ "${1:-}" != inside ]; then
    [ "$(id -u)" = 0 ] || { echo 'run this as root: it makes networks' >&2 && exit 1; }
    need curl=curl ip=iproute2 unshare=util-linux setpriv=util-linux openssl=openssl /usr/lib/postgresql/*/bin/initdb=postgresql
    unpack usr/bin/caddy=caddy
    broker .
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    export TURN_BROKER_BIN work unpacked
    isolate unshare --mount --propagation private sh "$here/machines.sh" inside
    exit
fi

# --- in namespaces of its own --------------------------------------------------------------------------------------------
mkdir -p /run/netns && mount -t tmpfs tmpfs /run/netns
printf '127.0.0.1 localhost\n10.0.0.11 one\n10.0.0.12 two\n10.0.0.13 three\n' >"$work/hosts"
mount --bind "$work/hosts" /etc/hosts
chmod 0711 "$work"
ip link add between type bridge
ip address add 10.0.0.1/24 dev between
ip link set between up
server=$(dirname "$(find /usr/lib/postgresql -name initdb | sort -V | tail -n 1)")
mkfifo "$work/never"
mkdir "$work/database"
sh tests/it/support/postgres.sh "$work/database" "$server" 5432 10.0.0.1 <"$work/never" >"$work/database.log" 2>&1 &
exec 9>"$work/never"
eventually grep -q ready "$work/database.log"

token=$(head -c 16 /dev/urandom | od -An -tx1 | tr -d ' \n')
# machine NAME ADDRESS [FIREWALL]: one with a replica and its supervisor.
machine() {
    ip netns add "$1"
    ip link add "$1" type veth peer name eth0 netns "$1"
    ip link set "$1" master between up
    ip -n "$1" address add "$2/24" dev eth0
    ip -n "$1" link set lo up
    ip -n "$1" link set eth0 up
    ${3:-:}
    mkdir "$work/$1"
    cat >"$work/$1/.env" <<END
CLIENT_URL=https://app.example.com
ICE_SOURCES=coturn
COTURN_URLS=turn:turn.example.com
RELAY_PROBE=off
COTURN_SECRET=$token
OPERATOR_TOKEN=operator-$token
RATE_LIMIT_REQUESTS=10000
DATABASE_URL=postgres://turn@10.0.0.1/postgres?sslmode=disable
STATE_DIR=
TRUSTED_PROXIES=10.0.0.1
END
    (
        cd "$work/$1"
        while :; do
            ip netns exec "$1" "$TURN_BROKER_BIN" && status=0 || status=$?
            echo "exit status $status"
            sleep 0.1
        done
    ) >"$work/$1/log" 2>&1 &
}
machine one 10.0.0.11
machine two 10.0.0.12
for_debian docs/Caddyfile.replicas >"$work/Caddyfile"
PUBLIC_URL=https://localhost XDG_DATA_HOME=$work/certificates XDG_CONFIG_HOME=$work \
    "$unpacked/usr/bin/caddy" run --config "$work/Caddyfile" --adapter caddyfile >"$work/caddy.log" 2>&1 &

ask() { curl -sf --max-time 10 --cacert "$work/certificates/caddy/pki/authorities/local/root.crt" "$@"; }
is_at() { curl -sf --max-time 1 "http://$1:3001$2" >/dev/null 2>&1; }
mints() { ask --max-time 2 https://localhost/api/turn-credentials >/dev/null 2>&1; }
# It also looks for a relay, which is not there.
fits() {
    (cd "$work/$1" && ip netns exec "$1" "$TURN_BROKER_BIN" doctor >doctor 2>&1) || true
    grep -q '^ok  *database' "$work/$1/doctor" && ! grep '^[Fw][Aa].*\(database\|advertise\)' "$work/$1/doctor"
}

check 'one is ready' eventually is_at one /ready
check 'two is ready' eventually is_at two /ready
check 'a client mints through Caddy' eventually mints
check 'doctor has no complaint about the database at one' fits one
check 'nor at two' fits two
if is_at one /leader; then leader=one other=two; else leader=two other=one; fi
# The name of a user in coturn ends with the id of the grant.
while [ ! -e "$work/enough" ]; do
    ask https://localhost/api/turn-credentials || echo 'not answered'
done >"$work/answers" 2>/dev/null &
minting=$!
sleep 2
begun=$(date +%s%N)
ip link set "$leader" down
check 'the machine of the leader is lost, and the other one leads' eventually is_at "$other" /leader
echo "        after $((($(date +%s%N) - begun) / 1000000)) ms"
# Until then a request can wait at the lost machine.
check 'a client mints through Caddy' eventually mints
sleep 2
ip link set "$leader" up
check 'the former leader learns it, ends with 75 and is a standby' eventually grep -q 'exit status 75' "$work/$leader/log"
check 'it is ready again' eventually is_at "$leader" /ready
# As with a firewall between them: the leader gets what the other one sends, and its answers are lost.
eventually is_at "$other" /leader
sql() { "$server/psql" -h 10.0.0.1 -U turn -d postgres -Atc "$1"; }
# complains: a replica says that it does not reach the leader, and the leader has had time to read that.
complains() { [ "$(sql 'SELECT count(unreached) FROM turn_broker.node WHERE seen_at > now() - make_interval(secs => 3)')" = 1 ] && sleep 3; }
address=$(awk -v name="$leader" '$2 == name { print $1 }' "$work/hosts")
ends=$(grep -c 'exit status 75' "$work/$other/log" || :)
has_ended() { [ "$(grep -c 'exit status 75' "$work/$other/log")" -gt "$ends" ]; }
has_reached() { [ "$(sql "SELECT reached FROM turn_broker.node WHERE url = 'http://$address:3001'")" = t ]; }
check 'the leader reaches the other replica' eventually has_reached
while [ ! -e "$work/enough" ]; do
    is_at "$other" /api/turn-credentials || :
    sleep 0.5
done &
direct=$!
ip -n "$other" route add blackhole "$address"
check 'the other replica says that it does not reach the leader' eventually complains
check 'a leader that answers clients keeps the lead' is_at "$other" /leader
touch "$work/enough"
wait $minting $direct
check 'without clients it gives up the lead' eventually is_at "$leader" /leader
check 'it ends with 75' eventually has_ended
check 'a client mints through Caddy' eventually mints
ip -n "$other" route del blackhole "$address"
check 'both are ready' eventually is_at "$other" /ready

# A new replica behind a firewall that lets nobody in, and nothing out to the leader. Nobody mints.
ip link set "$other" down
epoch=$(sql 'SELECT epoch FROM turn_broker.shard')
firewall() {
    ip -n three rule add pref 2 lookup local
    ip -n three rule del pref 0
    ip -n three rule add pref 0 iif eth0 ipproto tcp dport 3001 blackhole
    ip -n three route add blackhole "$address"
}
machine three 10.0.0.13 firewall
closed() { grep -q "port 3001 of $1 is closed for $2" "$work/$3"; }
check 'the new replica says that it does not reach the leader' eventually complains
check 'it says which port is closed' eventually closed "$address" 10.0.0.13 three/log
check 'so does the leader' eventually closed 10.0.0.13 "$address" "$leader/log"
fits three >"$work/complaints" || :
check 'so does doctor' closed "$address" 10.0.0.13 three/doctor
sleep 6
check 'a replica that nobody has reached does not oust an idle leader' [ "$(sql 'SELECT epoch FROM turn_broker.shard')" = "$epoch" ]
check 'a client mints through Caddy' eventually mints
answered() { grep -o '"username":"[^"]*' "$work/answers" | cut -d: -f3 | tr -- '-_' '+/'; }
sql "SELECT encode(key, 'base64') FROM turn_broker.item WHERE kind = 4" | tr -d = | sort >"$work/stored"
answered | sort >"$work/answered"
check "each of the $(wc -l <"$work/answered") grants that were answered is in the database" [ -z "$(comm -23 "$work/answered" "$work/stored")" ]
echo "        $(grep -c 'not answered' "$work/answers") requests got no answer"
[ $failed = 0 ] || tail -n 20 "$work"/*/log "$work/caddy.log"
exit $failed
