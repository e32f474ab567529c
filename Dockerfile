# The lab in a container.
#
#   docker build -t rl-lab .                                  for the CPU
#   docker build -t rl-lab:cuda --build-arg TORCH=cuda .      with CUDA, which torch's wheels bring; start with `--gpus all`
#   docker build -t rl-lab:all --build-arg EXTRAS=all .       with all extras (docs/install.md)
#   docker run --rm -v "$PWD/runs:/work/runs" rl-lab train dqn --env CartPole-v1
FROM python:3.12-slim

ARG TORCH=cpu
ARG EXTRAS=""

ENV PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PYTHONUNBUFFERED=1

# torch comes first, so that a change of the lab does not download it again. On Linux, PyPI has the build with CUDA.
COPY constraints.txt /src/
RUN if [ "$TORCH" = cpu ]; then \
        pip install --index-url https://download.pytorch.org/whl/cpu --constraint /src/constraints.txt torch; \
    else \
        pip install --constraint /src/constraints.txt torch; \
    fi

COPY pyproject.toml README.md LICENSE /src/
COPY agents /src/agents
COPY envs /src/envs
COPY rl_lab /src/rl_lab
COPY configs /src/configs
RUN pip install --constraint /src/constraints.txt "/src${EXTRAS:+[$EXTRAS]}" \
    && useradd --create-home --uid 1000 lab \
    && mkdir --parents /work/runs \
    && chown --recursive lab /work

USER 1000
WORKDIR /work
ENTRYPOINT ["python", "-m", "rl_lab"]
CMD ["doctor"]
