"""A prompt service on an archive in memory."""

import io
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset

from minipacs.archive.content import InstanceContent, SeriesContent
from minipacs.database import Database
from minipacs.settings import Settings
from segmentation.prompting.service import PromptService


class MemoryArchive:
    """An archive in memory: series by UID."""

    def __init__(self) -> None:
        self.content: dict[str, list[Dataset]] = {}
        self.stored: list[bytes] = []
        self.taken = 0
        self.lock = threading.Lock()

    def put(self, images: list[Dataset]) -> str:
        uid = str(images[0].SeriesInstanceUID)
        self.content[uid] = images
        return uid

    def find_ids(self, level: str, uid: str) -> list[str]:
        return [uid] if level == "Series" and uid in self.content else []

    def read_series(self, uid: str) -> tuple[str, SeriesContent]:
        uids = sorted(str(image.SOPInstanceUID) for image in self.content[uid])
        instances = tuple(InstanceContent(each, f"{uid}|{each}") for each in uids)
        return "1.2", SeriesContent(uid, uid, "CT", "", "", instances)

    def store_file(self, content: bytes) -> None:
        self.stored.append(content)

    def read_file(self, instance: str) -> bytes:
        with self.lock:
            self.taken += 1
        uid, _, sop = instance.partition("|")
        (image,) = [i for i in self.content[uid] if i.SOPInstanceUID == sop]
        stream = io.BytesIO()
        image.save_as(stream, enforce_file_format=True)
        return stream.getvalue()


@pytest.fixture
def memory_archive() -> MemoryArchive:
    return MemoryArchive()


@pytest.fixture
def store_series(
    memory_archive: MemoryArchive, series: Any, phantom: Callable[..., np.ndarray]
) -> Callable[[str], Any]:
    """Store a phantom in the archive; its description."""

    def store(uid: str = "1.2.3", **changes: Any) -> Any:
        described = series(uid=uid, **changes)
        memory_archive.put(described.images(phantom(described)))
        return described

    return store


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    settings.home.mkdir(exist_ok=True)
    database = Database(settings.database_url)
    database.upgrade_schema()
    yield database
    database.close()


@pytest.fixture
def service(settings: Settings, memory_archive: MemoryArchive, database: Database) -> PromptService:
    return PromptService(settings, memory_archive, database)  # type: ignore[arg-type]
