"""Write what the advisory services said as a page. A package that a service does not know was not looked up.

write_advisories.py FOLDER PAGE     # FOLDER has pypi.json, osv.json and npm.json, as scripts/audit makes them
"""

import json
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

TITLES = {
    "pypi.json": "Python packages, by the Python Packaging Advisory Database (pip-audit)",
    "osv.json": "Python packages, by OSV (pip-audit)",
    "npm.json": "npm packages, by the GitHub Advisory Database (npm audit)",
}


@dataclass
class Answer:
    """What a service said."""

    looked_up: int = 0
    """Packages that it knows."""
    not_looked_up: int = 0
    """Packages that it does not know; all of them where it did not answer."""
    findings: list[str] = field(default_factory=list)
    is_reached: bool = True


def main() -> int:
    """Write the page; 0: nothing is known, 1: something is vulnerable, 2: not everything was looked up."""
    folder, page = map(Path, sys.argv[1:])
    answers = {name: read_answer(folder / name) for name in TITLES}
    page.write_text(make_page(answers), "utf-8")
    print(page.read_text("utf-8"))

    if any(answer.findings for answer in answers.values()):
        return 1
    is_python_complete = any(is_complete(answers[name]) for name in ("pypi.json", "osv.json"))
    return 0 if is_python_complete and is_complete(answers["npm.json"]) else 2


def is_complete(answer: Answer) -> bool:
    """Whether the service answered, and knew every package."""
    return answer.is_reached and answer.looked_up > 0 and answer.not_looked_up == 0


def read_answer(file: Path) -> Answer:
    """The answer in a file; not reached where there is none."""
    try:
        value: dict[str, Any] = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return Answer(is_reached=False)
    if "dependencies" in value:
        return read_pip_audit(value["dependencies"])
    if "vulnerabilities" in value:
        return read_npm_audit(value)
    return Answer(is_reached=False)


def read_pip_audit(dependencies: list[dict[str, Any]]) -> Answer:
    """The answer of pip-audit; what it skipped was not looked up."""
    known = [d for d in dependencies if "skip_reason" not in d]
    findings = [
        f"{d['name']} {d['version']}: {v['id']} (fixed in {', '.join(v['fix_versions']) or 'no version'})"
        for d in known
        for v in d["vulns"]
    ]
    return Answer(len(known), len(dependencies) - len(known), findings, is_reached=bool(known))


def read_npm_audit(value: dict[str, Any]) -> Answer:
    """The answer of npm audit."""
    findings = [f"{name}: {v['severity']} ({v['range']})" for name, v in sorted(value["vulnerabilities"].items())]
    return Answer(value["metadata"]["dependencies"]["total"], 0, findings)


def make_page(answers: dict[str, Answer]) -> str:
    """The page: a table of the services, and what they found."""
    lines = [
        "# Advisories",
        "",
        f"Written by `scripts/audit` on {datetime.now(UTC):%Y-%m-%d}, about the packages of `requirements/run.txt` and",
        "`package-lock.json`. Run it where the services can be reached, before each release and once a month.",
        "",
        "| service | packages looked up | not looked up | known vulnerabilities |",
        "|---|---:|---:|---:|",
    ]
    for name, title in TITLES.items():
        answer = answers[name]
        if answer.is_reached:
            lines.append(f"| {title} | {answer.looked_up} | {answer.not_looked_up} | {len(answer.findings)} |")
        else:
            lines.append(f"| {title} | **not reached** | all | unknown |")
    findings = [finding for answer in answers.values() for finding in answer.findings]
    lines += ["", *(f"* {finding}" for finding in findings)] if findings else []
    if not all(answer.is_reached for answer in answers.values()):
        lines += [
            "",
            "A service that was not reached says nothing: this is no statement that a package is free of faults.",
        ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
