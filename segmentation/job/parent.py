"""The parent's side of a segmentation: start the child, listen, and end it when it must end."""

import json
import os
import selectors
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

import psutil

from minipacs import errors
from minipacs.errors import EngineFailed, MinipacsError
from minipacs.settings import Settings
from segmentation.engine import Progress
from segmentation.results.manifest import Manifest

TICK_S = 1.0
"""Progress is reported at least this often: a silent engine can still be cancelled."""
CPU_CHECK_S = 5.0
"""How often a silent child's processor time is looked at."""
IDLE_S = 0.01
"""Processor seconds a second below which a process does nothing."""


@dataclass(frozen=True)
class Request:
    """What the child is asked: the series' files, who segments them, and where the results go."""

    files: Sequence[Path]
    digest: str
    engine: str
    out: Path
    parameters: Mapping[str, Any] = field(default_factory=dict)
    prompts: Sequence[Mapping[str, Any]] = ()
    """JSON prompts; see `prompts.parse_prompt`."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """`type`: BINARY or LABELMAP; `modality`: of a file that is not DICOM."""
    stall_s: float | None = None
    """Seconds of standstill after which the engine counts as hanging; None: as the settings say."""

    def as_json(self, settings: Settings) -> str:
        """One line; the settings travel without their secrets."""
        return json.dumps({**asdict(self), "settings": settings.as_environment(with_secrets=False)}, default=str)


def run(request: Request, settings: Settings, progress: Progress, log: Path) -> Manifest:
    """The child's manifest. Raises what the child raised, `EngineFailed` when it crashed or took too long.

    `progress(stage, done, total)` is called at every progress and at least once a second; whatever it
    raises ends the child. `log`: what the child printed, kept only when it failed.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    limit = settings.engine_limit_s
    stage: tuple[str, int, int] = ("start", 0, 0)
    stall_s = settings.engine_stall_s if request.stall_s is None else request.stall_s
    with log.open("wb") as printed, _child(printed) as child:
        _ask(child, request.as_json(settings))
        ends = monotonic() + limit
        watch = Watch(child.pid)
        for message in _messages(child, ends):
            if "result" in message:
                log.unlink(missing_ok=True)
                manifest: Manifest = message["result"]
                return manifest
            if "error" in message:
                raise _error(message["error"])
            stage = message.get("progress", stage)
            progress(str(stage[0]), int(stage[1]), int(stage[2]))
            if watch.still_s(moved="progress" in message) > stall_s:
                raise EngineFailed(
                    f"The engine {request.engine} stood still for {stall_s:g} s, while at: {stage[0]}.",
                    f"See {log}. If it only waits for something slow, raise MINIPACS_ENGINE_STALL_S.",
                )
            if settings.engine_memory_mb and watch.megabytes() > settings.engine_memory_mb:
                raise EngineFailed(
                    f"The engine {request.engine} took more than {settings.engine_memory_mb} MB, while at: {stage[0]}.",
                    "Raise MINIPACS_ENGINE_MEMORY_MB, or use an engine that needs less.",
                )
        if monotonic() >= ends:
            raise EngineFailed(
                f"The engine {request.engine} took longer than {limit} s, while at: {stage[0]}.",
                "Raise MINIPACS_ENGINE_LIMIT_S, or use a faster engine.",
            )
        raise EngineFailed(
            f"The engine {request.engine} {_how_it_ended(child.wait())}, while at: {stage[0]}.", f"See {log}."
        )


class Watch:
    """Watches a process and all it started: who neither tells progress nor uses the processor hangs."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self._moved, self._looked, self._used = monotonic(), monotonic(), 0.0
        self._weighed, self._megabytes = -TICK_S, 0.0

    def still_s(self, *, moved: bool) -> float:
        """How long it has stood still; `moved` says that it told progress just now."""
        now = monotonic()
        if now - self._looked >= CPU_CHECK_S or moved:
            used = self._cpu_s()
            if moved or used > self._used + IDLE_S * (now - self._looked):
                self._moved = now
            self._looked, self._used = now, used
        return now - self._moved

    def megabytes(self) -> float:
        """Resident memory of all of them; weighed once a second at most."""
        if monotonic() - self._weighed >= TICK_S:
            self._weighed = monotonic()
            self._megabytes = self._sum(lambda process: process.memory_info().rss / 2**20)
        return self._megabytes

    def _cpu_s(self) -> float:
        """Processor seconds of all of them so far; of what has ended, none."""
        return self._sum(lambda process: sum(process.cpu_times()[:2]))

    def _sum(self, figure: Callable[[psutil.Process], float]) -> float:
        total = 0.0
        with suppress(psutil.Error):
            for process in [self._process, *self._process.children(recursive=True)]:
                with suppress(psutil.Error):
                    total += figure(process)
        return total


@contextmanager
def _child(printed: Any) -> Iterator["subprocess.Popen[bytes]"]:
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


def _ask(child: "subprocess.Popen[bytes]", line: str) -> None:
    """Write the request and leave the pipe open: its end tells the child that we are gone."""
    if child.stdin is None:
        raise ValueError("the child needs a pipe as standard input")
    try:
        child.stdin.write(line.encode() + b"\n")
        child.stdin.flush()
    except BrokenPipeError:
        return  # it ended at once: reading its output says how


def _messages(child: "subprocess.Popen[bytes]", ends: float) -> Iterator[dict[str, Any]]:
    """The child's JSON lines, and an empty message each second; until it closes its output or time is up."""
    if child.stdout is None:
        raise ValueError("the child needs a pipe as standard output")
    pending = b""
    with selectors.DefaultSelector() as selector:
        selector.register(child.stdout, selectors.EVENT_READ)
        while monotonic() < ends:
            if not selector.select(min(TICK_S, max(0.0, ends - monotonic()))):
                yield {}
                continue
            chunk = os.read(child.stdout.fileno(), 65536)
            if not chunk:
                return
            *lines, pending = (pending + chunk).split(b"\n")
            yield from (json.loads(line) for line in lines)


def _error(value: Mapping[str, str]) -> MinipacsError:
    """The error the child raised, as itself again."""
    named = [k for k in vars(errors).values() if isinstance(k, type) and issubclass(k, MinipacsError)]
    kinds: dict[str, type[MinipacsError]] = {kind("").code: kind for kind in named}
    return kinds.get(value["code"], EngineFailed)(value["message"], value["hint"])


def _how_it_ended(code: int) -> str:
    if code < 0:
        return f"crashed ({signal.Signals(-code).name})"
    return f"ended without a result (exit code {code})"
