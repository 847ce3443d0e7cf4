"""No Docker engine here: the compose file is checked against the specification and against the native start."""

import json
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml

from minipacs.orthanc import machine_configuration
from minipacs.settings import Settings

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return dict(yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8")))


def test_it_keeps_the_compose_specification() -> None:
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run([*check, str(ROOT / "docker-compose.yml")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_one_service_per_box(compose: dict[str, Any]) -> None:
    assert set(compose["services"]) == {"orthanc", "service", "prompts", "api"}
    assert compose["services"]["service"]["command"] == ["minipacs", "service"]
    assert compose["services"]["prompts"]["command"] == ["minipacs", "prompts"]
    assert compose["services"]["api"]["command"] == ["minipacs", "api"]


def test_every_variable_is_a_setting() -> None:
    known = {"MINIPACS_" + f.name.upper() for f in fields(Settings)}
    assert set(re.findall(r"MINIPACS_[A-Z0-9_]+", (ROOT / "docker-compose.yml").read_text())) <= known


def test_defaults_are_those_of_the_settings() -> None:
    defaults = {"MINIPACS_" + f.name.upper(): str(f.default) for f in fields(Settings)}
    for name, default in re.findall(r"\$\{(MINIPACS_[A-Z0-9_]+):-([^}]*)\}", (ROOT / "docker-compose.yml").read_text()):
        assert defaults[name] == default, name


def test_every_mounted_file_exists(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0]
            assert not source.startswith(".") or (ROOT / source).exists(), source


def test_everything_copied_into_the_image_exists() -> None:
    for line in (ROOT / "Dockerfile").read_text().splitlines():
        if line.startswith("COPY ") and "--from" not in line:
            for source in line.split()[1:-1]:
                assert (ROOT / source).exists(), source


def test_orthanc_gets_what_the_native_start_gives_it(compose: dict[str, Any], tmp_path: Path) -> None:
    shared = json.loads((ROOT / "orthanc.json").read_text())
    machine = machine_configuration(Settings.from_env({"MINIPACS_HOME": str(tmp_path)}), tmp_path)
    assert not set(shared) & set(machine), "a key in both files is an error for Orthanc"
    given = {name.removeprefix("ORTHANC__") for name in compose["services"]["orthanc"]["environment"]}
    paths_of_the_image = {"StorageDirectory", "IndexDirectory", "TemporaryDirectory", "Plugins"}
    peers = {"DicomModalities", "DicomCheckModalityHost"}
    for key in set(machine) - paths_of_the_image - peers:
        assert re.sub(r"(?<!^)(?=[A-Z])", "_", key).upper() in given, key
