"""An encrypted backup tells nothing without its key, is whole or refused, and restores everything with it."""

import io
import logging
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from dicom_objects import ROOT, as_file, image
from minipacs import cli
from minipacs.backup.backup import back_up
from minipacs.backup.encryption import MARK, create_key
from minipacs.backup.open_backup import open_source, open_target
from minipacs.backup.restore import restore
from minipacs.backup.store import SEALED_MANIFEST, BackupManifest, BackupTarget
from minipacs.database import Database
from minipacs.errors import BadRequest, SettingsError
from minipacs.settings import Settings
from stack import RunningStack, settings_for

MANIFEST: BackupManifest = {
    "format": 1,
    "minipacs": "0",
    "schema": "0001",
    "made": 0.0,
    "snapshot": "s",
    "rows": {},
    "files": 1,
    "instances": 0,
}
NAME = "output/results/1.2.3/1.2.4/slicer/manifest.json"
CONTENT = b"a patient's name " * 10_000
"""More than one of age's blocks of 64 KiB."""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings with a pair of keys."""
    public = create_key(tmp_path / "key")
    return settings_for(tmp_path / "home", backup_recipients=public, backup_identity=tmp_path / "key")


def write(target: BackupTarget, content: bytes = CONTENT) -> None:
    """A backup of one file, or of none new where the target holds it."""
    if not target.find_earlier_digest(NAME, len(content)):
        target.add(NAME, io.BytesIO(content), len(content))
    target.finish(b'{"format": 1, "minipacs": "0", "snapshot": "s"}', {NAME})


def read(path: Path, settings: Settings) -> bytes:
    source, _ = open_source(path, settings)
    try:
        with source.open(NAME) as stream:
            return stream.read()
    finally:
        source.close()


def sealed_files(folder: Path) -> list[Path]:
    """The files of an encrypted backup but its manifest and its mark."""
    return sorted(path for path in folder.rglob("*.age") if path.name != SEALED_MANIFEST)


@pytest.mark.parametrize("name", ["backup", "backup.tar"])
def test_a_sealed_file_comes_back_and_tells_nothing(settings: Settings, tmp_path: Path, name: str) -> None:
    write(open_target(tmp_path / name, settings, "snapshot-1"))
    files = [path for path in (tmp_path / name, *(tmp_path / name).rglob("*")) if path.is_file()]
    for file in files:
        assert b"patient" not in file.read_bytes()
        assert b"1.2.3" not in file.read_bytes()
        assert "1.2.3" not in str(file.relative_to(tmp_path))
    assert read(tmp_path / name, settings) == CONTENT


@pytest.mark.parametrize("name", ["backup", "backup.tar"])
def test_a_restore_with_a_wrong_key_is_one_sentence_and_touches_nothing(
    settings: Settings,
    tmp_path: Path,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write(open_target(tmp_path / name, settings, "snapshot-1"))
    shutil.rmtree(settings.home, ignore_errors=True)
    create_key(tmp_path / "other")
    for identity, said in (
        ("other", f"{tmp_path / name} was encrypted for another key. Set MINIPACS_BACKUP_IDENTITY"),
        ("", "The backup is encrypted. Set MINIPACS_BACKUP_IDENTITY"),
        ("missing", "cannot be read (No such file or directory)"),
        (name if name.endswith("tar") else f"{name}/{MARK}", "is no private key"),
    ):
        changed = replace(settings, backup_identity=str(tmp_path / identity) if identity else "")
        for variable, value in changed.as_environment().items():
            monkeypatch.setenv(variable, value)
        assert cli.main(["restore", str(tmp_path / name)]) == 1
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert said in line
        kept = {path.name for path in settings.home.iterdir()}
        assert kept <= {"audit", "catalogue.sqlite", "secrets.json", "secrets.lock"}, (
            "nothing but the audit's entry of the attempt"
        )


@pytest.mark.parametrize("damage", ["altered", "cut off", "cut off between blocks", "lengthened", "emptied"])
def test_a_damaged_file_is_found_and_named(settings: Settings, tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "backup"
    write(open_target(folder, settings, "snapshot-1"))
    (file,) = sealed_files(folder)
    sealed = file.read_bytes()
    last_block = len(CONTENT) % 65536 + 16
    file.write_bytes(
        {
            "altered": sealed[:-9] + bytes([sealed[-9] ^ 1]) + sealed[-8:],
            "cut off": sealed[:-9],
            "cut off between blocks": sealed[:-last_block],
            "lengthened": sealed + b"\0",
            "emptied": b"",
        }[damage]
    )
    with pytest.raises(BadRequest, match=rf"{NAME} of .*backup is damaged"):
        read(folder, settings)


def test_a_damaged_manifest_is_found(settings: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "backup"
    write(open_target(folder, settings, "snapshot-1"))
    manifest = folder / SEALED_MANIFEST
    manifest.write_bytes(manifest.read_bytes()[:-3])
    with pytest.raises(BadRequest, match=r"manifest of .* is damaged"):
        read(folder, settings)


def test_a_tar_file_that_was_cut_off_is_refused(settings: Settings, tmp_path: Path) -> None:
    file = tmp_path / "backup.tar"
    for changed in (settings, replace(settings, backup_recipients="")):
        write(open_target(file, changed, "snapshot-1"))
        whole = file.read_bytes()
        for length in (len(whole) // 2, 700, 100):
            file.write_bytes(whole[:length])
            with pytest.raises(BadRequest, match="no backup, or not a whole one"):
                read(file, changed)
        file.unlink()


def test_only_what_is_new_is_sealed_and_new_keys_seal_everything_anew(settings: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "backup"
    write(open_target(folder, settings, "snapshot-1"))
    (file,) = sealed_files(folder)
    first = file.read_bytes()

    without_private_key = replace(settings, backup_identity="")
    write(open_target(folder, without_private_key, "snapshot-2"))
    assert file.read_bytes() == first
    assert [path.name for path in (settings.home / "backup-lists").iterdir()] == ["snapshot-2.json"]

    other = replace(settings, backup_recipients=create_key(tmp_path / "other"), backup_identity=str(tmp_path / "other"))
    write(open_target(folder, other, "snapshot-3"))
    assert read(folder, other) == CONTENT
    with pytest.raises(BadRequest, match="another key"):
        read(folder, settings)


def test_each_of_several_keys_opens_a_backup(settings: Settings, tmp_path: Path) -> None:
    keys = f"{settings.backup_recipients}, {create_key(tmp_path / 'safe')}"
    write(open_target(tmp_path / "backup", replace(settings, backup_recipients=keys), "snapshot-1"))
    for name in ("key", "safe"):
        assert read(tmp_path / "backup", replace(settings, backup_identity=str(tmp_path / name))) == CONTENT


def test_plain_and_sealed_are_never_mixed_in_a_folder(settings: Settings, tmp_path: Path) -> None:
    plain = replace(settings, backup_recipients="")
    write(open_target(tmp_path / "plain", plain, "snapshot-1"))
    write(open_target(tmp_path / "sealed", settings, "snapshot-1"))
    with pytest.raises(BadRequest, match="holds a backup that is not encrypted"):
        open_target(tmp_path / "plain", settings, "snapshot-2")
    with pytest.raises(BadRequest, match=r"holds an encrypted backup.*MINIPACS_BACKUP_RECIPIENTS"):
        open_target(tmp_path / "sealed", plain, "snapshot-2")


def test_a_private_key_is_its_owners_alone_and_never_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "key"
    assert cli.main(["backup", "--create-key", str(file)]) == 0
    public = capsys.readouterr().out.strip()
    assert public.startswith("age1")
    assert file.stat().st_mode & 0o777 == 0o600
    private = next(line for line in file.read_text().splitlines() if not line.startswith("#"))

    assert cli.main(["backup", "--create-key", str(file)]) == 1
    assert "File exists" in capsys.readouterr().err
    assert private in file.read_text()

    with pytest.raises(SettingsError) as error:
        settings_for(tmp_path / "home", backup_recipients=private)
    assert private not in str(error.value)
    assert "no public key" in str(error.value)

    settings = settings_for(tmp_path / "home", backup_recipients=public, backup_identity=file)
    write(open_target(tmp_path / "backup", settings, "snapshot-1"))
    file.chmod(0o644)
    logging.getLogger().setLevel(logging.DEBUG)
    assert read(tmp_path / "backup", settings) == CONTENT
    logged = capsys.readouterr().err
    assert "can be read by others" in logged
    assert private not in logged


# -- the whole product ------------------------------------------------------------------------------
def small_study() -> Iterator[bytes]:
    import numpy as np

    uid = f"{ROOT}.4711"
    for number in range(1, 4):
        pixels = np.full((5, 7), number, np.uint16)
        values = {"PatientID": "SEALED-ID", "PatientName": "Sealed^Name", "StudyInstanceUID": uid}
        series = {"SeriesInstanceUID": f"{uid}.1", "SOPInstanceUID": f"{uid}.1.{number}"}
        yield as_file(image(pixels, number, **values, **series))


@pytest.mark.integration
def test_everything_is_restored_with_the_key(stack: RunningStack, tmp_path: Path) -> None:
    public = create_key(tmp_path / "key")
    for file in small_study():
        stack.archive.store_file(file)
    stack.wait_jobs(f"{ROOT}.4711", "catalogue")
    sealing = replace(stack.settings, backup_recipients=public)

    first = back_up(sealing, tmp_path / "backup", print)
    written = {path: path.stat().st_mtime_ns for path in sealed_files(tmp_path / "backup")}
    second = back_up(sealing, tmp_path / "backup", print)
    kept = [path for path, time in written.items() if path.exists() and path.stat().st_mtime_ns == time]
    assert len(kept) >= first["instances"], "instances are sealed once"

    for path in (tmp_path / "backup").rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        assert not any(word in content for word in (b"Sealed^Name", b"SEALED-ID", ROOT.encode()))

    settings = settings_for(tmp_path / "restored", backup_identity=tmp_path / "key")
    restored = restore(settings, tmp_path / "backup")
    assert (restored["instances"], restored["rows"]) == (second["instances"], second["rows"])
    database = Database(settings.database_url)
    with database.reading() as session:
        from minipacs.catalogue import Patient

        assert session.query(Patient).filter_by(patient_id="SEALED-ID").count() == 1
    database.close()
