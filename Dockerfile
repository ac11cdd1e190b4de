# The image holds one static binary, its licenses and an empty /data: no shell, no libraries, no CA files. The binary contains
# the TLS roots.
FROM rust:1.95-slim-bookworm@sha256:d7482085ff5b415f84dba5647ae71606650bdef00db7aeb69f4b3d170c3e4082 AS rust
WORKDIR /src

# The manifests of all packages of the workspace, each with empty sources. A new package needs no line here.
FROM rust AS manifests
COPY Cargo.toml Cargo.lock ./
COPY crates crates
RUN find crates -type f ! -name Cargo.toml -delete \
    && for package in . crates/*; do mkdir -p "$package/src" && touch "$package/src/lib.rs" && echo 'fn main() {}' >"$package/src/main.rs"; done

FROM rust AS dependencies
# Static glibc needs no extra target of rustup.
# Size before speed: the image is smaller, and a request costs slightly more CPU time than with the release profile.
# Without debug information and files for the next build, the profile `dev` compiles faster.
ENV RUSTFLAGS="-Ctarget-feature=+crt-static" CARGO_PROFILE_RELEASE_LTO=fat CARGO_PROFILE_RELEASE_OPT_LEVEL=s CARGO_PROFILE_DEV_DEBUG=0 CARGO_INCREMENTAL=0
# tests/run.sh builds with `dev`, which takes a third of the time. An argument ends with its stage, a variable does not.
ARG PROFILE=release
ENV PROFILE=$PROFILE

# Build the dependencies with the empty packages, in a layer that stays valid until a manifest changes.
# Naming the host target keeps RUSTFLAGS away from procedural macros, which cannot be static.
COPY --from=manifests /src ./
RUN cargo build --locked --profile "$PROFILE" --bin turn-broker --target "$(rustc --print host-tuple)" && rm -r src crates

FROM dependencies AS build

# cargo compares times, and the copied files may be older than the empty ones, so `touch` them.
COPY crates crates
COPY src src
COPY LICENSE-MIT LICENSE-APACHE third-party.sh ./
# The commit, for the metric build_info: docker build --build-arg BROKER_REVISION=$(git rev-parse --short HEAD)
ARG BROKER_REVISION=
RUN find src crates -name '*.rs' -exec touch {} + \
    && cargo build --locked --profile "$PROFILE" --bin turn-broker --target "$(rustc --print host-tuple)" \
    && mkdir -p /image/owned && mkdir -m 0700 /image/owned/data && cp target/*/*/turn-broker /image/ \
    && mkdir /image/licenses && cp LICENSE-MIT LICENSE-APACHE /image/licenses/ && ./third-party.sh >/image/licenses/THIRD-PARTY

FROM scratch
ARG BROKER_REVISION=
LABEL org.opencontainers.image.title="turn-broker" \
    org.opencontainers.image.description="TURN credentials under a monthly budget" \
    org.opencontainers.image.licenses="MIT OR Apache-2.0" \
    org.opencontainers.image.version="0.1.0" \
    org.opencontainers.image.revision="$BROKER_REVISION"
COPY --from=build /image/turn-broker /usr/local/bin/turn-broker
COPY --from=build /image/licenses /usr/share/doc/turn-broker
# This image has no chown and no /etc/passwd, so the owner is a number, one that is unused on most hosts.
# /data is copied as the content of a directory, because only then it keeps its mode.
COPY --from=build --chown=10001:10001 /image/owned/ /
# HOST is for `demo`, which by default listens on loopback, where no published port leads. TMPDIR is for a backup of the database: there is
# no /tmp, and the volume can be written also if the root is read-only.
ENV STATE_DIR=/data HOST=:: TMPDIR=/data
VOLUME /data
USER 10001:10001
EXPOSE 3001
HEALTHCHECK --interval=30s --timeout=5s --start-period=5s CMD ["/usr/local/bin/turn-broker", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/turn-broker"]
