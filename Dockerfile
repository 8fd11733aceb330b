# syntax=docker/dockerfile:1
FROM rust:1.95-bookworm AS build
# pg_query makes its bindings to PostgreSQL's parser with libclang.
RUN apt-get update \
    && apt-get install -y --no-install-recommends libclang-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --bin pgweir && cp target/release/pgweir /usr/local/bin/pgweir

FROM debian:bookworm-slim
# The system's roots are what `[server.tls]` trusts unless it names its own.
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --no-create-home --shell /usr/sbin/nologin pgweir
COPY --from=build /usr/local/bin/pgweir /usr/local/bin/pgweir
# Inside a container loopback is nobody's; who may connect is decided by what is published. It goes before the file.
ENV PGWEIR_LISTEN__ADDRESS=0.0.0.0:6432
USER pgweir
EXPOSE 6432
ENTRYPOINT ["pgweir"]
