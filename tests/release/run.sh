#!/bin/sh
# The files that release.sh makes, from outside: made twice and compared, unpacked, run in a directory that holds nothing else,
# asked over HTTP, the bills of materials held against their schema, and the image made of them. arm64 is run by qemu. Takes half an hour.
# The second time only our own packages are compiled again, and linked with those of others: that these do not change is up to their sources
# and rustc. Exit status 0 or 1.
#   run.sh [DIRECTORY]        copies the files there if all is well
#   ARCHITECTURES='x86_64'    only these
# Downloads Debian packages, crates, Rust's standard library for two targets, and a validator from PyPI.
set -eu
wanted=${1:+$(realpath -m "$1")}
here=$(realpath "$(dirname "$0")")
cd "$here/../.."
PATH=$PATH:/usr/sbin:/sbin
# shellcheck source=tests/machine.sh
. tests/machine.sh
ARCHITECTURES=${ARCHITECTURES:-x86_64 aarch64}
export ARCHITECTURES
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
need readelf=binutils curl=curl python3=python3-venv ip=iproute2 unshare=util-linux jq=jq qemu-aarch64-static=qemu-user-static
python=$(realpath -m "${CARGO_TARGET_DIR:-target}")/release-check
if [ ! -x "$python/bin/python" ]; then
    python3 -m venv "$python"
    "$python/bin/pip" install -q 'cyclonedx-python-lib[json-validation]==11.12.0'
fi

# shellcheck source=tests/checks.sh
. tests/checks.sh

# --- made twice, the second time by somebody with other habits ----------------------------------------------------------
start=$(date +%s)
./release.sh "$work/dist"
echo "made in $(($(date +%s) - start)) s"
find src crates -name '*.rs' -exec touch {} +
(umask 077 && TZ=Asia/Tokyo LC_ALL=C.UTF-8 ./release.sh "$work/again" >"$work/again.log" 2>&1) || { tail -n 40 "$work/again.log" && exit 1; }
check 'the second run compiled our packages' grep -q 'Compiling turn-broker v' "$work/again.log"
check 'a second run makes the same files' diff -r "$work/dist" "$work/again"
check 'the tree is as clean as before' [ -z "$(git status --porcelain -- '*.cdx.json')" ]
sums() (
    cd "$work/dist" && sha256sum --quiet -c SHA256SUMS && [ "$(wc -l <SHA256SUMS)" = "$(find . -name 'turn-broker-*' | wc -l)" ]
)
check 'SHA256SUMS covers every file' sums

# --- each architecture --------------------------------------------------------------------------------------------------
is_valid() {
    "$python/bin/python" -c 'if True:
        import sys
        from cyclonedx.schema import SchemaVersion
        from cyclonedx.validation.json import JsonStrictValidator
        problem = JsonStrictValidator(SchemaVersion.V1_5).validate_str(open(sys.argv[1]).read())
        sys.exit(None if problem is None else repr(problem))' "$1"
}
# The crates of the notices. The tool also lists a few that only optional features use.
lists_all() {
    jq -r '.components[] | select(.purl // "" | startswith("pkg:cargo/")) | "\(.name) \(.version)"' "$1" |
        sort >"$work/listed"
    sed -n '/^====/{n;s/^\([a-z0-9_-]* [0-9][^ ]*\)$/\1/p}' "$2" | sort >"$work/noticed"
    [ -s "$work/noticed" ] && ! comm -13 "$work/listed" "$work/noticed" | grep .
}
is_static() {
    readelf -lW "$1" >"$work/segments" && ! grep -q INTERP "$work/segments" && ! readelf -dW "$1" | grep NEEDED
}
loads_no_modules() { ! grep -qF libnss_ "$1"; }
has_no_path() { ! grep -qF -e "$HOME/" -e "$PWD/" "$1"; }

for architecture in $ARCHITECTURES; do
    echo "== $architecture"
    archive=$(echo "$work"/dist/turn-broker-*-"$architecture"-linux.tar.gz)
    files=$(basename "$archive" .tar.gz)
    tar -C "$work" -xzf "$archive"
    root=$work/$files
    check 'the archive holds what a server needs' [ "$(tar -tzf "$archive" | tr '\n' ' ')" = "$files/ $files/.env.example \
$files/LICENSE-APACHE $files/LICENSE-MIT $files/THIRD-PARTY $files/turn-broker $files/turn-broker.service " ]
    owners=$(tar -tvzf "$archive" --numeric-owner | awk '{ print $2, $4, $5 }' | sort -u)
    check 'its files have one owner and one time' [ "$(echo "$owners" | wc -l)" = 1 ]
    check 'the licenses of the crates and of the C library are in it' grep -qE '^musl, the C library' "$root/THIRD-PARTY"
    check 'the program is static' is_static "$root/turn-broker"
    check 'and loads no modules to resolve names' loads_no_modules "$root/turn-broker"
    check 'and has no path of this machine' has_no_path "$root/turn-broker"
    check 'the bill of materials is valid' is_valid "$work/dist/$files.cdx.json"
    check 'and lists the crates of the notices' lists_all "$work/dist/$files.cdx.json" "$root/THIRD-PARTY"
    runner=
    if [ "$architecture" != "$(uname -m)" ]; then
        cp "$(command -v "qemu-$architecture-static")" "$root/qemu"
        runner=/qemu
    fi
    check 'it runs, resolves names and stops' isolate "$here/inside.sh" "$root" $runner
    echo "size: $(stat -c %s "$root/turn-broker") bytes; archive $(stat -c %s "$archive") bytes"
done

# --- the image, with the program of this machine --------------------------------------------------------------------------
tar -C "$work" -xzf "$work"/dist/turn-broker-*-"$(uname -m)"-linux.tar.gz --one-top-level=image --strip-components=1
check 'the image with this program' tests/image/run.sh "$work/image"
[ $failed = 1 ] || [ -z "$wanted" ] || { mkdir -p "$wanted" && cp "$work"/dist/* "$wanted/"; }
exit $failed
