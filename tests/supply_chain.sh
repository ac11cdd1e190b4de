#!/bin/sh
# What the broker is made of: where its crates come from and how they are licensed (deny.toml), that each of them is used, and
# that the notices of the image can be written. Builds two tools once, in target/tools, which takes minutes. Exit status 0 or 1.
#   ADVISORIES=1  also looks for known vulnerabilities, in a database from the network
#   MSRV=1        also checks that the declared Rust version builds it, and installs that version
set -eu
cd "$(dirname "$0")/.."
# shellcheck source=tests/machine.sh
. tests/machine.sh
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
step() { printf '\n== %s\n' "$*"; }

tool cargo-deny 0.20.2
tool cargo-machete 0.9.2

step 'bans, licenses and sources'
"$target/tools/bin/cargo-deny" --locked --all-features check bans licenses sources
if [ "${ADVISORIES:-}" = 1 ]; then
    step 'known vulnerabilities'
    "$target/tools/bin/cargo-deny" --locked --all-features check advisories
fi
step 'unused dependencies'
"$target/tools/bin/cargo-machete" --skip-target-dir .
step 'notices of the image'
./third-party.sh >"$target/THIRD-PARTY"
echo "$(wc -c <"$target/THIRD-PARTY") bytes"
if [ "${MSRV:-}" = 1 ]; then
    declared=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml)
    step "Rust $declared"
    cargo "+$declared" --version 2>/dev/null || rustup toolchain install "$declared" --profile minimal
    CARGO_TARGET_DIR=$target/rust-$declared cargo "+$declared" check --locked --workspace --all-targets
fi
