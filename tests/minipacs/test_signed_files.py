"""A lent file: opened by its link alone, for its time alone."""

import pytest

from minipacs import signed_files
from minipacs.errors import Gone, NotFound
from minipacs.settings import Settings


@pytest.fixture
def settings(tmp_path):
    return Settings(home=tmp_path / "home").complete()


def parts(loan):
    """Folder, end, signature, name."""
    _, _, folder, ends, signature, name = loan.link.split("/")
    return folder, int(ends), signature, name


def test_a_link_opens_its_file_until_the_lender_is_done(settings):
    with signed_files.lend(settings, "image.nii.gz", 60) as loan:
        loan.file.write_bytes(b"voxels")
        assert signed_files.lent(settings, *parts(loan)).read_bytes() == b"voxels"
    with pytest.raises(Gone):
        signed_files.lent(settings, *parts(loan))
    assert not list((settings.home / "exchange").iterdir())


def test_a_link_ends_by_itself(settings, monkeypatch):
    with signed_files.lend(settings, "image.nii.gz", 60) as loan:
        loan.file.write_bytes(b"voxels")
        ends = parts(loan)[1]
        monkeypatch.setattr(signed_files.time, "time", lambda: ends + 1)
        with pytest.raises(Gone):
            signed_files.lent(settings, *parts(loan))


def test_nothing_of_a_link_can_be_changed(settings):
    with signed_files.lend(settings, "image.nii.gz", 60) as loan:
        loan.file.write_bytes(b"voxels")
        folder, ends, signature, name = parts(loan)
        changed = [
            ("other", ends, signature, name),
            (folder, ends + 1, signature, name),
            (folder, ends, "0" * 64, name),
            (folder, ends, signature, "../secrets.json"),
            (folder, ends, "ü", name),
        ]
        for link in changed:
            with pytest.raises(NotFound):
                signed_files.lent(settings, *link)


def test_what_a_killed_lender_left_is_taken_away_by_the_next(settings):
    left = settings.home / "exchange" / "1000000000-killed"
    left.mkdir(parents=True)
    (left / "image.nii.gz").write_bytes(b"voxels")
    with signed_files.lend(settings, "image.nii.gz", 60) as loan:
        assert [folder.name for folder in left.parent.iterdir()] == [loan.file.parent.name]
