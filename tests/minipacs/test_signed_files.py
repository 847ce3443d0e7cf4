"""An offered file: opened by its link alone, for its time alone."""

import pytest

from minipacs import signed_files
from minipacs.errors import Gone, NotFound
from minipacs.settings import Settings


@pytest.fixture
def settings(tmp_path):
    return Settings(home=tmp_path / "home").complete()


def parts(offer):
    """Folder, end, signature, name."""
    _, _, folder, ends, signature, name = offer.link.split("/")
    return folder, int(ends), signature, name


def test_a_link_opens_its_file_until_the_lender_is_done(settings):
    with signed_files.offer_file(settings, "image.nii.gz", 60) as offer:
        offer.file.write_bytes(b"voxels")
        assert signed_files.find_offered_file(settings, *parts(offer)).read_bytes() == b"voxels"
    with pytest.raises(Gone):
        signed_files.find_offered_file(settings, *parts(offer))
    assert not list((settings.home / "exchange").iterdir())


def test_a_link_ends_by_itself(settings, monkeypatch):
    with signed_files.offer_file(settings, "image.nii.gz", 60) as offer:
        offer.file.write_bytes(b"voxels")
        ends = parts(offer)[1]
        monkeypatch.setattr(signed_files.time, "time", lambda: ends + 1)
        with pytest.raises(Gone):
            signed_files.find_offered_file(settings, *parts(offer))


def test_nothing_of_a_link_can_be_changed(settings):
    with signed_files.offer_file(settings, "image.nii.gz", 60) as offer:
        offer.file.write_bytes(b"voxels")
        folder, ends, signature, name = parts(offer)
        changed = [
            ("other", ends, signature, name),
            (folder, ends + 1, signature, name),
            (folder, ends, "0" * 64, name),
            (folder, ends, signature, "../secrets.json"),
            (folder, ends, "ü", name),
        ]
        for link in changed:
            with pytest.raises(NotFound):
                signed_files.find_offered_file(settings, *link)


def test_what_a_killed_lender_left_is_taken_away_by_the_next(settings):
    left = settings.home / "exchange" / "1000000000-killed"
    left.mkdir(parents=True)
    (left / "image.nii.gz").write_bytes(b"voxels")
    with signed_files.offer_file(settings, "image.nii.gz", 60) as offer:
        assert [folder.name for folder in left.parent.iterdir()] == [offer.file.parent.name]


def test_an_offered_file_is_known_by_the_study_it_shows_and_no_link_opens_that(settings):
    with signed_files.offering_study("1.2.3.4"), signed_files.offer_file(settings, "image.nii.gz", 60) as offer:
        offer.file.write_bytes(b"voxels")
        assert signed_files.read_offered_study(offer.file) == "1.2.3.4"
        folder, ends, signature, _ = parts(offer)
        with pytest.raises(NotFound):
            signed_files.find_offered_file(settings, folder, ends, signature, signed_files.STUDY_FILE)
    with signed_files.offer_file(settings, "image.nii.gz", 60) as offer:
        assert signed_files.read_offered_study(offer.file) == ""
