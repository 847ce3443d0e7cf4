"""What is asked of Orthanc for the content of files, and how often."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from minipacs.archive import file_contents
from minipacs.archive.client import Archive
from minipacs.errors import ArchiveRefused
from minipacs.settings import Settings

SETTINGS = Settings.from_env({"MINIPACS_ORTHANC_PASSWORD": "secret", "MINIPACS_ORTHANC_URL": "http://orthanc"})


class Orthanc:
    """Files by instance, and the requests that came."""

    def __init__(self, *, has_plugin: bool) -> None:
        self.files = {f"i{number}": (f"md5-{number}", f"uuid-{number}", 100 + number) for number in range(1203)}
        self.has_plugin = has_plugin
        self.asked: list[str] = []
        self.archive = Archive(SETTINGS, httpx.MockTransport(self._answer))

    @property
    def file_uuids(self) -> dict[str, str]:
        """As a listing has them."""
        return {key: uuid for key, (_, uuid, _) in self.files.items()}

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request.url.path)
        if request.url.path == "/minipacs/content" and self.has_plugin:
            return httpx.Response(200, json={k: self.files[k] for k in json.loads(request.content) if k in self.files})
        key = request.url.path.removeprefix("/instances/").removesuffix("/attachments/dicom/info")
        if key not in self.files:
            return httpx.Response(404)
        md5, uuid, size = self.files[key]
        return httpx.Response(200, json={"UncompressedMD5": md5, "Uuid": uuid, "UncompressedSize": size})


def test_our_plugin_is_asked_for_500_at_once() -> None:
    orthanc = Orthanc(has_plugin=True)
    contents = orthanc.archive.read_file_contents(orthanc.file_uuids)
    assert orthanc.asked == ["/minipacs/content"] * 3
    assert {key: (c.content_md5, c.uuid, c.size) for key, c in contents.items()} == orthanc.files


def test_without_our_plugin_each_file_is_asked_for_once() -> None:
    orthanc = Orthanc(has_plugin=False)
    contents = orthanc.archive.read_file_contents(orthanc.file_uuids)
    assert contents == Orthanc(has_plugin=True).archive.read_file_contents(orthanc.file_uuids)
    assert len(orthanc.asked) == 1 + len(orthanc.files)

    del orthanc.asked[:]
    assert orthanc.archive.read_file_contents(orthanc.file_uuids) == contents
    assert orthanc.asked == ["/minipacs/content"]


def test_without_our_plugin_a_file_that_was_stored_anew_is_asked_for_again() -> None:
    orthanc = Orthanc(has_plugin=False)
    orthanc.archive.read_file_contents(orthanc.file_uuids)
    orthanc.files["i7"] = ("another md5", "another uuid", 5)
    del orthanc.files["i8"]

    contents = orthanc.archive.read_file_contents({**orthanc.file_uuids, "i8": ""})
    assert contents["i7"].content_md5 == "another md5"
    assert "i8" not in contents


def test_without_our_plugin_what_is_remembered_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_contents, "REMEMBERED_FILES", 2)
    orthanc = Orthanc(has_plugin=False)
    orthanc.archive.read_file_contents({"i1": "uuid-1", "i2": "uuid-2", "i3": "uuid-3"})
    del orthanc.asked[:]
    orthanc.archive.read_file_contents({"i2": "uuid-2", "i3": "uuid-3", "i1": "uuid-1"})
    assert orthanc.asked == ["/minipacs/content", "/instances/i1/attachments/dicom/info"]


def test_a_file_of_which_orthanc_has_no_md5_is_known_by_its_uuid() -> None:
    orthanc = Orthanc(has_plugin=True)
    orthanc.files = {"i1": ("", "uuid-1", 100)}
    assert orthanc.archive.read_file_contents({"i1": ""})["i1"].content_md5 == "uuid-1"


def test_an_error_of_our_plugin_is_not_taken_for_its_absence() -> None:
    archive = Archive(SETTINGS, httpx.MockTransport(lambda _request: httpx.Response(500)))
    with pytest.raises(ArchiveRefused, match="500 to POST /minipacs/content"):
        archive.read_file_contents({"i1": "uuid-1"})


def answer_study(contents: dict[str, Any]) -> Callable[[httpx.Request], httpx.Response]:
    """Orthanc with a study of two instances, of whose files it says this."""
    instances = [
        {"ID": key, "ParentSeries": "s", "FileUuid": f"uuid-{key}", "MainDicomTags": {"SOPInstanceUID": f"1.2.{key}"}}
        for key in ("2", "1")
    ]
    answers = {
        "/studies/a": {"MainDicomTags": {"StudyInstanceUID": "1.2"}},
        "/studies/a/instances": instances,
        "/studies/a/series": [{"ID": "s", "MainDicomTags": {"SeriesInstanceUID": "1.2.3", "Modality": "CT"}}],
        "/minipacs/content": contents,
    }
    return lambda request: httpx.Response(200, json=answers[request.url.path])


def test_a_study_is_read_with_the_content_of_its_instances() -> None:
    contents = {"1": ["md5-1", "uuid-1", 7], "2": ["md5-2", "uuid-2", 8]}
    archive = Archive(SETTINGS, httpx.MockTransport(answer_study(contents)))
    (series,) = archive.read_study("a").series
    assert [(i.sop_instance_uid, i.instance_id, i.content_md5, i.file_uuid, i.size) for i in series.instances] == [
        ("1.2.1", "1", "md5-1", "uuid-1", 7),
        ("1.2.2", "2", "md5-2", "uuid-2", 8),
    ]


def test_an_instance_that_is_deleted_while_its_study_is_read_is_left_out() -> None:
    archive = Archive(SETTINGS, httpx.MockTransport(answer_study({"2": ["md5-2", "uuid-2", 8]})))
    (series,) = archive.read_study("a").series
    assert [instance.instance_id for instance in series.instances] == ["2"]
