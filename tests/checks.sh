# shellcheck shell=sh
# Checks that go on after a failure, and the one way to wait. For scripts that source this. `failed` is 1 after a failed check.

failed=0
# check NAME COMMAND...: says how it went, and goes on.
check() {
    name=$1
    shift
    if "$@"; then echo "ok      $name"; else failed=1 && echo "FAILED  $name"; fi
}
# is NAME EXPECTED ACTUAL: likewise, with both values after a failure.
is() {
    if [ "$2" = "$3" ]; then echo "ok      $1"; else
        failed=1
        echo "FAILED  $1: expected '$2', got '$3'"
    fi
}
# for_debian FILE: a Caddyfile for the Caddy of Debian 12, in which the size of buffers is no part of the option.
for_debian() { sed 's/request_buffers .*/buffer_requests/' "$1"; }
# eventually COMMAND...: runs it until it succeeds, for two minutes. No test depends on how long something takes.
eventually() {
    for _ in $(seq 1200); do
        "$@" && return
        sleep 0.1
    done
    return 1
}
