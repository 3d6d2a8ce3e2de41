# Airflow's api-server, dag-processor and triggerer; where tasks are processes, the scheduler is the `worker` of
# jobs.Dockerfile. Built from the repository's root: docker build -f docker/orchestrate.Dockerfile .
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

FROM uv AS orchestrate-environment
COPY requirements/orchestrate.txt requirements/
RUN --mount=type=secret,id=certificates,target=/etc/ssl/certs/ca-certificates.crt \
    .venv/tools/bin/uv venv -q -p /usr/bin/python3 .venv/orchestrate \
    && .venv/tools/bin/uv pip sync -q --require-hashes --compile-bytecode -p .venv/orchestrate/bin/python requirements/orchestrate.txt

FROM python
ARG REVISION=unknown
LABEL org.opencontainers.image.title="tidemill-orchestrate" \
    org.opencontainers.image.description="Tidemill's orchestrator: Airflow and the DAGs" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.revision="${REVISION}"
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /var/lib/tidemill tidemill \
    && install -d -o tidemill -g tidemill -m 0700 /var/lib/tidemill /run/tidemill
WORKDIR /opt/tidemill
COPY --from=orchestrate-environment /opt/tidemill/.venv/orchestrate .venv/orchestrate
COPY jobs jobs
COPY dags dags
RUN .venv/orchestrate/bin/python -m compileall -q jobs dags
ENV PATH=/opt/tidemill/.venv/orchestrate/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 LANG=C.UTF-8 TZ=UTC \
    TIDEMILL_HOME=/var/lib/tidemill TIDEMILL_SOCKETS=/run/tidemill TIDEMILL_HOSTS=named TIDEMILL_SERVICE=airflow-api-server
USER 10001:10001
VOLUME ["/var/lib/tidemill", "/run/tidemill"]
HEALTHCHECK --interval=10s --timeout=12s --start-period=120s --retries=3 CMD ["python", "-m", "jobs.services.health"]
CMD ["python", "-m", "jobs.services.run"]
