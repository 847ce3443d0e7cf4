"""Two groups over one catalogue, each with a study whose every name and number is found nowhere else."""

import json
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from sqlalchemy.orm import Session

from api.auth import accounts
from api.results.shares import Share
from minipacs.catalogue import (
    Instance,
    Patient,
    Rejection,
    Rendering,
    RowCount,
    Segment,
    SegmentationResult,
    Series,
    Study,
)
from minipacs.database import Database
from minipacs.formats.sop_classes import SEGMENTATION
from minipacs.groups import membership
from minipacs.jobs.planner import FollowedStudy
from minipacs.jobs.record import Job
from minipacs.notifications.outbox import Notification
from minipacs.settings import Settings

ENGINE = "slicer"
FAR_FUTURE = 4_000_000_000.0
"""Seconds since 1970."""


@dataclass(frozen=True)
class Side:
    """What is known of one group's data; `number` makes all of it its own."""

    name: str
    number: int

    @property
    def study(self) -> str:
        """Study Instance UID."""
        return f"1.2.826.0.{self.number}.1"

    @property
    def series(self) -> str:
        """Series Instance UID of the images."""
        return f"1.2.826.0.{self.number}.2"

    @property
    def instance(self) -> str:
        """SOP Instance UID of the image."""
        return f"1.2.826.0.{self.number}.3"

    @property
    def seg_series(self) -> str:
        """Series Instance UID of the SEG."""
        return f"1.2.826.0.{self.number}.4"

    @property
    def seg(self) -> str:
        """SOP Instance UID of the SEG."""
        return f"1.2.826.0.{self.number}.5"

    @property
    def patient_id(self) -> str:
        """PatientID."""
        return f"PID{self.number}"

    @property
    def patient_name(self) -> str:
        """Patient's Name."""
        return f"Family{self.name}{self.number}^Given{self.name}"

    @property
    def accession(self) -> str:
        """Accession Number."""
        return f"ACC{self.number}"

    @property
    def description(self) -> str:
        """Of study and series."""
        return f"About {self.name} {self.number}"

    @property
    def picture(self) -> str:
        """Identifier of the rendering: the name of its PNG."""
        return f"{self.number}0-5f0e-5f0e-8f0e-0000{self.number}00"

    @property
    def label(self) -> str:
        """Name of the segment."""
        return f"Organ {self.name} {self.number}"

    @property
    def job(self) -> int:
        """Number of the job, the share and the notification."""
        return self.number

    @property
    def result(self) -> str:
        """The folder of the result below OUTPUT/results."""
        return f"{self.study}/{self.series}/{ENGINE}"

    def identifiers(self) -> list[str]:
        """Texts that stand in no answer to anybody outside of the group; all have the number in them."""
        return [str(self.number), f"Family{self.name}", f"Given{self.name}", f"About {self.name}", f"Organ {self.name}"]


ALPHA, BETA = Side("Alpha", 770177), Side("Beta", 880288)
GHOST = Side("Ghst", 990399)
"""Exists nowhere; its names are as long as those of the second group."""


def fill_with_two_groups(database: Database, settings: Settings) -> None:
    """Both groups, their studies and results; the counts of the whole catalogue."""
    for side in (ALPHA, BETA):
        with database.writing() as session:
            add_rows(session, side, settings)
        write_result(settings.output / "results" / side.result, side)
        membership.create_group(database, side.name, f"Of {side.name}")
        membership.add_studies(database, side.name, [side.study], "tests")
    with database.writing() as session:
        for name, number in (("patient", 2), ("study", 2), ("series", 4), ("instance", 4)):
            session.merge(RowCount(name=name, number=number))


def add_member(database: Database, side: Side, role: str) -> str:
    """A user of this role who sees the group alone; the name."""
    name = f"{role}-of-{side.name}"
    accounts.create_or_change_user(database, name, role, "a good password", sees_all=False)
    membership.add_members(database, side.name, [name])
    return name


def add_token(database: Database, name: str, role: str, side: Side | None) -> dict[str, str]:
    """A token of this role that sees the group alone, or all; the headers of its requests."""
    token = accounts.create_token(database, name, role)
    if side is not None:
        member = accounts.make_token_member_name(name)
        accounts.set_sees_all(database, member, False)
        membership.add_members(database, side.name, [member])
    return {"Authorization": f"Bearer {token}"}


def add_rows(session: Session, side: Side, settings: Settings) -> None:
    """One row of each table, and what it needs."""
    picture = settings.output / "png" / f"{side.picture}.png"
    picture.parent.mkdir(parents=True, exist_ok=True)
    picture.write_bytes(b"\x89PNG" + side.description.encode())
    for row in catalogue_rows(side, picture):
        session.add(row)
        session.flush()
    times: dict[str, Any] = {"created": 1.0, "started": 2.0, "finished": 3.0}
    session.add(
        Job(
            id=side.job, key=f"segment/{side.study}", kind="segment", study_instance_uid=side.study, args={},
            needs="cpu", priority=0, state="failed", attempt=1, attempt_limit=1, error=side.description,
            detail=side.description, **times,
        )
    )  # fmt: skip
    session.add(
        Notification(
            id=side.job, job_id=side.job, ended=3.0, receiver="webhook:x", event={"study": side.study}, not_before=1.0
        )
    )
    files = [f"{side.result}/labels.nii.gz"]
    session.add(Share(id=side.job, files=files, created_by="admin", created=1.0, ends=FAR_FUTURE))


def catalogue_rows(side: Side, picture: Path) -> list[Any]:
    """The rows of the catalogue, those that others point to first."""
    uids = {"study_instance_uid": side.study, "series_instance_uid": side.series}
    counts = {"number_of_series_related_instances": 1}
    study_key, series_key, instance_key = f"key {side.study}", f"key {side.series}", f"key {side.instance}"
    seg_series_key, seg_key = f"key {side.seg_series}", f"key {side.seg}"
    return [
        Patient(
            patient_key=side.patient_id, patient_id=side.patient_id, patient_name=side.patient_name,
            number_of_patient_related_studies=1, number_of_patient_related_series=2,
            number_of_patient_related_instances=2,
        ),
        Study(
            study_key=study_key,
            study_instance_uid=side.study, patient_key=side.patient_id, study_date=date(2024, 2, 1),
            study_description=side.description, accession_number=side.accession, study_id=str(side.number),
            number_of_study_related_series=2, number_of_study_related_instances=2,
        ),
        Series(
            series_key=series_key, study_key=study_key, **uids, modality="CT", series_number=1,
            series_description=side.description, **counts,
        ),
        Series(
            series_key=seg_series_key, study_key=study_key, study_instance_uid=side.study,
            series_instance_uid=side.seg_series, modality="SEG", series_number=2, **counts,
        ),
        Instance(
            instance_key=instance_key, series_key=series_key,
            sop_instance_uid=side.instance, series_instance_uid=side.series, instance_number=1,
            source=f"archive:{side.number}", sop_class_uid="1.2.840.10008.5.1.4.1.1.2",
        ),
        Instance(
            instance_key=seg_key, series_key=seg_series_key,
            sop_instance_uid=side.seg, series_instance_uid=side.seg_series, instance_number=1,
            source=f"archive:{side.number}s", sop_class_uid=SEGMENTATION,
        ),
        Rendering(
            rendering_id=side.picture, instance_key=instance_key,
            sop_instance_uid=side.instance, frame_number=1, split="train",
            png_path=str(picture), sha256="0", bytes=200, bit_depth=8, rows=10, columns=20, window_source="header",
            rules=1,
        ),
        Segment(instance_key=seg_key, sop_instance_uid=side.seg, segment_number=1, segment_label=side.label),
        SegmentationResult(
            seg_series_instance_uid=side.seg_series, **uids, engine=ENGINE, version="1", created="2024-01-01",
            manifest={"study": side.study},
        ),
        Rejection(
            source=f"archive:{side.number}r", sop_instance_uid=side.instance, instance_key=instance_key,
            series_key=series_key, study_key=study_key, code="conflict",
            reason=side.description, remedy="None.",
        ),
        FollowedStudy(study_id=f"orthanc-{side.number}", study_instance_uid=side.study, due=None),
    ]  # fmt: skip


def write_result(folder: Path, side: Side) -> None:
    """A label map with one label, its surfaces, and its manifest."""
    folder.mkdir(parents=True)
    labels = np.arange(60, dtype=np.uint8).reshape(5, 4, 3) % 2
    nib.save(nib.Nifti1Image(labels, np.diag([0.7, 0.8, 2.5, 1])), folder / "labels.nii.gz")
    rows = [{"value": 1, "label": side.label}]
    (folder / "labels.json").write_text(json.dumps({"labels": rows}))
    (folder / "model.glb").write_bytes(b"glTF" + side.description.encode())
    (folder / "seg.dcm").write_bytes(bytes(128) + b"DICM" + side.description.encode())
    files = sorted(path.name for path in folder.iterdir())
    manifest = {"study_instance_uid": side.study, "series_instance_uid": side.series, "segments": rows, "files": files}
    (folder / "manifest.json").write_text(json.dumps(manifest))
