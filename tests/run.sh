#!/usr/bin/env bash
# The project's check: form, lints, every test, a call over a real relay and the pages in a real browser, and a real coturn's
# command line. Needs the Rust toolchain; the rest is installed by those that need it (Debian's coturn, chromium and nodejs, npm
# packages).
set -euo pipefail
cd "$(dirname "$0")/.."

for component in rustfmt clippy; do
    cargo "${component/rust/}" --version >/dev/null 2>&1 || rustup component add "$component"
done

step() { printf '\n== %s\n' "$*"; }

step form
cargo fmt --all --check
step lints
cargo clippy --locked --workspace --all-targets -- -D warnings
step "unit, property and integration tests"
cargo test --locked --workspace
step "an attacker with what a stranger has, in its short form"
tests/hostile/run.sh
step "a call over a real relay in a real browser"
tests/browser/run.sh
step "calls that mint only when needed, in two real browsers"
tests/browser/run.sh needed
step "the pages in a real browser"
tests/browser/run.sh pages
step "the demo, as somebody meets it"
tests/browser/run.sh demo
step "browser module and pages, without a browser"
tests/web/run.sh
step "the code of the documents, as it stands"
tests/examples/run.sh
step "the API against its own description"
tests/api/run.sh
step "behind nginx and Caddy, as docs/DEPLOYMENT.md has them"
tests/proxy/run.sh
step "alert rules and systemd unit"
tests/deploy/run.sh
step "a real coturn, read and cut"
tests/coturn/run.sh
step "a broker and a coturn, as docs/DEPLOYMENT.md sets them up"
tests/coturn/deployed.sh

printf '\nAll of it passed, in %d minutes.\n' $(((SECONDS + 59) / 60))
