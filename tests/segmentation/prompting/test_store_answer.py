"""What is accepted becomes a SEG that says what the user wrote, for the patient it was made of."""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pydicom
import pytest

from minipacs.result_paths import results_root
from minipacs.settings import Settings
from segmentation.prompting.service import PromptService

KIDNEY = {"value": "64033007", "scheme": "SCT", "meaning": "Kidney"}
ORGAN = {"value": "91723000", "scheme": "SCT", "meaning": "Anatomical Structure"}


@pytest.mark.parametrize("label", ["Kidney", "Niere, früh", "腎臓"])
@pytest.mark.parametrize(
    ("encoding", "patient"),
    [
        (None, "Doe^Jane"),
        ("ISO_IR 100", "Müller^Jörg"),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        ("ISO_IR 192", "Зима^Анна"),
    ],
)
def test_names_are_written_whatever_the_sources_character_set(
    service: PromptService,
    memory_archive: Any,
    series: Any,
    phantom: Callable[..., np.ndarray],
    label: str,
    encoding: Any,
    patient: str,
) -> None:
    described = series(uid="1.2.3")
    images = described.images(phantom(described))
    for image in images:
        image.SpecificCharacterSet, image.PatientName = encoding, patient
    memory_archive.put(images)
    position = np.array(described.first) + described.axes @ np.array((6, 9, 14))
    prompts = [{"point": [float(v) for v in position]}]
    answer = service.answer_prompts("Jörg 腎", {"series": "1.2.3", "prompts": prompts})
    service.accept_answer("Jörg 腎", answer["session"], {"label": label, "category": ORGAN, "type": KIDNEY})

    seg = pydicom.dcmread(io.BytesIO(memory_archive.stored[0]))
    assert seg.PatientName == patient
    assert seg.SegmentSequence[0].SegmentLabel == label
    assert str(seg.ContentCreatorName) == "Jörg 腎"
    assert seg.SeriesDescription == f"{label} (geodesic prompts)"
    assert seg.SeriesNumber == 3004


def test_an_accepted_answer_has_the_plain_forms_of_every_result(
    service: PromptService, store_series: Callable[..., Any], settings: Settings
) -> None:
    described = store_series("1.2.3")
    position = np.array(described.first) + described.axes @ np.array((6, 9, 14))
    prompts = [{"point": [float(v) for v in position]}]
    answer = service.answer_prompts("ann", {"series": "1.2.3", "prompts": prompts})
    service.accept_answer("ann", answer["session"], {"label": "Kidney", "category": ORGAN, "type": KIDNEY})

    (manifest,) = results_root(settings).rglob("manifest.json")
    files = {file.name for file in manifest.parent.iterdir()}
    assert files == {"seg.dcm", "labels.nii.gz", "labels.json", "preview.png", "manifest.json"}
