"""Opens an uploaded ZIP and checks it, without trusting what it says of itself."""

import zipfile
from typing import IO, Any

from minipacs.errors import ExceedsMemory, TooLarge
from minipacs.memory.bounded_reads import MIN_READ_BYTES, BoundedReads
from minipacs.settings import Settings

__all__ = ["check_zip", "open_zip"]

KNOWN_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""What Python unpacks in steps; of LZMA and bzip2 it unpacks all that a step of packed bytes holds, at once."""
DIRECTORY_BYTES_PER_FILE = 512
"""Of the list of files at the end of a ZIP: for each file its name, its place and more. It is read at once."""


def open_zip(stream: IO[bytes], at: Settings) -> zipfile.ZipFile:
    """The ZIP, its list of files read; raises `TooLarge` for a list longer than an upload's number of files needs."""
    bounded: Any = BoundedReads(stream, max(MIN_READ_BYTES, at.upload_files * DIRECTORY_BYTES_PER_FILE))
    try:
        return zipfile.ZipFile(bounded)
    except ExceedsMemory as error:
        raise TooLarge(error.message, error.hint) from error


def check_zip(name: str, archive: zipfile.ZipFile, at: Settings) -> list[zipfile.ZipInfo]:
    """The files of a ZIP, after its limits, its encryption and its checksums were looked at.

    Raises `TooLarge` for one that breaks a limit, `RuntimeError` and `BadZipFile` for one that is not taken.
    """
    entries = [e for e in archive.infolist() if not e.is_dir() and not e.filename.startswith("__MACOSX/")]
    packed, unpacked = sum(e.compress_size for e in entries), sum(e.file_size for e in entries)
    if len(entries) > at.upload_files:
        raise TooLarge(f"{name} holds {len(entries)} files; the limit is {at.upload_files}.", "Send it in parts.")
    if unpacked > at.upload_mb * 2**20 or unpacked > at.upload_ratio * max(packed, 1024):
        raise TooLarge(
            f"{name} would unpack to {unpacked / 2**20:.0f} MB, {unpacked / max(packed, 1):.0f} times its size; "
            f"the limits are {at.upload_mb} MB and {at.upload_ratio} times.",
            "Send the files without ZIP, or in parts.",
        )
    if any(e.flag_bits & 1 for e in entries):
        raise RuntimeError("it is encrypted")
    if any(e.compress_type not in KNOWN_COMPRESSIONS for e in archive.infolist()):
        raise RuntimeError("it is packed in another way than deflate")
    broken = archive.testzip()  # reads no more than file_size of each entry: the sizes above are the truth
    if broken is not None:
        raise zipfile.BadZipFile(f"{broken} has a wrong checksum")
    return entries
