"""What an engine hands over to another server is known by its study."""

from pathlib import Path

import pytest

from minipacs import signed_files
from minipacs.errors import EngineFailed
from minipacs.settings import Settings
from segmentation.job import pipeline


def test_a_file_that_an_engine_offers_bears_the_study_that_is_segmented(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(home=tmp_path).complete()
    offered = []

    class OfferingEngine:
        name = "offering"
        takes_prompts = False

        def segment(self, *_: object, **__: object) -> None:
            with signed_files.offer_file(settings, "image.nii.gz", 60) as offer:
                offered.append(signed_files.read_offered_study(offer.file))
            raise EngineFailed("It found nothing.")

    source = pipeline.SourceVolume(None, None, "CT", "1.2.3.4.1", "1.2.3.4")  # type: ignore[arg-type]
    monkeypatch.setattr(pipeline, "_read_source", lambda *_: source)
    with pytest.raises(EngineFailed):
        pipeline.segment_files([], "", OfferingEngine(), tmp_path / "out")  # type: ignore[arg-type]
    assert offered == ["1.2.3.4"]
