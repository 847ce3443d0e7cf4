"""Volumes at hand: series fetched from the archive once, kept within a bound of memory."""

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
from minipacs.formats.grey_header import first_window, is_inverted
from segmentation.prompting.pixels import Source
from segmentation.series_volume import Slices, load_volume, read_images, stack_images

if TYPE_CHECKING:
    from highdicom import Volume

FEWEST_SLICES = 2
"""A prompt needs no more than two planes, which tell their distance."""
DOWNLOADS = 4
LOOKED_AT_S = 10.0
"""A series is compared with the archive again after so many seconds."""
HEADER_BYTES = 40_000
"""What a header takes in memory, roughly."""


@dataclass(frozen=True, eq=False)
class Held:
    """A series that is a volume, with its voxels."""

    study_instance_uid: str
    series: SeriesContent
    slices: Slices
    """Without Pixel Data."""
    volume: "Volume"
    """Array (slices, rows, columns), modality values: HU for CT."""

    @cached_property
    def index_of(self) -> dict[str, int]:
        """Slice index by SOP Instance UID."""
        return {str(image.SOPInstanceUID): k for k, image in enumerate(self.slices.images)}

    @cached_property
    def to_index(self) -> NDArray[np.float64]:
        """(4, 4): LPS mm to (slice, row, column)."""
        return np.asarray(np.linalg.inv(self.slices.affine), np.float64)

    @cached_property
    def source(self) -> Source:
        """What a prompt engine sees of it."""
        images = self.slices.images
        names, windows = [str(i.SOPInstanceUID) for i in images], [first_window(i) for i in images]
        return Source(self.volume, str(images[0].get("Modality", "")), names, windows, is_inverted(images[0]))

    @property
    def size(self) -> int:
        """Bytes it takes."""
        return int(self.volume.array.nbytes) + HEADER_BYTES * len(self.slices.images)


@dataclass
class _Entry:
    """A place for one series: whoever comes second waits for the first one's download."""

    lock: Lock = field(default_factory=Lock)
    held: Held | None = None
    looked: float = 0.0


class Volumes:
    """The series used last, up to `most` bytes; one alone may be larger."""

    def __init__(self, archive: Archive, most: int) -> None:
        self._archive, self._most = archive, most
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._lock = Lock()

    def get(self, series_instance_uid: str) -> Held:
        """The series, fetched when it is not here or has changed; raises `NotInArchive`, `NotAVolume`."""
        with self._lock:
            entry = self._entries.setdefault(series_instance_uid, _Entry())
            self._entries.move_to_end(series_instance_uid)
        with entry.lock:
            held = None
            try:
                held = self._current(entry, series_instance_uid)
            finally:
                if held is None:
                    with self._lock:
                        if self._entries.get(series_instance_uid) is entry:
                            del self._entries[series_instance_uid]
        self._bound()
        return held

    def size(self) -> int:
        """Bytes of all that is held."""
        with self._lock:
            return sum(entry.held.size for entry in self._entries.values() if entry.held is not None)

    def _current(self, entry: _Entry, uid: str) -> Held:
        if entry.held is not None and monotonic() - entry.looked < LOOKED_AT_S:
            return entry.held
        found = self._archive.find("Series", uid)
        if not found:
            raise NotInArchive(f"The archive has no series {uid}.", "Send it, or check the UID.")
        study_uid, series = self._archive.series(found[0])
        if entry.held is None or entry.held.series != series:
            entry.held = self._fetched(study_uid, series)
        entry.looked = monotonic()
        return entry.held

    def _fetched(self, study_uid: str, series: SeriesContent) -> Held:
        with ThreadPoolExecutor(DOWNLOADS) as pool:
            files = pool.map(lambda instance: BytesIO(self._archive.file(instance[1])), series.instances)
            slices = stack_images(read_images(files), minimum=FEWEST_SLICES)
        volume = load_volume(slices)
        for image in slices.images:  # decoded: the file's bytes are no longer needed
            del image.PixelData
        return Held(study_uid, series, slices, volume)

    def _bound(self) -> None:
        """Let go of what was not used for longest."""
        with self._lock:
            sizes = {uid: e.held.size for uid, e in self._entries.items() if e.held is not None}
            total = sum(sizes.values())
            for uid in list(sizes)[:-1]:
                if total <= self._most:
                    return
                total -= sizes[uid]
                del self._entries[uid]
