"""Seeded blows: every kind of end a process, a disk or a network can meet, at random times."""

import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import psutil

from chaos.product import Product
from waiting import PATIENCE_S

Blow = Callable[[], bool]
"""Strikes; whether there was anything to strike."""
LOCAL = ("child", "worker", "service", "front door", "prompt service", "archive", "up")
"""Parts of one machine that are killed with `kill -9`."""
REMOTE = ("child", "remote worker", "scheduler", "service", "front door", "prompt service", "archive", "up")
"""Parts of a cluster."""
LULLS = 0.2
"""Share of the waits that are long."""
OFTEN = {
    **{"child": 10.0, "worker": 6.0, "remote worker": 6.0, "stopped worker": 2.0, "front door": 2.0, "archive": 2.0},
    **{"service": 1.0, "scheduler": 1.0, "PostgreSQL": 1.0, "prompt service": 0.5},
    **{"network cut": 0.6, "disk full": 0.6, "up": 0.4},
}
"""How often each kind is chosen: what ends everything is rare, for it leaves nothing to strike for some seconds."""


class Killer(threading.Thread):
    """Strikes at random, about every `pace_s`, until it has struck `limit` times or is stopped.

    Blows come in bursts; in the lulls between them work gets far enough to be struck in its middle.
    """

    def __init__(self, seed: int, blows: Mapping[str, Blow], pace_s: float, limit: int) -> None:
        super().__init__(name="killer", daemon=True)
        self.struck: Counter[str] = Counter()
        self._random = random.Random(seed)
        self._blows, self._pace_s, self._limit = blows, pace_s, limit
        self._stop_asked = threading.Event()

    def run(self) -> None:
        """The same seed chooses the same kinds in the same order; what they meet is the machine's business."""
        kinds: Sequence[str] = sorted(self._blows)
        while self.struck.total() < self._limit:
            lull = self._random.random() < LULLS
            wait = self._random.uniform(2, 5) if lull else self._random.uniform(0.1, 0.6)
            if self._stop_asked.wait(wait * self._pace_s):
                return
            (kind,) = self._random.choices(kinds, [OFTEN[kind] for kind in kinds])
            if self._blows[kind]():
                self.struck[kind] += 1

    def stop(self) -> None:
        """No further blow."""
        self._stop_asked.set()
        self.join(PATIENCE_S)


def kills(product: Product, seed: int, parts: Sequence[str] = LOCAL) -> dict[str, Blow]:
    """`kill -9` of one process of each of these parts."""
    chance = random.Random(seed)

    def blow(part: str) -> Blow:
        return lambda: _strike(product, part, chance)

    return {part: blow(part) for part in parts}


def _strike(product: Product, part: str, chance: random.Random) -> bool:
    alive = product.processes(part)
    if not alive:
        return False
    try:
        chance.choice(sorted(alive, key=lambda p: p.pid)).kill()
    except psutil.NoSuchProcess:
        return False
    return True


def stop_worker(product: Product, seconds: float, part: str = "worker") -> Blow:
    """SIGSTOP of a pool worker for so long: past its lease, when that is longer. SIGCONT comes then, or death."""
    chance = random.Random(0)

    def blow() -> bool:
        alive = sorted(product.processes(part), key=lambda p: p.pid)
        if not alive:
            return False
        victim = chance.choice(alive)
        try:
            victim.send_signal(signal.SIGSTOP)
        except psutil.NoSuchProcess:
            return False
        threading.Thread(target=_wake, args=(victim, seconds), daemon=True).start()
        return True

    return blow


def _wake(victim: psutil.Process, seconds: float) -> None:
    time.sleep(seconds)
    try:
        victim.send_signal(signal.SIGCONT)
    except psutil.NoSuchProcess:
        return
