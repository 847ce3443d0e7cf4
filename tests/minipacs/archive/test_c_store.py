"""A folder reaches an archive that answers late, ends associations or comes again; one that is away is said."""

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pydicom
import pytest
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from pynetdicom import AE, evt
from pynetdicom.events import Event

from minipacs.archive import c_store
from minipacs.archive.c_store import send_folder
from minipacs.errors import ArchiveRefused, ArchiveUnreachable
from minipacs.local.phantom import write_chest_ct
from minipacs.settings import Settings
from stack import settings_for
from waiting import PATIENCE_S

pytestmark = pytest.mark.filterwarnings(  # pynetdicom's own
    "ignore:.*socket.socket.*:pytest.PytestUnraisableExceptionWarning"
)
SLICES = 5
SUCCESS, OUT_OF_RESOURCES = 0x0000, 0xA700


class FakeArchive:
    """Answers C-STORE by `answer(archive, event)`; keeps what was received."""

    def __init__(self, port: int, answer: "Callable[[FakeArchive, Event], int]") -> None:
        self.received: Counter[str] = Counter()
        self.associations = 0
        self.came_again = threading.Event()
        """Set when a second association was accepted."""
        self._answer = answer
        entity = AE(ae_title="MINIPACS")
        entity.add_supported_context(CTImageStorage, ExplicitVRLittleEndian)
        handlers = [(evt.EVT_C_STORE, self._store), (evt.EVT_ACCEPTED, self._accept)]
        self.server = entity.start_server(("127.0.0.1", port), block=False, evt_handlers=handlers)

    def _accept(self, _event: Event) -> None:
        self.associations += 1
        if self.associations > 1:
            self.came_again.set()

    def _store(self, event: Event) -> int:
        self.received[str(event.request.AffectedSOPInstanceUID)] += 1
        return self._answer(self, event)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_for(tmp_path / "home")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_chest_ct(tmp_path / "ct", slices=SLICES)
    return tmp_path / "ct"


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The tests need not wait; an archive that aborts is no error of pynetdicom's."""
    monkeypatch.setattr(c_store, "RETRY_DELAYS_S", (0.0,) * 5)
    logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)
    yield
    logging.getLogger("pynetdicom").setLevel(logging.NOTSET)


Answer = Callable[[FakeArchive, Event], int]


def serve(settings: Settings, answer: Answer, request: pytest.FixtureRequest) -> FakeArchive:
    archive = FakeArchive(settings.dicom_port, answer)
    request.addfinalizer(archive.server.shutdown)
    return archive


def abort_at_the_third(archive: FakeArchive, event: Event) -> int:
    if sum(archive.received.values()) == 3:
        event.assoc.abort()
    return SUCCESS


def be_late_at_the_third(archive: FakeArchive, _event: Event) -> int:
    if sum(archive.received.values()) == 3:
        archive.came_again.wait(PATIENCE_S)
    return SUCCESS


@pytest.mark.parametrize("answer", [abort_at_the_third, be_late_at_the_third])
def test_what_was_not_confirmed_is_sent_again(
    settings: Settings,
    folder: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    answer: Answer,
) -> None:
    if answer is be_late_at_the_third:
        monkeypatch.setattr(c_store, "ANSWER_TIMEOUT_S", 2.0)
        monkeypatch.setattr(
            c_store, "RETRY_DELAYS_S", (0.0,) * 100
        )  # a busy machine may be later than that several times
    archive = serve(settings, answer, request)
    progress: list[int] = []
    said: list[str] = []

    sent = send_folder(folder, settings, on_progress=lambda done, _total: progress.append(done), say=said.append)

    files = [pydicom.dcmread(path) for path in sorted(folder.iterdir())]
    assert (sent.stored, sent.left_out) == (SLICES, [])
    assert sent.studies == {str(files[0].StudyInstanceUID)}
    assert set(archive.received) == {str(file.SOPInstanceUID) for file in files}
    assert archive.received[str(files[2].SOPInstanceUID)] >= 2
    assert archive.associations >= 2
    assert progress == [1, 2, 3, 4, 5]
    assert said[0] == "the archive did not confirm in time; sending 3 of 5 instances again"


def test_a_refusal_is_an_answer_and_not_asked_again(
    settings: Settings, folder: Path, request: pytest.FixtureRequest
) -> None:
    archive = serve(settings, lambda _archive, _event: OUT_OF_RESOURCES, request)
    sent = send_folder(folder, settings)
    assert [reason for _, reason in sent.left_out] == ["refused with status 0xa700"] * SLICES
    assert (archive.associations, sent.stored) == (1, 0)


def test_an_archive_that_never_confirms_is_said(
    settings: Settings, folder: Path, request: pytest.FixtureRequest
) -> None:
    def abort(_archive: FakeArchive, event: Event) -> int:
        event.assoc.abort()
        return SUCCESS

    archive = serve(settings, abort, request)
    with pytest.raises(ArchiveRefused, match=r"ended the association after 0 instances.*MINIPACS_PEERS"):
        send_folder(folder, settings)
    assert archive.associations == c_store.MAX_UNCONFIRMED_ASSOCIATIONS


def test_an_archive_that_ends_in_the_middle_is_said_after_all_pauses(
    settings: Settings, folder: Path, request: pytest.FixtureRequest
) -> None:
    def abort(archive: FakeArchive, event: Event) -> int:
        if sum(archive.received.values()) > 2:
            event.assoc.abort()
        return SUCCESS

    archive = serve(settings, abort, request)
    with pytest.raises(ArchiveRefused, match=r"ended the association after 2 instances"):
        send_folder(folder, settings)
    assert archive.associations == 1 + len(c_store.RETRY_DELAYS_S)


def test_a_port_where_nobody_answers_is_said_at_once(settings: Settings, folder: Path) -> None:
    with pytest.raises(ArchiveUnreachable, match=f"Nobody answers DICOM at 127.0.0.1:{settings.dicom_port}"):
        send_folder(folder, settings)
