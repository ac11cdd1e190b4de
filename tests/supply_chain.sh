#!/bin/sh
# What the broker is made of: where its crates come from and how they are licensed (deny.toml), that each of them is used, that the notices
# of the image can be written, and that the workflows which build it are safe. Exit status 0 or 1.
#   ADVISORIES=1  also cargo-deny, which knows more kinds of sources and licenses, and looks for known vulnerabilities in a database from the
#                 network. Building it takes minutes
#   MSRV=1        also checks that the declared Rust version builds it, and installs that version
set -eu
cd "$(dirname "$0")/.."
# shellcheck source=tests/machine.sh
. tests/machine.sh
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
step() { printf '\n== %s\n' "$*"; }

need python3=python3-venv
step 'sources, licenses and use of the crates'
cargo metadata --locked --format-version 1 --all-features | python3 tests/supply_chain.py
if [ "${ADVISORIES:-}" = 1 ]; then
    tool cargo-deny 0.20.2
    step 'bans, licenses, sources and known vulnerabilities'
    "$target/tools/bin/cargo-deny" --locked --all-features check
fi
step 'workflows'
venv zizmor tests/zizmor.txt --no-deps
"$venv/bin/zizmor" --offline --no-progress --quiet .github
step 'notices of the image'
./third-party.sh >"$target/THIRD-PARTY"
echo "$(wc -c <"$target/THIRD-PARTY") bytes"
if [ "${MSRV:-}" = 1 ]; then
    declared=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml)
    step "Rust $declared"
    cargo "+$declared" --version 2>/dev/null || rustup toolchain install "$declared" --profile minimal
    CARGO_TARGET_DIR=$target/rust-$declared cargo "+$declared" check --locked --workspace --all-targets
fi
