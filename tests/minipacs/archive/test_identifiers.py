from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from dicom_objects import ROOT, as_file, image
from minipacs.archive.client import Archive
from minipacs.archive.identifiers import (
    compute_archive_patient_id,
    compute_instance_key,
    compute_series_key,
    compute_study_key,
)
from orthanc_server import running_orthanc

PIXELS = np.arange(35, dtype=np.uint16).reshape(5, 7)
UIDS = (f"{ROOT}.1", f"{ROOT}.1.1", f"{ROOT}.1.1.1")


def test_an_identifier_is_sha_1_of_id_and_uids_in_groups_of_eight_digits() -> None:
    # sha1sum of "P1", of "P1|1.2", of "P1|1.2|1.2.3" and of "P1|1.2|1.2.3|1.2.3.4"
    assert compute_archive_patient_id("P1") == "bdaf1eca-33d4619e-80e8ca68-9a1b74a4-febbbb29"
    assert compute_study_key("P1", "1.2") == "4dc51e1b-199e08be-45155f4a-ac9120c5-469611e4"
    assert compute_series_key("P1", "1.2", "1.2.3") == "0f487c28-d7bf8b82-43f31b6e-03bce79e-58d7917e"
    assert compute_instance_key("P1", "1.2", "1.2.3", "1.2.3.4") == "f2113294-223ca5eb-ca95fa8d-c8d89617-124017e7"


def test_padding_is_no_part_of_an_identifier_and_blanks_in_front_are() -> None:
    assert compute_study_key("P1 ", "1.2\0") == compute_study_key("P1", "1.2")
    assert compute_study_key(" P1", "1.2") != compute_study_key("P1", "1.2")


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    with running_orthanc(tmp_path_factory.mktemp("orthanc")) as server:
        yield server.archive


@pytest.mark.integration
@pytest.mark.parametrize(
    ("patient_id", "elements"),
    [
        ("P1", {}),
        ("odd", {}),  # padded with a blank by its writer (PS3.5 6.2)
        ("two blanks  ", {}),
        ("  blanks in front", {}),
        ("", {}),
        ("x|y", {}),
        ("one\\two", {}),
        ("Müller-7", {"SpecificCharacterSet": "ISO_IR 192"}),
        ("Müller-8", {"SpecificCharacterSet": "ISO_IR 100"}),
    ],
)
def test_orthanc_names_what_it_stores_as_computed(archive: Archive, patient_id: str, elements: dict[str, Any]) -> None:
    key = archive.store_file(as_file(image(PIXELS, PatientID=patient_id, **elements)))

    assert key == compute_instance_key(patient_id, *UIDS)
    assert archive.find_parent_studies([key]) == {compute_study_key(patient_id, UIDS[0])}
    study = archive.read_study(compute_study_key(patient_id, UIDS[0]))
    assert [series.series_id for series in study.series] == [compute_series_key(patient_id, *UIDS[:2])]
    assert archive.find_parent_studies([compute_archive_patient_id(patient_id)]) == {study.study_id}


@pytest.mark.integration
def test_an_object_without_patient_id_is_named_as_one_whose_patient_id_is_empty(archive: Archive) -> None:
    key = archive.store_file(as_file(image(PIXELS, 2, PatientID=None)))

    assert key == compute_instance_key("", *UIDS[:2], f"{ROOT}.1.1.2")
