#!/bin/sh
# Runs docs/compose.caddy.yaml as it stands under Podman: broker and Caddy are started, called over TLS, stopped and started again. No
# registry is asked: the images are made here, one of this tree's broker and its libraries, one of Debian's Caddy, both with the settings of the
# real ones. In a network of its own, so ports 80 and 443 are free. Needs root. Takes half a minute after the build.
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
    need podman=podman podman-compose=podman-compose netavark=netavark aardvark-dns=aardvark-dns curl=curl ip=iproute2 iptables=iptables unshare=util-linux
    cache=$(realpath -m "${CARGO_TARGET_DIR:-target}")/proxy
    mkdir -p "$cache"
    if [ ! -x "$cache/usr/bin/caddy" ]; then
        (cd "$cache" && apt-get -qq download caddy && dpkg -x caddy_*.deb . && rm caddy_*.deb)
    fi
    broker .
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    export TURN_BROKER_BIN work cache
    isolate unshare --mount --propagation private sh "$here/compose.sh" inside
    exit
fi

# --- in namespaces of its own --------------------------------------------------------------------------------------------
# Podman's runtime does not know the layout in which some machines have both versions of cgroups.
if [ -d /sys/fs/cgroup/unified ]; then
    umount -R /sys/fs/cgroup && mount -t cgroup2 cgroup2 /sys/fs/cgroup
fi
printf '[containers]\ndefault_ulimits = []\n' >"$work/containers.conf"
export CONTAINERS_CONF="$work/containers.conf"
cat >"$work/podman" <<END
#!/bin/sh
exec podman --root "$work/storage" --runroot "$work/run" --network-config-dir "$work/networks" --cgroup-manager cgroupfs "\$@"
END
chmod +x "$work/podman"
mkdir "$work/networks" "$work/docs"

# image NAME ROOT OPTION...: of the files in ROOT, after the libraries of the program PROGRAM were added.
image() {
    name=$1 root=$2
    shift 2
    ldd "$program" | grep -o '/[^ ]*' | while read -r library; do
        mkdir -p "$root$(dirname "$library")" && cp -L "$library" "$root$library"
    done
    tar -C "$root" -c . | "$work/podman" import -q "$@" - "$name" >/dev/null
}
mkdir -p "$work/broker/usr/local/bin" "$work/caddy/usr/bin" "$work/caddy/etc/caddy"
install -d -m 0700 -o 10001 -g 10001 "$work/broker/data"
program=$TURN_BROKER_BIN && cp "$program" "$work/broker/usr/local/bin/turn-broker"
# As in the Dockerfile. Compose gives the image that it has to build this name.
image localhost/turn-broker-caddy_turn-broker "$work/broker" \
    -c 'ENTRYPOINT ["/usr/local/bin/turn-broker"]' -c 'USER 10001:10001' -c 'ENV STATE_DIR=/data' -c 'ENV HOST=0.0.0.0' -c 'VOLUME /data'
program=$cache/usr/bin/caddy && cp "$program" "$work/caddy/usr/bin/caddy"
# As the image caddy:2.
image docker.io/library/caddy:2 "$work/caddy" -c 'ENV XDG_CONFIG_HOME=/config' -c 'ENV XDG_DATA_HOME=/data' \
    -c 'CMD ["/usr/bin/caddy","run","--config","/etc/caddy/Caddyfile","--adapter","caddyfile"]'

cp docs/compose.caddy.yaml docs/Caddyfile "$work/docs"
token=$(head -c 16 /dev/urandom | od -An -tx1 | tr -d ' \n')
# A public name needs a public certificate. For this one, Caddy is its own authority.
cat >"$work/.env" <<END
PUBLIC_URL=https://localhost
CLIENT_URL=https://app.example.com
ICE_SOURCES=stun
BANDWIDTH_LIMIT_GB=123
OPERATOR_TOKEN=$token
END
compose() {
    # It has no --env-file.
    PUBLIC_URL=https://localhost timeout 120 podman-compose --podman-path "$work/podman" -p turn-broker-caddy -f "$work/docs/compose.caddy.yaml" \
        --podman-run-args '--cgroups=disabled --pull=never --ulimit nofile=1024:1024 --ulimit nproc=1000:1000' "$@" >>"$work/compose.log" 2>&1
}

failed=0
# check NAME COMMAND...: says how it went, and goes on.
check() {
    name=$1
    shift
    if "$@"; then echo "ok      $name"; else failed=1 && echo "FAILED  $name"; fi
}
not() { ! "$@"; }
certificates=$work/storage/volumes/turn-broker-caddy_certificates/_data
ask() { curl -sf --max-time 10 --cacert "$certificates/caddy/pki/authorities/local/root.crt" "$@"; }
answers() {
    for _ in $(seq 60); do
        ask https://localhost/ready >/dev/null 2>&1 && return
        sleep 0.5
    done
    return 1
}
says() {
    expected=$1
    shift
    ask "$@" | grep -qF "$expected"
}

up() { compose up -d --no-build || { tail -n 20 "$work/compose.log" && exit 1; }; }
# This podman-compose passes on no subnet of a default network.
subnet=$(sed -n 's/.*subnet: \([0-9./]*\).*/\1/p' docs/compose.caddy.yaml)
"$work/podman" network create --subnet "$subnet" turn-broker-caddy_default >/dev/null

up
check 'the broker answers through Caddy, with a certificate' answers
check 'it answers /api/turn-credentials' says '"source":"stun"' -H 'X-Forwarded-For: 203.0.113.9' https://localhost/api/turn-credentials
check 'a request without TLS is redirected' [ "$(curl -s -o /dev/null -w '%{redirect_url}' http://localhost/docs)" = https://localhost/docs ]
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
check 'and start again' answers
check 'with the ledger of before' says '"bandwidthLimitGB":77' https://localhost/api/bandwidth-status
compose down
[ $failed = 0 ] || tail -n 60 "$work/compose.log"
exit $failed
