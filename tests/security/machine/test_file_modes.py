"""What minipacs writes is its owner's alone, whatever the umask; what an older version left open is closed."""

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from minipacs.doctor.machine_checks import check_home
from minipacs.files import write_private
from minipacs.home_folder import close_to_others, find_open_paths, prepare_home
from minipacs.local.phantom import write_chest_ct
from minipacs.settings import Settings
from old_home import unpack
from stack import running

SHARED_MEMORY = Path("/dev/shm")


@pytest.fixture
def umask_0() -> Iterator[None]:
    """Whatever is created may be read and written by everybody, unless it says otherwise."""
    before = os.umask(0)
    yield
    os.umask(before)


def find_paths(*folders: Path) -> set[Path]:
    """Each folder, and every file, folder and socket below it."""
    return {path for folder in folders for path in (folder, *folder.rglob("*"))}


def open_to_others(paths: set[Path]) -> dict[str, str]:
    """Those that group or others may read, write or enter, and their modes."""
    modes = {path: path.lstat().st_mode for path in paths if os.path.lexists(path)}
    return {str(p): stat.filemode(m) for p, m in modes.items() if m & 0o077 and not stat.S_ISLNK(m)}


def open_everything(folder: Path) -> None:
    """As a careless version, or a careless administrator, left it."""
    for path in find_paths(folder):
        path.chmod(0o777 if path.is_dir() else 0o666)


@pytest.mark.integration
@pytest.mark.skipif(shutil.which("Orthanc") is None, reason="needs Orthanc")
@pytest.mark.usefixtures("umask_0")
def test_whatever_the_umask_nobody_else_can_open_what_a_running_product_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, output, temporary = unpack(tmp_path).home, tmp_path / "pictures", tmp_path / "temporary"
    output.mkdir()
    temporary.mkdir()
    open_everything(home)
    before, shared_before = find_paths(home), find_paths(SHARED_MEMORY)
    monkeypatch.setenv("TMPDIR", str(temporary))
    write_chest_ct(tmp_path / "ct", slices=12)

    with running(home, output=output) as stack:
        said = (home / "up.log").read_text()
        assert f"files and folders of {home} were open to other users; they are closed now" in said

        (study,) = stack.send(tmp_path / "ct")
        stack.wait_jobs(study, "catalogue", "segment")
        run_command(stack.settings, "backup", str(tmp_path / "kept"))
        run_command(stack.settings, "backup", str(tmp_path / "kept.tar"))
        run_command(stack.settings, "segment", study, "--out", str(tmp_path / "segmented"))
        while_running = set(open_to_others(find_paths(home, output, temporary, SHARED_MEMORY)))

    index = {home / "orthanc" / "storage" / f"index{suffix}" for suffix in ("-wal", "-shm")}
    """SQLite gives them the mode of the index, which the older version made."""
    written = find_paths(home) - before | set(home.iterdir()) | {home}
    chosen = find_paths(tmp_path / "kept", tmp_path / "kept.tar", tmp_path / "segmented")
    elsewhere = find_paths(temporary, SHARED_MEMORY) - shared_before - {temporary}

    assert any(path.name.endswith(".png") for path in find_paths(output)), "pictures were written"
    assert any(path.suffix == ".glb" for path in chosen), "results were written"
    assert open_to_others({*written, *(find_paths(output) - {output}), *chosen, *elsewhere}) == {}
    assert while_running <= {str(path) for path in before | shared_before | index | {temporary, output}}


def run_command(settings: Settings, *arguments: str) -> None:
    environment = {**os.environ, **settings.as_environment()}
    subprocess.run([sys.executable, "-m", "minipacs.cli", *arguments], check=True, env=environment)


def test_an_open_home_is_closed_and_one_line_says_how_much(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    settings = settings_of(tmp_path / "home")
    (settings.home / "log").mkdir(parents=True)
    (settings.home / "catalogue.sqlite").touch()
    open_everything(settings.home)

    prepare_home(settings)
    (line,) = caplog.messages
    assert line.startswith("3 files and folders of ")
    assert open_to_others(find_paths(settings.home)) == {}

    prepare_home(settings)
    assert len(caplog.messages) == 1, "nothing was open any more"


def test_what_lies_outside_the_home_is_closed_too(tmp_path: Path) -> None:
    database = tmp_path / "elsewhere" / "catalogue.sqlite"
    settings = settings_of(tmp_path / "home", output=tmp_path / "output", database_url=f"sqlite:///{database}")
    for folder in (settings.home, settings.output, database.parent, tmp_path / "disk", settings.home / "orthanc"):
        folder.mkdir()
    (settings.home / "orthanc" / "storage").symlink_to(tmp_path / "disk")
    for path in (database, database.with_name("catalogue.sqlite-wal")):
        path.touch()
    open_everything(tmp_path)

    assert close_to_others(settings) == 5
    assert list(find_open_paths(settings)) == [settings.output]
    assert database.parent.stat().st_mode & 0o777 == 0o777, "a folder around it is not ours"


def test_an_output_outside_the_home_that_its_owner_shares_stays_shared_and_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    settings = settings_of(tmp_path / "home", output=tmp_path / "shared")
    settings.output.mkdir()
    settings.output.chmod(0o755)

    prepare_home(settings)
    assert stat.S_IMODE(settings.output.stat().st_mode) == 0o755
    (line,) = caplog.messages
    assert str(settings.output) in line
    assert str(settings.output) in check_home(settings).seen


def test_the_time_does_not_grow_with_what_lies_below(tmp_path: Path) -> None:
    settings = settings_of(tmp_path / "home")
    pictures = settings.home / "output" / "png"
    pictures.mkdir(parents=True)
    for number in range(500):
        (pictures / f"{number}.png").touch()
    open_everything(settings.home)

    assert close_to_others(settings) == 2, "HOME and HOME/output: behind them nobody else gets"


def test_a_folder_that_everybody_uses_is_left_as_it_is(tmp_path: Path) -> None:
    settings = settings_of(tmp_path / "shared")
    settings.home.mkdir()
    (settings.home / "of somebody else").touch()
    open_everything(settings.home)
    settings.home.chmod(0o1777)

    assert close_to_others(settings) == 0
    assert settings.home.stat().st_mode & 0o7777 == 0o1777


def test_a_link_out_of_the_home_closes_nothing_there(tmp_path: Path) -> None:
    settings = settings_of(tmp_path / "home")
    settings.home.mkdir()
    others = tmp_path / "others.txt"
    others.touch(0o644)
    others.chmod(0o644)
    (settings.home / "link").symlink_to(others)

    close_to_others(settings)
    assert others.stat().st_mode & 0o777 == 0o644


def test_a_private_file_that_was_open_to_others_is_closed_when_it_is_written(tmp_path: Path) -> None:
    file = tmp_path / "key.pem"
    file.touch()
    file.chmod(0o644)
    write_private(file, b"secret")
    assert (file.read_bytes(), stat.S_IMODE(file.stat().st_mode)) == (b"secret", 0o600)


def test_a_start_as_root_is_warned_about(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    prepare_home(settings_of(tmp_path / "home"))
    (line,) = caplog.messages
    assert "runs as root" in line
    assert "docs/operations.md" in line


def settings_of(home: Path, **changes: object) -> Settings:
    return Settings.from_env(
        {f"MINIPACS_{name.upper()}": str(value) for name, value in {"home": home, **changes}.items()}
    )
