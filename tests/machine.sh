# shellcheck shell=sh
# What a script asks of the machine, for those that source this under `set -eu`: `need` for Debian packages, `tool` for programs
# written in Rust, `test_programs` for ours, `npm_packages` and `venv` for those of a lock file, `broker` for ours, `unpack` for packages
# that are not installed, `isolate` for a network that has nothing but `lo`. Expects a Debian where something is missing, and root or
# `sudo -n` to install it.

# need COMMAND=PACKAGE...: installs the packages of those commands that are missing, or ends the script.
need() {
    missing=
    # shellcheck disable=SC2086 # a name with a star
    for pair; do command -v ${pair%=*} >/dev/null || missing="$missing ${pair##*=}"; done
    [ -n "$missing" ] || return 0
    echo "installing:$missing"
    if ! packages "$(as_root) env DEBIAN_FRONTEND=noninteractive apt-get -qy install --no-install-recommends $missing"; then
        echo "cannot install:$missing. Install these Debian packages as root, then run this again." >&2
        exit 1
    fi
}

# packages COMMAND: runs it with the present lists of packages, and not while another script does. The check fetches the lists once.
packages() {
    lists=${TABLE:+$TABLE-lists}
    flock /var/lib/dpkg sh -c "
        [ -e '${lists:-/nowhere}' ] || { $(as_root) apt-get -q update && touch '${lists:-/dev/null}'; }
        $1"
}
as_root() { [ "$(id -u)" = 0 ] || echo 'sudo -n'; }

# unpack PROGRAM=PACKAGE...: fetches Debian packages and unpacks them into the directory `unpacked`. It does not install them, because an
# installed package starts a service.
unpack() {
    unpacked=$(realpath -m "${CARGO_TARGET_DIR:-target}")/unpacked
    mkdir -p "$unpacked"
    for pair; do
        [ -x "$unpacked/${pair%=*}" ] ||
            packages "cd '$unpacked' && apt-get -qq download ${pair#*=} && dpkg -x ${pair#*=}_*.deb . && rm ${pair#*=}_*.deb"
    done
}

# libraries PACKAGE: installs what a package that is not installed depends on. Libraries start nothing.
libraries() {
    packages "$(as_root) env DEBIAN_FRONTEND=noninteractive apt-get -qy satisfy --no-install-recommends \"\$(apt-cache show $1 | sed -n '/^Depends: /{s///p;q}')\""
}

# venv NAME REQUIREMENTS [OPTION]...: makes target/NAME with these Python packages, unless it is there. `venv` is its directory then.
venv() {
    venv=$(realpath -m "${CARGO_TARGET_DIR:-target}")/$1
    requirements=$2
    shift 2
    if ! cmp -s "$requirements" "$venv/requirements.txt"; then
        rm -rf "$venv"
        python3 -m venv "$venv"
        "$venv/bin/pip" install -q "$@" -r "$requirements"
        cp "$requirements" "$venv/requirements.txt"
    fi
}

# tool NAME VERSION: builds it into target/tools of the current tree, unless this version is there. Takes a minute: without
# optimization, since it runs for seconds.
tool() {
    tools=$(realpath -m "${CARGO_TARGET_DIR:-target}")/tools
    cargo install --list --root "$tools" | grep -q "^$1 v$2:" ||
        CARGO_TARGET_DIR=$tools/build cargo install --debug --locked --root "$tools" "$1@$2"
}

# The arguments of every build of the check, so that there is one build, and where its programs are. The program of the tests with a browser
# needs the feature, and no other program uses it (src/bounds.rs). The programs are static, so that the image can take the crates of others
# from this build (tests/image/buildah.sh).
host=$(rustc --print host-tuple)
# shellcheck disable=SC2034
built=${CARGO_TARGET_DIR:-target}/$host/debug
one_build="--locked --workspace --features turn-broker/short-lives --target $host --config build.rustflags=[\"-Ctarget-feature=+crt-static\"]"

# test_programs: compiles the workspace, and prints a line for each test program: the directory of its package, and its path. The caller
# has `pipefail`.
test_programs() {
    # shellcheck disable=SC2086
    cargo test $one_build --no-run --message-format=json-render-diagnostics |
        sed -n 's|.*"manifest_path":"\([^"]*\)/Cargo.toml".*"profile":{[^}]*"test":true}.*"executable":"\([^"]*\)".*|\1 \2|p'
}

# npm_packages: those of the lock file in the current directory, unless they are there.
npm_packages() {
    flock package-lock.json sh -c 'cmp -s package-lock.json node_modules/installed.json ||
        { npm ci --prefer-offline --loglevel=error && cp package-lock.json node_modules/installed.json; }'
}

# broker ROOT: TURN_BROKER_BIN is the program; where it is not set, it is built in the tree at ROOT.
broker() {
    if [ -n "${TURN_BROKER_BIN:-}" ]; then
        test -x "$TURN_BROKER_BIN" || { echo "TURN_BROKER_BIN: $TURN_BROKER_BIN is no program" >&2 && exit 1; }
        return
    fi
    TURN_BROKER_BIN=$(cd "$1" && cargo build $one_build --bin turn-broker &&
        realpath "$built/turn-broker")
}

# isolate COMMAND [ARGUMENT]...: runs it in a network of its own, with its exit status. Needs `ip` and `unshare`. It is
# process 1 of a process namespace: whatever it started dies with it, and it dies with `unshare`. Takes the traps of INT
# and TERM.
isolate() {
    unshare='unshare --net --pid --mount-proc --fork --kill-child'
    if ! $unshare true 2>/dev/null; then
        unshare='unshare --user --map-root-user --net --pid --mount-proc --fork --kill-child'
        if ! $unshare true; then
            echo 'cannot make a network namespace: run as root, or allow user namespaces.' >&2
            exit 1
        fi
    fi
    # shellcheck disable=SC2016 # the inner shell's
    $unshare sh -c 'ip link set lo up && exec "$@"' sh "$@" &
    namespace=$!
    trap 'kill -KILL $namespace; exit 130' INT TERM
    wait $namespace
}
