# The serving slots of one colour: a BentoML process a project, under a supervisor that restarts the one that a rollout
# gives something else to serve. Built from the repository's root: docker build -f docker/serve.Dockerfile .
ARG BASE=debian:bookworm-slim

FROM ${BASE} AS python
# Debian keeps only the newest build of a stable release's packages, so a pinned one would not be found next month.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 ca-certificates \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/*

FROM python AS uv
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3-pip \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/*
WORKDIR /opt/tidemill
# The secret, which may be left out, is whom a network with a certificate of its own trusts.
ENV UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never UV_SYSTEM_CERTS=true
COPY requirements/get_uv.py requirements/uv.txt requirements/
RUN --mount=type=secret,id=certificates,target=/etc/ssl/certs/ca-certificates.crt \
    python3 requirements/get_uv.py .venv/tools

FROM uv AS serve-environment
COPY requirements/serve.txt requirements/openmp.py requirements/
RUN --mount=type=secret,id=certificates,target=/etc/ssl/certs/ca-certificates.crt \
    .venv/tools/bin/uv venv -q -p /usr/bin/python3 .venv/serve \
    && .venv/tools/bin/uv pip sync -q --require-hashes --compile-bytecode -p .venv/serve/bin/python requirements/serve.txt \
    && .venv/serve/bin/python requirements/openmp.py

FROM python
ARG REVISION=unknown
LABEL org.opencontainers.image.title="tidemill-serve" \
    org.opencontainers.image.description="Tidemill's serving slots: BentoML, behind a router" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.revision="${REVISION}"
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /var/lib/tidemill tidemill \
    && install -d -o tidemill -g tidemill -m 0700 /var/lib/tidemill /run/tidemill
WORKDIR /opt/tidemill
COPY --from=serve-environment /opt/tidemill/.venv/serve .venv/serve
COPY jobs jobs
COPY bentos bentos
RUN .venv/serve/bin/python -m compileall -q jobs bentos
ENV PATH=/opt/tidemill/.venv/serve/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 LANG=C.UTF-8 TZ=UTC \
    TIDEMILL_HOME=/var/lib/tidemill TIDEMILL_SOCKETS=/run/tidemill TIDEMILL_HOSTS=named TIDEMILL_SERVICE=serve-blue
USER 10001:10001
VOLUME ["/var/lib/tidemill", "/run/tidemill"]
HEALTHCHECK --interval=10s --timeout=12s --start-period=60s --retries=3 CMD ["python", "-m", "jobs.services.health"]
CMD ["python", "-m", "jobs.services.run"]
