#!/bin/sh
# Runs docs/compose.caddy.yaml and docs/compose.replicas.yaml as they stand under Podman. Broker and Caddy are started, called over TLS,
# stopped and started again. Of two replicas, the leader is killed while a client mints. No registry is asked: the images are made here, of
# this tree's broker, Debian's Caddy and Debian's PostgreSQL with their libraries, with the settings of the real ones. In a network of its
# own, so ports 80 and 443 are free. Needs root. Takes a minute after the build.
#   TURN_BROKER_BIN  the binary to test instead of building one
set -eu
[ -z "${TURN_BROKER_BIN:-}" ] || TURN_BROKER_BIN=$(realpath "$TURN_BROKER_BIN")
here=$(realpath "$(dirname "$0")")
cd "$here/../.."
PATH=$PATH:/usr/sbin:/sbin:/usr/lib/podman
# shellcheck source=tests/machine.sh
. tests/machine.sh

if [ "${1:-}" != inside ]; then
    [ "$(id -u)" = 0 ] || { echo 'run this as root: it makes containers' >&2 && exit 1; }
    need podman=podman podman-compose=podman-compose netavark=netavark aardvark-dns=aardvark-dns curl=curl ip=iproute2 iptables=iptables unshare=util-linux \
        /usr/lib/postgresql/*/bin/initdb=postgresql
    unpack usr/bin/caddy=caddy
    broker .
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    export TURN_BROKER_BIN work unpacked
    isolate unshare --mount --propagation private sh "$here/compose.sh" inside
    exit
fi

# --- in namespaces of its own --------------------------------------------------------------------------------------------
# Podman's runtime does not know the layout in which some machines have both versions of cgroups.
if [ -d /sys/fs/cgroup/unified ]; then
    umount -R /sys/fs/cgroup && mount -t cgroup2 cgroup2 /sys/fs/cgroup
fi
# Names of containers that another run has left.
mkdir -p /run/containers && mount -t tmpfs tmpfs /run/containers
printf '[containers]\ndefault_ulimits = []\n' >"$work/containers.conf"
export CONTAINERS_CONF="$work/containers.conf"
cat >"$work/podman" <<END
#!/bin/sh
exec podman --root "$work/storage" --runroot "$work/run" --network-config-dir "$work/networks" --cgroup-manager cgroupfs "\$@"
END
chmod +x "$work/podman"
mkdir "$work/networks" "$work/docs"

# image NAME ROOT OPTION...: of the files in ROOT, after the libraries of the programs PROGRAM were added.
image() {
    name=$1 root=$2
    shift 2
    # shellcheck disable=SC2086 # a list of words
    ldd $program | grep -o '/[^ :]*' | sort -u | while read -r library; do
        mkdir -p "$root$(dirname "$library")" && cp -L "$library" "$root$library"
    done
    tar -C "$root" -c . | "$work/podman" import -q "$@" - "$name" >/dev/null
}
mkdir -p "$work/broker/usr/local/bin" "$work/caddy/usr/bin" "$work/caddy/etc/caddy"
install -d -m 0700 -o 10001 -g 10001 "$work/broker/data"
program=$TURN_BROKER_BIN && cp "$program" "$work/broker/usr/local/bin/turn-broker"
# Its ENV is that of the Dockerfile. This Podman takes one variable at a time.
set --
for pair in $(sed -n 's/^ENV \(STATE_DIR=.*\)/\1/p' Dockerfile); do set -- "$@" -c "ENV $pair"; done
# As in the Dockerfile. Compose gives the image that it has to build this name.
image localhost/turn-broker-caddy_turn-broker "$work/broker" \
    -c 'ENTRYPOINT ["/usr/local/bin/turn-broker"]' -c 'USER 10001:10001' -c 'VOLUME /data' "$@"
"$work/podman" tag localhost/turn-broker-caddy_turn-broker localhost/turn-broker-replicas
program=$unpacked/usr/bin/caddy && cp "$program" "$work/caddy/usr/bin/caddy"
# As the image caddy:2.
image docker.io/library/caddy:2 "$work/caddy" -c 'ENV XDG_CONFIG_HOME=/config' -c 'ENV XDG_DATA_HOME=/data' \
    -c 'CMD ["/usr/bin/caddy","run","--config","/etc/caddy/Caddyfile","--adapter","caddyfile"]'

# As the image postgres, which makes a database at its first start.
server=$(dirname "$(find /usr/lib/postgresql -name initdb | sort -V | tail -n 1)")
program="/bin/sh $server/postgres $server/initdb $server/psql"
mkdir -p "$work/postgres/bin" "$work/postgres/etc" "$work/postgres/usr/lib/postgresql" "$work/postgres/usr/share/postgresql"
install -d -m 1777 "$work/postgres/tmp"
install -d -m 0700 -o 999 -g 999 "$work/postgres/var/lib/postgresql/data"
cp /bin/sh "$work/postgres/bin"
cp -r "$(dirname "$server")" "$work/postgres/usr/lib/postgresql"
cp -r "/usr/share/postgresql/$(basename "$(dirname "$server")")" "$work/postgres/usr/share/postgresql"
echo 'postgres:x:999:999::/:/bin/sh' >"$work/postgres/etc/passwd"
cat >"$work/postgres/start" <<END
set -eu
if [ ! -s "\$PGDATA/PG_VERSION" ]; then
    echo "\$POSTGRES_PASSWORD" >/tmp/password
    initdb -A scram-sha-256 -U "\$POSTGRES_USER" --pwfile=/tmp/password -E UTF8 --locale=C
    echo 'host all all all scram-sha-256' >>"\$PGDATA/pg_hba.conf"
    echo "CREATE DATABASE \$POSTGRES_USER" | postgres --single postgres
fi
exec postgres -c 'listen_addresses=*' -c unix_socket_directories=/tmp
END
image docker.io/library/postgres:17 "$work/postgres" -c 'USER 999:999' -c 'ENV PGDATA=/var/lib/postgresql/data' -c "ENV PATH=$server" \
    -c 'VOLUME /var/lib/postgresql/data' -c 'STOPSIGNAL SIGINT' -c 'CMD ["/bin/sh","/start"]'

# shellcheck source=tests/checks.sh
. tests/checks.sh
cp docs/compose.caddy.yaml docs/compose.replicas.yaml "$work/docs"
for file in Caddyfile Caddyfile.replicas; do for_debian "docs/$file" >"$work/docs/$file"; done
token=$(head -c 16 /dev/urandom | od -An -tx1 | tr -d ' \n')
# A public name needs a public certificate. For this one, Caddy is its own authority.
cat >"$work/.env" <<END
PUBLIC_URL=https://localhost
CLIENT_URL=https://app.example.com
ICE_SOURCES=stun
BANDWIDTH_LIMIT_GB=123
OPERATOR_TOKEN=$token
END
# use NAME: the functions below are about docs/compose.NAME.yaml.
use() {
    file=$work/docs/compose.$1.yaml project=turn-broker-$1
    certificates=$work/storage/volumes/${project}_certificates/_data
    # This podman-compose passes on no subnet of a default network.
    "$work/podman" network create --subnet "$(sed -n 's/.*subnet: \([0-9./]*\).*/\1/p' "$file")" "${project}_default" >/dev/null
}
compose() {
    # It has no --env-file. Docker gives a container with a read-only root no /tmp, so Podman must not either.
    PUBLIC_URL=https://localhost POSTGRES_PASSWORD=$token timeout 120 podman-compose --podman-path "$work/podman" -p "$project" -f "$file" \
        --podman-run-args '--read-only-tmpfs=false --cgroups=disabled --pull=never --ulimit nofile=1024:1024 --ulimit nproc=1000:1000' "$@" >>"$work/compose.log" 2>&1
}

not() { ! "$@"; }
ask() { curl -sf --max-time 10 --cacert "$certificates/caddy/pki/authorities/local/root.crt" "$@"; }
answers() { ask --max-time 2 https://localhost/ready >/dev/null 2>&1; }
says() {
    expected=$1
    shift
    ask "$@" | grep -qF "$expected"
}

up() { compose up -d --no-build || { tail -n 20 "$work/compose.log" && exit 1; }; }

use caddy
up
check 'the broker answers through Caddy, with a certificate' eventually answers
check 'it answers /api/turn-credentials' says '"source":"stun"' -H 'X-Forwarded-For: 203.0.113.9' https://localhost/api/turn-credentials
check 'a request without TLS is redirected' [ "$(curl -s -o /dev/null -w '%{redirect_url}' http://localhost/health)" = https://localhost/health ]
check 'the broker itself is not published' not curl -s --max-time 3 http://localhost:3001/health
check 'the proxy is trusted' not says PROXY_NOT_TRUSTED https://localhost/api/bandwidth-status
check 'the ledger is durable, and .env is read' says '"bandwidthLimitGB":123' https://localhost/api/bandwidth-status
check 'the limit can be changed' says '"bandwidthLimitGB":77' -H "Authorization: Bearer $token" -d '{"limitGB": 77}' https://localhost/api/budget/limit
container=$("$work/podman" ps -q --filter name=turn-broker-caddy_turn-broker)
check 'commands run in its container' \
    [ "$(timeout 60 "$work/podman" exec "$container" /usr/local/bin/turn-broker status --json | grep -c '"bandwidthLimitGB":77')" = 1 ]
check 'the broker is not root and cannot write outside its volume' \
    [ "$("$work/podman" inspect -f '{{.Config.User}} {{.HostConfig.ReadonlyRootfs}}' "$container")" = '10001:10001 true' ]
check 'both stop' compose down
up
check 'and start again' eventually answers
check 'with the ledger of before' says '"bandwidthLimitGB":77' https://localhost/api/bandwidth-status
compose down
"$work/podman" network rm turn-broker-caddy_default >/dev/null

# --- two replicas ---
cat >>"$work/.env" <<END
ICE_SOURCES=coturn
COTURN_URLS=turn:turn.example.com
RELAY_PROBE=off
COTURN_SECRET=coturn-$token
POSTGRES_PASSWORD=$token
RATE_LIMIT_REQUESTS=10000
END
use replicas
up
container() { "$work/podman" ps -q --filter "name=turn-broker-replicas_$1_"; }
address() { "$work/podman" inspect -f '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' "$(container "$1")"; }
leads() { curl -sf --max-time 1 "http://$(address "$1"):3001/leader" >/dev/null 2>&1; }
ready() { curl -sf --max-time 1 "http://$(address "$1"):3001/ready" >/dev/null 2>&1; }
check 'two replicas answer through Caddy' eventually answers
check 'one is ready' eventually ready one
check 'two is ready' eventually ready two
one_leads() { [ "$(for replica in one two; do leads $replica && echo $replica; done | wc -l)" = 1 ]; }
check 'one of them leads' eventually one_leads
if leads one; then leader=one; else leader=two; fi
# The name of a user in coturn ends with the id of the grant.
while [ ! -e "$work/enough" ]; do
    ask -S https://localhost/api/turn-credentials || echo 'not answered'
done >"$work/answers" 2>&1 &
minting=$!
sleep 2
answered() { grep -o '"username":"[^"]*' "$work/answers" | cut -d: -f3 | tr -- '-_' '+/'; }
before=$(answered | wc -l)
kill -KILL "$("$work/podman" inspect -f '{{.State.Pid}}' "$(container "$leader")")"
# Which one leads depends on how fast the engine starts the killed one again.
check 'the leader is killed, and a replica leads' eventually one_leads
check 'the engine starts the killed one again' eventually ready "$leader"
check 'still, only one of them leads' eventually one_leads
touch "$work/enough"
wait $minting
check 'a client mints through Caddy before and after' [ "$(answered | wc -l)" -gt "$((before + 5))" ]
# One can be in progress at the leader when it is killed.
check 'each of its requests is answered, but for one' [ "$(grep -c 'not answered' "$work/answers")" -le 1 ]
stored() { "$work/podman" exec -e "PGPASSWORD=$token" "$(container postgres)" psql -h /tmp -U turn -Atc "SELECT encode(key, 'base64') FROM turn_broker.item WHERE kind = 4"; }
answered | sort >"$work/answered"
stored | tr -d = | sort >"$work/stored"
check "each of the $(wc -l <"$work/answered") grants that it got is in the database" [ -z "$(comm -23 "$work/answered" "$work/stored")" ]
mkdir -m 0700 "$work/backup"
backs_up() {
    ask -H "Authorization: Bearer $token" -o "$work/backup/ledger.redb" https://localhost/api/backup &&
        STATE_DIR=$work/backup "$TURN_BROKER_BIN" ledger verify | grep -q sound
}
check 'a backup of the database is a sound ledger' backs_up
compose down
[ $failed = 0 ] || tail -n 60 "$work/compose.log"
exit $failed
