"""Where results lie: files under OUTPUT/results/<study>/<series>/<engine>/, SEG and SR in the archive.

A folder appears whole or not at all: it is made beside its place and moved there. The archive gets
its objects after that, so that a crash in between is mended by the next attempt without segmenting
again.
"""

from pathlib import Path
from typing import Any

from sqlalchemy import update

from minipacs.archive.client import Archive
from minipacs.catalogue import Result
from minipacs.database import Database
from minipacs.settings import Settings
from segmentation.identity import Identity
from segmentation.job.rules import Rules
from segmentation.results.manifest import keep

OBJECTS = {"seg.dcm": "seg_sop_instance_uid", "sr.dcm": "sr_sop_instance_uid"}
"""The files that go into the archive, and the manifest's field with their SOP Instance UID."""


def root(settings: Settings) -> Path:
    """Where all results lie."""
    return settings.output / "results"


def folder(settings: Settings, study_instance_uid: str, identity: Identity) -> Path:
    """Where the results of this engine for this series lie, of whatever version."""
    return root(settings) / study_instance_uid / identity.series_instance_uid / identity.engine


def put(made: Path, place: Path, manifest: dict[str, Any], before: dict[str, Any] | None) -> dict[str, Any]:
    """Move a finished folder from its scratch folder to its place; what lay there is superseded, and named
    in the manifest."""
    if before is not None and before["identity"] != manifest["identity"]:
        superseded = [before["seg_series_instance_uid"], before.get("sr_series_instance_uid")]
        manifest = {**manifest, "supersedes": [*before.get("supersedes", []), *filter(None, superseded)]}
        keep(made, manifest)
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.exists():
        place.rename(made.with_name("before"))
    made.rename(place)
    return manifest


def store(archive: Archive, folder: Path, manifest: dict[str, Any], rules: Rules) -> None:
    """Give the archive what it lacks of a result; take away what it supersedes, where the rules say so."""
    for name, field in OBJECTS.items():
        if field in manifest and not archive.find("Instance", manifest[field]):
            archive.store((folder / name).read_bytes())
    if rules.superseded == "remove":
        for uid in manifest.get("supersedes", []):
            for series_id in archive.find("Series", uid):
                archive.delete_series(series_id)


def record(database: Database, manifest: dict[str, Any]) -> None:
    """Write the manifest into the catalogue, and mark the results it supersedes."""
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
    with database.writing() as session:
        insert = database.insert(Result).values(seg_series_instance_uid=series, **row)
        session.execute(insert.on_conflict_do_update(index_elements=["seg_series_instance_uid"], set_=row))
        older = Result.seg_series_instance_uid.in_(manifest.get("supersedes", []))
        session.execute(update(Result).where(older).values(superseded_by=series))


def answer(manifest: dict[str, Any]) -> dict[str, Any]:
    """A segmentation as the job's result tells it."""
    return {
        "series": manifest["series_instance_uid"],
        "engine": manifest["identity"]["engine"],
        "seg_series_instance_uid": manifest["seg_series_instance_uid"],
        "seg_sop_instance_uid": manifest["seg_sop_instance_uid"],
        "segments": [segment["label"] for segment in manifest["segments"]],
        "durations_s": manifest["durations_s"],
    }
