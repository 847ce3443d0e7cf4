"""A child process that is watched, started again when it ends by itself, and stopped with us."""

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from minipacs.memory.process_limit import limit_memory

RESTART_DELAYS_S = (0.0, 0.0, 1.0, 2.0, 5.0)
"""Wait before a child is started again, by how often it ended in `RECENT_S`; after that always the last one."""
RECENT_S = 60.0
PR_SET_PDEATHSIG = 1


class ChildProcess:
    """One command, and the process that runs it now.

    With a log file the child has a session of its own: Ctrl+C reaches us alone, and we stop our children in
    order. It is sent SIGTERM when we die, so that even `kill -9` of ours leaves no orphan. Without a log file
    it writes where we write, and must see to that itself.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        log: Path | None = None,
        *,
        memory_bytes: int | None = None,
    ) -> None:
        self.command = command
        self.environment = environment
        """Added to our own environment."""
        self.log = log
        self.memory_bytes = memory_bytes
        """What it may take; only with a log file. None: as much as we may."""
        self.process: subprocess.Popen[bytes] | None = None
        """`None` before the first start, and between an end that was detected and the next start."""
        self.exit_status: int | None = None
        """Of the last process that ended by itself; negative for a signal."""
        self._ends: list[float] = []
        """When it was seen to have ended by itself, in the last `RECENT_S`; on the monotonic clock."""

    def start(self) -> None:
        """Start it, with nothing to read from."""
        environment = {**os.environ, **self.environment}
        if self.log is None:
            self.process = subprocess.Popen(self.command, env=environment, stdin=subprocess.DEVNULL)
            return

        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as stream:
            self.process = subprocess.Popen(
                self.command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
                preexec_fn=partial(_prepare_child, self.memory_bytes),
            )

    @property
    def pid(self) -> int | None:
        """Number of the process; `None` where none was started."""
        return None if self.process is None else self.process.pid

    def is_running(self) -> bool:
        """Whether the process was started and has not ended."""
        return self.process is not None and self.process.poll() is None

    def detect_end(self) -> bool:
        """Whether the process has ended by itself since the last call; record when, and its exit status."""
        if self.process is None or self.process.poll() is None:
            return False
        now = time.monotonic()
        self._ends = [end for end in self._ends if now - end < RECENT_S] + [now]
        self.exit_status, self.process = self.process.returncode, None
        return True

    def restart_when_due(self) -> bool:
        """Start again a process whose end was detected, once its delay is over; whether it was started."""
        if self.process is not None or not self._ends:
            return False
        delay_s = RESTART_DELAYS_S[min(len(self._ends), len(RESTART_DELAYS_S)) - 1]
        if time.monotonic() - self._ends[-1] < delay_s:
            return False
        self.start()
        return True

    def ask_to_stop(self) -> None:
        """Send SIGTERM; `wait_or_kill` waits for the end."""
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)

    def stop(self, timeout_s: float) -> None:
        """Ask the process to stop, and wait for that."""
        self.ask_to_stop()
        self.wait_or_kill(timeout_s)

    def wait_or_kill(self, timeout_s: float) -> None:
        """Wait for the end of the process; kill it when it has not ended in time."""
        if self.process is None:
            return
        try:
            self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """Kill the process and wait for its end."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()


def _prepare_child(memory_bytes: int | None) -> None:
    """Within the child: let it die with its parent, and limit its memory."""
    if memory_bytes is not None:
        limit_memory(memory_bytes)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
