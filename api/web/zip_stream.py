"""Archives that are made while they are sent; nothing is written to disk."""

import io
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PIECE_BYTES = 256 * 1024
"""Read of a file at once."""
ZIP64_BYTES = 2**31
"""From this size on a file's entry has the fields of ZIP64."""


class PieceBuffer(io.RawIOBase):
    """A file that is only written to; what was written is taken away piece by piece."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._written = 0

    def tell(self) -> int:
        """How much was written in all."""
        return self._written

    def writable(self) -> bool:
        """Whether it can be written to: always."""
        return True

    def write(self, piece: Any) -> int:
        """Keep a piece."""
        self._pieces.append(bytes(piece))
        self._written += len(piece)
        return len(piece)

    def take(self) -> bytes:
        """What was written since the last time."""
        taken, self._pieces = b"".join(self._pieces), []
        return taken


def stream_zip(paths: list[tuple[str, Path]]) -> Iterator[bytes]:
    """A ZIP of files, each by its name in it. They are stored, not packed: result files are packed already."""
    buffer = PieceBuffer()

    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, path in paths:
            entry = zipfile.ZipInfo.from_file(path, name)
            is_large = os.path.getsize(path) > ZIP64_BYTES

            with archive.open(entry, "w", force_zip64=is_large) as into, path.open("rb") as file:
                while piece := file.read(PIECE_BYTES):
                    into.write(piece)
                    yield buffer.take()

    yield buffer.take()
