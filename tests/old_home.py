"""The home folder that an earlier version made (`fixtures/make_old_home.py`), unpacked for a test."""

import json
import sqlite3
import tarfile
from dataclasses import dataclass
from pathlib import Path

from minipacs.settings import Settings

PACKED = Path(__file__).parent / "fixtures" / "home_of_0.1.0.tar.xz"
MADE_AT = "/tmp/minipacs-old-home"
"""Where it was made: rows of the catalogue hold absolute paths of PNGs."""
STUDY = "1.2.826.0.1.3680043.8.498.7"
"""Root of its UIDs: study `.1` is the CT, `.2` the MR, `.3` the CT that no worker has seen."""


@dataclass(frozen=True)
class OldHome:
    """Where it lies, and the secrets that only its maker has seen."""

    home: Path
    backup: Path
    """Made of it by `minipacs backup` of the same version."""
    token: str
    """Of an administrator's script."""
    share: str
    """Path of a link that opens two result files until the year 2100."""
    password: str
    """Of the user admin, to be used once."""

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which the old version was set up, in the folder where the home lies now."""
        (file,) = self.backup.glob("*/settings.env")
        pairs = (line.partition("=") for line in file.read_text("utf-8").splitlines())
        return {name: value.replace(MADE_AT, str(self.home)) for name, _, value in pairs}

    @property
    def settings(self) -> Settings:
        """The same, read."""
        return Settings.from_env(self.environment)


def unpack(folder: Path) -> OldHome:
    """The home below `folder`, as if it had been made there."""
    with tarfile.open(PACKED) as packed:
        packed.extractall(folder, filter="data")
    known = json.loads((folder / "known.json").read_text("utf-8"))
    old = OldHome(folder / "home", folder / "backup", known["token"], known["share"], known["password"])

    database = sqlite3.connect(old.home / "catalogue.sqlite")
    database.execute("UPDATE rendering SET png_path = replace(png_path, ?, ?)", [MADE_AT, str(old.home)])
    database.commit()
    database.close()
    return old
