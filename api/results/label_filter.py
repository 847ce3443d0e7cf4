"""Label filtering: of a NIfTI label map keep some labels and set all other voxels to 0.

The voxels go through a table of one entry for each label, in the file's own type and order; header, affine
and extensions are copied byte for byte.
"""

import json
import re
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from minipacs.errors import BadRequest
from minipacs.formats.nifti import read_layout, unpack_nifti
from minipacs.memory.size_limits import check_volume_size

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_CACHE_BYTES = 64 * 2**20
MAX_TABLE_ENTRIES = 65536
"""Label maps with larger values are filtered by a search, which needs no table of their size."""
GZIP_LEVEL = 1


@dataclass(frozen=True)
class Label:
    """A value of the label map and its name."""

    id: int
    name: str
    color: tuple[float, ...] = ()
    """Red, green, blue, as `labels.json` has them."""

    def as_json(self) -> dict[str, object]:
        """The label as the older image server had it."""
        return {"id": self.id, "name": self.name}


def read_labels(label_map: Path) -> list[Label]:
    """The labels of a result, from `labels.json` beside the label map; none where that is missing."""
    try:
        rows = json.loads(label_map.with_name("labels.json").read_text("utf-8"))["labels"]
    except FileNotFoundError:
        return []
    return [
        Label(int(row.get("value", n)), str(row["label"]), tuple(row.get("color") or ()))
        for n, row in enumerate(rows, 1)
    ]


def parse_label_ids(text: str, known: Sequence[Label]) -> tuple[int, ...]:
    """The numbers of `1,2,3`, or of names (which have no commas), sorted.

    Raises `BadRequest`, with the labels there are, for an unknown one.
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    there = ", ".join(f"{label.id} ({label.name})" for label in known)
    if not parts:
        raise BadRequest("label_ids names no label.", f"There are {there}.")

    by_name = {label_file_stem(label.name): label.id for label in known}
    by_number = {str(label.id): label.id for label in known}
    ids = set()
    for part in parts:
        number = by_number.get(part, by_name.get(label_file_stem(part)))
        if number is None:
            raise BadRequest(f"There is no label {part!r}.", f"There are {there}.")
        ids.add(number)
    return tuple(sorted(ids))


def label_file_stem(name: str) -> str:
    """A label's name as the name of a file, without extension: `left_lung`."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def keep_labels(file: bytes, ids: Iterable[int]) -> bytes:
    """The label map (`.nii` or `.nii.gz`) with these labels alone, as `.nii.gz`.

    Raises `Unreadable`, and `ExceedsMemory` for one that unpacks to more than a volume may take.
    """
    import numpy as np
    from isal import igzip

    raw = unpack_nifti(file)
    layout = read_layout(raw)
    if layout.dtype.kind not in "iu" or layout.is_scaled:
        raise BadRequest("This file is not a label map: its voxels are not whole numbers.", "Choose a label map.")

    voxels = np.frombuffer(raw, layout.dtype, offset=layout.offset)
    _clear_other_labels(voxels, np.array(sorted(ids)))
    return bytes(igzip.compress(raw, GZIP_LEVEL))


def _clear_other_labels(voxels: "NDArray[Any]", ids: "NDArray[np.int64]") -> None:
    """Set every voxel whose label is none of these to 0, in place."""
    import numpy as np

    if voxels.dtype.itemsize == 1:
        table = np.zeros(256, np.uint8)
        table[ids] = ids
        as_bytes = voxels.view("u1")
        as_bytes[:] = table[as_bytes]
        return

    largest = int(voxels.max(initial=0))
    if int(voxels.min(initial=0)) < 0 or largest >= MAX_TABLE_ENTRIES:
        voxels[~np.isin(voxels, ids)] = 0
        return

    table = np.zeros(largest + 1, voxels.dtype)
    present = ids[ids <= largest]
    table[present] = present
    voxels[:] = table[voxels]


class FilteredLabelMapCache:
    """Filtered label maps, by file, its time and the labels. What was used longest ago goes first."""

    def __init__(self, max_bytes: int = MAX_CACHE_BYTES) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._files: OrderedDict[tuple[object, ...], bytes] = OrderedDict()
        self._lock = Lock()

    def get(self, label_map: Path, ids: tuple[int, ...]) -> bytes:
        """The label map with these labels alone, as `.nii.gz`; filtered where the cache does not have it."""
        stat = label_map.stat()
        key = (str(label_map), stat.st_mtime_ns, stat.st_size, ids)
        with self._lock:
            if key in self._files:
                self._files.move_to_end(key)
                return self._files[key]

        check_volume_size(stat.st_size, "The label map")
        filtered = keep_labels(label_map.read_bytes(), ids)
        with self._lock:
            if key not in self._files and len(filtered) <= self._max_bytes:
                self._files[key] = filtered
                self._bytes += len(filtered)
            while self._bytes > self._max_bytes:
                self._bytes -= len(self._files.popitem(last=False)[1])
        return filtered
