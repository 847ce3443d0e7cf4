"""A SAM model in a process of another Python (`engines/scripts/in_sam.py`), which answers one prompt after another.

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
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from minipacs.errors import EngineFailed, EngineUnavailable
from minipacs.memory.process_limit import lift_memory_limit
from minipacs.settings import Settings
from segmentation.engines.foreign import SCRIPTS
from segmentation.prompter import Mask, Pixel, Rectangle

SCRIPT = SCRIPTS / "in_sam.py"
CHUNK_BYTES = 1 << 20
"""Written to the process at once."""
MAX_ERROR_CHARACTERS = 300
"""Of what the process says of its error."""


@dataclass(frozen=True)
class MaskRequest:
    """One prompt on one image."""

    key: str
    """Names image and window: the image's embedding is kept under it."""
    grey: NDArray[np.uint8]
    """(rows, columns), as the viewer shows it."""
    positive: Sequence[Pixel]
    negative: Sequence[Pixel]
    box: Rectangle | None

    @property
    def header(self) -> bytes:
        """The line before the image; points as (column, row), a box as first column, first row, last column, …"""
        rows, columns = self.grey.shape
        box = self.box

        return json.dumps(
            {
                "key": self.key,
                "rows": rows,
                "columns": columns,
                "points": [[column, row] for row, column in [*self.positive, *self.negative]],
                "labels": [1] * len(self.positive) + [0] * len(self.negative),
                "box": [box[1], box[0], box[3], box[2]] if box else None,
            }
        ).encode()


class MaskFacts(TypedDict, total=False):
    """What the process says of a mask, before it."""

    score: float
    cached: bool
    """Whether the image's embedding was there."""
    held: int
    """Bytes of all embeddings."""


class SamProcess:
    """The process and its two pipes; one prompt at a time."""

    def __init__(self, python: Path, folder: Path, settings: Settings) -> None:
        self.folder = str(folder)
        self._command = [str(python), str(SCRIPT), "serve", self.folder, str(settings.sam_memory_mb)]
        self._log, self._limit_s = settings.home / "log" / "sam.log", settings.engine_limit_s
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = Lock()
        self.last_facts = MaskFacts()

    def request_mask(self, request: MaskRequest) -> Mask:
        """The mask; raises `EngineFailed`, `EngineUnavailable`."""
        rows, columns = request.grey.shape

        with self._lock:
            process = self._get_running_process()
            self._write_message(process, request.header + b"\n" + request.grey.tobytes())
            answer = self._read_line(process)
            if "error" in answer:
                raise EngineFailed("The SAM model broke at this prompt.", _read_error_text(answer))

            self.last_facts = MaskFacts(**answer)  # type: ignore[typeddict-item]  # as the script of ours writes it
            pixels = np.frombuffer(self._read_bytes(process, rows * columns), np.uint8)

        return pixels.reshape(rows, columns) > 0

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._kill_process()

    # -- the process --------------------------------------------------------------------------------
    def _get_running_process(self) -> "subprocess.Popen[bytes]":
        """The process, started where it does not run."""
        if self._process is not None and self._process.poll() is None:
            return self._process

        self._kill_process()
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
                preexec_fn=lift_memory_limit,
            )

        answer = self._read_line(self._process)
        if "error" in answer:
            self._kill_process()
            raise EngineUnavailable("The SAM model cannot be loaded.", _read_error_text(answer))

        return self._process

    def _kill_process(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return

        process.kill()
        process.wait()

        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()

    # -- the pipes ----------------------------------------------------------------------------------
    def _write_message(self, process: "subprocess.Popen[bytes]", message: bytes) -> None:
        if process.stdin is None:
            raise ValueError("the process was started without a pipe")

        rest = memoryview(message)
        try:
            while rest:
                rest = rest[process.stdin.write(rest[:CHUNK_BYTES]) :]
        except OSError as error:
            self._kill_process()
            raise self._make_failure() from error

    def _read_line(self, process: "subprocess.Popen[bytes]") -> dict[str, Any]:
        line = bytearray()
        while not line.endswith(b"\n"):
            line += self._read_bytes(process, 1)

        return dict(json.loads(line))

    def _read_bytes(self, process: "subprocess.Popen[bytes]", size: int) -> bytes:
        """So many bytes; raises `EngineFailed` when the process ends or the time limit is over before."""
        if process.stdout is None:
            raise ValueError("the process was started without a pipe")

        content = bytearray()
        deadline = time.monotonic() + self._limit_s

        while len(content) < size:
            ready, _, _ = select.select([process.stdout], [], [], max(0.0, deadline - time.monotonic()))
            part = process.stdout.read(size - len(content)) if ready else b""
            if not part:
                self._kill_process()
                raise self._make_failure()
            content += part

        return bytes(content)

    def _make_failure(self) -> EngineFailed:
        return EngineFailed("The SAM process ended, or took too long.", f"Its log is {self._log.name} in HOME/log.")


def _read_error_text(answer: dict[str, Any]) -> str:
    return str(answer["error"])[:MAX_ERROR_CHARACTERS]
