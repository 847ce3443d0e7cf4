"""One run: studies flow in while blows fall; then quiet, until all is done; then the verdict."""

import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from chaos.grounds import Ground
from chaos.killer import Killer
from chaos.product import Product
from chaos.sender import Modality
from chaos.studies import SmallStudy, write_studies
from chaos.verdict import Verdict, ended_jobs, is_complete, judge, open_jobs
from minipacs.errors import MinipacsError

RULES = 'superseded = "remove"\n'
"""Of a study that was cut in two by a kill, the results of the first part go when those of the whole come."""


@dataclass
class Run:
    """What happened."""

    seed: int
    studies: int
    struck: Counter[str] = field(default_factory=Counter)
    acknowledged: int = 0
    refused: int = 0
    starts: int = 0
    under_blows_s: float = 0.0
    to_rest_s: float = 0.0
    verdict: Verdict = field(default_factory=Verdict)


def flow(
    ground: Ground,
    seed: int,
    *,
    studies: int,
    pace_s: float,
    limit: int,
    rest_s: float,
    source: Path,
) -> Run:
    """Send `studies` while about every `pace_s` a blow falls, `limit` of them; then wait for rest.

    The wait ends when for `rest_s` no further job ended: what stands still so long is stuck.
    """
    run, settings = Run(seed, studies), ground.settings
    sent = write_studies(source, seed, studies)
    settings.home.mkdir(parents=True, exist_ok=True)
    (settings.home / "segmentation.toml").write_text(RULES, "utf-8")
    with Product(settings) as product:
        killer = Killer(seed, ground.blows(product), pace_s, limit)
        modality = Modality(sent, settings, pace_s=limit * pace_s / studies / 2)
        began = time.monotonic()
        killer.start()
        modality.start()
        while killer.is_alive() and not (not modality.is_alive() and is_at_rest(product, sent)):
            time.sleep(1)
        killer.stop()
        run.under_blows_s = time.monotonic() - began
        ended, since = -1, time.monotonic()
        while not (not modality.is_alive() and is_at_rest(product, sent)) and time.monotonic() - since < rest_s:
            time.sleep(0.5)
            if (now := ended_jobs(product)) > ended:
                ended, since = now, time.monotonic()
        modality.stop()
        run.to_rest_s = time.monotonic() - began - run.under_blows_s
        run.struck, run.starts = killer.struck, product.starts
        run.acknowledged, run.refused = modality.acknowledged, modality.refused
        run.verdict = judge(product, sent)
    return run


def is_at_rest(product: Product, studies: list[SmallStudy]) -> bool:
    """Whether every study is complete and no job is open, twice in a row, two looks at the change log apart."""
    for look in range(2):
        try:
            if open_jobs(product) or not all(is_complete(product, study) for study in studies):
                return False
        except MinipacsError:
            return False
        if not look:
            time.sleep(2 * product.settings.poll_s + product.settings.quiet_s)
    return True
