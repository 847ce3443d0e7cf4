"""Write a bill of materials so that the same packages give the same file, with what runs and nothing else.

    normalise_sbom.py FROM TO [REQUIREMENTS]

Its number and time are left out, and where the machine fetched a package from; with REQUIREMENTS, packages that are
not in this lock file: tools and tests of the environment that was looked at.
"""

import json
import re
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any


def main() -> int:
    """Read FROM, write TO."""
    source, target, *requirements = map(Path, sys.argv[1:])
    bill = json.loads(source.read_text("utf-8"))

    if requirements:
        keep_packages(bill, read_locked_names(requirements[0]) - {"setuptools"})  # it builds, and runs nowhere
        bill["metadata"]["component"]["version"] = version("minipacs")
    remove_what_changes(bill)

    target.write_text(json.dumps(bill, indent=1, ensure_ascii=False) + "\n", "utf-8")
    return 0


def read_locked_names(file: Path) -> set[str]:
    """Names of the packages of a lock file."""
    return {normalise_name(name) for name in re.findall(r"^([A-Za-z0-9_.-]+)==", file.read_text("utf-8"), re.MULTILINE)}


def normalise_name(name: str) -> str:
    """The form in which two spellings of a package's name are the same."""
    return re.sub(r"[-_.]+", "-", name).lower()


def keep_packages(bill: dict[str, Any], names: set[str]) -> None:
    """Leave out every component that is not one of these, and what is said of it."""
    bill["components"] = [c for c in bill["components"] if normalise_name(c["name"]) in names]
    references = {c["bom-ref"] for c in bill["components"]} | {bill["metadata"]["component"]["bom-ref"]}
    bill["dependencies"] = [d for d in bill["dependencies"] if d["ref"] in references]
    for dependency in bill["dependencies"]:
        if "dependsOn" in dependency:
            dependency["dependsOn"] = [ref for ref in dependency["dependsOn"] if ref in references]


def remove_what_changes(bill: dict[str, Any]) -> None:
    """Remove number, time and addresses of downloads."""
    bill.pop("serialNumber", None)
    bill["metadata"].pop("timestamp", None)
    tools = bill["metadata"].get("tools", [])
    described = [*bill["components"], *(tools["components"] if isinstance(tools, dict) else [])]
    for component in [bill["metadata"]["component"], *described]:
        kept = [r for r in component.get("externalReferences", []) if r["type"] in ("vcs", "website")]
        component["externalReferences"] = [r for r in kept if not r["url"].startswith("file:")]


if __name__ == "__main__":
    sys.exit(main())
