"""One segmentation, in a process of its own: native code can crash or hang, and must take nobody along.

The request is one JSON line on standard input, which stays open: when it closes, the parent is gone
and this process ends with everything it started. Standard output carries JSON lines: progress, then
one result or one error. What engines print goes to standard error.
"""

import json
import os
import signal
import sys
import threading
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from minipacs.errors import EngineFailed, MinipacsError
from minipacs.settings import Settings
from segmentation.engine import Progress
from segmentation.prompts import parse_prompt

if TYPE_CHECKING:
    from segmentation.results.manifest import Manifest


def main() -> int:
    """Read the request, do it, answer."""
    channel = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
    os.dup2(2, 1)
    request = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()

    def progress(stage: str, done: int = 0, total: int = 0) -> None:
        _say(channel, {"progress": [stage, done, total]})

    try:
        _say(channel, {"result": segment(request, progress)})
    except MinipacsError as error:
        _say(channel, error.as_json())
    except Exception as error:  # the outermost loop: whatever broke becomes one sentence
        traceback.print_exc()
        at = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(at.filename).name}, line {at.lineno}"
        broke = EngineFailed(f"The engine {request['engine']} broke: {type(error).__name__} in {where}.")
        _say(channel, broke.as_json())
    return 0


def segment(request: dict[str, Any], progress: Progress) -> "Manifest":
    """Do what the request asks; see `parent.Request` for its fields."""
    from segmentation import registry
    from segmentation.job.pipeline import segment_files

    settings = Settings.from_env(request["settings"])
    engine = registry.create(request["engine"], settings, request["parameters"])
    return segment_files(
        [Path(file) for file in request["files"]],
        request["digest"],
        engine,
        Path(request["out"]),
        [parse_prompt(p) for p in request["prompts"]],
        progress,
        request["options"],
    )


_SAYING = threading.Lock()


def _say(channel: TextIO, message: dict[str, Any]) -> None:
    with _SAYING:
        channel.write(json.dumps(message) + "\n")


def _end_with_parent() -> None:
    """Standard input closes when the parent ends, however it ends."""
    os.read(0, 1)
    os.killpg(os.getpgid(0), signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
