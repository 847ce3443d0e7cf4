"""A stream that gives no more than it was promised: what unpacks a file counts while it does."""

import io
from typing import Any

from minipacs.errors import ExceedsMemory

__all__ = ["BoundedStream"]


class BoundedStream(io.RawIOBase):
    """Reads from another stream, which may unpack what it reads, up to a number of bytes from its beginning.

    Reading beyond raises `ExceedsMemory`. The limit can be raised once the header has told how much is to come.
    """

    def __init__(self, stream: Any, limit: int, what: str) -> None:
        super().__init__()
        self._stream, self._what = stream, what
        self.limit = limit
        """The last byte that may be read, counted from the beginning."""

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """As the stream is."""
        return bool(self._stream.seekable())

    def tell(self) -> int:
        """The position in what is unpacked."""
        return int(self._stream.tell())

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a position within the limit."""
        if whence == io.SEEK_SET:
            self._check(offset)
        elif whence == io.SEEK_CUR:
            self._check(self.tell() + offset)
        return int(self._stream.seek(offset, whence))

    def read(self, size: int = -1, /) -> bytes:
        """At most `size` bytes; without a size, all that the limit allows, and the error where there is more."""
        if size < 0:
            content = bytes(self._stream.read(self.limit - self.tell() + 1))
            self._check(self.tell())
            return content
        self._check(self.tell() + size)
        return bytes(self._stream.read(size))

    def readinto(self, buffer: Any, /) -> int:
        """Fill the buffer, which may not reach beyond the limit."""
        self._check(self.tell() + len(memoryview(buffer).cast("B")))
        return int(self._stream.readinto(buffer))

    def readline(self, size: int | None = -1, /) -> bytes:
        """A line, which must end within the limit."""
        line = bytes(self._stream.readline(self.limit - self.tell() + 1))
        self._check(self.tell())
        return line

    def _check(self, end: int) -> None:
        if end > self.limit:
            raise ExceedsMemory(
                f"{self._what} claims or holds more than the {self.limit} bytes it may have.", "Check the file."
            )
