"""HOME and OUTPUT belong to their owner alone, whatever the umask and whatever an older version left open.

What is created is private by `minipacs.files.restrict_new_files`. `prepare_home` closes what is open already:
HOME and what lies directly in it; an OUTPUT elsewhere, which its owner may share, it only names. So it takes no longer
for a million files; nobody gets past a closed folder to what lies below.
"""

import logging
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import make_url

from minipacs.errors import SettingsError
from minipacs.files import OTHERS
from minipacs.settings import Settings

NEEDED = ("", "secrets.json", "catalogue.sqlite", "orthanc", "output", "log", "pool")
"""What we must be able to read and write in HOME, where it exists; the first is HOME itself."""
RUN_AS_A_USER = "Start it as a user of its own (docs/operations.md, As a service)."

log = logging.getLogger(__name__)


def prepare_home(settings: Settings) -> None:
    """Create HOME, close what others can open, and warn when we run as root.

    Raises `SettingsError` when HOME cannot be created, or belongs to another user.
    """
    try:
        settings.home.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(f"{settings.home} cannot be created ({error.strerror}).", "Set MINIPACS_HOME.") from error

    for path in filter(Path.exists, (settings.home / name for name in NEEDED)):
        if not os.access(path, os.R_OK | os.W_OK):
            raise SettingsError(
                f"{path} belongs to another user, who started minipacs before.",
                f"Start it as that user, or as root: chown -R {os.geteuid()} {settings.home}",
            )

    if is_root():
        log.warning("minipacs runs as root: whoever takes it over has the whole machine. %s", RUN_AS_A_USER)

    close_to_others(settings)


def is_root() -> bool:
    """Whether this process runs as root."""
    return os.geteuid() == 0


def close_to_others(settings: Settings) -> int:
    """Take the permissions of group and others from what is open; how many files and folders that were.

    An OUTPUT outside HOME stays as its owner left it: it may be shared on purpose. One that we create is closed.
    """
    closed = 0
    for path in find_open_paths(settings):
        if path == settings.output and not path.is_relative_to(settings.home):
            log.warning("%s is open to other users of this machine. To close it: chmod -R go= %s", path, path)
            continue
        try:
            path.chmod(stat.S_IMODE(path.stat().st_mode) & ~OTHERS)
        except FileNotFoundError:
            continue
        except OSError as error:
            log.warning("%s is open to other users and cannot be closed (%s).", path, error.strerror)
            continue
        closed += 1
    if closed:
        log.warning("%d files and folders of %s were open to other users; they are closed now", closed, settings.home)
    return closed


def find_open_paths(settings: Settings) -> Iterator[Path]:
    """Folders of ours that other users can enter, and what lies open directly in HOME; a folder before its content.

    A folder that everybody uses, such as /tmp, is none of ours: it, and what lies in it, is left as it is.
    """
    if not _is_shared(settings.home):
        yield from filter(_is_open, [settings.home])
        yield from filter(_is_open, _list_content(settings.home))
    yield from (path for path in _find_places_elsewhere(settings) if _is_open(path) and not _is_shared(path))


def _find_places_elsewhere(settings: Settings) -> Iterator[Path]:
    """Places with data of ours that are not reached through HOME: by a setting, or by a symbolic link in HOME."""
    places = [settings.output, (settings.home / "orthanc" / "storage").resolve()]
    if settings.database_url.startswith("sqlite"):
        database = Path(make_url(settings.database_url).database or "").resolve()
        places += [database, *(database.with_name(database.name + suffix) for suffix in ("-wal", "-shm"))]
    yield from (path for path in places if not path.is_relative_to(settings.home))


def _list_content(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.is_symlink()) if folder.is_dir() else []


def _is_open(path: Path) -> bool:
    try:
        return bool(path.stat().st_mode & OTHERS)
    except FileNotFoundError:
        return False


def _is_shared(folder: Path) -> bool:
    """Whether a folder is the root of the file system, or one in which everybody may create files (sticky bit)."""
    return folder == Path("/") or (folder.is_dir() and bool(folder.stat().st_mode & stat.S_ISVTX))
