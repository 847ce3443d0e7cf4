"""Step 0015: rows of before the keys get the identifiers of the archive, and none is lost."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from minipacs.catalogue import (
    Instance,
    Rejection,
    Rendering,
    Segment,
    Series,
    Study,
    compute_object_keys,
    read_catalogue_counts,
)
from minipacs.database import Database
from postgres import new_url

ARCHIVED = ("P1", "1.1", "1.1.1", "1.1.1.1")
OF_FOLDER = ("P1", "1.1", "1.1.1", "1.1.1.2")
WITHOUT_ID = ("", "1.2", "1.2.1", "1.2.1.1")


OLD_ROWS = (
    "INSERT INTO patient (patient_key, patient_id, number_of_patient_related_studies, number_of_patient_related_series,"
    " number_of_patient_related_instances) VALUES ('P1', 'P1', 1, 2, 3), ('study:1.2', NULL, 1, 1, 1)",
    "INSERT INTO study (study_instance_uid, patient_key, study_description, number_of_study_related_series,"
    " number_of_study_related_instances) VALUES ('1.1', 'P1', 'Thorax', 2, 3), ('1.2', 'study:1.2', NULL, 1, 1)",
    "INSERT INTO series (series_instance_uid, study_instance_uid, modality, number_of_series_related_instances)"
    " VALUES ('1.1.1', '1.1', 'CT', 2), ('1.1.9', '1.1', 'SEG', 1), ('1.2.1', '1.2', 'MR', 1)",
    "INSERT INTO instance (sop_instance_uid, series_instance_uid, source, rendered_with, image_type) VALUES"
    " ('1.1.1.1', '1.1.1', 'archive:what-orthanc-says', '[\"0123\"]', '[\"ORIGINAL\"]'),"
    " ('1.1.1.2', '1.1.1', '/data/2.dcm', '[\"0123\"]', NULL),"
    " ('1.1.9.1', '1.1.9', 'archive:the-seg', NULL, NULL),"
    " ('1.2.1.1', '1.2.1', '/data/3.dcm', NULL, NULL)",
    "INSERT INTO rendering (rendering_id, sop_instance_uid, frame_number, split, png_path, sha256, bytes, bit_depth,"
    " rows, columns, window_source, modality_lut, inverted, pixel_aspect, rules)"
    " VALUES ('r1', '1.1.1.1', 1, 'train', '/png/r1.png', '0', 1, 8, 2, 3, 'header', false, false, 1.0, 1)",
    "INSERT INTO segment (sop_instance_uid, segment_number, segment_label) VALUES ('1.1.9.1', 1, 'Liver')",
    "INSERT INTO rejection (source, sop_instance_uid, code, reason, remedy, options) VALUES"
    " ('archive:copied', '1.1.1.1', 'copy', 'It is there.', 'None.', '0123'),"
    " ('archive:no-picture', '1.1.1.2', 'no_picture', 'It is dark.', 'None.', '0123'),"
    " ('/data/text', NULL, 'not_dicom', 'It is a text.', 'None.', '0123')",
    "INSERT INTO total (name, number) VALUES ('patient', 2), ('study', 2), ('series', 3), ('instance', 4)",
)


@pytest.fixture(params=["sqlite", "postgresql"])
def upgraded(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A database that had these rows at step 0014."""
    database = Database(new_url(request.param, tmp_path))
    database.upgrade_schema("0014")
    with database.writing() as session:
        for statement in OLD_ROWS:
            session.execute(text(statement))
    database.upgrade_schema("0015")
    yield database
    database.close()


def test_an_archived_instance_has_the_identifier_that_the_archive_says(upgraded: Database) -> None:
    with upgraded.reading() as session:
        instance = session.get_one(Instance, "what-orthanc-says")
        assert (instance.sop_instance_uid, instance.source) == ("1.1.1.1", "archive:what-orthanc-says")
        assert instance.series_key == compute_object_keys(*ARCHIVED).series
        assert instance.image_type == ["ORIGINAL"]


def test_other_rows_have_the_identifiers_that_orthanc_would_give(upgraded: Database) -> None:
    with upgraded.reading() as session:
        for values in (OF_FOLDER, WITHOUT_ID):
            keys = compute_object_keys(*values)
            assert session.get_one(Instance, keys.instance).series_key == keys.series
            assert session.get_one(Series, keys.series).study_key == keys.study
            assert session.get_one(Study, keys.study).study_instance_uid == values[1]
        assert session.get_one(Study, compute_object_keys(*WITHOUT_ID).study).patient_key == "study:1.2"


def test_counts_pictures_and_segments_stay(upgraded: Database) -> None:
    with upgraded.reading() as session:
        counts = read_catalogue_counts(session)
        assert (counts.patients, counts.studies, counts.series, counts.images) == (2, 2, 3, 4)
        study = session.get_one(Study, compute_object_keys(*ARCHIVED).study)
        assert (study.study_description, study.number_of_study_related_instances) == ("Thorax", 3)
        rendering = session.get_one(Rendering, "r1")
        assert (rendering.instance_key, rendering.png_path) == ("what-orthanc-says", "/png/r1.png")
        assert session.get_one(Segment, ("the-seg", 1)).segment_label == "Liver"


def test_every_object_is_read_again_once(upgraded: Database) -> None:
    with upgraded.reading() as session:
        for instance in session.query(Instance):
            assert (instance.rendered_with, instance.content_md5, instance.file_uuid) == (None, None, None)


def test_rejections_get_keys_and_copies_are_looked_at_again(upgraded: Database) -> None:
    with upgraded.reading() as session:
        copied, dark, foreign = (
            session.get_one(Rejection, source) for source in ("archive:copied", "archive:no-picture", "/data/text")
        )
        assert (copied.instance_key, copied.options) == ("copied", None)
        assert copied.study_key == compute_object_keys(*ARCHIVED).study
        assert (dark.instance_key, dark.options) == ("no-picture", "0123")
        assert (foreign.instance_key, foreign.study_key, foreign.options) == (None, None, "0123")


def test_two_rows_of_one_source_keep_a_row_each(tmp_path: Path) -> None:
    """Nothing should have made them; an upgrade that fails for them would be worse."""
    database = Database(new_url("sqlite", tmp_path))
    database.upgrade_schema("0014")
    with database.writing() as session:
        for statement in (
            *OLD_ROWS,
            "UPDATE instance SET source = 'archive:the-seg' WHERE sop_instance_uid = '1.2.1.1'",
        ):
            session.execute(text(statement))
    database.upgrade_schema("0015")
    with database.reading() as session:
        assert session.get_one(Instance, "the-seg").sop_instance_uid == "1.1.9.1"
        assert session.get_one(Instance, compute_object_keys(*WITHOUT_ID).instance).source == "archive:the-seg"
    database.close()
