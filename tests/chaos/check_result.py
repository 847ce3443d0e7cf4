"""Check archive, catalogue, jobs and files after a run: what was lost or duplicated, is stuck, or was left over."""

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
"""Files that every result folder has."""


@dataclass
class CheckResult:
    """What was found wrong, in words; empty lists where all is well."""

    lost: list[str] = field(default_factory=list)
    duplicated: list[str] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)
    orphans: list[str] = field(default_factory=list)

    @property
    def is_ok(self) -> bool:
        """Whether nothing was found wrong."""
        return not any(vars(self).values())

    def __str__(self) -> str:
        return "; ".join(f"{name}: {len(found)}, {found[:6]}" for name, found in vars(self).items() if found) or "ok"


def check_product(product: Product, studies: Sequence[SmallStudy]) -> CheckResult:
    """Check archive, catalogue, jobs and files; call it when nothing is left to be done."""
    result = CheckResult()
    for study in studies:
        _check_segmentations(product, study, result)
        _check_rows(product, study, result)
    _check_counts(product, result)
    _check_jobs(product, result)
    _check_files(product, result)
    return result


def count_open_jobs(product: Product) -> int:
    """How many jobs are queued or running."""
    with product.database.reading() as session:
        rows = select(func.count()).select_from(Job).where(Job.state.in_(("queued", "running")))
        return session.scalars(rows).one()


def count_ended_jobs(product: Product) -> int:
    """How many jobs have ended; -1 while the database does not answer."""
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
    number = Counter(s.modality for s in content.series if s.is_ours)
    return _is_whole(content, study) and all(number[modality] for modality in RESULTS)


def _is_whole(content: StudyContent, study: SmallStudy) -> bool:
    """Whether the archive holds exactly the images of the study."""
    source = [s for s in content.series if s.series_instance_uid == study.series_instance_uid]
    return [i.sop_instance_uid for s in source for i in s.instances] == sorted(study.sop_instance_uids)


def _check_segmentations(product: Product, study: SmallStudy, result: CheckResult) -> None:
    """There is exactly one SEG and one SR, of exactly the images that were acknowledged."""
    uid = study.study_instance_uid
    try:
        content = product.archive.read_study(product.archive.find_study_id(uid))
    except NotInArchive:
        result.lost.append(f"study {uid}")
        return
    if not _is_whole(content, study):
        result.lost.append(f"images of {uid}")
    for modality in RESULTS:
        results = [i for s in content.series if s.is_ours and s.modality == modality for i in s.instances]
        if not results:
            result.lost.append(f"{modality} of {uid}")
        elif len(results) > 1:
            result.duplicated.append(f"{len(results)} {modality} of {uid}")
        elif modality == "SEG" and _read_source_uids(product.archive.read_dataset(results[0].instance_id)) != set(
            study.sop_instance_uids
        ):
            result.lost.append(f"SEG of {uid} is of a part of it")


def _read_source_uids(seg: pydicom.Dataset) -> set[str]:
    """SOP Instance UIDs of the images of a SEG (PS3.3 C.12.1.1.1, Common Instance Reference)."""
    return {str(i.ReferencedSOPInstanceUID) for s in seg.ReferencedSeriesSequence for i in s.ReferencedInstanceSequence}


def _check_rows(product: Product, study: SmallStudy, result: CheckResult) -> None:
    """There is a row for each object of the archive, a rendering for each image, and no more."""
    uid = study.study_instance_uid
    try:
        content = product.archive.read_study(product.archive.find_study_id(uid))
    except NotInArchive:
        return
    archived = {i.sop_instance_uid for s in content.series for i in s.instances}
    of_study = Series.study_instance_uid == uid
    with product.database.reading() as session:
        rows = set(session.scalars(select(Instance.sop_instance_uid).join(Series, _join_series()).where(of_study)))
        renderings = session.execute(
            select(Rendering.sop_instance_uid, Rendering.png_path)
            .join(Instance, Instance.instance_key == Rendering.instance_key)
            .join(Series, _join_series())
            .where(of_study)
        ).all()
    result.lost += [f"row of {i}" for i in archived - rows]
    result.duplicated += [f"row of {i}, which the archive does not have" for i in rows - archived]
    count = Counter(i for i, _ in renderings)
    result.lost += [f"rendering of {i}" for i in study.sop_instance_uids if not count[i]]
    result.duplicated += [f"{number} renderings of {i}" for i, number in count.items() if number > 1]
    result.lost += [f"file {Path(path).name}" for _, path in renderings if not Path(path).is_file()]


def _join_series():  # type: ignore[no-untyped-def]  # an SQL expression
    return Series.series_key == Instance.series_key


def _check_counts(product: Product, result: CheckResult) -> None:
    """The kept counts equal the numbers of rows."""
    with product.database.reading() as session:
        kept = {row.name: row.number for row in session.scalars(select(RowCount))}
        for name, table in (("study", Study), ("series", Series), ("instance", Instance)):
            counted = session.scalars(select(func.count()).select_from(table)).one()
            if kept.get(name, 0) != counted:
                result.duplicated.append(f"the count of {name} says {kept.get(name, 0)}, not {counted}")


def _check_jobs(product: Product, result: CheckResult) -> None:
    """Every job is done."""
    with product.database.reading() as session:
        for job in session.scalars(select(Job).where(Job.state != "done")):
            result.stuck.append(
                f"{job.kind} {job.state} after {job.attempt}: {job.error} {job.note} {job.detail[-300:]}"
            )


def _check_files(product: Product, result: CheckResult) -> None:
    """There is no PNG without a row, no incomplete result, no temporary folder."""
    output = product.settings.output
    with product.database.reading() as session:
        known = {Path(path) for path in session.scalars(select(Rendering.png_path))}
    existing = {path for path in (output / "png").rglob("*") if path.is_file()}
    result.orphans += [str(path.relative_to(output)) for path in sorted(existing - known)]
    result.orphans += [str(path.relative_to(output)) for path in output.rglob(".partial*")]
    for folder in (output / "results").glob("[!.]*/*/*"):
        if not {file.name for file in folder.iterdir()} >= FILES:
            result.orphans.append(f"an incomplete {folder.relative_to(output)}")
    result.orphans += [f"tmp/{path.name}" for path in product.temporary.iterdir()]
