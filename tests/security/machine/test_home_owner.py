"""What root's commands write in the home of another user is that user's, and nothing else is."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from minipacs import files

USER, GROUP = 64321, 64322
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """An empty home of another user, in which this process is root."""
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    os.chown(home, USER, GROUP)
    files.keep_home_owner(home)
    yield home
    files.keep_home_owner(Path("/"))


def owners_below(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(path.relative_to(folder)): (path.lstat().st_uid, path.lstat().st_gid) for path in folder.rglob("*")}


def run_as_root(home: Path, *arguments: str) -> None:
    environment = {**os.environ, "MINIPACS_HOME": str(home)}
    subprocess.run([sys.executable, "-m", "minipacs.cli", *arguments], env=environment, check=True)


def test_a_command_of_root_leaves_nothing_that_the_owner_of_the_home_cannot_read(home: Path) -> None:
    run_as_root(home, "token", "create", "script")
    run_as_root(home, "group", "create", "heart")
    run_as_root(home, "audit", "verify")
    found = owners_below(home)
    assert {"secrets.json", "secrets.lock", "catalogue.sqlite", "audit", "audit/head.lock"} <= set(found)
    assert {name: owner for name, owner in found.items() if owner != (USER, GROUP)} == {}


def test_files_elsewhere_stay_roots(home: Path, tmp_path: Path) -> None:
    files.write_private(tmp_path / "backup.tar", b"patients' data")
    with files.replace_private(tmp_path / "list"), files.lock_file(tmp_path / "deep" / "lock"):
        pass
    elsewhere = {name: owner for name, owner in owners_below(tmp_path).items() if not name.startswith("home")}
    assert set(elsewhere) == {"backup.tar", "list", "deep", "deep/lock"}
    assert set(elsewhere.values()) == {(0, 0)}


def test_no_link_in_the_home_makes_root_give_away_its_own_files(home: Path, tmp_path: Path) -> None:
    roots = tmp_path / "shadow"
    roots.write_bytes(b"root's")
    (home / "first-login.txt").symlink_to(roots)
    (home / "hard.lock").hardlink_to(roots)
    (tmp_path / "etc").mkdir()
    (home / "audit").symlink_to(tmp_path / "etc")

    files.write_private(home / "first-login.txt", b"a password")
    with files.lock_file(home / "hard.lock"), files.lock_file(home / "audit" / "head.lock"):
        pass
    assert owners_below(tmp_path / "etc") == {"head.lock": (0, 0)}
    assert roots.stat().st_uid == (tmp_path / "etc").stat().st_uid == 0
