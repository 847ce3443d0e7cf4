"""No text of a foreign object leads out of a folder, forges a line of a log or of a header, or commands anything."""

import json
import logging
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from api.dicomweb import paths
from dicom_objects import ROOT, as_file
from etl.options import Options
from etl.records import SourceItem
from etl.transform import transform
from minipacs import result_paths
from minipacs.archive.content import InstanceContent, SeriesContent, StudyContent
from minipacs.errors import Unreadable
from minipacs.formats.uids import is_uid
from minipacs.jobs.contract import kinds_of_work
from minipacs.logging_setup import JsonLineFormatter, TextLineFormatter
from security.objects.hostile_objects import HOSTILE_UIDS, PIXELS, write_text_everywhere, write_uid
from segmentation.commands.segment import _group_files_by_series
from stack import settings_for

HOSTILE_TEXT = "=1+1\r\nX-Forged: yes\x1b[2J\x9b1m\u2028<img src=x onerror=alert(1)>'\"%s../..\0"


@pytest.mark.parametrize("uid", ["1.2.840.10008.1", "0", "2.25.329800735698586629295641978511506172918", "1.02.3"])
def test_uids_as_senders_make_them_are_uids(uid: str) -> None:
    assert is_uid(uid)


@pytest.mark.parametrize("uid", [*HOSTILE_UIDS, "", ".", "1.", ".1", "1..2", "1.2\n", "\uff11.\uff12"])
def test_what_is_no_uid_never_becomes_a_folder_of_results(uid: str, tmp_path: Path) -> None:
    settings = settings_for(tmp_path)

    assert not is_uid(uid)
    with pytest.raises(Unreadable):
        result_paths.make_series_folder(settings, uid, f"{ROOT}.1")
    with pytest.raises(Unreadable):
        result_paths.make_series_folder(settings, f"{ROOT}.1", uid)


@pytest.mark.parametrize(
    "path", ["studies/..", "studies/../series/1.2/metadata", "studies/1..2", "studies/1.2/series/.."]
)
def test_the_gateway_passes_no_path_with_dots_in_place_of_a_uid(path: str) -> None:
    assert not paths.is_allowed_to_read(path)
    assert not paths.is_allowed_to_read(path + "\n")


def test_a_study_whose_uid_is_none_is_catalogued_and_never_segmented(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    series = SeriesContent("s", "", "CT", "", "", (InstanceContent("", "i1"), InstanceContent("", "i2")))
    study = StudyContent("an identifier of Orthanc's", "", (series,))

    (order,) = kinds_of_work()["catalogue"].orders(study, settings)
    assert order.args["study_id"] == study.study_id
    assert kinds_of_work()["segment"].orders(study, settings) == []
    other = StudyContent("another identifier", "", (series,))
    assert kinds_of_work()["catalogue"].orders(other, settings)[0].key != order.key


def test_instances_whose_uids_are_none_still_change_the_digest_of_their_series() -> None:
    one = SeriesContent("s", "1.2", "CT", "", "", (InstanceContent("", "i1"),))
    two = SeriesContent("s", "1.2", "CT", "", "", (InstanceContent("", "i1"), InstanceContent("", "i2")))

    assert one.digest != two.digest


@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
def test_the_command_segments_into_no_folder_outside_of_its_own(tmp_path: Path) -> None:
    from dicom_objects import image

    file = as_file(image(PIXELS, SeriesInstanceUID=f"{ROOT}.55"))
    (tmp_path / "a.dcm").write_bytes(write_uid(file, f"{ROOT}.55", "../../outside"))

    (name,) = _group_files_by_series(tmp_path)

    assert "/" not in name
    assert name not in ("", ".", "..")


def test_hostile_text_in_every_element_makes_rows_that_any_database_log_and_header_can_hold(tmp_path: Path) -> None:
    import pydicom

    from security.objects.hostile_objects import make_objects

    for name, file in make_objects().items():
        dataset = write_text_everywhere(pydicom.dcmread(BytesIO(file)), HOSTILE_TEXT)
        folder = tmp_path / "png" / name
        folder.mkdir(parents=True)
        outcome = transform(SourceItem("archive:1"), as_file(dataset), Options(target=folder), folder)

        assert outcome.instance, outcome.rejection
        rows: list[Any] = [outcome.patient, outcome.study, outcome.series, outcome.instance]
        for row in [*rows, *outcome.segments, *outcome.renderings]:
            for text in row.values():
                for part in text if isinstance(text, list) else [text]:
                    assert not isinstance(part, str) or part.isprintable(), part
    assert [path.name for path in tmp_path.iterdir()] == ["png"]


@pytest.mark.parametrize("formatter", [TextLineFormatter(), JsonLineFormatter()])
def test_a_record_is_one_line_whatever_it_quotes(formatter: logging.Formatter) -> None:
    record = logging.LogRecord("minipacs", logging.INFO, "", 0, "study %s", (HOSTILE_TEXT,), None)

    line = formatter.format(record)

    assert line.isprintable()
    if isinstance(formatter, JsonLineFormatter):
        assert json.loads(line)["message"] == f"study {HOSTILE_TEXT}"


def test_no_log_has_the_words_of_an_exception() -> None:
    try:
        try:
            raise ValueError("Doe^Jane")
        except ValueError as error:
            raise RuntimeError("Doe^Jane again") from error
    except RuntimeError as error:
        record = logging.LogRecord("minipacs", 40, "", 0, "it failed", (), (type(error), error, error.__traceback__))

    text = TextLineFormatter().format(record)

    assert "Doe" not in text
    assert "ValueError" in text
    assert "RuntimeError" in text
    assert "test_foreign_text.py" in text


def test_the_sentence_of_an_error_has_no_control_characters_of_the_object_that_it_quotes() -> None:
    error = Unreadable(f"Its pixel values are {HOSTILE_TEXT}.")

    assert error.message.isprintable()
    assert json.dumps(error.as_json())
