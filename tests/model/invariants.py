"""What must be true after each rest: archive = catalogue = pictures = results, and nothing is left of what is gone.

Each invariant is a function that lists what is wrong, in sentences. What it compares with is read from the archive and
computed here, by no line of the product.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np
from PIL import Image
from sqlalchemy import func, select

from minipacs.catalogue import (
    ARCHIVE_PREFIX,
    Instance,
    Patient,
    Rejection,
    Rendering,
    RowCount,
    Series,
    Study,
)
from minipacs.jobs.record import Job
from model.model import ArchivedObject, ArchivedObjects
from model.operations import Scene
from rendering_oracle import grey, linear

LOOKED_AT = 3
"""Pictures, and objects asked for at the front door, after one rest."""


@dataclass(frozen=True)
class Rest:
    """A moment without work."""

    scene: Scene
    archived: ArchivedObjects
    random: Random

    def select(self, *columns: Any) -> list[Any]:
        """Rows of the catalogue."""
        with self.scene.world.database.reading() as session:
            return list(session.execute(select(*columns)))


Check = Callable[[Rest], Iterator[str]]
INVARIANTS: dict[str, Check] = {}


def invariant(check: Check) -> Check:
    """Add a function to the invariants, by its name."""
    INVARIANTS[check.__name__] = check
    return check


# -- rows -------------------------------------------------------------------------------------------
@invariant
def every_object_has_a_row_or_a_rejection(rest: Rest) -> Iterator[str]:
    """By identifier, both ways."""
    rows = {source.removeprefix(ARCHIVE_PREFIX) for (source,) in rest.select(Instance.source)}
    rejected = {source.removeprefix(ARCHIVE_PREFIX) for (source,) in rest.select(Rejection.source)}
    archived = rest.archived.by_key.keys()
    if missing := archived - rows - rejected:
        yield f"{len(missing)} objects of the archive have neither row nor rejection"
    if gone := rows - archived:
        yield f"{len(gone)} rows are of objects that the archive has no more"
    if gone := rejected - archived:
        yield f"{len(gone)} rejections are of objects that the archive has no more"


@invariant
def no_object_is_rejected(rest: Rest) -> Iterator[str]:
    """Nothing that is sent here is broken."""
    for code, number in Counter(code for (code,) in rest.select(Rejection.code)).items():
        yield f"{number} objects are rejected: {code}"


@invariant
def a_row_stands_below_the_parents_that_the_archive_names(rest: Rest) -> Iterator[str]:
    """Series and study of each instance, by identifier; and nothing else has a row."""
    joined = select(Instance.instance_key, Series.series_key, Series.study_key).join(
        Series, Series.series_key == Instance.series_key
    )
    with rest.scene.world.database.reading() as session:
        rows = {key: (series, study) for key, series, study in session.execute(joined)}
    for key, parents in rows.items():
        one = rest.archived.by_key.get(key)
        if one is not None and parents != (one.series_key, one.study_key):
            yield f"{one.modality} {key} stands below {parents}"
    for table, column in ((Series, Series.series_key), (Study, Study.study_key)):
        level = "series_key" if table is Series else "study_key"
        archived = {getattr(one, level) for one in rest.archived.by_key.values()}
        if extra := {key for (key,) in rest.select(column)} - archived:
            yield f"{len(extra)} rows of {table.__tablename__} are of none in the archive"


@invariant
def kept_counts_are_the_counts_of_rows(rest: Rest) -> Iterator[str]:
    """The totals, and the counts of each parent."""
    kept = dict(rest.select(RowCount.name, RowCount.number))
    for table in (Patient, Study, Series, Instance):
        name = table.__tablename__
        with rest.scene.world.database.reading() as session:
            counted = session.scalar(select(func.count()).select_from(table))
        if kept.get(name, 0) != counted:
            yield f"the total of {name} is {kept.get(name, 0)}, the rows are {counted}"

    instances = Counter(key for (key,) in rest.select(Instance.series_key))
    for key, number in rest.select(Series.series_key, Series.number_of_series_related_instances):
        if instances[key] != number:
            yield f"a series counts {number} instances, and has {instances[key]}"
    series = Counter(key for (key,) in rest.select(Series.study_key))
    for key, number in rest.select(Study.study_key, Study.number_of_study_related_series):
        if series[key] != number:
            yield f"a study counts {number} series, and has {series[key]}"


@invariant
def counts_are_the_archives(rest: Rest) -> Iterator[str]:
    """By level; persons are counted otherwise than by Orthanc."""
    statistics = rest.scene.world.orthanc.get("/statistics").json()
    kept = dict(rest.select(RowCount.name, RowCount.number))
    for level, name in (("CountStudies", "study"), ("CountSeries", "series"), ("CountInstances", "instance")):
        if statistics[level] != kept.get(name, 0):
            yield f"the archive has {statistics[level]} of {name}, the catalogue {kept.get(name, 0)}"


@invariant
def content_of_each_row_is_the_archives(rest: Rest) -> Iterator[str]:
    """The MD5 of the file that was catalogued."""
    wrong = Counter(
        "has none" if md5 is None else "has another"
        for key, md5 in rest.select(Instance.instance_key, Instance.content_md5)
        if key in rest.archived.by_key and rest.archived.by_key[key].md5 != md5
    )
    for what, number in wrong.items():
        yield f"{number} rows: the MD5 {what}"


@invariant
def a_study_says_what_its_objects_say_of_the_patient(rest: Rest) -> Iterator[str]:
    """Name and Patient ID of each study in QIDO are those of one of its objects, the study's own."""
    answer = rest.scene.world.ask("/dicom-web/studies?limit=100")
    if answer.status_code != 200:
        yield f"QIDO answers {answer.status_code}"
        return
    stated: dict[str, set[tuple[str, str]]] = {}
    for one in rest.archived.foreign:
        header = rest.archived.files.read(one)
        person = (str(header.get("PatientID", "")).strip(), str(header.get("PatientName", "")))
        stated.setdefault(one.study_instance_uid, set()).add(person)
    for study in answer.json:
        uid = study["0020000D"]["Value"][0]
        said = (_read_value(study, "00100020").strip(), _read_value(study, "00100010"))
        if uid in stated and said not in stated[uid]:
            yield f"a study is said to be of {said}, its objects say {sorted(stated[uid])}"


def _read_value(answer: dict[str, Any], tag: str) -> str:
    value = answer.get(tag, {}).get("Value") or [""]
    return str(value[0]["Alphabetic"] if isinstance(value[0], dict) else value[0])


# -- pictures ---------------------------------------------------------------------------------------
@invariant
def every_image_has_its_picture_and_every_picture_its_image(rest: Rest) -> Iterator[str]:
    """Rows of pictures, and files."""
    images = {one.key for one in rest.archived.foreign if one.modality == "CT"}
    rows = dict(rest.select(Rendering.instance_key, Rendering.png_path))
    if missing := images - rows.keys():
        yield f"{len(missing)} images have no picture"
    paths = {str(path) for path in (rest.scene.world.settings.output / "png").rglob("*.png")}
    if missing := set(rows.values()) - paths:
        yield f"{len(missing)} pictures have no file"
    if extra := paths - set(rows.values()):
        yield f"{len(extra)} files of pictures have no row"


@invariant
def a_picture_shows_the_pixels_of_the_archive(rest: Rest) -> Iterator[str]:
    """Some of them, decoded and computed anew by the Standard's formula (PS3.3 C.11.2.1.2.1)."""
    rows = sorted(rest.select(Rendering.instance_key, Rendering.png_path, Rendering.sha256))
    chosen = rest.random.sample(rows, min(LOOKED_AT, len(rows)))
    for key, path, sha256 in chosen:
        one = rest.archived.by_key.get(key)
        if one is None or one.modality != "CT":
            continue
        try:
            with open(path, "rb") as file:
                digest = hashlib.sha256(file.read()).hexdigest()
        except FileNotFoundError:
            continue
        if digest != sha256:
            yield "a file of a picture is not the one of its row"
        shown = np.asarray(Image.open(path))
        if not np.array_equal(shown, _compute_picture(rest.archived, one)):
            yield "a picture shows other pixels than the archive has"


def _compute_picture(archived: ArchivedObjects, one: ArchivedObject) -> Any:
    header = archived.files.read(one)
    values, places = np.unique(_read_hounsfield(header), return_inverse=True)
    window = int(header.WindowCenter), int(header.WindowWidth)
    greys = [grey(linear(int(value), *window), inverted=False) for value in values]  # type: ignore[arg-type]
    return np.array(greys, np.uint8)[places].reshape(header.Rows, header.Columns)


def _read_hounsfield(header: Any) -> Any:
    return header.pixel_array.astype(int) * int(header.RescaleSlope) + int(header.RescaleIntercept)


@invariant
def all_studies_of_a_patient_are_in_one_set(rest: Rest) -> Iterator[str]:
    """Train, validation or test: one for whatever may be one person (the same Patient ID, or a UID that is twice)."""
    joined = (
        select(Rendering.split, Rendering.sop_instance_uid, Patient.patient_id)
        .join(Instance, Instance.instance_key == Rendering.instance_key)
        .join(Series, Series.series_key == Instance.series_key)
        .join(Study, Study.study_key == Series.study_key)
        .join(Patient, Patient.patient_key == Study.patient_key)
    )
    sets: dict[tuple[str, str], set[str]] = {}
    with rest.scene.world.database.reading() as session:
        for split, uid, patient_id in session.execute(joined):
            sets.setdefault(("SOP Instance UID", uid), set()).add(split)
            if patient_id and patient_id.strip():
                sets.setdefault(("Patient ID", patient_id.strip().casefold()), set()).add(split)
    for what, number in Counter(what for (what, _), found in sets.items() if len(found) > 1).items():
        yield f"{number} times, one {what} is in two sets"


# -- work -------------------------------------------------------------------------------------------
@invariant
def no_job_has_failed(rest: Rest) -> Iterator[str]:
    """Nothing that is sent here makes work fail."""
    for kind, error in rest.select(Job.kind, Job.error):
        if error:
            yield f"{kind}: {error}"


@invariant
def the_reconciliation_finds_nothing(rest: Rest) -> Iterator[str]:
    """After the rest nothing is left to be found."""
    world = rest.scene.world
    world.planner.reconcile()
    queued = world.plan()
    if queued or world.find_open_jobs():
        yield f"the reconciliation finds work: {queued} jobs"
        world.work_until_rest(reconciles=False)
