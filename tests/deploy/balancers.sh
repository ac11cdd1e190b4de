#!/bin/sh
# nginx as docs/OPERATE.md has it, without TLS, and Caddy with docs/Caddyfile.replicas, each in front of three replicas with a PostgreSQL, in a
# network namespace with only `lo`. The replicas start again one after the other while clients ask, and no request fails. Then the leader
# hangs, and none fails but those that it refuses itself. Takes a minute and a half after the build.
#   TURN_BROKER_BIN  the binary to test instead of building one
#   RESTARTS         how many restarts follow one another, 3 if unset. By hand: 20
#   SLOW_WRITES      how many seconds the database takes for each write, one after the other; none if unset. By hand, while nothing else
#                    uses the machine: '0.5 1.1 1.6 1.9'
set -eu
[ -z "${TURN_BROKER_BIN:-}" ] || TURN_BROKER_BIN=$(realpath "$TURN_BROKER_BIN")
here=$(realpath "$(dirname "$0")")
cd "$here/../.."
PATH=$PATH:/usr/sbin:/sbin
# shellcheck source=tests/machine.sh
. tests/machine.sh
# shellcheck source=tests/checks.sh
. tests/checks.sh
# shellcheck source=tests/documented.sh
. tests/documented.sh

if [ "${1:-}" != inside ]; then
    need curl=curl ip=iproute2 unshare=util-linux setpriv=util-linux openssl=openssl /usr/lib/postgresql/*/bin/initdb=postgresql
    unpack usr/sbin/nginx=nginx usr/bin/caddy=caddy
    broker .
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    documented 'Behind a proxy' nginx "$work/nginx.example"
    export TURN_BROKER_BIN work unpacked
    isolate sh "$here/balancers.sh" inside
    exit
fi

# --- in a namespace of its own -------------------------------------------------------------------------------------------
chmod 0711 "$work"
server=$(dirname "$(find /usr/lib/postgresql -name initdb | sort -V | tail -n 1)")
mkfifo "$work/never"
mkdir "$work/database" "$work/temp"
sh tests/it/support/postgres.sh "$work/database" "$server" 5432 127.0.0.1 <"$work/never" >"$work/database.log" 2>&1 &
exec 9>"$work/never"
eventually grep -q ready "$work/database.log"

token=$(head -c 16 /dev/urandom | od -An -tx1 | tr -d ' \n')
# replica NUMBER: one with its supervisor, at port 3000 + NUMBER. The file `pid-NUMBER` has its process.
replica() {
    while :; do
        env -i HOST=127.0.0.1 PORT=$((3000 + $1)) ADVERTISE_URL=http://127.0.0.1:$((3000 + $1)) TRUSTED_PROXIES=127.0.0.1 \
            DATABASE_URL='postgres://turn@127.0.0.1/postgres?sslmode=disable' CLIENT_URL=https://app.example.com ICE_SOURCES=coturn \
            COTURN_URLS=turn:turn.example.com RELAY_PROBE=off COTURN_SECRET=$token OPERATOR_TOKEN=operator-$token RATE_LIMIT_REQUESTS=10000 "$TURN_BROKER_BIN" &
        echo $! >"$work/pid-$1"
        wait $! || echo "exit status $?"
        sleep 0.1
    done >>"$work/replica-$1" 2>&1
}
for n in 1 2 3; do replica $n & done

# The addresses are those of this machine, and there is no certificate.
{
    echo "daemon off; user root; pid $work/nginx.pid; error_log stderr; events {} http { access_log off;"
    for kind in client_body proxy fastcgi uwsgi scgi; do echo "${kind}_temp_path $work/temp/$kind;"; done
    sed -e 's|^ *server 127.0.0.1:3001 \(.*\)|  server 127.0.0.1:3001 \1\n  server 127.0.0.1:3002 \1\n  server 127.0.0.1:3003 \1|' \
        -e "s|/var/log/nginx|$work|" -e 's|listen 443 ssl;|listen 8081;|' -e '/listen \[::\]\|ssl_certificate/d' "$work/nginx.example"
    echo '}'
} >"$work/nginx.conf"
for_debian docs/Caddyfile.replicas | sed 's|one:3001 two:3001|127.0.0.1:3001 127.0.0.1:3002 127.0.0.1:3003|' >"$work/Caddyfile"

is_at() { curl -sf --max-time 2 -o /dev/null "http://127.0.0.1:$1$2" 2>/dev/null; }
leads() {
    for n in 1 2 3; do if is_at $((3000 + n)) /leader; then leader=$n && return; fi; done
    return 1
}
is_gone() { ! kill -0 "$1" 2>/dev/null; }
# ask PORT: four clients that mint and read the status until the file `enough` is there. Each line is a status, or the body of an answer.
ask() {
    asking=
    rm -f "$work/enough"
    for client in 1 2 3 4; do
        while [ ! -e "$work/enough" ]; do
            for path in /api/bandwidth-status /api/turn-credentials; do
                curl -s --interface 127.0.1.$client --max-time 60 -w '\n%{http_code}\n' "http://127.0.0.1:$1$path" || :
            done
        done >"$work/codes-$client" 2>/dev/null &
        asking="$asking $!"
    done
}
# all_answered NAME [CODE]: ends the clients. None has failed but for those that got 503 with this code.
all_answered() {
    touch "$work/enough"
    # shellcheck disable=SC2086 # a list
    wait $asking
    statuses=$(grep -hx '[0-9][0-9]*' "$work"/codes-* | sort | uniq -c | sed 's/^ *//' | tr '\n' ' ')
    other=$(grep -hx '[0-9][0-9]*' "$work"/codes-* | grep -vc 200 || :)
    refused=$(grep -h '^{"error"' "$work"/codes-* | grep -c "\"code\":\"${2:-none}\"" || :)
    check "$1: $statuses" [ "$other" = "$refused" ]
    [ "$other" = "$refused" ] || grep -h '^{"error"' "$work"/codes-*
}

# each_write_takes SECONDS: a leader changes this row with each write.
each_write_takes() {
    "$server/psql" -h 127.0.0.1 -U turn -d postgres -qc "
        CREATE OR REPLACE FUNCTION turn_broker.slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep($1); RETURN NULL; END';
        CREATE OR REPLACE TRIGGER slow AFTER UPDATE ON turn_broker.shard EXECUTE FUNCTION turn_broker.slow()"
}

try() {
    proxy=$1
    check "$proxy: a client mints" eventually is_at "$2" /api/turn-credentials
    ask "$2"
    sleep 1
    for restart in $(seq "${RESTARTS:-3}"); do
        n=$(((restart - 1) % 3 + 1))
        kill -TERM "$(cat "$work/pid-$n")"
        sleep 0.5
        check "$proxy: replica $n is ready again" eventually is_at $((3000 + n)) /ready
    done
    sleep 1
    all_answered "$proxy: replicas start again, one after the other"
    check "$proxy: one leads" eventually leads
    for seconds in ${SLOW_WRITES:-}; do
        each_write_takes "$seconds"
        ask "$2"
        sleep 10
        all_answered "$proxy: each write takes $seconds s"
    done
    [ -z "${SLOW_WRITES:-}" ] || each_write_takes 0
    ask "$2"
    sleep 1
    hung=$(cat "$work/pid-$leader")
    kill -STOP "$hung"
    sleep 12
    kill -CONT "$hung"
    check "$proxy: the leader that hung has ended" eventually is_gone "$hung"
    check "$proxy: replica $leader is ready again" eventually is_at $((3000 + leader)) /ready
    # It has lost the lead when it goes on, so it refuses what reaches it until it has ended. A replica that forwards says NO_LEADER instead.
    all_answered "$proxy: the leader hangs for 12 s" LEDGER_UNAVAILABLE
}

for n in 1 2 3; do check "replica $n is ready" eventually is_at $((3000 + n)) /ready; done
"$unpacked/usr/sbin/nginx" -e stderr -c "$work/nginx.conf" 2>"$work/nginx.log" &
balancer=$!
try nginx 8081
kill $balancer
PUBLIC_URL=http://localhost:8082 XDG_DATA_HOME=$work XDG_CONFIG_HOME=$work \
    "$unpacked/usr/bin/caddy" run --config "$work/Caddyfile" --adapter caddyfile >"$work/caddy.log" 2>&1 &
try Caddy 8082
[ $failed = 0 ] || tail -n 5 "$work"/replica-* "$work"/nginx.log "$work"/caddy.log
exit $failed
