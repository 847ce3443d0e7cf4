"""What became of the studies: lost, doubled, stuck, or left lying about."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pydicom
from sqlalchemy import func, select

from chaos.product import Product
from chaos.studies import SmallStudy
from minipacs.archive.content import StudyContent
from minipacs.catalogue import Instance, Rendering, RowCount, Series, Study
from minipacs.errors import MinipacsError, NotInArchive
from minipacs.jobs.record import Job

RESULTS = ("SEG", "SR")
FILES = {"manifest.json", "seg.dcm", "sr.dcm"}
"""What a result folder must have, at least."""


@dataclass
class Verdict:
    """Sentences; none where all is well."""

    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)
    orphans: list[str] = field(default_factory=list)

    @property
    def is_well(self) -> bool:
        """Whether nothing was found."""
        return not any(vars(self).values())

    def __str__(self) -> str:
        return "; ".join(f"{name}: {len(found)}, {found[:6]}" for name, found in vars(self).items() if found) or "well"


def judge(product: Product, studies: Sequence[SmallStudy]) -> Verdict:
    """Look at archive, catalogue, jobs and files when everything has come to rest."""
    verdict = Verdict()
    for study in studies:
        _results(product, study, verdict)
        _rows(product, study, verdict)
    _counters(product, verdict)
    _jobs(product, verdict)
    _files(product, verdict)
    return verdict


def open_jobs(product: Product) -> int:
    """Jobs that are queued or running."""
    with product.database.reading() as session:
        rows = select(func.count()).select_from(Job).where(Job.state.in_(("queued", "running")))
        return session.scalars(rows).one()


def ended_jobs(product: Product) -> int:
    """Jobs that have ended; -1 while the database does not answer."""
    try:
        with product.database.reading() as session:
            rows = select(func.count()).select_from(Job).where(Job.state.not_in(("queued", "running")))
            return session.scalars(rows).one()
    except MinipacsError:
        return -1


def is_complete(product: Product, study: SmallStudy) -> bool:
    """Whether the archive holds all of the study and a SEG and an SR of the whole."""
    try:
        content = product.archive.read_study(product.archive.find_study_id(study.study_instance_uid))
    except NotInArchive:
        return False
    made = Counter(s.modality for s in content.series if s.is_ours)
    return _held(content, study) and all(made[modality] for modality in RESULTS)


def _held(content: StudyContent, study: SmallStudy) -> bool:
    source = [s for s in content.series if s.series_instance_uid == study.series_instance_uid]
    return [uid for s in source for uid, _ in s.instances] == sorted(study.sop_instance_uids)


def _results(product: Product, study: SmallStudy, verdict: Verdict) -> None:
    """Exactly one SEG and one SR, of exactly the images that were acknowledged."""
    uid = study.study_instance_uid
    try:
        content = product.archive.read_study(product.archive.find_study_id(uid))
    except NotInArchive:
        verdict.lost.append(f"study {uid}")
        return
    if not _held(content, study):
        verdict.lost.append(f"images of {uid}")
    for modality in RESULTS:
        made = [i for s in content.series if s.is_ours and s.modality == modality for i in s.instances]
        if not made:
            verdict.lost.append(f"{modality} of {uid}")
        elif len(made) > 1:
            verdict.doubled.append(f"{len(made)} {modality} of {uid}")
        elif modality == "SEG" and _referred(product.archive.read_dataset(made[0][1])) != set(study.sop_instance_uids):
            verdict.lost.append(f"SEG of {uid} is of a part of it")


def _referred(seg: pydicom.Dataset) -> set[str]:
    """SOP Instance UIDs a SEG was made of (PS3.3 C.12.1.1.1, Common Instance Reference)."""
    return {str(i.ReferencedSOPInstanceUID) for s in seg.ReferencedSeriesSequence for i in s.ReferencedInstanceSequence}


def _rows(product: Product, study: SmallStudy, verdict: Verdict) -> None:
    """A row for each object of the archive, a picture for each image, and no more."""
    uid = study.study_instance_uid
    try:
        content = product.archive.read_study(product.archive.find_study_id(uid))
    except NotInArchive:
        return
    held = {i for s in content.series for i, _ in s.instances}
    of_study = Series.study_instance_uid == uid
    with product.database.reading() as session:
        rows = set(session.scalars(select(Instance.sop_instance_uid).join(Series, _same_series()).where(of_study)))
        pictures = session.execute(
            select(Rendering.sop_instance_uid, Rendering.png_path)
            .join(Instance, Instance.sop_instance_uid == Rendering.sop_instance_uid)
            .join(Series, _same_series())
            .where(of_study)
        ).all()
    verdict.lost += [f"row of {i}" for i in held - rows]
    verdict.doubled += [f"row of {i}, which the archive has not" for i in rows - held]
    drawn = Counter(i for i, _ in pictures)
    verdict.lost += [f"picture of {i}" for i in study.sop_instance_uids if not drawn[i]]
    verdict.doubled += [f"{number} pictures of {i}" for i, number in drawn.items() if number > 1]
    verdict.lost += [f"file {Path(path).name}" for _, path in pictures if not Path(path).is_file()]


def _same_series():  # type: ignore[no-untyped-def]  # an SQL expression
    return Series.series_instance_uid == Instance.series_instance_uid


def _counters(product: Product, verdict: Verdict) -> None:
    """The kept counts are the true ones."""
    with product.database.reading() as session:
        kept = {total.name: total.number for total in session.scalars(select(RowCount))}
        for name, table in (("study", Study), ("series", Series), ("instance", Instance)):
            true = session.scalars(select(func.count()).select_from(table)).one()
            if kept.get(name, 0) != true:
                verdict.doubled.append(f"the count of {name} says {kept.get(name, 0)}, not {true}")


def _jobs(product: Product, verdict: Verdict) -> None:
    """Every job ended, and ended well."""
    with product.database.reading() as session:
        for job in session.scalars(select(Job).where(Job.state != "done")):
            verdict.stuck.append(
                f"{job.kind} {job.state} after {job.attempt}: {job.error} {job.note} {job.detail[-300:]}"
            )


def _files(product: Product, verdict: Verdict) -> None:
    """No file that nothing names: pictures, results, temporary folders."""
    output = product.settings.output
    with product.database.reading() as session:
        named = {Path(path) for path in session.scalars(select(Rendering.png_path))}
    there = {path for path in (output / "png").rglob("*") if path.is_file()}
    verdict.orphans += [str(path.relative_to(output)) for path in sorted(there - named)]
    verdict.orphans += [str(path.relative_to(output)) for path in output.rglob(".partial*")]
    for folder in (output / "results").glob("[!.]*/*/*"):
        if not {file.name for file in folder.iterdir()} >= FILES:
            verdict.orphans.append(f"an incomplete {folder.relative_to(output)}")
    verdict.orphans += [f"tmp/{path.name}" for path in product.temporary.iterdir()]
