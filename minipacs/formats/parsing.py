"""Where foreign bytes are parsed: whatever a parser raises becomes one error of ours.

pydicom, highdicom, nibabel, pynrrd and Pillow raise what they happen to trip over: `struct.error`, `RecursionError`,
`AssertionError`, `zlib.error`, `SyntaxError`, their own types, and others with the next version. A list of them was
never complete, so there is none: beside the outermost loops of workers this is the one broad `except`.
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from minipacs.errors import MinipacsError, Unreadable
from minipacs.memory.process_limit import explain_memory_error

__all__ = ["translate_parser_errors"]

MACHINE_ERRORS = frozenset(
    (
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EACCES,
        errno.EPERM,
        errno.EROFS,
        errno.EIO,
        errno.EMFILE,
        errno.ENFILE,
        errno.ENOENT,
    )
)
"""What this machine is to blame for, not the bytes: such an `OSError` passes as it is."""


@contextmanager
def translate_parser_errors(
    message: str,
    hint: str = "Send it again, or correct it at its source.",
    *,
    kind: type[Unreadable] = Unreadable,
    quote: bool = False,
) -> Iterator[None]:
    """Inside, whatever a parser raises becomes `kind(message, hint)`, with the name of the exception.

    `quote`: with the parser's own words too. Not for DICOM, whose values they may quote: a patient's name never
    reaches a log. A lack of memory becomes `ExceedsMemory`. Errors of ours, and those of the disk, pass as they are.
    """
    try:
        yield
    except (MinipacsError, KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:  # a panic of a decoder in Rust (pyo3) is no `Exception`
        if isinstance(error, OSError) and error.errno in MACHINE_ERRORS:
            raise
        if isinstance(error, MemoryError):
            raise explain_memory_error() from error
        cause = f"{type(error).__name__}: {error}" if quote else type(error).__name__
        raise kind(f"{message} ({cause}).", hint) from error
