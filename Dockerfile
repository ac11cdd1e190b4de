# One static binary and an empty /data: no shell, no libraries, no CA files (the TLS roots are in the binary).
FROM rust:1.95-slim-bookworm AS build
WORKDIR /src

# Static glibc: about half the CPU time per request of musl, whose allocator is slow with threads, and no further package.
# Size before speed: 5.9 MB instead of 8.1 MB with the release profile as it is, for some 3 µs more CPU per request.
ENV RUSTFLAGS="-C target-feature=+crt-static" CARGO_PROFILE_RELEASE_LTO=fat CARGO_PROFILE_RELEASE_OPT_LEVEL=s

# The dependencies, in a layer of their own that lasts until a manifest changes: the crate itself is empty here.
# The target is this machine's; naming it keeps RUSTFLAGS away from procedural macros, which cannot be static.
COPY Cargo.toml Cargo.lock ./
COPY crates/ledger/Cargo.toml crates/ledger/
RUN mkdir -p src crates/ledger/src crates/ledger/tests/simulation \
    && touch src/lib.rs crates/ledger/src/lib.rs crates/ledger/tests/simulation/main.rs && echo 'fn main() {}' >src/main.rs \
    && cargo build --locked --release --bin turn-broker --target "$(rustc --print host-tuple)"

# cargo goes by time, and the files that are copied may be older than the empty ones: hence `touch`.
COPY crates crates
COPY src src
RUN touch crates/ledger/src/lib.rs src/lib.rs src/main.rs \
    && cargo build --locked --release --bin turn-broker --target "$(rustc --print host-tuple)" \
    && mkdir -p /image/data && cp target/*/release/turn-broker /image/

FROM scratch
COPY --from=build /image/turn-broker /usr/local/bin/turn-broker
# There is no chown in this image. A number, since there is no /etc/passwd either; nobody else's on most hosts.
COPY --from=build --chown=10001:10001 /image/data /data
ENV STATE_DIR=/data
VOLUME /data
USER 10001:10001
EXPOSE 3001
HEALTHCHECK --interval=30s --timeout=5s --start-period=5s CMD ["/usr/local/bin/turn-broker", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/turn-broker"]
