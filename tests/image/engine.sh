# shellcheck shell=sh disable=SC2034,SC2154 # variables of run.sh
# run.sh with docker or podman ($ENGINE). The build cache stays, as it does after any build.
images=
container=

engine_build() {
    # Podman drops HEALTHCHECK from its default format.
    if [ "$ENGINE" = podman ]; then set -- --format docker "$@"; fi
    BUILDKIT_PROGRESS=plain "$ENGINE" build --iidfile "$work/image" "$@" && image=$(cat "$work/image") && images="$images $image"
}
engine_inspect() { "$ENGINE" image inspect "$image"; }
engine_export() {
    container=$("$ENGINE" create "$image")
    "$ENGINE" export "$container"
    "$ENGINE" rm -v "$container" >/dev/null
}
engine_start() {
    container=$("$ENGINE" run -d -p 127.0.0.1::3001 "$image")
    address=$("$ENGINE" port "$container" 3001/tcp)
}
# The port has to keep its number, because the demo's page and credentials name it.
engine_start_demo() {
    "$ENGINE" rm -f -v "$container" >/dev/null
    demo=127.0.0.1:$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    container=$("$ENGINE" run -d -e PORT="${demo#*:}" -p "$demo:${demo#*:}" -p "$demo:${demo#*:}/udp" "$image" demo)
}
outside() { "$@"; }
ask() { curl -sf --max-time 10 "http://$address$1"; }
engine_exec() { "$ENGINE" exec "$container" "$@"; }
engine_uid() {
    case $ENGINE in
    docker) docker top "$container" -eo pid,uid ;;
    podman) podman top "$container" pid user ;;
    esac | awk 'NR == 2 { print $2 }'
}
engine_stop() {
    "$ENGINE" stop -t 15 "$container" >/dev/null
    [ "$("$ENGINE" inspect -f '{{.State.ExitCode}}' "$container")" = 0 ]
}
engine_log() { "$ENGINE" logs "$container"; }
engine_clean() {
    [ -z "$container" ] || "$ENGINE" rm -f -v "$container" >/dev/null 2>&1 || :
    for image in $images; do "$ENGINE" rmi "$image" >/dev/null 2>&1 || :; done
}
