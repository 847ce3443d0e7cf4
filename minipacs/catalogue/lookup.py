"""Rows by UID. A UID may be borne by several; of those, the one is found that a person would mean.

Images are meant rather than reports alone, and an object with a Patient ID rather than one without. Nothing else
decides between two persons; among several that are left, the smallest key is taken, so that the answer is always the
same.
"""

from collections.abc import Sequence

from sqlalchemy import BindParameter, ColumnElement, ScalarSelect, Select, String, bindparam, case, func, select
from sqlalchemy.orm import Session

from minipacs.catalogue.objects import Instance
from minipacs.catalogue.parents import Series, Study

__all__ = [
    "MEANT_FIRST",
    "find_instance",
    "find_series",
    "find_studies",
    "find_study",
    "select_instance_key",
    "select_study_key",
]

Uid = str | BindParameter[str]

MODALITIES_WITHOUT_IMAGES = ("AU", "DOC", "ECG", "FID", "KO", "PLAN", "PR", "REG", "RTPLAN", "RTSTRUCT", "SEG", "SR")
"""Of objects that describe images, and are none (PS3.3 C.7.3.1.1.1)."""


def _has_no_images() -> ColumnElement[int]:
    """0 for a study with images, 1 for one without."""
    of_study = Series.__table__.alias("series_of_study")
    is_of_images = func.coalesce(of_study.c.modality, "").not_in(MODALITIES_WITHOUT_IMAGES)
    images = select(of_study.c.series_key).where(of_study.c.study_key == Study.study_key, is_of_images)
    return case((images.exists(), 0), else_=1)


def _has_no_patient_id() -> ColumnElement[int]:
    """0 for a study whose objects have a Patient ID, 1 for one without."""
    return case((Study.patient_key.startswith("study:"), 1), else_=0)


MEANT_FIRST = (_has_no_images(), _has_no_patient_id(), Study.study_key)
"""The order of studies that bear one UID: the one that a person would mean comes first."""


def find_studies(session: Session, study_instance_uid: str) -> Sequence[Study]:
    """All studies with this Study Instance UID, the one that is meant first."""
    return session.scalars(_STUDIES, {"uid": study_instance_uid}).all()


def find_study(session: Session, study_instance_uid: str) -> Study | None:
    """The study that is meant by this Study Instance UID; None where there is none."""
    return session.scalars(_STUDY, {"uid": study_instance_uid}).first()


def find_series(session: Session, series_instance_uid: str) -> Series | None:
    """The series that is meant by this Series Instance UID: of the study that is meant; None where there is none."""
    return session.scalars(_SERIES, {"uid": series_instance_uid}).first()


def find_instance(session: Session, sop_instance_uid: str) -> Instance | None:
    """The instance that is meant by this SOP Instance UID: of the study that is meant; None where there is none."""
    return session.scalars(_INSTANCE, {"uid": sop_instance_uid}).first()


def select_study_key(study_instance_uid: Uid) -> ScalarSelect[str]:
    """A part of a statement: the key of the study that is meant by this Study Instance UID."""
    keys = _select_studies(study_instance_uid).with_only_columns(Study.study_key)
    return keys.limit(1).correlate(None).scalar_subquery()


def select_instance_key(sop_instance_uid: Uid) -> ScalarSelect[str]:
    """A part of a statement: the key of the instance that is meant by this SOP Instance UID."""
    keys = _select_instances(sop_instance_uid).with_only_columns(Instance.instance_key)
    return keys.limit(1).correlate(None).scalar_subquery()


def _select_studies(study_instance_uid: Uid) -> Select[Study]:
    bearers = select(Study).where(Study.study_instance_uid == study_instance_uid)
    return bearers.order_by(*MEANT_FIRST)


def _select_series(series_instance_uid: Uid) -> Select[Series]:
    bearers = select(Series).join(Study, Study.study_key == Series.study_key)
    bearers = bearers.where(Series.series_instance_uid == series_instance_uid)
    return bearers.order_by(*MEANT_FIRST, Series.series_key)


def _select_instances(sop_instance_uid: Uid) -> Select[Instance]:
    bearers = select(Instance).join(Series, Series.series_key == Instance.series_key)
    bearers = bearers.join(Study, Study.study_key == Series.study_key)
    bearers = bearers.where(Instance.sop_instance_uid == sop_instance_uid)
    return bearers.order_by(*MEANT_FIRST, Instance.instance_key)


# Made once: to make one takes longer than to run it.
_UID = bindparam("uid", type_=String())
_STUDIES = _select_studies(_UID)
_STUDY = _STUDIES.limit(1)
_SERIES = _select_series(_UID).limit(1)
_INSTANCE = _select_instances(_UID).limit(1)
