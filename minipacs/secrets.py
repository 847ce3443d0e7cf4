"""Secrets made once on this machine and kept in HOME/secrets.json, readable by its owner alone."""

import json
import os
import secrets
from pathlib import Path

from minipacs.errors import SettingsError


def secret(home: Path, name: str) -> str:
    """The secret of this name, made at the first call: 32 random bytes as URL-safe text."""
    file = home / "secrets.json"
    kept = _read(file)
    if name not in kept:
        home.mkdir(parents=True, exist_ok=True)
        kept = {name: secrets.token_urlsafe(32), **_read(file)}
        partial = file.with_name(f".secrets.{os.getpid()}")
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as stream:
            json.dump(kept, stream, indent=1)
        partial.replace(file)
    return kept[name]


def _read(file: Path) -> dict[str, str]:
    try:
        return dict(json.loads(file.read_text("utf-8")))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise SettingsError(
            f"{file} is not JSON.", "Restore it from a backup, or remove it to make new secrets."
        ) from error
