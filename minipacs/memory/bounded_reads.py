"""A stream of which no more is read at once than it may: zipfile reads a list of files that is as long as it says."""

from typing import IO, Any

from minipacs.errors import ExceedsMemory

__all__ = ["MIN_READ_BYTES", "BoundedReads"]

MIN_READ_BYTES = 2**20
"""What zipfile reads at once of a file in the ZIP."""


class BoundedReads:
    """A stream of which at most `most` bytes are read at once; more raises `ExceedsMemory`."""

    def __init__(self, stream: IO[bytes], most: int) -> None:
        self._stream, self._most = stream, most
        self.seek: Any = stream.seek
        self.tell: Any = stream.tell
        self.seekable: Any = stream.seekable

    def read(self, size: int = -1) -> bytes:
        """As many bytes as are wanted; without a size, all."""
        content = self._stream.read(min(size, self._most + 1) if size >= 0 else self._most + 1)
        if len(content) > self._most:
            raise ExceedsMemory(
                f"The ZIP's list of files has more than {self._most} bytes.", "Send the files in parts."
            )
        return content
