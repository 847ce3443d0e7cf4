"""The types of what the catalogue's routes answer: rows, made of the tables' own columns, counts, and pages of rows."""

from typing import TypedDict

from api.results.files import ResultJson
from api.web.row_json import make_list_type, make_page_type, make_row_type
from minipacs.catalogue import Instance, Patient, Rejection, Rendering, Segment, Series, Study

PatientRow = make_row_type("Patient", Patient)
StudyRow = make_row_type("Study", Study)
SeriesRow = make_row_type("Series", Series)
InstanceRow = make_row_type("Instance", Instance)
RenderingRow = make_row_type("Rendering", Rendering)
SegmentRow = make_row_type("Segment", Segment)

PatientPage = make_page_type("PatientPage", "patients", PatientRow)
StudyPage = make_page_type("StudyPage", "studies", StudyRow)
SeriesPage = make_page_type("SeriesPage", "series", SeriesRow)
InstancePage = make_page_type("InstancePage", "images", InstanceRow)
RejectionPage = make_page_type("RejectionPage", "rejections", make_row_type("Rejection", Rejection))

SeriesOfStudy = make_row_type("SeriesOfStudy", Series, ours=bool)
StudyDetails = make_row_type(
    "StudyDetails", Study, patient=PatientRow, series=make_list_type(SeriesOfStudy), results=list[ResultJson]
)  # fmt: skip
SeriesDetails = make_row_type("SeriesDetails", Series, patient_key=str | None)
InstanceDetails = make_row_type(
    "InstanceDetails", Instance, renderings=make_list_type(RenderingRow), segments=make_list_type(SegmentRow)
)  # fmt: skip
PictureDetails = make_row_type(
    "PictureDetails",
    Rendering,
    InstanceNumber=int | None,
    PatientID=str | None,
    SeriesDescription=str | None,
    StudyDescription=str | None,
    Modality=str | None,
    SeriesInstanceUID=str,
    StudyInstanceUID=str,
)
SegmentOfStudy = make_row_type("SegmentOfStudy", Segment, SeriesInstanceUID=str, superseded_by=str | None)


class PatientTotal(TypedDict):
    """How many patients there are."""

    patient_count: int


class StudyTotal(TypedDict):
    """How many studies there are."""

    study_count: int


class SeriesTotal(TypedDict):
    """How many series there are."""

    series_count: int


class InstanceTotal(TypedDict):
    """How many instances there are, of any kind."""

    images_count: int


class StudyCountOfPatient(StudyTotal):
    """How many studies a patient has."""

    patient_id: str


class SeriesCountOfPatient(SeriesTotal):
    """How many series a patient has."""

    patient_id: str


class InstanceCountOfPatient(InstanceTotal):
    """How many instances a patient has."""

    patient_id: str


class CountsOfPatient(TypedDict):
    """All three counts of a patient."""

    patient_id: str
    study_count: int
    series_count: int
    image_count: int
