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

from minipacs.errors import EngineFailed, ExceedsMemory, MinipacsError
from minipacs.logging_setup import silence_pydicom
from minipacs.memory.process_limit import compute_engine_bytes, limit_own_memory
from minipacs.memory.size_limits import apply_size_limits
from minipacs.settings import Settings
from segmentation.engine import Progress
from segmentation.job.memory_errors import explain_engine_memory, is_lack_of_memory
from segmentation.job.request import SegmentationRequest, parse_request
from segmentation.prompts import parse_prompt

if TYPE_CHECKING:
    from segmentation.results.manifest import Manifest

_WRITE_LOCK = threading.Lock()
"""Engines report progress from several threads; a line is written whole."""


def main() -> int:
    """Read the request, segment, and write the result or the error."""
    channel = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
    os.dup2(2, 1)
    silence_pydicom()
    request, settings = parse_request(sys.stdin.readline())
    apply_size_limits(settings)
    limit_own_memory(compute_engine_bytes(settings))
    threading.Thread(target=_kill_group_when_parent_ends, daemon=True).start()

    reached = "start"

    def progress(stage: str, done: int = 0, total: int = 0) -> None:
        nonlocal reached
        reached = stage
        _write_message(channel, {"progress": [stage, done, total]})

    try:
        _write_message(channel, {"result": run_request(request, settings, progress)})
    except Exception as error:  # the outermost loop: whatever broke becomes one sentence
        _write_message(channel, _explain_failure(error, request, settings, reached).as_json())

    return 0


def _explain_failure(error: Exception, request: SegmentationRequest, settings: Settings, stage: str) -> MinipacsError:
    """The sentence for whatever broke: an error of ours as it is, unless it came of a lack of memory."""
    is_about_file = isinstance(error, MinipacsError) and not isinstance(error, EngineFailed | ExceedsMemory)
    if not is_about_file and is_lack_of_memory(error):
        return explain_engine_memory(request.engine, settings, stage)
    if isinstance(error, MinipacsError):
        return error

    traceback.print_exc()
    at = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{Path(at.filename).name}, line {at.lineno}"
    return EngineFailed(f"The engine {request.engine} broke: {type(error).__name__} in {where}.")


def run_request(request: SegmentationRequest, settings: Settings, progress: Progress) -> "Manifest":
    """Do what the request says; the manifest of the result."""
    from segmentation import registry
    from segmentation.job.pipeline import segment_files

    engine = registry.create_engine(request.engine, settings, request.parameters)
    prompts = [parse_prompt(prompt) for prompt in request.prompts]

    return segment_files(request.files, request.digest, engine, request.out, prompts, progress, request.options)


def _write_message(channel: TextIO, message: dict[str, Any]) -> None:
    with _WRITE_LOCK:
        channel.write(json.dumps(message) + "\n")


def _kill_group_when_parent_ends() -> None:
    """Kill this process and all it has started when standard input closes: the parent has ended, however it did."""
    os.read(0, 1)
    os.killpg(os.getpgid(0), signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
