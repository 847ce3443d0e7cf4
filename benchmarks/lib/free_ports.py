"""Settings for a product that a program starts beside whatever else runs on the machine."""

from pathlib import Path

from minipacs.settings import Settings
from stack import free_ports


def settings_on_free_ports(home: Path, **changes: object) -> Settings:
    """The default settings, data below `home`, on ports that nobody uses; keywords are settings."""
    http, archive, dicom, notifications, prompts = free_ports(5)
    values: dict[str, object] = {
        "home": home,
        "http_port": http,
        "orthanc_port": archive,
        "dicom_port": dicom,
        "stable_study_address": f"127.0.0.1:{notifications}",
        "prompts": f"127.0.0.1:{prompts}",
        **changes,
    }
    return Settings.from_env({"MINIPACS_" + name.upper(): str(value) for name, value in values.items()})
