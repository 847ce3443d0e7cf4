"""Watches a process and all it has started: how long they have stood still, and the memory they take."""

from collections.abc import Callable
from contextlib import suppress
from time import monotonic

import psutil

CPU_CHECK_S = 5.0
"""Seconds between two looks at the processor time of a silent process."""
MEMORY_CHECK_S = 1.0
"""Seconds between two measurements of memory."""
IDLE_SHARE = 0.01
"""Processor seconds a second below which a process does nothing."""


class Watchdog:
    """A process that neither reports progress nor uses the processor stands still."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self._active_at = monotonic()
        self._cpu_checked_at, self._cpu_s = monotonic(), 0.0
        self._memory_checked_at, self._memory_mb = -MEMORY_CHECK_S, 0.0

    def measure_standstill_s(self, *, has_progress: bool) -> float:
        """Seconds for which it has stood still; `has_progress`: it has just reported some."""
        now = monotonic()
        since_check_s = now - self._cpu_checked_at

        if has_progress or since_check_s >= CPU_CHECK_S:
            cpu_s = self._read_cpu_s()
            if has_progress or cpu_s > self._cpu_s + IDLE_SHARE * since_check_s:
                self._active_at = now
            self._cpu_checked_at, self._cpu_s = now, cpu_s

        return now - self._active_at

    def measure_memory_mb(self) -> float:
        """Resident memory of all of them, at most `MEMORY_CHECK_S` old."""
        if monotonic() - self._memory_checked_at >= MEMORY_CHECK_S:
            self._memory_checked_at = monotonic()
            self._memory_mb = self._sum_over_processes(lambda process: process.memory_info().rss / 2**20)

        return self._memory_mb

    def _read_cpu_s(self) -> float:
        """Processor seconds of all that still run."""
        return self._sum_over_processes(lambda process: sum(process.cpu_times()[:2]))

    def _sum_over_processes(self, figure: Callable[[psutil.Process], float]) -> float:
        total = 0.0

        with suppress(psutil.Error):
            for process in [self._process, *self._process.children(recursive=True)]:
                with suppress(psutil.Error):
                    total += figure(process)

        return total
