import httpx
import pytest

from minipacs.archive.client import Archive
from minipacs.errors import ArchiveRefused, ArchiveUnreachable, NotInArchive
from minipacs.settings import Settings

SETTINGS = Settings.from_env({"MINIPACS_ORTHANC_PASSWORD": "secret", "MINIPACS_ORTHANC_URL": "http://orthanc"})


def archive(answer: httpx.Response | Exception) -> Archive:
    def handle(_request: httpx.Request) -> httpx.Response:
        if isinstance(answer, Exception):
            raise answer
        return answer

    return Archive(SETTINGS, httpx.MockTransport(handle))


def test_nobody_there_is_said_with_the_remedy() -> None:
    with pytest.raises(ArchiveUnreachable, match=r"does not answer.*scripts/up"):
        archive(httpx.ConnectError("refused")).read_version()


@pytest.mark.parametrize(
    ("status", "error"), [(404, NotInArchive), (401, ArchiveRefused), (400, ArchiveRefused), (500, ArchiveRefused)]
)
def test_every_no_of_orthanc_becomes_one_of_our_errors(status: int, error: type[Exception]) -> None:
    with pytest.raises(error):
        archive(httpx.Response(status)).read_version()


def test_a_request_over_a_stale_connection_is_sent_once_more() -> None:
    requests = 0

    def handle(_request: httpx.Request) -> httpx.Response:
        nonlocal requests
        requests += 1
        if requests == 1:
            raise httpx.RemoteProtocolError("closed")
        return httpx.Response(200, json={"Version": "1.10.1"})

    assert Archive(SETTINGS, httpx.MockTransport(handle)).read_version() == "1.10.1"


def test_changes_are_read_with_their_cursor() -> None:
    entry = {"Seq": 7, "ChangeType": "NewInstance", "ID": "abc", "ResourceType": "Instance"}
    changes = archive(httpx.Response(200, json={"Changes": [entry], "Last": 7, "Done": True})).read_changes(0)
    assert (changes.last, changes.done, changes.entries[0].resource_id) == (7, True, "abc")


def test_a_study_is_looked_up_by_its_uid() -> None:
    found = archive(httpx.Response(200, json=[{"Type": "Patient", "ID": "p"}, {"Type": "Study", "ID": "s"}]))
    assert found.find_study_id("1.2.3") == "s"
    with pytest.raises(NotInArchive, match=r"no study 1\.2\.4"):
        archive(httpx.Response(200, json=[])).find_study_id("1.2.4")
