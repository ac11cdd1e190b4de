# Runs a PostgreSQL server until standard input ends. A line with a number stops the server at once, as a crash does, and starts it again
# after so many seconds; the line `stop` does not start it again. `$1`: a new directory, `$2`: the programs, `$3`: the port, `$4`: the
# address; if it is not loopback, its network is trusted too. `$5`: the port of a server of this machine of which this one is the standby.
# shellcheck shell=sh
set -eu
address=${4:-127.0.0.1}
as=
if [ "$(id -u)" = 0 ]; then
    as='setpriv --reuid=postgres --regid=postgres --clear-groups'
    chown postgres "$1"
fi
cd "$1"
{
    openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=tests -keyout ca.key -out ca.crt
    openssl req -newkey rsa:2048 -nodes -subj /CN=localhost -keyout server.key -out server.csr
    echo subjectAltName=DNS:localhost >names
    openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile names -out server.crt
} 2>/dev/null
chmod 0600 server.key
[ -z "$as" ] || chown postgres server.key
if [ -n "${5:-}" ]; then
    $as "$2/pg_basebackup" -h 127.0.0.1 -p "$5" -U turn -D "$1/data" -R -c fast --no-sync
else
    $as "$2/initdb" -D "$1/data" -U turn -A trust --no-sync -E UTF8 --locale=C >/dev/null
    $as sed -i '1i hostssl all with_password all scram-sha-256' "$1/data/pg_hba.conf"
fi
[ "$address" = 127.0.0.1 ] || echo 'host all all samenet trust' >>"$1/data/pg_hba.conf"
# start DIRECTORY PROGRAMS PORT
start() {
    $as "$2/postgres" -D "$1/data" -k "$1" -p "$3" -c listen_addresses="$address" -c max_connections=300 \
        -c ssl=on -c ssl_cert_file="$1/server.crt" -c ssl_key_file="$1/server.key" >>"$1/log" 2>&1 &
    server=$!
    until "$2/pg_isready" -q -h "$1" -p "$3"; do sleep 0.05; done
    echo ready
}
stop() {
    kill -QUIT "$server" 2>/dev/null || true
    wait "$server" || true
}
start "$1" "$2" "$3"
while read -r pause; do
    stop
    if [ "$pause" = stop ]; then
        echo ready
    else
        sleep "$pause"
        start "$1" "$2" "$3"
    fi
done
stop
rm -rf "$1"
