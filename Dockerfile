# Four images from one file; each holds only what its part imports.
#   serve        controller and executor on CTranslate2: no torch, no Java
#   runner       env-runner, worker and command line: adds the simulator with its Java, and the Redis client
#   serve-torch  controller and executor on the reference engine, for checkpoints that are not converted
#   train        trajectories to checkpoints
#
# A package index other than pip's default, or one more (for torch built for another device), is passed at build time:
#   docker build --build-arg PIP_EXTRA_INDEX_URL=… --target serve-torch .

FROM python:3.11-slim-bookworm AS serve-packages
ARG PIP_INDEX_URL PIP_EXTRA_INDEX_URL
ENV PATH=/opt/venv/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/venv
WORKDIR /app
COPY requirements/ requirements/
RUN pip install --requirement requirements/serve.lock
# The project itself is linked into the environment; its code is copied last, so that a change of it rebuilds little.
COPY pyproject.toml README.md ./
COPY waymark/__init__.py waymark/
RUN pip install --no-deps --no-build-isolation --editable .

FROM serve-packages AS runner-packages
RUN pip install --requirement requirements/default.lock

FROM serve-packages AS serve-torch-packages
RUN pip install --constraint requirements/test.lock torch transformers safetensors

FROM runner-packages AS train-packages
RUN pip install --requirement requirements/test.lock

FROM python:3.11-slim-bookworm AS app
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /app
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin waymark \
 && install --directory --owner=waymark --group=waymark /app/runs
USER waymark

FROM app AS serve
COPY --from=serve-packages /opt/venv /opt/venv
COPY waymark/ waymark/
COPY services/ services/
COPY checkpoints/ checkpoints/

FROM app AS serve-torch
COPY --from=serve-torch-packages /opt/venv /opt/venv
COPY waymark/ waymark/
COPY services/ services/
COPY checkpoints/ checkpoints/

FROM app AS train
COPY --from=train-packages /opt/venv /opt/venv
COPY waymark/ waymark/
COPY training/ training/
ENTRYPOINT ["python", "-P", "-m", "training"]

FROM app AS runner
COPY --from=runner-packages /opt/venv /opt/venv
COPY waymark/ waymark/
COPY services/ services/
