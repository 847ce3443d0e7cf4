"""What a real Orthanc says of the content of its instances and of deletions, with our plugin and without."""

from collections.abc import Iterator
from contextlib import ExitStack
from hashlib import md5
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from dicom_objects import ROOT, as_file, image
from minipacs.archive import local_orthanc
from minipacs.archive.client import Archive
from minipacs.archive.content import InstanceContent
from minipacs.archive.deletions import DeletionCursor, DeletionPage, read_deletion_log
from minipacs.archive.identifiers import compute_archive_patient_id, compute_series_key, compute_study_key
from minipacs.secrets import orthanc_password
from orthanc_server import OrthancServer, running_orthanc
from waiting import until

pytestmark = pytest.mark.integration

PIXELS = np.arange(35, dtype=np.uint16).reshape(5, 7)
FILES = [as_file(image(PIXELS + number, number)) for number in (1, 2, 3)]
STUDY_KEY = compute_study_key("P1", f"{ROOT}.1")
SERIES_KEY = compute_series_key("P1", f"{ROOT}.1", f"{ROOT}.1.1")


@pytest.fixture(scope="module", params=["plugin", "no plugin"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OrthancServer]:
    """An Orthanc with our plugin, and one without it."""
    with ExitStack() as stack:
        with pytest.MonkeyPatch.context() as patched:
            if request.param == "no plugin":
                patched.setattr(local_orthanc, "PLUGINS", {"libOrthancDicomWeb.so": "orthanc-dicomweb"})
            server = stack.enter_context(running_orthanc(tmp_path_factory.mktemp("orthanc")))
        yield server


@pytest.fixture
def keys(server: OrthancServer) -> Iterator[list[str]]:
    """Three instances of one series, and nothing else in the archive."""
    yield [server.archive.store_file(file) for file in FILES]
    delete(server, f"/studies/{STUDY_KEY}")


def request(server: OrthancServer, method: str, path: str, **how: Any) -> httpx.Response:
    """A request of somebody who works at Orthanc itself."""
    login = (server.settings.orthanc_user, orthanc_password(server.settings))
    return httpx.request(method, server.settings.orthanc_url + path, auth=login, **how)


def delete(server: OrthancServer, path: str) -> None:
    assert request(server, "DELETE", path).status_code in (200, 404)


def read_instances(server: OrthancServer) -> list[InstanceContent]:
    (series,) = server.archive.read_study(STUDY_KEY).series
    return list(series.instances)


def test_an_instance_has_the_md5_of_its_file_its_uuid_and_its_size(server: OrthancServer, keys: list[str]) -> None:
    instances = read_instances(server)
    assert [i.instance_id for i in instances] == keys
    assert [i.content_md5 for i in instances] == [md5(file).hexdigest() for file in FILES]
    assert [i.size for i in instances] == [len(file) for file in FILES]
    stored = {file.instance_id: file.uuid for file in server.archive.list_stored_files(keys)}
    assert {i.instance_id: i.file_uuid for i in instances} == stored
    assert server.archive.read_series(SERIES_KEY)[1].instances == tuple(instances)


def test_the_same_bytes_sent_again_are_the_same_content_in_another_file(server: OrthancServer, keys: list[str]) -> None:
    before = server.archive.read_study(STUDY_KEY)
    delete(server, f"/instances/{keys[1]}")
    server.archive.store_file(FILES[1])
    after = server.archive.read_study(STUDY_KEY)

    assert after.content_digest(include_ours=True) == before.content_digest(include_ours=True)
    assert after.series[0].instances[1].file_uuid != before.series[0].instances[1].file_uuid


def test_other_bytes_under_the_same_uids_are_another_content(server: OrthancServer, keys: list[str]) -> None:
    before = server.archive.read_study(STUDY_KEY)
    delete(server, f"/instances/{keys[1]}")
    assert server.archive.store_file(as_file(image(PIXELS + 900, 2))) == keys[1]
    after = server.archive.read_study(STUDY_KEY)

    assert after.content_digest(include_ours=True) != before.content_digest(include_ours=True)
    assert after.series[0].content_digest != before.series[0].content_digest
    assert after.digest(include_ours=True) == before.digest(include_ours=True)


def test_a_file_that_is_compressed_has_the_same_content(server: OrthancServer, keys: list[str]) -> None:
    before = read_instances(server)[0]
    done = request(server, "POST", f"/instances/{keys[0]}/attachments/dicom/compress")
    assert done.status_code == 200
    after = read_instances(server)[0]

    assert (after.content_md5, after.size) == (before.content_md5, before.size)
    assert after.file_uuid != before.file_uuid


def test_what_is_deleted_meanwhile_is_left_out(server: OrthancServer, keys: list[str]) -> None:
    delete(server, f"/instances/{keys[2]}")
    contents = server.archive.read_file_contents(dict.fromkeys(keys, ""))
    assert set(contents) == set(keys[:2])


def test_more_instances_than_a_request_may_have_are_read_in_several(server: OrthancServer, keys: list[str]) -> None:
    absent = {f"{number:08x}-" + keys[0][9:]: "" for number in range(1200)}
    assert set(server.archive.read_file_contents({**absent, **dict.fromkeys(keys, "")})) == set(keys)


def test_nobody_reads_contents_or_deletions_without_orthancs_password(server: OrthancServer) -> None:
    assert httpx.post(server.settings.orthanc_url + "/minipacs/content", json=[]).status_code == 401
    assert httpx.get(server.settings.orthanc_url + "/minipacs/deletions").status_code == 401


@pytest.fixture
def with_plugin(tmp_path: Path) -> Iterator[OrthancServer]:
    """An Orthanc of one test, for it is started again."""
    with running_orthanc(tmp_path) as server:
        yield server


def read_page(archive: Archive, cursor: DeletionCursor) -> DeletionPage:
    (page,) = read_deletion_log(archive.read_deletions, cursor)
    return page


def test_every_deleted_resource_is_in_the_log_until_orthanc_is_started_again(with_plugin: OrthancServer) -> None:
    archive = with_plugin.archive
    keys = [archive.store_file(file) for file in FILES]
    first_look = read_page(archive, DeletionCursor())
    assert (first_look.is_complete, first_look.entries) == (False, ())

    delete(with_plugin, f"/instances/{keys[0]}")
    page = until(lambda: (page := read_page(archive, first_look.cursor)).entries and page, what="a deletion")
    assert page.is_complete
    assert [(entry.level, entry.resource_id) for entry in page.entries] == [("Instance", keys[0])]

    delete(with_plugin, f"/studies/{STUDY_KEY}")
    patient = ("Patient", compute_archive_patient_id("P1"))
    study, series = ("Study", STUDY_KEY), ("Series", SERIES_KEY)
    gone = {patient, study, series, ("Instance", keys[1]), ("Instance", keys[2])}
    until(lambda: len(read_page(archive, page.cursor).entries) == len(gone), what="the deletions of a study")
    last_page = read_page(archive, page.cursor)
    assert {(entry.level, entry.resource_id) for entry in last_page.entries} == gone
    assert [entry.number for entry in last_page.entries] == list(range(2, 2 + len(gone)))

    with_plugin.stop()
    with_plugin.start()
    after_start = read_page(archive, last_page.cursor)
    assert not after_start.is_complete
    assert after_start.cursor.epoch != last_page.cursor.epoch
    assert read_page(archive, after_start.cursor).is_complete


def test_without_our_plugin_there_is_no_log_of_deletions(server: OrthancServer, request: pytest.FixtureRequest) -> None:
    is_there = server.archive.read_deletions(DeletionCursor()) is not None
    assert is_there == (request.node.callspec.params["server"] == "plugin")
