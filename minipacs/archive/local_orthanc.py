"""Orthanc on this machine: its configuration from our settings, and the command that starts it.

`orthanc.json` at the root holds what is the same everywhere; what depends on the machine (ports,
paths, credentials, peers) is written beside a copy of it, and Orthanc reads both. The compose file
gives the same values by Orthanc's own environment variables.
"""

import json
import shutil
from pathlib import Path
from typing import Any

from sqlalchemy import make_url

from minipacs.archive.dicom_tls import build_modalities, build_tls_configuration
from minipacs.errors import SettingsError
from minipacs.files import write_private
from minipacs.secrets import orthanc_password
from minipacs.setting_values import parse_peers
from minipacs.settings import ROOT, Settings

BINARIES = ("Orthanc", "/usr/sbin/Orthanc", "/usr/local/sbin/Orthanc")
PLUGIN_FOLDERS = ("/usr/share/orthanc/plugins", "/usr/local/share/orthanc/plugins", "/usr/lib/orthanc")
PLUGINS = {"libOrthancDicomWeb.so": "orthanc-dicomweb", "libOrthancPython.so": "orthanc-python"}
"""Plugin files and the Debian packages that bring them. Never orthanc-gdcm: its transcoding overflows
the stacks of Orthanc 1.10.1's web server and kills it."""
INDEX_PLUGIN = {"libOrthancPostgreSQLIndex.so": "orthanc-postgresql"}

ENVIRONMENT = {"TCP_NODELAY": "1", "LC_ALL": "C.UTF-8"}
"""TCP_NODELAY makes DCMTK answer a C-STORE at once: 19 → 54 to 163 instances/s."""


def prepare_start_command(settings: Settings) -> list[str]:
    """Write Orthanc's configuration; the command line that starts it."""
    binary = find_binary()
    if binary is None:
        raise SettingsError("Orthanc is not installed.", "apt-get install orthanc orthanc-dicomweb orthanc-python")
    return [binary, str(write_configuration(settings))]


def is_orthanc_local(settings: Settings) -> bool:
    """Whether Orthanc is the one that `minipacs up` starts on this machine."""
    return settings.orthanc_url == f"http://127.0.0.1:{settings.orthanc_port}"


def find_binary() -> str | None:
    """Path of Orthanc's program; `None` where it is not installed."""
    return next((found for name in BINARIES if (found := shutil.which(name))), None)


def find_changed_configuration_keys(settings: Settings) -> list[str] | None:
    """Keys in which the configuration of the last start differs from today's settings; `None`: never started."""
    folder = settings.home / "orthanc"
    try:
        last = json.loads((folder / "configuration" / "machine.json").read_text("utf-8"))
    except FileNotFoundError:
        return None
    now = build_machine_configuration(settings, folder)
    return sorted(key for key in {*last, *now} if last.get(key) != now.get(key))


def write_configuration(settings: Settings) -> Path:
    """Write Orthanc's configuration files; their folder, which only its owner can read: it holds the password."""
    folder = settings.home / "orthanc"
    configuration = folder / "configuration"
    for path in (folder, configuration, folder / "storage"):
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    shutil.copyfile(ROOT / "orthanc.json", configuration / "orthanc.json")
    file = configuration / "machine.json"
    write_private(file, json.dumps(build_machine_configuration(settings, folder), indent=2).encode())
    return configuration


def build_machine_configuration(settings: Settings, folder: Path) -> dict[str, Any]:
    """The part of Orthanc's configuration that depends on this machine and its settings."""
    peers = parse_peers(settings.peers)
    return {
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "TemporaryDirectory": str(_make_folder(folder / "temporary")),
        "Plugins": _find_plugin_files(settings),
        "PythonScript": str(ROOT / "orthanc_plugin" / "plugin.py"),
        "HttpPort": settings.orthanc_port,
        "RemoteAccessAllowed": False,
        "RegisteredUsers": {settings.orthanc_user: orthanc_password(settings)},
        "DicomAet": settings.aet,
        "DicomPort": settings.dicom_port,
        "DicomModalities": build_modalities(settings, peers),
        "DicomAlwaysAllowStore": not peers,
        "DicomCheckModalityHost": bool(peers),
        "StableAge": settings.stable_age_s,
        **build_tls_configuration(settings),
        **build_index_configuration(settings.orthanc_database_url),
    }


def build_index_configuration(url: str) -> dict[str, Any]:
    """The configuration of Orthanc's index in PostgreSQL (files stay in the storage folder); empty without a URL."""
    if not url:
        return {}
    parts = make_url(url)
    return {
        "PostgreSQL": {
            "EnableIndex": True,
            "EnableStorage": False,
            "Host": parts.host,
            "Port": parts.port or 5432,
            "Database": parts.database,
            "Username": parts.username,
            "Password": parts.password or "",
            "EnableSsl": parts.query.get("sslmode") == "require",
            "Lock": True,
        }
    }


def required_plugins(settings: Settings) -> dict[str, str]:
    """The plugin files that these settings need, and the Debian packages that bring them."""
    return {**PLUGINS, **(INDEX_PLUGIN if settings.orthanc_database_url else {})}


def _find_plugin_files(settings: Settings) -> list[str]:
    found = []
    for name, package in required_plugins(settings).items():
        path = next((p for folder in PLUGIN_FOLDERS if (p := Path(folder, name)).exists()), None)
        if path is None:
            raise SettingsError(f"Orthanc's plugin {name} is not installed.", f"apt-get install {package}")
        found.append(str(path))
    return found


def _make_folder(folder: Path) -> Path:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder
