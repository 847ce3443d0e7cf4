"""The command line: one command, one import."""

import subprocess
import sys

import pytest

from minipacs import cli

LOADED = "import sys; from minipacs import cli\ntry: cli.main(['up', '--help'])\nfinally: print(*sys.modules)"


def test_a_command_loads_nothing_of_the_others() -> None:
    said = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=True).stdout
    loaded = set(said.split())
    assert "minipacs.local.up" in loaded
    assert not loaded & {"minipacs.jobs.service", "distributed", "sqlalchemy", "pydicom"}


def test_help_and_a_wrong_name_know_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        cli.main(["--help"])
    said = capsys.readouterr().out
    with pytest.raises(SystemExit, match="2"):
        cli.main(["sevrice"])
    refused = capsys.readouterr().err
    for name in ("up", "service", "etl", "api", "segment"):
        assert name in said
        assert name in refused
