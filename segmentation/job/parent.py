"""The parent's side of a segmentation: start the child, listen, and end it when it must end."""

import json
import os
import selectors
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic
from typing import IO, Any

from minipacs import errors
from minipacs.errors import EngineFailed, MinipacsError
from minipacs.memory.machine_memory import read_available_bytes, read_memory_bytes
from minipacs.memory.process_limit import compute_engine_bytes, compute_worker_bytes
from minipacs.settings import Settings
from segmentation.engine import Progress
from segmentation.job.memory_errors import explain_engine_memory
from segmentation.job.request import SegmentationRequest
from segmentation.job.watchdog import Watchdog
from segmentation.results.manifest import Manifest

MB = 2**20
RESERVE_SHARE = 0.1
"""Of the memory: when less is left, who takes more than its share must end."""
TICK_S = 1.0
"""Progress is reported at least this often: a silent engine can still be cancelled."""
READ_BYTES = 65536
"""Of the child's output, at most at once."""


def run_in_child(request: SegmentationRequest, settings: Settings, progress: Progress, log: Path) -> Manifest:
    """Segment in a child process; its manifest. Raises what it raised, `EngineFailed` when it crashed or took too long.

    `progress(stage, done, total)` is called at every progress and at least once a second; whatever it
    raises ends the child. `log`: what the child printed, kept only when it failed.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    stage = "start"

    with log.open("wb") as printed, _start_child(printed) as child:
        _send_request(child, request.as_json(settings))
        deadline = monotonic() + settings.engine_limit_s
        watchdog = Watchdog(child.pid)
        steps = [0, 0]

        for message in _read_messages(child, deadline):
            if "result" in message:
                log.unlink(missing_ok=True)
                manifest: Manifest = message["result"]
                return manifest

            if "error" in message:
                raise _parse_error(message["error"])

            if "progress" in message:
                stage, *steps = message["progress"]

            progress(stage, *steps)
            _check_standstill(
                request, settings, watchdog.measure_standstill_s(has_progress="progress" in message), stage, log
            )
            _check_memory(request, settings, watchdog.measure_memory_mb(), stage)

        if monotonic() >= deadline:
            raise EngineFailed(
                f"The engine {request.engine} took longer than {settings.engine_limit_s} s, while at: {stage}.",
                "Raise MINIPACS_ENGINE_LIMIT_S, or use a faster engine.",
            )

        ending = _describe_exit(child.wait())
        raise EngineFailed(f"The engine {request.engine} {ending}, while at: {stage}.", f"See {log}.")


def _check_standstill(request: SegmentationRequest, settings: Settings, still_s: float, stage: str, log: Path) -> None:
    limit_s = settings.engine_stall_s if request.stall_s is None else request.stall_s

    if still_s > limit_s:
        raise EngineFailed(
            f"The engine {request.engine} stood still for {limit_s:g} s, while at: {stage}.",
            f"See {log}. If it only waits for something slow, raise MINIPACS_ENGINE_STALL_S.",
        )


def _check_memory(request: SegmentationRequest, settings: Settings, memory_mb: float, stage: str) -> None:
    """Raise for an engine that takes more than it may, or more than its share while little is left for the others."""
    if memory_mb > compute_engine_bytes(settings) // MB:
        raise explain_engine_memory(request.engine, settings, stage)

    share_mb = compute_worker_bytes(settings) // MB
    if memory_mb > share_mb and read_available_bytes() < RESERVE_SHARE * read_memory_bytes():
        raise EngineFailed(
            f"The engine {request.engine} took {memory_mb:.0f} MB while the machine had hardly any left; "
            f"its share is {share_mb} MB. It was at: {stage}. It is tried again, for there may be more then.",
            "Give the machine more memory, or set fewer MINIPACS_WORKERS.",
        )


def _parse_error(value: Mapping[str, str]) -> MinipacsError:
    """The error the child raised, as itself again."""
    classes = [k for k in vars(errors).values() if isinstance(k, type) and issubclass(k, MinipacsError)]
    by_code: dict[str, type[MinipacsError]] = {each("").code: each for each in classes}
    return by_code.get(value["code"], EngineFailed)(value["message"], value["hint"])


def _describe_exit(code: int) -> str:
    if code < 0:
        return f"crashed ({signal.Signals(-code).name})"

    return f"ended without a result (exit code {code})"


# -- the process ------------------------------------------------------------------------------------
@contextmanager
def _start_child(printed: IO[bytes]) -> Iterator["subprocess.Popen[bytes]"]:
    """A child in a session of its own; it and all it started are gone at the end."""
    child = subprocess.Popen(
        [sys.executable, "-m", "segmentation.job.child"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=printed,
        start_new_session=True,
        env={**os.environ, "PYTHONFAULTHANDLER": "1"},
    )

    try:
        yield child
    finally:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        for pipe in (child.stdin, child.stdout):
            if pipe:
                pipe.close()


def _send_request(child: "subprocess.Popen[bytes]", line: str) -> None:
    """Write the request and leave the pipe open: its end says that the parent has gone."""
    if child.stdin is None:
        raise ValueError("the child needs a pipe as standard input")

    try:
        child.stdin.write(line.encode() + b"\n")
        child.stdin.flush()
    except BrokenPipeError:
        return  # it ended at once: reading its output says how


def _read_messages(child: "subprocess.Popen[bytes]", deadline: float) -> Iterator[dict[str, Any]]:
    """The child's JSON lines, and an empty message each second; until it closes its output or time is up."""
    if child.stdout is None:
        raise ValueError("the child needs a pipe as standard output")

    pending = b""
    with selectors.DefaultSelector() as selector:
        selector.register(child.stdout, selectors.EVENT_READ)

        while monotonic() < deadline:
            if not selector.select(min(TICK_S, max(0.0, deadline - monotonic()))):
                yield {}
                continue

            chunk = os.read(child.stdout.fileno(), READ_BYTES)
            if not chunk:
                return

            *lines, pending = (pending + chunk).split(b"\n")
            yield from (json.loads(line) for line in lines)
