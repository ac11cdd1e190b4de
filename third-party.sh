#!/bin/sh
# Prints the licenses of everything that the binary contains besides our own code: the crates, the chart library of the pages,
# Rust's standard library and the C library, if that is linked statically. The texts come from the sources that were built; the
# same text is printed once. A crate without a text of its own fails the script, unless its license is one of ours. Needs cargo.
# The Dockerfile and release.sh run it.
#   CARGO_BUILD_TARGET  what the binary was built for, by default this machine
set -eu
cd "$(dirname "$0")"
registry=${CARGO_HOME:-$HOME/.cargo}/registry/src
rule='================================================================================'

seen=$(mktemp -d)
trap 'rm -rf "$seen"' EXIT

# heading TITLE LICENCE
heading() { printf '\n%s\n%s\n%s\n%s\n\n' "$rule" "$1" "$2" "$rule"; }

# texts DIRECTORY: the license files in it, one after the other. Fails if there is none.
texts() {
    found=1
    for file in "$1"/LICENSE* "$1"/LICENCE* "$1"/COPYING* "$1"/COPYRIGHT* "$1"/NOTICE* "$1"/UNLICENSE* "$1"/license*; do
        [ -f "$file" ] || continue
        found=0
        hash=$(tr -d '[:space:]' <"$file" | sha256sum | cut -d ' ' -f 1)
        if [ -f "$seen/$hash" ]; then
            printf -- '--- %s: the text of %s above\n' "${file##*/}" "$(cat "$seen/$hash")"
            continue
        fi
        printf '%s' "${1##*/}/${file##*/}" >"$seen/$hash"
        printf -- '--- %s\n' "${file##*/}"
        cat "$file"
        echo
    done
    return $found
}

# crates: name, version and license of each crate in the binary. Our own are those with a path.
crates() {
    cargo tree --locked --package turn-broker --edges normal --prefix none --format '{p}|{l}' | sed '/ (\//d; s/ (\*)$//' |
        sed -n 's/^\([^ ]*\) v\([^ |]*\)[^|]*|\(.*\)$/\1 \2 \3/p' | sort -u
}

echo "turn-broker contains the following software."
list=$(crates)
printf '%s\n' "$list" | while read -r name version license; do
    heading "$name $version" "$license"
    directory=
    for place in "$registry"/*/"$name-$version"; do directory=$place; done
    texts "$directory" && continue
    case $license in
    *MIT*) echo "Its sources have no text. The text of the MIT license is in LICENSE-MIT." ;;
    *Apache-2.0*) echo "Its sources have no text. The text of the Apache license 2.0 is in LICENSE-APACHE." ;;
    *) echo "$name $version has no license text" >&2 && exit 1 ;;
    esac
done
heading 'mimalloc, the allocator' 'MIT'
texts "$(echo "$registry"/*/libmimalloc-sys-*/c_src/mimalloc/v3)"
heading 'uPlot' 'MIT'
texts src/web/vendor/uplot
heading "Rust's standard library, $(rustc --version)" 'MIT OR Apache-2.0'
echo 'Copyright (c) The Rust Project Contributors. The texts are in LICENSE-MIT and LICENSE-APACHE.'
case ${CARGO_BUILD_TARGET:-} in
*-musl) library=musl heading='musl, the C library, linked statically' license=MIT ;;
*) library=libc6 heading='The GNU C library, linked statically in the image' license=LGPL-2.1-or-later ;;
esac
if [ -f /usr/share/doc/$library/copyright ]; then
    heading "$heading" $license
    cat /usr/share/doc/$library/copyright
elif [ $library = musl ]; then
    echo 'no license text of musl: install the Debian package musl' >&2 && exit 1
fi
