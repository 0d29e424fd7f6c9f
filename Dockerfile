# The images of Manyhands: producer, worker, aggregator, and cli, which has all of it.
#
#   make images                                                        all of them, for this machine
#   docker buildx bake                                                 the same, where PyPI can be reached as it is
#   PLATFORMS=linux/amd64,linux/arm64 docker buildx bake --push        both platforms, into a registry
#   docker buildx build --load --build-arg SERVICE=worker .            one of them
#
# Handlers of your own in a worker: examples/derived.
ARG PYTHON=python:3.13-slim
ARG SERVICE=cli

# --- what every image stands on: Python, an account, nothing that installs or compiles -------------------------
FROM ${PYTHON} AS base
RUN groupadd --gid 10001 manyhands \
 && useradd --uid 10001 --gid 10001 --no-log-init --create-home --home-dir /var/lib/manyhands --shell /usr/sbin/nologin manyhands \
 && find / -xdev \( -path '*/site-packages/pip*' -o -path '*/dist-packages/pip*' -o -path '*/ensurepip' \
      -o -path '/usr/share/python-wheels' -o -path '/usr/*bin/pip*' \) -prune -exec rm -rf {} +
COPY --chmod=755 deploy/image/healthcheck.py /usr/local/bin/healthcheck
ENV PATH=/opt/manyhands/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/var/lib/manyhands MANYHANDS_HOST=0.0.0.0
WORKDIR /var/lib/manyhands
STOPSIGNAL SIGTERM
ENTRYPOINT ["manyhands"]
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["healthcheck"]
COPY LICENSE /usr/share/doc/manyhands/
LABEL org.opencontainers.image.licenses=Apache-2.0 \
      org.opencontainers.image.vendor=Manyhands \
      org.opencontainers.image.base.name=docker.io/library/python:3.13-slim

# --- what builds: uv and hatchling, in an environment that no image gets ---------------------------------------
FROM ${PYTHON} AS tools
ARG UV=0.13.8
ARG HATCHLING=1.33.0
ENV PATH=/opt/build/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore \
    UV_PYTHON_DOWNLOADS=never UV_LINK_MODE=copy UV_NO_CACHE=1
COPY --chmod=755 deploy/image/with-index /usr/local/bin/
RUN --mount=type=secret,id=packages --mount=type=secret,id=certificates \
    python3 -m venv /opt/build && with-index pip install --quiet uv==${UV} hatchling==${HATCHLING}
# strip, for wheels that come with symbols for debuggers; where Debian's packages cannot be had, the images are larger
RUN --mount=type=secret,id=packages --mount=type=secret,id=certificates \
    with-index sh -c 'apt-get update -qq && apt-get install -qq --no-install-recommends binutils' >/dev/null 2>&1 || true
WORKDIR /src

FROM tools AS builder
COPY pyproject.toml uv.lock ./
COPY core/pyproject.toml core/
COPY service/pyproject.toml service/
COPY services/producer/pyproject.toml services/producer/
COPY services/worker/pyproject.toml services/worker/
COPY services/aggregator/pyproject.toml services/aggregator/
COPY cli/pyproject.toml cli/
COPY --chmod=755 deploy/image/provide deploy/image/prune /usr/local/bin/

# --- numpy, a third of the size of its wheel: without OpenBLAS. It takes minutes, once for each version in uv.lock -------
FROM builder AS pins
RUN provide pins

FROM tools AS numpy
COPY --from=pins /pins /pins
COPY --chmod=755 deploy/image/build-numpy /usr/local/bin/
RUN --mount=type=secret,id=packages --mount=type=secret,id=certificates with-index build-numpy

FROM numpy AS numpy-of-cli
FROM numpy AS numpy-of-aggregator
FROM scratch AS numpy-of-producer
WORKDIR /numpy
FROM scratch AS numpy-of-worker
WORKDIR /numpy
FROM numpy-of-${SERVICE} AS numpy-of-service

# --- the command, the one service and what these need, from uv.lock; of the other services nothing ------------------------
FROM builder AS packages
ARG SERVICE
RUN --mount=type=secret,id=packages --mount=type=secret,id=certificates \
    --mount=type=bind,from=numpy-of-service,source=/numpy,target=/numpy with-index provide packages ${SERVICE}

FROM builder AS wheels
COPY core core
COPY service service
COPY services services
COPY cli cli
RUN provide wheels

FROM packages AS built
COPY --from=wheels /wheels /wheels
RUN provide own ${SERVICE}

# --- the images ------------------------------------------------------------------------------------------------
FROM base AS image
COPY --from=built /opt/manyhands /opt/manyhands
COPY --from=built /usr/share/sbom /usr/share/sbom
# leaves the byte code of what is imported; see warm.py
RUN --mount=type=bind,source=deploy/image/warm.py,target=/warm.py PYTHONDONTWRITEBYTECODE= python /warm.py
USER 10001:10001
ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.version=${VERSION} org.opencontainers.image.revision=${REVISION}

FROM image AS producer
LABEL org.opencontainers.image.title="Manyhands producer" \
      org.opencontainers.image.description="Reads sources, cuts them into suites, publishes them."
ENV MANYHANDS_PORT=8101
EXPOSE 8101
CMD ["producer"]

FROM image AS worker
LABEL org.opencontainers.image.title="Manyhands worker" \
      org.opencontainers.image.description="Runs handlers in child processes and sends their judgments."
ENV MANYHANDS_PORT=8102
EXPOSE 8102
CMD ["worker"]

FROM image AS aggregator
LABEL org.opencontainers.image.title="Manyhands aggregator" \
      org.opencontainers.image.description="Turns judgments into answers."
ENV MANYHANDS_PORT=8103
EXPOSE 8103
CMD ["aggregator"]

FROM image AS cli
LABEL org.opencontainers.image.title="Manyhands command line" \
      org.opencontainers.image.description="The manyhands command: submit, watch, results, audit, topology, and all services."
HEALTHCHECK NONE
CMD ["--help"]

FROM ${SERVICE}
