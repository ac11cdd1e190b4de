# shellcheck shell=sh disable=SC2034,SC2154 # variables of run.sh
# run.sh with buildah alone: no daemon, no registry, no cgroups. Its storage is a directory of its own. The base image is
# made here, from Debian packages and this machine's Rust. The broker runs in a network that has nothing but `lo`, a name
# server and a provider, so that the static binary has to resolve a name.
[ "$(id -u)" = 0 ] || { echo 'no docker that answers, and buildah needs root to run what it built' >&2 && exit 1; }
need buildah=buildah mmdebstrap=mmdebstrap ip=iproute2 nsenter=util-linux
mint_source=cloudflare
containers=
namespace=
helpers=

b() {
    command=$1
    shift
    buildah --root "$work/storage" --runroot "$work/runroot" "$command" "$@"
}

# The base image, under the name by which the Dockerfile calls it. Toolchain and crates are mounted, not copied.
base=$(sed -n 's/^FROM \(.*\)@sha256:[0-9a-f]\{64\} AS rust$/\1/p' Dockerfile)
rootfs=$cache/$base.tar
if [ ! -s "$rootfs" ]; then
    mmdebstrap --quiet --format=tar --variant=minbase --include=gcc,libc6-dev "${base##*-}" "$rootfs.part"
    mv "$rootfs.part" "$rootfs"
fi
toolchain=$(rustc --print sysroot)
cargo_home=${CARGO_HOME:-$HOME/.cargo}
mkdir -p "$cargo_home/registry"
# The crates of others, as the check has compiled them. cargo takes those with the same compiler, flags and features, and compiles the rest.
compiled=$cache/target
rm -rf "$compiled"
for kind in "$host/debug" debug; do
    mkdir -p "$compiled/$kind"
    for part in deps build .fingerprint; do
        [ ! -d "${CARGO_TARGET_DIR:-target}/$kind/$part" ] || cp -al "${CARGO_TARGET_DIR:-target}/$kind/$part" "$compiled/$kind"
    done
done
ours=broker
for package in crates/*; do ours="$ours|$(basename "$package" | tr - .)"; done
# Nothing here needs budget and ledger to be fast, and without optimization it compiles in a quarter of the time.
printf '[profile.dev.package.turn-%s]\nopt-level = 0\n' budget ledger >"$cache/cargo.toml"
find "$compiled" -mindepth 3 -regextype posix-extended -regex ".*/(lib)?turn[-_]($ours)[^/]*" -prune -exec rm -r {} +

# engine_build [OPTION ...] CONTEXT. Only the real base image has the digest.
engine_build() {
    for directory; do :; done
    sed -i '/ AS rust$/s/@sha256:[0-9a-f]*//' "$directory/Dockerfile"
    b bud --layers --pull-never --format docker --isolation chroot --iidfile "$work/image" \
        -v "$toolchain:/usr/local/toolchain:ro" -v "$cargo_home/registry:$cargo_home/registry" \
        -v "$compiled:/src/target" -v "$cache/cargo.toml:/.cargo/config.toml:ro" "$@" &&
        image=$(cat "$work/image")
}
engine_inspect() { b inspect --type image "$image"; }
engine_export() {
    # `run` writes /etc/resolv.conf from this.
    container=$(b from --pull-never --dns 127.0.0.1 "$image")
    containers="$containers $container"
    root=$(b mount "$container")
    tar -c -C "$root" .
}
in_namespace() { nsenter -t "$namespace" -n "$@"; }
# new_network: makes one and sets `network`, the process that holds it.
new_network() {
    unshare --net sleep infinity &
    network=$!
    helpers="$helpers $network"
    # Not before it is one: what is looked for by namespace must not be looked for on the whole machine.
    while [ "$(readlink "/proc/$network/ns/net")" = "$(readlink /proc/self/ns/net)" ]; do sleep 0.1; done
    nsenter -t "$network" -n ip link set lo up
}
engine_start() {
    new_network
    namespace=$network
    nsenter -t "$namespace" -n python3 "$here/provider.py" &
    helpers="$helpers $!"
    engine_exec /usr/local/bin/turn-broker >"$work/broker.log" 2>&1 &
    broker=$!
}
ask() { in_namespace curl -sf --max-time 10 "http://127.0.0.1:3001$1"; }
# In the same network, which gets a link to a second one. From there the demo is asked: loopback would hide where it listens.
engine_start_demo() {
    new_network
    outside=$network
    demo=192.0.2.2:3001
    ip link add demo netns "$outside" type veth peer name demo netns "$namespace"
    outside ip addr add 192.0.2.1/30 dev demo
    in_namespace ip addr add "${demo%:*}/30" dev demo
    outside ip link set demo up
    in_namespace ip link set demo up
    engine_exec /usr/local/bin/turn-broker demo >"$work/broker.log" 2>&1 &
    broker=$!
}
outside() { nsenter -t "$outside" -n "$@"; }
engine_exec() {
    in_namespace buildah --root "$work/storage" --runroot "$work/runroot" run --isolation chroot \
        -e CLOUDFLARE_API_BASE=http://provider.test:8787 \
        -e CLOUDFLARE_TURN_KEY_ID=demo -e CLOUDFLARE_TURN_API_TOKEN=demo-token "$container" -- "$@"
}
# By its network: the process is a distant descendant of buildah's.
broker_pid() { pgrep --ns "$namespace" --nslist net -x turn-broker; }
engine_uid() { ps -o uid= -p "$(broker_pid)" | tr -d ' '; }
# Seen from the process, so with the volume in its place.
writes_data() (
    cd "/proc/$(broker_pid)/root" && cd data && setpriv --reuid=10001 --regid=10001 --clear-groups touch probe
)
engine_stop() {
    kill "$(broker_pid)"
    wait "$broker"
}
engine_log() { cat "$work/broker.log"; }
engine_clean() {
    [ -z "$namespace" ] || pkill --ns "$namespace" --nslist net -x turn-broker || :
    # shellcheck disable=SC2086 # a list of numbers
    [ -z "$helpers" ] || { kill $helpers && wait; } 2>/dev/null || :
    for container in $containers; do
        b umount "$container" >/dev/null || :
        b rm "$container" >/dev/null || :
    done
    b rmi --all >/dev/null 2>&1 || :
}

container=$(b from scratch)
containers=$container
b add -q "$container" "$rootfs"
b config --env PATH=/usr/local/toolchain/bin:/usr/bin:/bin --env "CARGO_HOME=$cargo_home" "$container"
b commit -q "$container" "docker.io/library/$base" >/dev/null
