"""A model in another Python, asked one prompt after another (`engines/scripts/in_sam.py`).

It is started at the first prompt, kept, and started again where it has ended; it ends with us.
"""

import json
import os
import select
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minipacs.errors import EngineFailed, EngineUnavailable
from minipacs.settings import Settings
from segmentation.engines.foreign import SCRIPTS
from segmentation.engines.geodesic.plane_cut import Mask, Pixel, Rectangle

SCRIPT = SCRIPTS / "in_sam.py"
CHUNK = 1 << 20


@dataclass(frozen=True)
class Ask:
    """One question."""

    key: str
    """Names image and window: its embedding is kept under it."""
    grey: NDArray[np.uint8]
    positive: Sequence[Pixel]
    negative: Sequence[Pixel]
    box: Rectangle | None


class Model:
    """The process and its two pipes; one question at a time."""

    def __init__(self, python: Path, folder: Path, settings: Settings) -> None:
        self.folder = str(folder)
        self._command = [str(python), str(SCRIPT), "serve", self.folder, str(settings.sam_memory_mb)]
        self._log, self._limit = settings.home / "log" / "sam.log", settings.engine_limit_s
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = Lock()
        self.told: dict[str, Any] = {}
        """Of the last answer: score, whether the embedding was there, bytes of all embeddings."""

    def mask(self, ask: Ask) -> Mask:
        """The mask; raises `EngineFailed`, `EngineUnavailable`."""
        rows, columns = ask.grey.shape
        pixels = [*ask.positive, *ask.negative]
        box = ask.box
        request = {
            "key": ask.key,
            "rows": rows,
            "columns": columns,
            "points": [[column, row] for row, column in pixels],
            "labels": [1] * len(ask.positive) + [0] * len(ask.negative),
            "box": [box[1], box[0], box[3], box[2]] if box else None,
        }
        with self._lock:
            process = self._running()
            self._write(process, json.dumps(request).encode() + b"\n" + ask.grey.tobytes())
            self.told = self._line(process)
            if "error" in self.told:
                raise EngineFailed("The SAM model broke at this prompt.", str(self.told["error"])[:300])
            flat = np.frombuffer(self._read(process, rows * columns), np.uint8)
        return flat.reshape(rows, columns) > 0

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._end()

    # -- the process --------------------------------------------------------------------------------
    def _running(self) -> "subprocess.Popen[bytes]":
        if self._process is not None and self._process.poll() is None:
            return self._process
        self._end()
        self._log.parent.mkdir(parents=True, exist_ok=True)
        offline = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                bufsize=0,
                env={**os.environ, **offline},
            )
        answer = self._line(self._process)
        if "error" in answer:
            self._end()
            raise EngineUnavailable("The SAM model cannot be loaded.", str(answer["error"])[:300])
        return self._process

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()

    # -- the pipes ----------------------------------------------------------------------------------
    def _write(self, process: "subprocess.Popen[bytes]", message: bytes) -> None:
        if process.stdin is None:
            raise ValueError("the process was started without a pipe")
        rest = memoryview(message)
        try:
            while rest:
                rest = rest[process.stdin.write(rest[:CHUNK]) :]
        except OSError as error:
            self._end()
            raise self._broke() from error

    def _line(self, process: "subprocess.Popen[bytes]") -> dict[str, Any]:
        line = bytearray()
        while not line.endswith(b"\n"):
            line += self._read(process, 1)
        return dict(json.loads(line))

    def _read(self, process: "subprocess.Popen[bytes]", size: int) -> bytes:
        if process.stdout is None:
            raise ValueError("the process was started without a pipe")
        found = bytearray()
        deadline = time.monotonic() + self._limit
        while len(found) < size:
            ready, _, _ = select.select([process.stdout], [], [], max(0.0, deadline - time.monotonic()))
            part = process.stdout.read(size - len(found)) if ready else b""
            if not part:
                self._end()
                raise self._broke()
            found += part
        return bytes(found)

    def _broke(self) -> EngineFailed:
        return EngineFailed("The SAM process ended, or took too long.", f"Its log is {self._log.name} in HOME/log.")
