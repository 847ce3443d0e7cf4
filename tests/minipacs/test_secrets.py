"""Secrets are generated once, however many processes ask for them at the same time."""

import json
import subprocess
import sys
from pathlib import Path

from minipacs.secrets import get_or_create_secret

PROCESSES = 6
NAMES = ("session_key", "audit_key", "orthanc_password")
ASK_WHEN_TOLD = """
import json, sys
from pathlib import Path
from minipacs import secrets
print("ready", flush=True)
sys.stdin.readline()
names = sys.argv[2:]
print(json.dumps({name: secrets.get_or_create_secret(Path(sys.argv[1]), name) for name in names}), flush=True)
"""


def test_processes_that_start_together_get_the_same_secrets_and_lose_none(tmp_path: Path) -> None:
    children = [
        subprocess.Popen(
            [sys.executable, "-c", ASK_WHEN_TOLD, str(tmp_path / "home"), f"own_{number}", *NAMES],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(PROCESSES)
    ]
    for child in children:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
    for child in children:
        assert child.stdin is not None
        child.stdin.write("\n")
        child.stdin.flush()
    answers = [json.loads(child.communicate()[0]) for child in children]

    kept = json.loads((tmp_path / "home" / "secrets.json").read_text("utf-8"))
    assert set(kept) == {*NAMES, *(f"own_{number}" for number in range(PROCESSES))}
    for answer in answers:
        assert answer.items() <= kept.items()


def test_a_secret_stays_when_another_is_added(tmp_path: Path) -> None:
    first = get_or_create_secret(tmp_path, "first")
    get_or_create_secret(tmp_path, "second")
    assert get_or_create_secret(tmp_path, "first") == first
    assert (tmp_path / "secrets.json").stat().st_mode & 0o777 == 0o600
