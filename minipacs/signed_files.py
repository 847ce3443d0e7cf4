"""A file offered to another server for a while: a signed link of the front door that opens it without login.

A server that segments (VISTA-3D) fetches its image by URL. The link names one file in a folder of its
own, ends at a time, and the folder is removed when the engine is done.
"""

import hashlib
import hmac
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from minipacs.errors import Gone, NotFound
from minipacs.secrets import get_or_create_secret
from minipacs.settings import Settings

FOLDER = "exchange"
STUDY_FILE = "study"
"""Beside the offered file, and opened by no link: the Study Instance UID of what it shows, for the audit."""
OFFERED_STUDY: ContextVar[str] = ContextVar("OFFERED_STUDY", default="")


@dataclass(frozen=True)
class OfferedFile:
    """The path at which the file is to be written, and the path of its link."""

    file: Path
    link: str


@contextmanager
def offering_study(study_instance_uid: str) -> Iterator[None]:
    """What is offered meanwhile, by whatever engine, shows this study; empty: none that is known."""
    token = OFFERED_STUDY.set(study_instance_uid)
    try:
        yield
    finally:
        OFFERED_STUDY.reset(token)


@contextmanager
def offer_file(settings: Settings, name: str, seconds: int) -> Iterator[OfferedFile]:
    """Offer a file called `name` for at most `seconds`; it and its folder are deleted at the end."""
    root = settings.home / FOLDER
    _delete_expired_folders(root)
    ends = int(time.time()) + seconds
    folder = f"{ends}-{secrets.token_urlsafe(16)}"
    (root / folder).mkdir(parents=True, mode=0o700)
    try:
        (root / folder / STUDY_FILE).write_text(OFFERED_STUDY.get(), "utf-8")
        link = f"/{FOLDER}/{folder}/{ends}/{_sign_link(settings, folder, ends, name)}/{name}"
        yield OfferedFile(root / folder / name, link)
    finally:
        shutil.rmtree(root / folder, ignore_errors=True)


def find_offered_file(settings: Settings, folder: str, ends: int, signature: str, name: str) -> Path:
    """The file of a link. Raises `NotFound` for a link we did not make, `Gone` for one that has ended."""
    expected = _sign_link(settings, folder, ends, name)
    if not hmac.compare_digest(expected.encode(), signature.encode()):
        raise NotFound("There is no such link.", "Ask for a new one.")
    file = settings.home / FOLDER / folder / name  # signed by us: these are the names we chose
    if ends < time.time() or not file.is_file():
        raise Gone("This link has ended.", "Ask for a new one.")
    return file


def read_offered_study(file: Path) -> str:
    """The Study Instance UID of what an offered file shows; empty where it is not known."""
    try:
        return file.with_name(STUDY_FILE).read_text("utf-8")
    except FileNotFoundError:  # offered before an update
        return ""


def _sign_link(settings: Settings, folder: str, ends: int, name: str) -> str:
    key = get_or_create_secret(settings.home, "exchange_key").encode()
    return hmac.new(key, f"{folder}/{ends}/{name}".encode(), hashlib.sha256).hexdigest()


def _delete_expired_folders(root: Path) -> None:
    """Delete the folders whose time is over, which killed processes left behind."""
    for folder in root.iterdir() if root.is_dir() else ():
        if int(folder.name.partition("-")[0]) < time.time():
            shutil.rmtree(folder, ignore_errors=True)
