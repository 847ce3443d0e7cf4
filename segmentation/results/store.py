"""Where a finished result is kept: its folder in its place, SEG and SR in the archive, a row in the catalogue.

A folder appears whole or not at all: it is written elsewhere and moved there. Archive and catalogue get
the result after that, so that after a crash in between the next attempt completes them without segmenting
again.
"""

from pathlib import Path
from typing import TypedDict

from sqlalchemy import update

from minipacs.archive.client import Archive
from minipacs.catalogue import SegmentationResult
from minipacs.database import Database
from minipacs.result_paths import make_series_folder
from minipacs.settings import Settings
from segmentation.identity import Identity
from segmentation.results.manifest import Manifest, save_manifest


class SeriesResult(TypedDict):
    """A segmented series in the result of a job."""

    series: str
    engine: str
    seg_series_instance_uid: str
    seg_sop_instance_uid: str
    segments: list[str]
    durations_s: dict[str, float]


def result_folder(settings: Settings, study_instance_uid: str, identity: Identity) -> Path:
    """Where the result of this engine for this series lies, of whatever version; raises `Unreadable` for no UIDs."""
    return make_series_folder(settings, study_instance_uid, identity.series_instance_uid) / identity.engine


def move_into_place(folder: Path, place: Path, manifest: Manifest, before: Manifest | None = None) -> Manifest:
    """Move a finished folder to its place; the manifest names what it supersedes.

    `before`: the manifest of the result that lay there, which goes where the folder was made.
    """
    if before is not None and before["identity"] != manifest["identity"]:
        older = [before["seg_series_instance_uid"], before.get("sr_series_instance_uid")]
        manifest = {**manifest, "supersedes": [*before.get("supersedes", []), *filter(None, older)]}
        save_manifest(folder, manifest)

    place.parent.mkdir(parents=True, exist_ok=True)
    if place.exists():
        place.rename(folder.with_name("before"))

    folder.rename(place)

    return manifest


def store_and_record(
    folder: Path, manifest: Manifest, archive: Archive, database: Database, *, remove_superseded: bool
) -> None:
    """Give archive and catalogue what they lack of the result in this folder; doing it again changes nothing."""
    store_in_archive(folder, manifest, archive)
    if remove_superseded:
        remove_from_archive(manifest.get("supersedes", []), archive)

    record_in_catalogue(manifest, database)


def store_in_archive(folder: Path, manifest: Manifest, archive: Archive) -> None:
    """Store SEG and SR, where the archive has them not."""
    objects = {"seg.dcm": manifest.get("seg_sop_instance_uid"), "sr.dcm": manifest.get("sr_sop_instance_uid")}

    for name, uid in objects.items():
        if uid and not archive.find_ids("Instance", uid):
            archive.store_file((folder / name).read_bytes())


def remove_from_archive(series_instance_uids: list[str], archive: Archive) -> None:
    """Delete these series, where the archive has them."""
    for uid in series_instance_uids:
        for series_id in archive.find_ids("Series", uid):
            archive.delete_series(series_id)


def record_in_catalogue(manifest: Manifest, database: Database) -> None:
    """Write the manifest into the catalogue, and mark the results it supersedes; nothing for a result without SEG.

    A row stays with its study: a result of another study with the same UIDs changes nothing of it.
    """
    if "seg_series_instance_uid" not in manifest:
        return

    series, identity = manifest["seg_series_instance_uid"], manifest["identity"]
    row = {
        "study_instance_uid": manifest["study_instance_uid"],
        "series_instance_uid": manifest["series_instance_uid"],
        "engine": identity["engine"],
        "version": identity["version"],
        "created": manifest["created"],
        "superseded_by": None,
        "manifest": manifest,
    }
    of_study = SegmentationResult.study_instance_uid == manifest["study_instance_uid"]
    older = SegmentationResult.seg_series_instance_uid.in_(manifest.get("supersedes", []))

    with database.writing() as session:
        insert = database.build_insert(SegmentationResult).values(seg_series_instance_uid=series, **row)
        session.execute(
            insert.on_conflict_do_update(index_elements=["seg_series_instance_uid"], set_=row, where=of_study)
        )
        session.execute(update(SegmentationResult).where(older, of_study).values(superseded_by=series))


def summarize_result(manifest: Manifest) -> SeriesResult:
    """What the job's result says of this segmentation."""
    return {
        "series": manifest["series_instance_uid"],
        "engine": manifest["identity"]["engine"],
        "seg_series_instance_uid": manifest["seg_series_instance_uid"],
        "seg_sop_instance_uid": manifest["seg_sop_instance_uid"],
        "segments": [segment["label"] for segment in manifest["segments"]],
        "durations_s": manifest["durations_s"],
    }
