"""The plain forms: the same files for every result, beside what the engine wrote itself."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from highdicom import Volume

from segmentation.labelmap import Labelmap, Segment
from segmentation.results.plain_forms import write_plain_forms
from segmentation.vocabulary import codes

BONE = Segment("Bone", codes.ANATOMICAL_STRUCTURE, codes.BONE)


def test_each_form_is_written_and_timed_beside_the_engines_own_files(tmp_path: Path) -> None:
    volume = Volume(np.zeros((4, 6, 8), np.int16), np.diag([3.0, 0.75, 1.25, 1.0]), "PATIENT")
    labels = np.zeros((4, 6, 8), np.uint8)
    labels[1:3, 2:5, 2:7] = 1
    labelmap = Labelmap(labels, volume.get_geometry(), (BONE,), {"open_anatomy/bone.gltf": b"gltf"})
    stages = []

    @contextmanager
    def time_stage(name: str) -> Iterator[None]:
        stages.append(name)
        yield

    write_plain_forms(labelmap, volume, tmp_path, time_stage)

    files = {file.relative_to(tmp_path).as_posix() for file in tmp_path.rglob("*") if file.is_file()}
    assert files == {"labels.nii.gz", "labels.json", "preview.png", "open_anatomy/bone.gltf"}
    assert (tmp_path / "open_anatomy/bone.gltf").read_bytes() == b"gltf"
    assert stages == ["NIfTI", "preview"]
