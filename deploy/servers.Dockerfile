# MLflow and Prefect as servers, and boto3: everything deploy/compose.yaml runs that is Python and needs no GPU.
#
#   docker build --file deploy/servers.Dockerfile --tag facet-servers:0.1.0 .

# --- build: uv makes the environment; every file is checked against the lock's hashes ---------------------------------------
FROM python:3.11.13-slim-bookworm AS build

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    UV_COMPILE_BYTECODE=1 \
    UV_LINK_MODE=copy \
    UV_NO_CACHE=1 \
    UV_PYTHON_DOWNLOADS=never

WORKDIR /build
COPY requirements-bootstrap.lock deploy/requirements.lock ./
RUN python -m venv /opt/facet \
 && /opt/facet/bin/python -m pip install --require-hashes --no-deps -r requirements-bootstrap.lock \
 && /opt/facet/bin/uv pip sync --python /opt/facet/bin/python --require-hashes --no-build requirements.lock

# --- run --------------------------------------------------------------------------------------------------------------------
FROM python:3.11.13-slim-bookworm AS run

COPY --from=build /opt/facet /opt/facet

ENV PATH=/opt/facet/bin:$PATH \
    VIRTUAL_ENV=/opt/facet \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    DO_NOT_TRACK=1 \
    MLFLOW_DISABLE_TELEMETRY=true \
    PREFECT_SERVER_ANALYTICS_ENABLED=false \
    GX_ANALYTICS_ENABLED=false \
    HF_HUB_DISABLE_TELEMETRY=1

WORKDIR /tmp
USER 10001:10001

# What is healthy depends on the server: compose.yaml asks each at its own address. Here, that the environment imports.
HEALTHCHECK --interval=5m --timeout=60s --start-period=60s --retries=2 \
    CMD ["python", "-c", "import asyncpg, boto3, psycopg2"]

CMD ["mlflow", "--version"]
