"""Series fetched from the archive once, and kept within a bound of memory."""

from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from io import BytesIO
from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from minipacs.archive.client import Archive
from minipacs.archive.content import SeriesContent
from minipacs.errors import NotInArchive
from minipacs.formats.grey_header import is_inverted, read_first_window
from segmentation.prompter import PromptedSeries
from segmentation.series_volume import Slices, load_volume, read_images, stack_images

if TYPE_CHECKING:
    from highdicom import Volume

MIN_SLICES = 2
"""A prompt needs no more than two planes, which tell their distance."""
DOWNLOADS = 4
"""Instances fetched from the archive at once."""
MAX_AGE_S = 10.0
"""A series is compared with the archive again after so many seconds."""
HEADER_BYTES = 40_000
"""What a header takes in memory, roughly."""


@dataclass(frozen=True, eq=False)
class LoadedSeries:
    """A series that is a volume, with its voxels."""

    study_instance_uid: str
    content: SeriesContent
    slices: Slices
    """Without Pixel Data."""
    volume: "Volume"
    """Array (slices, rows, columns), modality values: HU for CT."""

    @cached_property
    def index_by_uid(self) -> dict[str, int]:
        """Slice index by SOP Instance UID."""
        return {str(image.SOPInstanceUID): k for k, image in enumerate(self.slices.images)}

    @cached_property
    def patient_to_index(self) -> NDArray[np.float64]:
        """(4, 4): LPS mm to (slice, row, column)."""
        return np.asarray(np.linalg.inv(self.slices.affine), np.float64)

    @cached_property
    def prompted_series(self) -> PromptedSeries:
        """What a prompt engine sees of it."""
        images = self.slices.images

        return PromptedSeries(
            self.volume,
            str(images[0].get("Modality", "")),
            [str(image.SOPInstanceUID) for image in images],
            [read_first_window(image) for image in images],
            is_inverted(images[0]),
        )

    @property
    def memory_bytes(self) -> int:
        """What it takes in memory, roughly."""
        return int(self.volume.array.nbytes) + HEADER_BYTES * len(self.slices.images)


@dataclass
class _CacheEntry:
    """A place for one series: who comes second waits for the download of the first."""

    lock: Lock = field(default_factory=Lock)
    series: LoadedSeries | None = None
    checked_at: float = 0.0


class VolumeCache:
    """The series used last, up to `max_bytes`; one alone may be larger."""

    def __init__(self, archive: Archive, max_bytes: int) -> None:
        self._archive, self._max_bytes = archive, max_bytes
        self._entries: OrderedDict[str, _CacheEntry] = OrderedDict()
        """By Series Instance UID; the one used last stands last."""
        self._lock = Lock()

    def get(self, series_instance_uid: str) -> LoadedSeries:
        """The series, fetched when it is not here or has changed; raises `NotInArchive`, `NotAVolume`."""
        with self._lock:
            entry = self._entries.setdefault(series_instance_uid, _CacheEntry())
            self._entries.move_to_end(series_instance_uid)

        with entry.lock:
            series = None
            try:
                series = self._refresh(entry, series_instance_uid)
            finally:
                if series is None:
                    self._forget_entry(series_instance_uid, entry)

        self._free_memory()

        return series

    def count_bytes(self) -> int:
        """What all series take in memory, roughly."""
        with self._lock:
            return sum(entry.series.memory_bytes for entry in self._entries.values() if entry.series is not None)

    def _refresh(self, entry: _CacheEntry, uid: str) -> LoadedSeries:
        """The series of the entry, as the archive has it now."""
        if entry.series is not None and monotonic() - entry.checked_at < MAX_AGE_S:
            return entry.series

        found = self._archive.find_ids("Series", uid)
        if not found:
            raise NotInArchive(f"The archive has no series {uid}.", "Send it, or check the UID.")

        study_uid, content = self._archive.read_series(found[0])
        if entry.series is None or entry.series.content != content:
            entry.series = self._fetch_series(study_uid, content)

        entry.checked_at = monotonic()

        return entry.series

    def _fetch_series(self, study_uid: str, content: SeriesContent) -> LoadedSeries:
        with ThreadPoolExecutor(DOWNLOADS) as pool:
            files = pool.map(lambda instance: BytesIO(self._archive.read_file(instance.instance_id)), content.instances)
            slices = stack_images(read_images(files), minimum=MIN_SLICES)

        volume = load_volume(slices)
        slices.drop_pixels()

        return LoadedSeries(study_uid, content, slices, volume)

    def _forget_entry(self, uid: str, entry: _CacheEntry) -> None:
        with self._lock:
            if self._entries.get(uid) is entry:
                del self._entries[uid]

    def _free_memory(self) -> None:
        """Forget what was not used for longest, until the rest is within the bound."""
        with self._lock:
            sizes = {uid: entry.series.memory_bytes for uid, entry in self._entries.items() if entry.series is not None}
            total = sum(sizes.values())

            for uid in list(sizes)[:-1]:
                if total <= self._max_bytes:
                    return
                total -= sizes[uid]
                del self._entries[uid]
