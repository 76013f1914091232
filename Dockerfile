# facet's GPU runner: the environment of requirements-gpu.lock, the chain, and nothing that compiles.
#
#   docker build -t facet:gpu .      (deploy/compose.yaml does it, and runs this image as a Prefect worker)
#   docker run --rm --gpus all -v "$PWD:/workspace" -v facet-site-cache:/var/cache/facet --user "$(id -u):$(id -g)" facet:gpu
#
# The host gives the driver (CUDA 13) and the NVIDIA container toolkit; the CUDA libraries come with torch.
#
# Writable, and worth a mount:
#   /workspace          your clone: data/, artifacts/, checkpoints/, reports/, .dvc/cache and mlflow.db land in it. Mounting it
#                       replaces the copy of the chain in the image, and brings the .git that lineage is read from.
#   /var/cache/facet    DVC's site cache, Hugging Face's hub, matplotlib: safe to lose, slow to refill.
# Everything else may be read-only (`--read-only --tmpfs /tmp`).
#
# There is no C compiler in here, and Triton wants one at run time, so torch.compile is switched off. To have it, build on top:
# FROM facet:gpu, USER root, install gcc, unset TORCH_COMPILE_DISABLE.

# --- build: uv makes the environment; every file is checked against the lock's hashes ---------------------------------------
FROM python:3.11.13-slim-bookworm AS build

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    UV_COMPILE_BYTECODE=1 \
    UV_LINK_MODE=copy \
    UV_NO_CACHE=1 \
    UV_PYTHON_DOWNLOADS=never

WORKDIR /workspace
COPY requirements-bootstrap.lock requirements-gpu.lock ./
RUN python -m venv /opt/facet \
 && /opt/facet/bin/python -m pip install --require-hashes --no-deps -r requirements-bootstrap.lock \
 && /opt/facet/bin/uv pip sync --python /opt/facet/bin/python --require-hashes --no-build-isolation requirements-gpu.lock

# Editable, so that a clone mounted over /workspace is the code that runs.
COPY pyproject.toml README.md LICENSE ./
COPY src/ src/
RUN /opt/facet/bin/uv pip install --python /opt/facet/bin/python --no-deps --no-build-isolation --editable . \
 && rm /opt/facet/bin/uv /opt/facet/bin/uvx

# --- run --------------------------------------------------------------------------------------------------------------------
FROM python:3.11.13-slim-bookworm AS run

# git's version is the base image's: Debian keeps only the newest of a release, so a pin here would break the build with the
# next security fix.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --yes --no-install-recommends git \
 && rm -rf /var/lib/apt/lists/* \
 && git config --system --add safe.directory /workspace \
 && groupadd --gid 10001 facet \
 && useradd --uid 10001 --gid facet --no-create-home --home-dir /var/cache/facet --shell /usr/sbin/nologin facet \
 && install --directory --owner facet --group facet --mode 1777 /workspace /var/cache/facet

COPY --from=build /opt/facet /opt/facet

WORKDIR /workspace
COPY --from=build --chown=facet:facet /workspace/src/ src/
COPY --chown=facet:facet pyproject.toml README.md LICENSE params.yaml dvc.yaml dvc.lock data.dvc prefect.yaml .dvcignore ./
COPY --chown=facet:facet .dvc/config .dvc/.gitignore .dvc/
COPY --chown=facet:facet flows/ flows/
COPY --chown=facet:facet presets/ presets/
COPY --chown=facet:facet sample/ sample/
# The copy in the image is no git clone; a mounted one has its own settings.
RUN printf '[core]\n    no_scm = true\n' > .dvc/config.local && chown -R facet:facet .dvc

ENV PATH=/opt/facet/bin:$PATH \
    VIRTUAL_ENV=/opt/facet \
    HOME=/var/cache/facet \
    LOGNAME=facet \
    DVC_SITE_CACHE_DIR=/var/cache/facet/dvc \
    HF_HOME=/var/cache/facet/huggingface \
    MPLCONFIGDIR=/var/cache/facet/matplotlib \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    PYTORCH_NVML_BASED_CUDA_CHECK=1 \
    TORCH_COMPILE_DISABLE=1 \
    DO_NOT_TRACK=1 \
    MLFLOW_DISABLE_TELEMETRY=true \
    PREFECT_SERVER_ANALYTICS_ENABLED=false \
    GX_ANALYTICS_ENABLED=false \
    HF_HUB_DISABLE_TELEMETRY=1

USER 10001:10001

# Healthy: the environment imports and the driver answers; asked without opening a CUDA context beside a training step.
HEALTHCHECK --interval=5m --timeout=60s --start-period=60s --retries=2 \
    CMD ["python", "-c", "import facet, sys, torch; sys.exit(not torch.cuda.is_available())"]

CMD ["dvc", "repro"]
