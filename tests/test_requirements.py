"""The lock files, the bills of materials and constraints.txt say the same; scripts/lock makes them say it."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
REMEDY = "run scripts/lock"
ONLY_ELSEWHERE = {"appnope", "colorama"}
"""Packages for other systems than Linux."""
ONLY_IN_LOCKS = ONLY_ELSEWHERE | {"setuptools", "ruamel-yaml"}
"""Packages that constraints.txt leaves open."""


def normalise(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def read_pins(file: str) -> dict[str, str]:
    """Version of each package that a requirements file names."""
    text = (ROOT / file).read_text("utf-8")
    found = re.findall(r"^([A-Za-z0-9_.-]+)(?:\[[^\]]*\])?==([^\s;\\]+)", text, re.MULTILINE)
    return {normalise(name): version for name, version in found}


def read_needed(*extras: str) -> set[str]:
    """Packages that pyproject.toml names."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    wanted = [*project["dependencies"], *(name for extra in extras for name in project["optional-dependencies"][extra])]
    return {normalise(re.split(r"[\[<>=;~ ]", name)[0]) for name in wanted}


@pytest.mark.parametrize(("file", "extras"), [("run", ()), ("test", ("test",))])
def test_a_lock_file_has_every_package_at_the_version_of_the_constraints(file: str, extras: tuple[str, ...]) -> None:
    locked, constraints = read_pins(f"requirements/{file}.txt"), read_pins("constraints.txt")
    assert read_needed(*extras) <= set(locked), REMEDY
    assert set(locked) - set(constraints) <= ONLY_IN_LOCKS, REMEDY
    assert {name: constraints.get(name, version) for name, version in locked.items()} == locked, REMEDY


@pytest.mark.parametrize("file", ["run", "test", "tools"])
def test_every_locked_package_has_hashes_and_no_address(file: str) -> None:
    text = (ROOT / "requirements" / f"{file}.txt").read_text("utf-8")
    blocks = re.split(r"\n(?=[A-Za-z])", text)[1:]
    assert blocks
    assert all(re.search(r"--hash=sha256:[0-9a-f]{64}", block) for block in blocks)
    assert "://" not in text
    assert "--index-url" not in text


def read_bill(name: str) -> dict[str, Any]:
    return dict(json.loads((ROOT / "sbom" / f"{name}.cdx.json").read_text("utf-8")))


def test_the_bill_of_materials_has_what_runs() -> None:
    bill, locked = read_bill("python"), read_pins("requirements/run.txt")
    listed = {normalise(c["name"]): c["version"] for c in bill["components"]}
    assert set(locked) - set(listed) <= ONLY_ELSEWHERE | {"setuptools"}, REMEDY
    assert {name: locked.get(name) for name in listed} == listed, REMEDY
    assert bill["metadata"]["component"]["name"] == "minipacs"
    assert sum(bool(c.get("licenses")) for c in bill["components"]) > 0.9 * len(listed)


def test_the_bill_of_materials_has_what_npm_brings() -> None:
    wanted = json.loads((ROOT / "package.json").read_text("utf-8"))["dependencies"]
    listed = {f"{c.get('group', '')}/{c['name']}".strip("/"): c["version"] for c in read_bill("npm")["components"]}
    assert {name: listed.get(name) for name in wanted} == wanted, REMEDY


@pytest.mark.parametrize("name", ["python", "npm"])
def test_a_bill_is_cyclonedx_and_names_no_download(name: str) -> None:
    bill = read_bill(name)
    assert (bill["bomFormat"], bill["specVersion"][0]) == ("CycloneDX", "1")
    references = [r for c in bill["components"] for r in c.get("externalReferences", [])]
    assert not [r for r in references if r["type"] == "distribution" or r["url"].startswith("file:")]


def test_npm_packages_have_hashes() -> None:
    packages = json.loads((ROOT / "package-lock.json").read_text("utf-8"))["packages"]
    assert all(package["integrity"].startswith("sha512-") for name, package in packages.items() if name)


# -- advisories -------------------------------------------------------------------------------------
def write_page(folder: Path, pypi: object, npm: object) -> tuple[int, str]:
    """The exit code and the page of these answers; OSV was not reached."""
    for name, value in (("pypi", pypi), ("npm", npm)):
        (folder / f"{name}.json").write_text(json.dumps(value))
    page = folder / "page.md"
    command = [sys.executable, str(ROOT / "scripts" / "write_advisories.py"), str(folder), str(page)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, page.read_text("utf-8")


NPM = {"vulnerabilities": {}, "metadata": {"dependencies": {"total": 5}}}
CLEAN = {"name": "good", "version": "1", "vulns": []}
SKIPPED = {"name": "unknown", "skip_reason": "Dependency not found"}


def test_a_package_that_was_not_looked_up_is_not_called_free_of_faults(tmp_path: Path) -> None:
    assert write_page(tmp_path, {"dependencies": [CLEAN]}, NPM)[0] == 0
    assert write_page(tmp_path, {"dependencies": [CLEAN, SKIPPED]}, NPM)[0] == 2
    code, page = write_page(tmp_path, {"dependencies": [SKIPPED]}, {"message": "405"})
    assert code == 2
    assert page.count("**not reached**") == 3
    assert "no statement that a package is free of faults" in page


def test_a_known_vulnerability_is_written_with_its_remedy(tmp_path: Path) -> None:
    bad = {"name": "bad", "version": "1.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["1.1"]}]}
    code, page = write_page(tmp_path, {"dependencies": [CLEAN, bad]}, NPM)
    assert code == 1
    assert "* bad 1.0: PYSEC-1 (fixed in 1.1)" in page
