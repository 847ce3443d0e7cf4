"""Files are the owner's alone, and appear whole or not at all."""

from pathlib import Path

import pytest

from minipacs.files import lock_file, replace_private, write_private


def test_a_private_file_is_the_owners_alone(tmp_path: Path) -> None:
    write_private(tmp_path / "secret", b"words")
    assert (tmp_path / "secret").stat().st_mode & 0o777 == 0o600


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    file = tmp_path / "secrets.json"
    file.write_bytes(b"before")
    with replace_private(file) as stream:
        stream.write(b"after")
        assert file.read_bytes() == b"before"
    assert file.read_bytes() == b"after"
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_file_stays_when_its_replacement_fails(tmp_path: Path) -> None:
    file = tmp_path / "secrets.json"
    file.write_bytes(b"before")
    with pytest.raises(TypeError), replace_private(file) as stream:
        stream.write("text where bytes are wanted")  # type: ignore[arg-type]
    assert file.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [file]


def test_processes_of_the_same_number_write_one_file_each_whole(tmp_path: Path) -> None:
    file = tmp_path / "secrets.json"
    with replace_private(file) as ours, replace_private(file) as others:  # in two containers
        ours.write(b"ours, and longer")
        others.write(b"others")
    assert file.read_bytes() == b"ours, and longer"
    assert list(tmp_path.iterdir()) == [file]


def test_a_lock_file_is_no_link_to_another_file(tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"), lock_file(tmp_path / "lock"):
        pass
    assert not (tmp_path / "elsewhere").exists()
