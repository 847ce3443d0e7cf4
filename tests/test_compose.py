"""No Docker engine here: the compose file is checked against the specification and against the native start."""

import json
import re
import subprocess
import sys
from dataclasses import fields
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy import make_url

from minipacs.archive.local_orthanc import build_machine_configuration
from minipacs.jobs.worker_secrets import WORKER_SECRETS
from minipacs.local.supervisor import SECRETS
from minipacs.settings import Settings, describe_settings, variable_name

ROOT = Path(__file__).resolve().parent.parent


FILES = {"docker-compose.yml": "", "docker-compose.cluster.yml": "postgresql://minipacs:secret@postgres/orthanc"}
"""Each file, and the address of Orthanc's index in it."""


@pytest.fixture(scope="module", params=FILES)
def file(request: pytest.FixtureRequest) -> Path:
    return ROOT / str(request.param)


@pytest.fixture(scope="module")
def compose(file: Path) -> dict[str, Any]:
    return dict(yaml.safe_load(file.read_text("utf-8")))


def test_orthanc_has_every_file_of_our_plugin(compose: dict[str, Any]) -> None:
    mounts = compose["services"]["orthanc"]["volumes"]
    for path in (ROOT / "orthanc_plugin").glob("*.py"):
        assert f"./orthanc_plugin/{path.name}:/minipacs/{path.name}:ro" in mounts


def test_it_keeps_the_compose_specification(file: Path) -> None:
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run([*check, str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_one_service_per_box(file: Path, compose: dict[str, Any]) -> None:
    spread = {"postgres", "scheduler", "worker"} if "cluster" in file.name else set()
    assert set(compose["services"]) == {"archive-owner", "orthanc", "service", "prompts", "api"} | spread
    assert compose["services"]["service"]["command"] == ["minipacs", "service"]
    assert compose["services"]["prompts"]["command"] == ["minipacs", "prompts"]
    assert compose["services"]["api"]["command"] == ["minipacs", "api"]


def test_nothing_that_stays_runs_as_root(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        assert service["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in service["security_opt"], name
        assert (service["user"] == "root") == (name == "archive-owner"), name
    owner = compose["services"]["archive-owner"]
    assert (owner["entrypoint"][0], owner["network_mode"], "restart" in owner) == ("chown", "none", False)
    (user,) = re.findall(r"^USER (.*)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert compose["services"]["api"]["user"] == user
    assert re.fullmatch(r"[1-9][0-9]*:[1-9][0-9]*", user), "a number, which Kubernetes can check"


def test_every_box_of_the_cluster_finds_the_others() -> None:
    services = yaml.safe_load((ROOT / "docker-compose.cluster.yml").read_text("utf-8"))["services"]
    for name in ("worker", "service", "api"):
        environment = services[name]["environment"]
        for setting in ("DATABASE_URL", "SCHEDULER", "ORTHANC_URL"):
            address = make_url(environment[f"MINIPACS_{setting}"].replace(":?set a password for PostgreSQL", ""))
            assert address.host in services, (name, setting)
        assert any(volume.endswith(":/data") for volume in services[name]["volumes"]), name
        assert services[name]["command"][1] in {point.name for point in entry_points(group="minipacs.commands")}
    scheduler = services["scheduler"]
    assert scheduler["command"] == ["minipacs", "scheduler", "--host", "0.0.0.0"]
    assert make_url(scheduler["environment"]["MINIPACS_SCHEDULER"]).host == "scheduler"
    for name in ("scheduler", "worker", "service"):
        environment = services[name]["environment"]
        assert environment["MINIPACS_SCHEDULER"].startswith("tls://")
        for setting in ("CERTIFICATE", "KEY", "TRUSTED_CERTIFICATES"):
            assert environment[f"MINIPACS_SCHEDULER_{setting}"].startswith("/data/")
        assert "data:/data" in services[name]["volumes"]


def test_a_box_is_given_only_the_secrets_it_needs(file: Path, compose: dict[str, Any]) -> None:
    secrets = {variable_name(name) for name, setting in describe_settings().items() if setting.is_secret}
    needed = {"worker": WORKER_SECRETS, "scheduler": (), "archive-owner": (), "postgres": (), "orthanc": ()}
    for name, service in compose["services"].items():
        part = {"api": "front door", "service": "job service", "prompts": "prompt service"}.get(name, "")
        allowed = {variable_name(secret) for secret in (SECRETS[part] if part else needed[name])}
        environment = service.get("environment", {})
        given = {
            variable for variable in secrets if environment.get(variable, variable if "env_file" in service else "")
        }
        assert given <= allowed, name


SET_BY_THE_FILE = {
    *("MINIPACS_HOME", "MINIPACS_OUTPUT", "MINIPACS_OHIF", "MINIPACS_ORTHANC_URL"),
    *("MINIPACS_STABLE_STUDY_ADDRESS", "MINIPACS_PROMPTS", "MINIPACS_HTTP_HOST", "MINIPACS_HTTP_PORT"),
}
"""Settings that have one value in all containers, or one for each box, whatever `.env` says."""
OF_THE_POOL = {
    *("MINIPACS_DATABASE_URL", "MINIPACS_SCHEDULER", "MINIPACS_SCHEDULER_CERTIFICATE"),
    *("MINIPACS_SCHEDULER_KEY", "MINIPACS_SCHEDULER_TRUSTED_CERTIFICATES"),
}
"""The same, in the cluster alone."""


def test_every_setting_of_the_env_file_reaches_every_box(file: Path, compose: dict[str, Any]) -> None:
    set_by_the_file = SET_BY_THE_FILE | (OF_THE_POOL if "cluster" in file.name else set())
    secrets = {variable_name(name) for name, setting in describe_settings().items() if setting.is_secret}
    ours = {name: service for name, service in compose["services"].items() if "build" in service}
    for name in sorted(ours.keys() - {"scheduler"}):
        assert ours[name]["env_file"] == [{"path": ".env", "required": False}], name
        for variable, value in ours[name]["environment"].items():
            passed_on = value.startswith(f"${{{variable}:")
            assert passed_on or variable in set_by_the_file or (variable in secrets and not value), (name, variable)


def test_the_scheduler_gets_no_env_file() -> None:
    services = yaml.safe_load((ROOT / "docker-compose.cluster.yml").read_text("utf-8"))["services"]
    assert "env_file" not in services["scheduler"]


def test_every_variable_is_a_setting(file: Path) -> None:
    known = {"MINIPACS_" + f.name.upper() for f in fields(Settings)}
    assert set(re.findall(r"MINIPACS_[A-Z0-9_]+", file.read_text())) <= known


def test_defaults_are_those_of_the_settings(file: Path) -> None:
    defaults = {"MINIPACS_" + f.name.upper(): str(f.default) for f in fields(Settings)}
    for name, default in re.findall(r"\$\{(MINIPACS_[A-Z0-9_]+):-([^}]*)\}", file.read_text()):
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


def test_orthanc_gets_what_the_native_start_gives_it(file: Path, compose: dict[str, Any], tmp_path: Path) -> None:
    shared = json.loads((ROOT / "orthanc.json").read_text())
    given = {"MINIPACS_HOME": str(tmp_path), "MINIPACS_ORTHANC_DATABASE_URL": FILES[file.name]}
    machine = build_machine_configuration(Settings.from_env(given), tmp_path)
    for key in machine.pop("PostgreSQL", {}):
        assert f"ORTHANC__POSTGRESQL__{variable(key)}" in compose["services"]["orthanc"]["environment"], key
    assert not set(shared) & set(machine), "a key in both files is an error for Orthanc"
    given = {name.removeprefix("ORTHANC__") for name in compose["services"]["orthanc"]["environment"]}
    paths_of_the_image = {"StorageDirectory", "IndexDirectory", "TemporaryDirectory", "Plugins"}
    peers = {"DicomModalities", "DicomCheckModalityHost"}
    for key in set(machine) - paths_of_the_image - peers:
        assert variable(key) in given, key


def variable(key: str) -> str:
    """A key of Orthanc's configuration as its image wants it in the environment."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", key).upper()
