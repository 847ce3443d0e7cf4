"""Secrets that are generated once on this machine and kept in HOME/secrets.json, readable by its owner alone."""

import json
import secrets
from pathlib import Path

from minipacs.errors import SettingsError
from minipacs.files import lock_file, replace_private
from minipacs.settings import Settings


def get_or_create_secret(home: Path, name: str) -> str:
    """The secret of this name, generated at the first call: 32 random bytes as URL-safe text.

    Processes that start together wait for each other, and all get the same.
    """
    file = home / "secrets.json"
    kept = _read_secrets(file)
    if name in kept:
        return kept[name]

    with lock_file(home / "secrets.lock"):
        kept = _read_secrets(file)
        if name not in kept:
            kept[name] = secrets.token_urlsafe(32)
            with replace_private(file) as stream:
                stream.write(json.dumps(kept, indent=1).encode())
        return kept[name]


def read_secret(home: Path, name: str) -> str:
    """The secret of this name; empty where it was never generated, or is lost."""
    return _read_secrets(home / "secrets.json").get(name, "")


def orthanc_password(settings: Settings) -> str:
    """Our password at Orthanc: that of the settings, or the one generated on this machine."""
    return settings.orthanc_password or get_or_create_secret(settings.home, "orthanc_password")


def _read_secrets(file: Path) -> dict[str, str]:
    try:
        return dict(json.loads(file.read_text("utf-8")))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise SettingsError(
            f"{file} is not JSON.", "Restore it from a backup, or remove it: new secrets are generated."
        ) from error
