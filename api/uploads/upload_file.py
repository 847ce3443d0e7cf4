"""Uploaded files on their way: all files of a request are parts of one temporary file on the disk of MINIPACS_HOME.

The file has no name, so that nothing is left of an upload that breaks off, whatever ends the process. It takes one file
descriptor and 1 MB of memory, however many files there are.
"""

import io
import shutil
import tempfile
from typing import IO, Any, cast

import flask
from flask import current_app

from minipacs.errors import DiskFull
from minipacs.settings import Settings

MEMORY_BYTES = 2**20
"""Of a request's files, before they go to the disk."""
CHECK_BYTES = 64 * 2**20
"""After so many more bytes the free space is looked at again."""


def check_free_space(settings: Settings, wanted_bytes: int = 0) -> None:
    """Raise `DiskFull` where so many bytes more would leave less than RESERVE_MB."""
    free = shutil.disk_usage(settings.home).free - wanted_bytes
    if free < settings.reserve_mb * 2**20:
        raise DiskFull(
            f"The disk has no room for this: MINIPACS_RESERVE_MB={settings.reserve_mb} stay free.",
            "Send less at once, or ask the administrator to free some space.",
        )


class UploadFile:
    """The temporary file of one request."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._file = tempfile.SpooledTemporaryFile(  # noqa: SIM115  # `close` below
            max_size=MEMORY_BYTES, mode="w+b", dir=str(settings.home)
        )
        self._size = self._unchecked = 0

    def open_part(self) -> "UploadPart":
        """A file that begins where the last one ended; that one is written no more."""
        return UploadPart(self, self._size)

    def append(self, data: bytes) -> None:
        """Write at the end; `DiskFull` where the disk gets full."""
        self._unchecked += len(data)
        if self._unchecked > CHECK_BYTES:
            self._unchecked = 0
            check_free_space(self._settings)
        try:
            self._file.seek(self._size)
            self._file.write(data)
        except OSError as error:
            raise DiskFull("The disk is full.", "Ask the administrator to free some space.") from error
        self._size += len(data)

    def read(self, position: int, size: int) -> bytes:
        """So many bytes from this position."""
        self._file.seek(position)
        return self._file.read(size)

    def close(self) -> None:
        """Free the space."""
        self._file.close()


class UploadPart(io.RawIOBase):
    """One file of an upload: written once, then read."""

    def __init__(self, upload: UploadFile, start: int) -> None:
        self._upload, self._start = upload, start
        self._size = self._position = 0

    def write(self, data: Any) -> int:
        """Append."""
        self._upload.append(data)
        self._size += len(data)
        return len(data)

    def readinto(self, buffer: Any) -> int:
        """Read into a buffer; how many bytes."""
        left = max(self._size - self._position, 0)
        data = self._upload.read(self._start + self._position, min(len(buffer), left))
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move; the new position."""
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        if origin + offset < 0:
            raise ValueError("a position before the beginning")
        self._position = origin + offset
        return self._position

    def tell(self) -> int:
        """The position."""
        return self._position

    def readable(self) -> bool:
        """Always."""
        return True

    def writable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True


class Request(flask.Request):
    """Flask's request, whose files are parts of one temporary file."""

    _upload: UploadFile | None = None

    def _get_file_stream(
        self,
        total_content_length: int | None,
        content_type: str | None,
        filename: str | None = None,
        content_length: int | None = None,
    ) -> IO[bytes]:
        if self._upload is None:
            self._upload = UploadFile(current_app.extensions["minipacs"].settings)
        return cast(IO[bytes], self._upload.open_part())

    def close(self) -> None:
        """Close all files, and free their space."""
        super().close()
        if self._upload is not None:
            self._upload.close()
