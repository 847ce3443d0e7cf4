"""Inject faults at random times, seeded: killed and stopped processes, a full disk, a cut network."""

import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import psutil

from chaos.product import Product
from waiting import PATIENCE_S

Fault = Callable[[], bool]
"""Injects itself; `False` when there was nothing to inject it into, for example no such process."""
LOCAL_PARTS = ("child", "worker", "service", "front door", "prompt service", "archive", "up")
"""Parts of one machine that are killed with `kill -9`."""
CLUSTER_PARTS = ("child", "remote worker", "scheduler", "service", "front door", "prompt service", "archive", "up")
"""Parts of a cluster."""
LONG_WAIT_SHARE = 0.2
"""Share of the waits that are long: then work gets far enough to be interrupted in its middle."""
WEIGHTS = {
    **{"child": 10.0, "worker": 6.0, "remote worker": 6.0, "stopped worker": 2.0, "front door": 2.0, "archive": 2.0},
    **{"service": 1.0, "scheduler": 1.0, "PostgreSQL": 1.0, "prompt service": 0.5},
    **{"network cut": 0.6, "disk full": 0.6, "up": 0.4},
}
"""How often each kind of fault is chosen. What stops everything is rare: for some seconds nothing else can fail."""


class FaultInjector(threading.Thread):
    """Injects a random fault about every `pace_s`, until it has injected `limit` of them or is stopped."""

    def __init__(self, seed: int, faults: Mapping[str, Fault], pace_s: float, limit: int) -> None:
        super().__init__(name="fault injector", daemon=True)
        self.injected: Counter[str] = Counter()
        self._random = random.Random(seed)
        self._faults, self._pace_s, self._limit = faults, pace_s, limit
        self._stop_requested = threading.Event()

    def run(self) -> None:
        """Inject faults. The same seed chooses the same kinds in the same order; what the product does then differs."""
        kinds: Sequence[str] = sorted(self._faults)
        while self.injected.total() < self._limit:
            is_long = self._random.random() < LONG_WAIT_SHARE
            wait = self._random.uniform(2, 5) if is_long else self._random.uniform(0.1, 0.6)
            if self._stop_requested.wait(wait * self._pace_s):
                return
            (kind,) = self._random.choices(kinds, [WEIGHTS[kind] for kind in kinds])
            if self._faults[kind]():
                self.injected[kind] += 1

    def stop(self) -> None:
        """Inject no further fault."""
        self._stop_requested.set()
        self.join(PATIENCE_S)


def kill_faults(product: Product, seed: int, parts: Sequence[str] = LOCAL_PARTS) -> dict[str, Fault]:
    """A fault for each part: `kill -9` of one of its processes."""
    rng = random.Random(seed)

    return {part: partial(_kill_process, product, part, rng) for part in parts}


def _kill_process(product: Product, part: str, rng: random.Random) -> bool:
    """Kill a random process of a part; `False` when it has none."""
    alive = product.find_processes(part)
    if not alive:
        return False
    try:
        rng.choice(sorted(alive, key=lambda p: p.pid)).kill()
    except psutil.NoSuchProcess:
        return False
    return True


def stopped_worker_fault(product: Product, seconds: float, part: str = "worker") -> Fault:
    """A fault: SIGSTOP of a pool worker, SIGCONT after `seconds`; past its lease it may be killed before that."""
    rng = random.Random(0)

    def inject() -> bool:
        alive = sorted(product.find_processes(part), key=lambda p: p.pid)
        if not alive:
            return False
        process = rng.choice(alive)
        try:
            process.send_signal(signal.SIGSTOP)
        except psutil.NoSuchProcess:
            return False
        threading.Thread(target=_continue_after, args=(process, seconds), daemon=True).start()
        return True

    return inject


def _continue_after(process: psutil.Process, seconds: float) -> None:
    time.sleep(seconds)
    try:
        process.send_signal(signal.SIGCONT)
    except psutil.NoSuchProcess:
        return
