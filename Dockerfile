# One image for every command: docker run ticktape up, ingest, sink, simulate opend, …
#   docker build -t ticktape:0.1.0 .
# --build-arg EXTRAS= leaves out the embedded ClickHouse, which only `up` on one machine needs.
FROM python:3.11-slim AS build
ARG EXTRAS=embedded
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
RUN python -m venv /opt/ticktape/venv
ENV PATH=/opt/ticktape/venv/bin:$PATH

# Dependencies first, from the lock alone: this layer outlives every change of the code.
COPY pyproject.toml constraints.txt README.md LICENSE ./
RUN pip install -c constraints.txt setuptools \
 && pip install -c constraints.txt --no-build-isolation ".${EXTRAS:+[$EXTRAS]}" \
 && pip uninstall --yes ticktape

COPY protos protos
COPY codec codec
COPY ingest ingest
COPY sinks sinks
COPY ticktape ticktape
RUN pip install -c constraints.txt --no-build-isolation --no-deps .

# Compile every kernel now, at the paths that the image will have: numba's cache is keyed by them.
# Outside /src, so that Python imports what was installed.
ENV NUMBA_CACHE_DIR=/opt/ticktape/numba
WORKDIR /
RUN python -m codec.warm


FROM python:3.11-slim
RUN groupadd --gid 10001 ticktape \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/ticktape ticktape \
 && install --directory --owner=10001 --group=10001 /var/lib/ticktape
COPY --from=build /opt/ticktape/venv /opt/ticktape/venv
# Owned by the user: without a cache folder that it may write, numba refuses even cached kernels.
COPY --from=build --chown=10001:10001 /opt/ticktape/numba /opt/ticktape/numba
ENV PATH=/opt/ticktape/venv/bin:$PATH \
    NUMBA_CACHE_DIR=/opt/ticktape/numba \
    TICKTAPE_CONFIG=/etc/ticktape/ticktape.toml \
    HEALTH_URL=http://127.0.0.1:8808/livez
USER 10001:10001
# Relative paths of the configuration (journal, embedded ClickHouse) end up here.
WORKDIR /var/lib/ticktape
VOLUME /var/lib/ticktape

# For `sink`, run with -e HEALTH_URL=http://127.0.0.1:8809/livez. Kubernetes ignores this and has its own probes.
HEALTHCHECK --interval=10s --timeout=3s --start-period=180s \
    CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen(os.environ['HEALTH_URL'], timeout=2)"]
ENTRYPOINT ["ticktape"]
CMD ["up"]
