# shellcheck shell=sh
# Checks that go on after a failure, for tests that source this at the top of the tree. `failed` is 1 after one.

failed=0
# check NAME COMMAND...: says how it went, and goes on.
check() {
    name=$1
    shift
    if "$@"; then echo "ok      $name"; else failed=1 && echo "FAILED  $name"; fi
}
# soon COMMAND...: within 30 s.
soon() {
    for _ in $(seq 300); do
        "$@" && return
        sleep 0.1
    done
    return 1
}
