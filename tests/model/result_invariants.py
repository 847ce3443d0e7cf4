"""What must be true of results after a rest: made of these pixels, one for each series, and nothing of what is gone.

Importing this module adds its invariants to `invariants.INVARIANTS`.
"""

import gzip
import re
import sqlite3
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
from pydicom import Dataset

from minipacs.catalogue import SegmentationResult
from model.checksum_engine import RUNS, compute_checksum, read_checksum
from model.invariants import LOOKED_AT, Rest, _read_hounsfield, invariant
from model.model import FAMILY_NAME, KEY, UID, ArchivedObject

MIN_SLICES = 10
"""A volume needs so many."""
REMEMBERING_TABLES = ("api_audit", "api_audit_spool", "alembic_version")
"""They name what is gone, and must."""
LEFT_OUT = re.compile(r"catalogue\.sqlite(-wal|-shm)?|audit/.*|secrets\.(json|lock)")
"""The database is looked at table by table; the audit remembers."""


def find_volumes(rest: Rest) -> dict[str, list[ArchivedObject]]:
    """Series of others that are a volume: enough CT slices in equal steps; in the order of their places."""
    volumes = {}
    for key, found in rest.archived.group_by(lambda one: one.series_key).items():
        if found[0].is_ours or found[0].modality != "CT" or len(found) < MIN_SLICES:
            continue
        placed = sorted((float(rest.archived.files.read(one).ImagePositionPatient[2]), one.key, one) for one in found)
        steps = np.diff([place for place, _, _ in placed])
        if np.allclose(steps, steps[0]) and steps[0] > 0:
            volumes[key] = [one for _, _, one in placed]
    return volumes


def find_referenced(seg: Dataset) -> tuple[str, set[str]]:
    """The series that an object of ours refers to, and its instances (PS3.3 C.12.2.1, C.17.2.1)."""
    if "ReferencedSeriesSequence" in seg:
        items = list(seg.ReferencedSeriesSequence)
        instances = {str(ref.ReferencedSOPInstanceUID) for item in items for ref in item.ReferencedInstanceSequence}
    else:
        studies = list(seg.CurrentRequestedProcedureEvidenceSequence)
        items = [item for study in studies for item in study.ReferencedSeriesSequence]
        items = [item for item in items if str(item.ReferencedSOPSequence[0].ReferencedSOPClassUID).count(".66.") == 0]
        instances = {str(ref.ReferencedSOPInstanceUID) for item in items for ref in item.ReferencedSOPSequence}
    return str(items[0].SeriesInstanceUID), instances


def _read_superseded(rest: Rest) -> set[str]:
    rows = rest.select(SegmentationResult.seg_series_instance_uid, SegmentationResult.superseded_by)
    superseding = {row[1] for row in rows if row[1]}
    return {row[0] for row in rows if row[1]} - superseding


@invariant
def every_volume_has_one_seg_and_one_sr_of_its_pixels(rest: Rest) -> Iterator[str]:
    """In its study, with its patient; what late images superseded may stay, if all it was made of is there."""
    ours = rest.archived.group_by(lambda one: one.study_key)
    superseded = _read_superseded(rest)
    for volume in find_volumes(rest).values():
        present = {one.sop_instance_uid for one in volume}
        valid: Counter[str] = Counter()
        for one in ours[volume[0].study_key]:
            if not one.is_ours:
                continue
            result = rest.archived.files.read(one)
            series, referenced = find_referenced(result)
            if series == volume[0].series_instance_uid and referenced == present:
                valid[one.modality] += one.series_instance_uid not in superseded
                yield from _compare_result(rest, one, result, volume)
        if valid != {"SEG": 1, "SR": 1}:
            yield f"a volume has {valid['SEG']} SEG and {valid['SR']} SR"


def _compare_result(rest: Rest, one: ArchivedObject, result: Dataset, volume: list[ArchivedObject]) -> Iterator[str]:
    """What is wrong with a result of this series."""
    source = rest.archived.files.read(volume[0])
    for keyword in ("PatientID", "PatientName", "StudyInstanceUID", "PatientBirthDate"):
        if str(result.get(keyword) or "") != str(source.get(keyword) or ""):
            yield f"{one.modality}: {keyword} is not its images'"
    if one.modality != "SEG":
        return
    hounsfield = np.stack([_read_hounsfield(rest.archived.files.read(each)) for each in volume])
    if read_seg_checksum(result) != compute_checksum(hounsfield):
        yield "SEG: it was made of other pixels"


def read_seg_checksum(seg: Dataset) -> int:
    """The checksum in the label map, whose frames are sorted by place here."""
    found = highdicom.seg.Segmentation.from_dataset(seg, copy=True)
    volume = found.get_volume(combine_segments=True)
    array = volume.array
    if volume.affine[2, 0] < 0:
        array = array[::-1]
    return read_checksum(array)


@invariant
def no_result_is_stale(rest: Rest) -> Iterator[str]:
    """An object of ours refers to images of its own study that are all there."""
    studies = rest.archived.group_by(lambda one: one.study_key)
    for one in rest.archived.ours:
        present = {each.sop_instance_uid for each in studies[one.study_key] if not each.is_ours}
        _, referenced = find_referenced(rest.archived.files.read(one))
        if missing := referenced - present:
            yield f"{one.modality}: {len(missing)} of {len(referenced)} images it refers to are not in its study"


@invariant
def result_rows_are_of_archived_segs(rest: Rest) -> Iterator[str]:
    """Each row of a result names a SEG that the archive has."""
    archived = {one.series_instance_uid for one in rest.archived.ours}
    rows = {uid for (uid,) in rest.select(SegmentationResult.seg_series_instance_uid)}
    if extra := rows - archived:
        yield f"{len(extra)} rows of results have no SEG in the archive"
    segs = {one.series_instance_uid for one in rest.archived.ours if one.modality == "SEG"}
    if missing := segs - rows:
        yield f"{len(missing)} SEG of the archive have no row"


@invariant
def no_pixels_are_segmented_twice(rest: Rest) -> Iterator[str]:
    """Whatever becomes of header and study: a label map is made once, as long as one SEG of it is there."""
    again = {checksum: number for checksum, number in Counter(RUNS).items() if number > 1}
    if again:
        yield f"{len(again)} volumes were segmented up to {max(again.values())} times"
    segs = [rest.archived.files.read(one) for one in rest.archived.ours if one.modality == "SEG"]
    present = {read_seg_checksum(seg) for seg in segs}
    RUNS[:] = [checksum for checksum in RUNS if checksum in present]


# -- what is gone -----------------------------------------------------------------------------------
def _find_gone_words(rest: Rest) -> set[str]:
    rest.scene.model.note_words(rest.archived)
    return rest.scene.model.words - rest.archived.words


def find_words(text: str) -> set[str]:
    """UIDs, identifiers and names of persons in a text."""
    return {*UID.findall(text), *KEY.findall(text), *FAMILY_NAME.findall(text)}


@invariant
def no_table_names_what_is_gone(rest: Rest) -> Iterator[str]:
    """UIDs, identifiers and names stand in the audit alone."""
    gone = _find_gone_words(rest)
    with rest.scene.world.database.engine.connect() as connection:
        driver: Any = connection.connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        tables = [name for (name,) in driver.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            if table in REMEMBERING_TABLES or table.startswith("sqlite_"):
                continue
            text = "\n".join(map(repr, driver.execute(f'SELECT * FROM "{table}"')))
            if left := find_words(text) & gone:
                yield f"the table {table} names {len(left)} that are gone"


@invariant
def no_file_names_what_is_gone(rest: Rest) -> Iterator[str]:
    """Below HOME and OUTPUT: names and contents, also of what is compressed."""
    gone = _find_gone_words(rest)
    home = rest.scene.world.settings.home
    left: Counter[str] = Counter()
    for path in home.rglob("*"):
        named = str(path.relative_to(home))
        if not path.is_file() or LEFT_OUT.fullmatch(named):
            continue
        if path.suffix != ".png":
            named += "\n" + _read_text(path)
        if find_words(named) & gone:
            left[re.sub(r"[0-9a-f-]{16,}|\d+", "N", path.name)] += 1
    for name, number in sorted(left.items()):
        yield f"{number} files {name} name what is gone"


def _read_text(path: Path) -> str:
    content = path.read_bytes()
    if path.suffix == ".gz":
        content = gzip.decompress(content)
    return content.decode("utf-8", "replace")


# -- the front door ---------------------------------------------------------------------------------
@invariant
def the_viewer_gets_every_object(rest: Rest) -> Iterator[str]:
    """Metadata and the first frame, of some of them: 200, and the archive's pixels."""
    world = rest.scene.world
    found = sorted(rest.archived.foreign, key=lambda one: one.key)
    for one in rest.random.sample(found, min(LOOKED_AT, len(found))):
        path = f"/dicom-web/studies/{one.study_instance_uid}/series/{one.series_instance_uid}"
        path += f"/instances/{one.sop_instance_uid}"
        status = world.ask(f"{path}/metadata").status_code
        if status != 200:
            yield f"metadata: {status}"
        if one.modality != "CT":
            continue
        answer = world.ask(f"{path}/frames/1", headers={"Accept": 'multipart/related; type="application/octet-stream"'})
        if answer.status_code != 200:
            yield f"frame: {answer.status_code}"
            continue
        twins = [each for each in found if each.sop_instance_uid == one.sop_instance_uid]
        if not any(rest.archived.files.read(each).PixelData in answer.data for each in twins):
            yield "frame: other pixels than the archive has"


@invariant
def where_blames_no_study(rest: Rest) -> Iterator[str]:
    """Each study of the archive is done."""
    for uid in sorted({one.study_instance_uid for one in rest.archived.foreign}):
        studies = rest.scene.world.ask(f"/where?q={uid}").json["studies"]
        for state in {study["state"] for study in studies if study["StudyInstanceUID"] == uid} or {"unknown"}:
            if state != "done":
                yield f"a study is said to be {state}"


@invariant
def routes_of_what_is_gone_answer_404(rest: Rest) -> Iterator[str]:
    """Pages, results and pictures of what was deleted."""
    world = rest.scene.world
    gone = sorted(word for word in _find_gone_words(rest) if UID.fullmatch(word))
    for uid in rest.random.sample(gone, min(LOOKED_AT, len(gone))):
        for path in (f"/studies/{uid}", f"/series/{uid}", f"/images/{uid}", f"/results/{uid}"):
            status = world.ask(path).status_code
            if status != 404:
                yield f"{path.replace(uid, 'UID')}: {status}"
