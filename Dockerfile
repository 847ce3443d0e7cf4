# One image for the job service and the front door; the command chooses the box.
FROM node:20-bookworm-slim AS ohif
RUN apt-get update && apt-get install -y --no-install-recommends python3 python3-brotli && rm -rf /var/lib/apt/lists/*
WORKDIR /minipacs
COPY package.json package-lock.json .npmrc ./
COPY scripts/prepare_ohif.py scripts/
RUN python3 scripts/prepare_ohif.py

FROM python:3.11-slim-bookworm
RUN useradd --uid 1000 --create-home minipacs && install -d -o minipacs -g minipacs -m 0700 /data
WORKDIR /minipacs
COPY pyproject.toml README.md LICENSE orthanc.json ./
COPY requirements requirements
COPY LICENSES LICENSES
COPY orthanc_plugin orthanc_plugin
COPY ohif_config ohif_config
COPY minipacs minipacs
COPY etl etl
COPY segmentation segmentation
COPY api api
RUN pip install --no-cache-dir --require-hashes --no-deps --only-binary :all: --requirement requirements/run.txt \
    && pip install --no-cache-dir --no-index --no-build-isolation --editable .
COPY --from=ohif /minipacs/.ohif .ohif
# By its number: Kubernetes (runAsNonRoot) cannot look a name up.
USER 1000:1000
VOLUME /data
ENV MINIPACS_HOME=/data
CMD ["minipacs", "--help"]
