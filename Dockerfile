# One image for the job service and the front door; the command chooses the box.
FROM node:20-bookworm-slim AS ohif
RUN apt-get update && apt-get install -y --no-install-recommends python3 python3-venv && rm -rf /var/lib/apt/lists/*
WORKDIR /minipacs
COPY package.json package-lock.json .npmrc ./
COPY scripts/prepare_ohif.py scripts/
RUN python3 -m venv .venv && .venv/bin/pip install --no-cache-dir brotli && .venv/bin/python scripts/prepare_ohif.py

FROM python:3.11-slim-bookworm
RUN useradd --uid 1000 --create-home minipacs && install -d -o minipacs -g minipacs -m 0700 /data
WORKDIR /minipacs
COPY pyproject.toml constraints.txt README.md LICENSE orthanc.json ./
COPY LICENSES LICENSES
COPY orthanc_plugin orthanc_plugin
COPY ohif_config ohif_config
COPY minipacs minipacs
COPY etl etl
COPY segmentation segmentation
COPY api api
RUN pip install --no-cache-dir --constraint constraints.txt --editable .
COPY --from=ohif /minipacs/.ohif .ohif
# By its number: Kubernetes (runAsNonRoot) cannot look a name up.
USER 1000:1000
VOLUME /data
ENV MINIPACS_HOME=/data
CMD ["minipacs", "--help"]
