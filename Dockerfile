# syntax=docker/dockerfile:1
# One image with both programs; compose.yaml and any orchestrator choose which one runs.

FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
# The cache mounts keep crates and objects between builds, so only what changed is compiled again.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked -p latchkey-api -p latchkey-worker \
    && install -D -t /out target/release/latchkey-api target/release/latchkey-worker

FROM debian:bookworm-slim
# The roots of trust are for outgoing TLS (webhooks, SMTP); curl is for the health checks.
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates curl \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin latchkey
COPY --from=build /out/ /usr/local/bin/
COPY LICENSE /usr/share/doc/latchkey/LICENSE
USER 10001:10001
EXPOSE 8080 9464 9465
STOPSIGNAL SIGTERM
CMD ["latchkey-api", "serve"]
