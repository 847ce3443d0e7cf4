"""One run: send studies while faults are injected, wait until all work is done, check what came of it."""

import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from chaos.check_result import CheckResult, check_product, count_ended_jobs, count_open_jobs, is_complete
from chaos.environments import Environment
from chaos.fault_injector import FaultInjector
from chaos.product import Product
from chaos.studies import SmallStudy, write_studies
from chaos.study_sender import StudySender
from minipacs.errors import MinipacsError

SEGMENTATION_RULES = 'superseded = "remove"\n'
"""When a kill interrupts the sending of a study, its first part may be segmented: those results are removed later."""


@dataclass
class Run:
    """A run: what was sent, which faults were injected, how long it took, and the result of the checks."""

    seed: int
    studies: int
    faults: Counter[str] = field(default_factory=Counter)
    acknowledged: int = 0
    refused: int = 0
    starts: int = 0
    with_faults_s: float = 0.0
    to_idle_s: float = 0.0
    result: CheckResult = field(default_factory=CheckResult)


def run_scenario(
    environment: Environment,
    seed: int,
    *,
    studies: int,
    pace_s: float,
    fault_limit: int,
    stuck_after_s: float,
    source: Path,
) -> Run:
    """Send `studies` while a fault is injected about every `pace_s`, `fault_limit` in all; wait until all is done.

    The wait ends when no further job has ended for `stuck_after_s`: jobs that are still open then are stuck.
    """
    run, settings = Run(seed, studies), environment.settings
    sent = write_studies(source, seed, studies)
    settings.home.mkdir(parents=True, exist_ok=True)
    (settings.home / "segmentation.toml").write_text(SEGMENTATION_RULES, "utf-8")
    with Product(settings) as product:
        injector = FaultInjector(seed, environment.faults(product), pace_s, fault_limit)
        sender = StudySender(sent, settings, pace_s=fault_limit * pace_s / studies / 2)
        started_at = time.monotonic()
        injector.start()
        sender.start()
        while injector.is_alive() and not (not sender.is_alive() and is_idle(product, sent)):
            time.sleep(1)
        injector.stop()
        run.with_faults_s = time.monotonic() - started_at
        ended_jobs, since = -1, time.monotonic()
        while not (not sender.is_alive() and is_idle(product, sent)) and time.monotonic() - since < stuck_after_s:
            time.sleep(0.5)
            if (now := count_ended_jobs(product)) > ended_jobs:
                ended_jobs, since = now, time.monotonic()
        sender.stop()
        run.to_idle_s = time.monotonic() - started_at - run.with_faults_s
        run.faults, run.starts = injector.injected, product.starts
        run.acknowledged, run.refused = sender.acknowledged, sender.refused
        run.result = check_product(product, sent)
    return run


def is_idle(product: Product, studies: list[SmallStudy]) -> bool:
    """Whether every study is complete and no job is open, twice in a row; between, the change log is read twice."""
    for attempt in range(2):
        try:
            if count_open_jobs(product) or not all(is_complete(product, study) for study in studies):
                return False
        except MinipacsError:
            return False
        if not attempt:
            time.sleep(2 * product.settings.poll_s + product.settings.quiet_s)
    return True
