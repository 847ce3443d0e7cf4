"""An answer becomes a result: DICOM SEG in the archive, files and provenance beside the other results.

The SEG's mask is the answer's, voxel for voxel; its algorithm type is SEMIAUTOMATIC. Who prompted, and
with what, stands in the manifest. UIDs are derived from all that: accepting twice makes one object.
"""

import json
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import TypedDict

import numpy as np

from minipacs.archive.client import Archive
from minipacs.database import Database
from minipacs.result_paths import results_root
from minipacs.settings import Settings
from minipacs.temporary_folders import temporary_folder
from segmentation.identity import Identity, digest_parameters
from segmentation.job.rules import read_rules
from segmentation.labelmap import Labelmap, Segment
from segmentation.prompter import Prompter
from segmentation.prompting import run_length
from segmentation.prompting.sessions import Answer
from segmentation.results import store
from segmentation.results.dicom_seg import SERIES_NUMBER_STEP, encode_seg, read_series_number
from segmentation.results.manifest import Manifest, PromptProvenance, RunFacts, read_manifest, write_manifest
from segmentation.results.plain_forms import write_plain_forms


class StoredSeg(TypedDict):
    """The DICOM SEG that an accepted answer became."""

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str


@dataclass(frozen=True)
class AcceptedAnswer:
    """What is accepted, as what, by whom."""

    answer: Answer
    segment: Segment
    user: str
    engine: Prompter

    @property
    def provenance(self) -> PromptProvenance:
        """How the answer came to be: enough to prompt the same again."""
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
        made_of = digest_parameters({**self.provenance, "segment": asdict(self.segment)})
        content = self.answer.series.content

        return Identity(content.series_instance_uid, content.digest, self.engine.name, self.engine.version, made_of)

    @property
    def labelmap(self) -> Labelmap:
        """The answer as a labelmap of one segment."""
        series = self.answer.series.prompted_series
        array = np.zeros(series.shape, np.uint8)

        for k, runs in self.answer.runs.items():
            array[k] = run_length.decode_runs(runs, series.shape[1:])

        return Labelmap(array, series.volume.get_geometry(), (self.segment,))


def store_answer(acceptance: AcceptedAnswer, settings: Settings, archive: Archive, database: Database) -> StoredSeg:
    """Write the result's folder, store the SEG and record the result; its study, series and instance UID."""
    identity, rules = acceptance.identity, read_rules(settings)
    study_instance_uid = acceptance.answer.series.study_instance_uid
    series_folder = store.result_folder(settings, study_instance_uid, identity).parent
    place = series_folder / f"{identity.engine}-{identity.parameters}"

    manifest = read_manifest(place)
    if manifest is None:
        with temporary_folder(results_root(settings)) as temporary:
            folder = temporary / "result"
            folder.mkdir()
            manifest = store.move_into_place(folder, place, _write_result(acceptance, identity, rules.type, folder))

    store.store_and_record(place, manifest, archive, database, remove_superseded=rules.superseded == "remove")

    return {
        "study_instance_uid": study_instance_uid,
        "series_instance_uid": manifest["seg_series_instance_uid"],
        "sop_instance_uid": manifest["seg_sop_instance_uid"],
    }


def _write_result(acceptance: AcceptedAnswer, identity: Identity, seg_type: str, folder: Path) -> Manifest:
    """Write SEG, plain forms and manifest; the manifest."""
    series, labelmap = acceptance.answer.series, acceptance.labelmap

    seg = encode_seg(labelmap, series.slices, identity, seg_type)
    if not (acceptance.segment.label + acceptance.user).isascii():  # what the source's character set may not have
        seg.decode()
        seg.SpecificCharacterSet = "ISO_IR 192"

    seg.SeriesNumber = 3 * SERIES_NUMBER_STEP + read_series_number(series.slices.images[0])
    seg.SeriesDescription = f"{acceptance.segment.label} ({identity.engine} prompts)"[:64]
    seg.ContentDescription = f"{acceptance.segment.label}, prompted"[:64]
    seg.ContentCreatorName = acceptance.user.replace("\\", " ").replace("=", " ").replace("^", " ")[:64]  # VR PN
    seg.save_as(folder / "seg.dcm")

    write_plain_forms(labelmap, series.volume, folder)

    run = RunFacts(prompted=acceptance.provenance)

    return write_manifest(folder, identity, labelmap, series.slices, run, has_report=False)
