"""A small Flask application for `bench_servers`: every kind of request that the front door has, and nothing else."""

import os
import tempfile
from collections.abc import Iterator

from flask import Flask, Response, request, send_file

FILE_BYTES = 128_000_000
BLOCK_BYTES = 256 * 1024
app = Flask("servers")
LARGE = os.path.join(tempfile.gettempdir(), f"minipacs-bench-servers-{os.getuid()}")


@app.get("/healthz")
def healthz() -> dict[str, str]:
    """A small answer."""
    return {"status": "ok"}


@app.post("/read")
def read_body() -> dict[str, int]:
    """Read the body and forget it."""
    size = 0
    while piece := request.stream.read(65536):
        size += len(piece)
    return {"bytes": size}


@app.post("/refuse")
def refuse() -> tuple[dict[str, str], int]:
    """Refuse without a look at the body."""
    return {"error": "no login"}, 401


@app.get("/file")
def send_large_file() -> Response:
    """A file of 128 MB."""
    with open(LARGE, "ab") as file:
        file.truncate(FILE_BYTES)
    return send_file(LARGE, mimetype="application/octet-stream")


@app.get("/stream")
def stream() -> Response:
    """100 MB, made while they are sent."""

    def pieces() -> Iterator[bytes]:
        for _ in range(400):
            yield bytes(BLOCK_BYTES)

    return Response(pieces(), mimetype="application/octet-stream")


def __getattr__(name: str) -> object:
    """`asgi`: the application for an ASGI server, by the library a2wsgi, where it is installed."""
    if name != "asgi":
        raise AttributeError(name)
    import a2wsgi  # type: ignore[import-not-found]  # no part of minipacs

    return a2wsgi.WSGIMiddleware(app, workers=24)
