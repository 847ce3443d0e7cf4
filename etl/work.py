"""The job kind `catalogue`: a study of the archive into rows and PNGs."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from minipacs.archive.content import StudyContent
from minipacs.jobs.contract import Order, Task

if TYPE_CHECKING:
    from minipacs.settings import Settings

__all__ = ["TITLE", "orders", "run"]

KIND = "catalogue"
TITLE = "Catalogue"
"""What people call it."""


def orders(study: StudyContent, settings: "Settings") -> Sequence[Order]:
    """One order for every state of a study: a late instance makes another key. Our own objects count too.

    Orthanc's identifier is part of the key: the same objects under another Patient ID are another study of Orthanc's,
    with the same UIDs.
    """
    parts = [KIND, study.study_instance_uid, study.digest(include_ours=True), study.study_id]
    key = "/".join(part for part in parts if part)
    args = {"study_id": study.study_id, "study_instance_uid": study.study_instance_uid, "prune": True}
    return [Order(kind=KIND, key=key, study_instance_uid=study.study_instance_uid, args=args, priority=1)]


def run(task: Task) -> dict[str, Any]:
    """Catalogue the study. With `prune`, what the archive has no more is removed: all of it, if the study is gone."""
    from etl.study import run_catalogue_job  # heavy: only in the worker

    return run_catalogue_job(task)
