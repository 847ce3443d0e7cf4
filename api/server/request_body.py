"""The body of a request: read when the view reads it, and not before; where it is not read, the connection ends."""

from collections.abc import Callable, Iterator
from typing import Any

from gunicorn.http import wsgi  # type: ignore[import-untyped]  # it has none
from gunicorn.http.body import ChunkedReader, LengthReader  # type: ignore[import-untyped]
from gunicorn.http.errors import NoMoreData, ParseException  # type: ignore[import-untyped]
from werkzeug.exceptions import ClientDisconnected

FILE_BLOCK_BYTES = 256 * 1024


class RequestBody:
    """The stream `wsgi.input`. A client that asks (RFC 9110 10.1.1) is told to send at the first read."""

    def __init__(self, body: Any, tell_to_send: Callable[[], None] | None) -> None:
        self._body = body
        self._tell_to_send = tell_to_send

    @property
    def is_read(self) -> bool:
        """Whether nothing of it is left."""
        reader = self._body.reader
        if self._body.failed:
            return False
        if isinstance(reader, ChunkedReader):
            return reader.parser is None
        return isinstance(reader, LengthReader) and reader.length == 0

    def read(self, size: int | None = None) -> bytes:
        """So many bytes, or all; `ClientDisconnected` where the client broke off or was too slow."""
        return self._read(self._body.read, size)

    def readline(self, size: int | None = None) -> bytes:
        """A line."""
        return self._read(self._body.readline, size)

    def readlines(self, hint: int | None = None) -> list[bytes]:
        """All lines."""
        return list(self)

    def __iter__(self) -> Iterator[bytes]:
        while line := self.readline():
            yield line

    def _read(self, read: Callable[[int | None], bytes], size: int | None) -> bytes:
        if self._tell_to_send is not None:
            self._tell_to_send()
            self._tell_to_send = None
        try:
            data = read(size)
        except (OSError, NoMoreData, ParseException) as error:
            self._body.failed = True
            raise ClientDisconnected("The body of the request is broken, or came too slowly.") from error
        if not data and size != 0 and not self.is_read:
            raise ClientDisconnected("The body of the request broke off.")
        return data


class Response(wsgi.Response):  # type: ignore[misc]
    """gunicorn's response, which says `Connection: close` where the body was not read."""

    def __init__(self, req: Any, sock: Any, cfg: Any, body: RequestBody) -> None:
        super().__init__(req, sock, cfg)
        self._body = body

    def should_close(self) -> bool:
        """Whether the connection ends with this response."""
        return bool(super().should_close()) or not self._body.is_read


class FileBlocks(wsgi.FileWrapper):  # type: ignore[misc]
    """A file as the blocks that are sent of it, where the kernel cannot send it itself (TLS)."""

    def __init__(self, filelike: Any, blksize: int = FILE_BLOCK_BYTES) -> None:
        super().__init__(filelike, max(blksize, FILE_BLOCK_BYTES))
