#!/bin/sh
# What breaks the image, in seconds: the files that the Dockerfile copies hold every manifest, and the notices name nothing of ours.
# tests/image/run.sh builds the image.
set -eu
cd "$(dirname "$0")/../.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The context, as .dockerignore has it.
mkdir "$work/context" "$work/manifests"
sed -n 's/^!//p' .dockerignore | xargs cp -r -t "$work/context"

# The stage `manifests`: its copies, then its command.
sed -n '/ AS manifests$/,/^FROM .* AS dependencies$/p' Dockerfile >"$work/stage"
sed -n 's|^COPY \(.*\) [^ ]*$|\1|p' "$work/stage" | tr ' ' '\n' | (cd "$work/context" && xargs cp -r -t "$work/manifests")
sed -n '/^RUN /,/[^\\]$/p' "$work/stage" | sed '1s/^RUN //' >"$work/command"
(cd "$work/manifests" && sh -eu "$work/command")
host=$(rustc --print host-tuple)
(cd "$work/manifests" && cargo metadata --locked --format-version 1 --filter-platform "$host" >/dev/null) || {
    echo 'the stage "manifests" of the Dockerfile lacks what cargo asks for above' >&2
    exit 1
}
echo "ok      the image has the manifests of $(find "$work/manifests" -name Cargo.toml | wc -l) packages"

# The compiler alone, since the module needs nothing else.
optimized() {
    CARGO_PKG_VERSION=0 rustc --edition 2024 --crate-type lib --emit metadata --out-dir "$work" -A warnings \
        -C debug-assertions=off "$@" src/bounds.rs 2>"$work/refusal"
}
if ! optimized || optimized --cfg 'feature="short-lives"' || ! grep -q 'no optimized build may have it' "$work/refusal"; then
    echo 'an optimized build with the feature short-lives is not refused' >&2
    exit 1
fi
echo 'ok      no optimized build has the times of the tests with a browser'

./third-party.sh >"$work/notices"
for manifest in Cargo.toml crates/*/Cargo.toml; do
    name=$(sed -n '/^name = /{s/.*"\(.*\)"/\1/p;q}' "$manifest")
    ! grep -E "^$name [0-9]" "$work/notices" || { echo "the notices name $name, which is ours" >&2 && exit 1; }
done
grep -q '^tokio [0-9]' "$work/notices"
echo 'ok      the notices name the crates of others alone'
