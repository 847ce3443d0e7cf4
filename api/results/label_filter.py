"""Label filtering: of a NIfTI label map keep the labels asked for, set the rest to 0.

The voxels go through a table of one entry a label, in the file's own type and order; header, affine
and extensions are copied byte for byte. Pure: bytes in, bytes out.
"""

import json
import re
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from minipacs.errors import BadRequest
from minipacs.formats.nifti import read_layout

KEPT = 64 * 2**20


@dataclass(frozen=True)
class Label:
    """A value of the label map and its name."""

    id: int
    name: str
    color: tuple[float, ...] = ()
    """Red, green, blue, as `labels.json` has them."""

    def as_json(self) -> dict[str, object]:
        """As the older image server told it."""
        return {"id": self.id, "name": self.name}


def table(path: Path) -> list[Label]:
    """The labels of a result, from `labels.json` beside the label map."""
    try:
        rows = json.loads(path.with_name("labels.json").read_text("utf-8"))["labels"]
    except FileNotFoundError:
        return []
    return [
        Label(int(row.get("value", n)), str(row["label"]), tuple(row.get("color") or ()))
        for n, row in enumerate(rows, 1)
    ]


def choose(text: str, known: Sequence[Label]) -> tuple[int, ...]:
    """`1,2,3` or names, which have no commas, as numbers; unknown → `BadRequest` with the labels there are."""
    wanted = [part.strip() for part in text.split(",") if part.strip()]
    there = ", ".join(f"{label.id} ({label.name})" for label in known)
    if not wanted:
        raise BadRequest("label_ids names no label.", f"There are {there}.")
    names = {plain(label.name): label.id for label in known}
    ids = {str(label.id): label.id for label in known}
    chosen = []
    for part in wanted:
        if part not in ids and plain(part) not in names:
            raise BadRequest(f"There is no label {part!r}.", f"There are {there}.")
        chosen.append(ids[part] if part in ids else names[plain(part)])
    return tuple(sorted(set(chosen)))


def plain(name: str) -> str:
    """A label's name as a file name: `left_lung`."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def keep(file: bytes, ids: Iterable[int]) -> bytes:
    """The label map (`.nii` or `.nii.gz`) with only these labels, packed as `.nii.gz`."""
    import numpy as np
    from isal import igzip

    raw = bytearray(igzip.decompress(file) if file[:2] == b"\x1f\x8b" else file)
    layout = read_layout(raw)
    if layout.dtype.kind not in "iu" or layout.is_scaled:
        raise BadRequest("This file is not a label map: its voxels are not whole numbers.", "Choose a label map.")
    voxels = np.frombuffer(raw, layout.dtype, offset=layout.offset)
    wanted = np.array(sorted(ids))
    if layout.dtype.itemsize == 1:
        passes = np.zeros(256, np.uint8)
        passes[wanted] = wanted
        voxels.view("u1")[:] = passes[voxels.view("u1")]
    else:
        largest = int(voxels.max(initial=0))
        if int(voxels.min(initial=0)) >= 0 and largest < 65536:
            passes = np.zeros(largest + 1, layout.dtype)
            inside = wanted[wanted <= largest]
            passes[inside] = inside
            voxels[:] = passes[voxels]
        else:
            voxels[~np.isin(voxels, wanted)] = 0
    return bytes(igzip.compress(raw, 1))


class Kept:
    """Answers given before, by file, its time and the labels: 64 MiB of them."""

    def __init__(self, most: int = KEPT) -> None:
        self._most, self._size, self._lock = most, 0, Lock()
        self._kept: OrderedDict[tuple[object, ...], bytes] = OrderedDict()

    def filtered(self, path: Path, ids: tuple[int, ...]) -> bytes:
        """The label map with only these labels."""
        stat = path.stat()
        key = (str(path), stat.st_mtime_ns, stat.st_size, ids)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        made = keep(path.read_bytes(), ids)
        with self._lock:
            if key not in self._kept and len(made) <= self._most:
                self._kept[key] = made
                self._size += len(made)
            while self._size > self._most:
                self._size -= len(self._kept.popitem(last=False)[1])
        return made
