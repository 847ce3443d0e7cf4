"""An answer becomes a result: DICOM SEG in the archive, files and provenance beside the other results.

The SEG's mask is the answer's, voxel for voxel; its algorithm type is SEMIAUTOMATIC. Who prompted, and
with what, stands in the manifest. UIDs are derived from all that: accepting twice makes one object.
"""

import json
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from minipacs.archive.client import Archive
from minipacs.settings import Settings
from minipacs.temporary_folders import scratch
from segmentation.engine import Labelmap, Segment
from segmentation.identity import Identity, parameters_digest
from segmentation.job.rules import read_rules
from segmentation.prompting import run_length
from segmentation.prompting.pixels import Prompter
from segmentation.prompting.sessions import Answer
from segmentation.results import manifest, store
from segmentation.results.dicom_seg import SERIES_NUMBER, encode, series_number
from segmentation.results.nifti import write_labels, write_nifti
from segmentation.results.preview import write_preview


@dataclass(frozen=True)
class Acceptance:
    """What is accepted, as what, by whom."""

    answer: Answer
    segment: Segment
    user: str
    engine: Prompter

    @property
    def provenance(self) -> dict[str, Any]:
        """How the answer came to be: enough to ask again."""
        answer = self.answer
        return {
            "user": self.user,
            "prompts": answer.prompts,
            "propagate": answer.propagate,
            "window": list(answer.window) if answer.window else None,
            "answer": sha256(json.dumps(answer.runs, sort_keys=True).encode()).hexdigest(),
        }

    @property
    def identity(self) -> Identity:
        """Of series, engine, prompts, user, and what the result is called."""
        made_of = parameters_digest({**self.provenance, "segment": asdict(self.segment)})
        series = self.answer.held.series
        return Identity(series.series_instance_uid, series.digest, self.engine.name, self.engine.version, made_of)


def accept(acceptance: Acceptance, settings: Settings, archive: Archive) -> dict[str, str]:
    """Write the result's folder, store the SEG; its study, series and instance UID."""
    answer, identity = acceptance.answer, acceptance.identity
    held = answer.held
    place = store.root(settings) / held.study_instance_uid / identity.series_instance_uid
    place /= f"{identity.engine}-{identity.parameters}"
    described = manifest.read(place)
    if described is None:
        with scratch(store.root(settings)) as temporary:
            made = temporary / "result"
            made.mkdir()
            described = store.put(made, place, _write(acceptance, identity, read_rules(settings).type, made), None)
    store.store(archive, place, described, read_rules(settings))
    return {
        "study_instance_uid": held.study_instance_uid,
        "series_instance_uid": described["seg_series_instance_uid"],
        "sop_instance_uid": described["seg_sop_instance_uid"],
    }


def labelmap_of(acceptance: Acceptance) -> Labelmap:
    """The answer as a labelmap of one segment."""
    source = acceptance.answer.held.source
    array = np.zeros(source.shape, np.uint8)
    for k, of_slice in acceptance.answer.runs.items():
        array[k] = run_length.decode(of_slice, source.shape[1:])
    return Labelmap(array, source.volume.get_geometry(), (acceptance.segment,))


def _write(acceptance: Acceptance, identity: Identity, type: str, made: Path) -> dict[str, Any]:
    """SEG, NIfTI, label table, picture and manifest below `made`; the manifest."""
    held, labelmap = acceptance.answer.held, labelmap_of(acceptance)
    seg = encode(labelmap, held.slices, identity, type)
    if not (acceptance.segment.label + acceptance.user).isascii():  # what the source's character set may not have
        seg.decode()
        seg.SpecificCharacterSet = "ISO_IR 192"
    seg.SeriesNumber = 3 * SERIES_NUMBER + series_number(held.slices.images[0])
    seg.SeriesDescription = f"{acceptance.segment.label} ({identity.engine} prompts)"[:64]
    seg.ContentDescription = f"{acceptance.segment.label}, prompted"[:64]
    seg.ContentCreatorName = acceptance.user.replace("\\", " ").replace("=", " ").replace("^", " ")[:64]  # VR PN
    seg.save_as(made / "seg.dcm")
    write_nifti(labelmap, made / "labels.nii.gz")
    write_labels(labelmap, made / "labels.json")
    write_preview(labelmap, held.volume, made / "preview.png")
    more = {"prompted": acceptance.provenance, "parameters": {}, "durations_s": {}, "seconds": 0.0}
    return manifest.write(made, identity, labelmap, held.slices, ("SEG",), **more)
