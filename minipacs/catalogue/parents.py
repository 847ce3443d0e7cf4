"""The tables of patients, studies and series: what many objects have in common."""

from datetime import date, time

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from minipacs.catalogue.elements import counter, element
from minipacs.tables import Base

__all__ = ["Patient", "Series", "Study"]


class Patient(Base):
    """A person, by PatientID. Objects without one are not merged: each such study has a patient of its own."""

    __tablename__ = "patient"
    patient_key: Mapped[str] = mapped_column(primary_key=True)
    """PatientID, or `study:` + StudyInstanceUID when the object has none."""
    patient_id: Mapped[str | None] = element("PatientID", index=True)
    patient_name: Mapped[str | None] = element("PatientName")
    patient_birth_date: Mapped[date | None] = element("PatientBirthDate")
    patient_sex: Mapped[str | None] = element("PatientSex")
    issuer_of_patient_id: Mapped[str | None] = element("IssuerOfPatientID")
    number_of_patient_related_studies: Mapped[int] = counter("NumberOfPatientRelatedStudies")
    number_of_patient_related_series: Mapped[int] = counter("NumberOfPatientRelatedSeries")
    number_of_patient_related_instances: Mapped[int] = counter("NumberOfPatientRelatedInstances")


class Study(Base):
    """A study of one patient."""

    __tablename__ = "study"
    study_key: Mapped[str] = mapped_column(primary_key=True)
    """Orthanc's identifier of the study, or the one that Orthanc would give it."""
    study_instance_uid: Mapped[str] = element("StudyInstanceUID", index=True, nullable=False)
    """Two studies may bear it: of two patients, or of one whose Patient ID was corrected."""
    patient_key: Mapped[str] = mapped_column(ForeignKey("patient.patient_key"), index=True)
    study_id: Mapped[str | None] = element("StudyID")
    study_date: Mapped[date | None] = element("StudyDate", index=True)
    study_time: Mapped[time | None] = element("StudyTime")
    study_description: Mapped[str | None] = element("StudyDescription")
    accession_number: Mapped[str | None] = element("AccessionNumber", index=True)
    referring_physician_name: Mapped[str | None] = element("ReferringPhysicianName")
    patient_age: Mapped[str | None] = element("PatientAge")
    patient_size: Mapped[float | None] = element("PatientSize")
    patient_weight: Mapped[float | None] = element("PatientWeight")
    number_of_study_related_series: Mapped[int] = counter("NumberOfStudyRelatedSeries")
    number_of_study_related_instances: Mapped[int] = counter("NumberOfStudyRelatedInstances")


class Series(Base):
    """A series of one study: one modality, one piece of equipment."""

    __tablename__ = "series"
    series_key: Mapped[str] = mapped_column(primary_key=True)
    """Orthanc's identifier of the series, or the one that Orthanc would give it."""
    series_instance_uid: Mapped[str] = element("SeriesInstanceUID", index=True, nullable=False)
    study_key: Mapped[str] = mapped_column(ForeignKey("study.study_key"), index=True)
    study_instance_uid: Mapped[str] = element("StudyInstanceUID", index=True, nullable=False)
    modality: Mapped[str | None] = element("Modality", index=True)
    series_number: Mapped[int | None] = element("SeriesNumber")
    series_date: Mapped[date | None] = element("SeriesDate")
    series_time: Mapped[time | None] = element("SeriesTime")
    series_description: Mapped[str | None] = element("SeriesDescription")
    protocol_name: Mapped[str | None] = element("ProtocolName")
    body_part_examined: Mapped[str | None] = element("BodyPartExamined")
    laterality: Mapped[str | None] = element("Laterality")
    patient_position: Mapped[str | None] = element("PatientPosition")
    frame_of_reference_uid: Mapped[str | None] = element("FrameOfReferenceUID")
    manufacturer: Mapped[str | None] = element("Manufacturer")
    manufacturer_model_name: Mapped[str | None] = element("ManufacturerModelName")
    software_versions: Mapped[list[str] | None] = element("SoftwareVersions")
    institution_name: Mapped[str | None] = element("InstitutionName")
    station_name: Mapped[str | None] = element("StationName")
    number_of_series_related_instances: Mapped[int] = counter("NumberOfSeriesRelatedInstances")
