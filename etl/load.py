"""Rows into the catalogue and pictures into their place: one transaction a chunk, counters with it.

A PNG is in its place before its row is committed: a run killed anywhere leaves rows whose files exist,
and a repeated run puts the same names again. Rows are locked in one order (patient, study, series,
instance, total), so that writers at the same time wait for each other and never lock up.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar, cast

from sqlalchemy import Select, Table, delete, insert, select, update
from sqlalchemy.orm import Session

from etl.counts import Counts
from etl.options import Options
from etl.records import Outcome, RenderingRow, Row
from minipacs.catalogue import Instance, Patient, Rejection, Rendering, Segment, Series, Study
from minipacs.database import Base, Database

Item = TypeVar("Item")


@dataclass
class Tally:
    """What a run did: sources by what became of them."""

    added: int = 0
    changed: int = 0
    unchanged: int = 0
    rendered: int = 0
    """PNGs written."""
    images: int = 0
    """Sources that ended as pictures."""
    others: int = 0
    """Sources catalogued that are no images."""
    removed: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    """By kind of trouble."""

    @property
    def done(self) -> int:
        """Sources that came to their end."""
        return self.images + self.others + self.unchanged + sum(self.rejected.values())

    def add(self, other: "Tally") -> None:
        """Sum up."""
        for name in ("added", "changed", "unchanged", "rendered", "images", "others", "removed"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.rejected.update(other.rejected)

    def as_json(self) -> dict[str, Any]:
        """For scripts."""
        return {**vars(self), "rejected": sum(self.rejected.values()), "reasons": dict(sorted(self.rejected.items()))}


@dataclass(frozen=True)
class Known:
    """What the catalogue holds of an instance, as far as a decision needs it."""

    uid: str
    source: str
    checksum: int | None


class Loader:
    """Loads outcomes into one catalogue."""

    def __init__(self, database: Database, options: Options) -> None:
        self.database, self.options = database, options
        self._made: set[Path] = set()
        self._new: dict[type[Base], Any] = {table: self._if_new(table) for table in (Patient, Study, Series, Instance)}
        self._rendering = self._in_place_of(Rendering)

    def _if_new(self, model: type[Base]) -> Any:
        """Insert rows whose key is new; answers those keys."""
        table = cast(Table, model.__table__)
        return self.database.insert(table).on_conflict_do_nothing().returning(*table.primary_key.columns)

    def _in_place_of(self, model: type[Base]) -> Any:
        """Insert rows, or write them over those with their key."""
        table = cast(Table, model.__table__)
        keys = [column.name for column in table.primary_key.columns]
        new = self.database.insert(table)
        values = {column.name: new.excluded[column.name] for column in table.columns if column.name not in keys}
        return new.on_conflict_do_update(index_elements=keys, set_=values)

    def load(self, outcomes: Sequence[Outcome], folder: Path) -> Tally:
        """One chunk, one transaction; the PNGs of the outcomes lie in `folder`."""
        with self.database.writing() as session:
            counts = Counts(session, self.database)
            known = _known(session, outcomes)
            unwanted = counts.remove(_replaced(session, outcomes))
            accepted = [o for o in outcomes if o.instance and _is_accepted(o, known)]
            accepted = _of_their_study(session, accepted)
            self._parents(session, counts, accepted)
            added = self._instances(session, counts, accepted, unwanted)
            self._children(session, accepted, folder, unwanted)
            self._rejections(session, outcomes)
            counts.flush()
        unlink(unwanted)
        return _tally(outcomes, len(accepted), len(added))

    def _parents(self, session: Session, counts: Counts, outcomes: Sequence[Outcome]) -> None:
        """Patients, studies and series: the first object to tell a value tells it, later ones fill gaps."""
        for key, row in _merged(outcomes, "patient", "patient_key"):
            if self._fill(session, Patient, Patient.patient_key, key, row):
                counts.new_patient()
        counts.lock({o.study["patient_key"] for o in outcomes})
        for key, row in _merged(outcomes, "study", "study_instance_uid"):
            if self._fill(session, Study, Study.study_instance_uid, key, row):
                counts.study(row["patient_key"])
        for key, row in _merged(outcomes, "series", "series_instance_uid"):
            if self._fill(session, Series, Series.series_instance_uid, key, row):
                counts.series(row["study_instance_uid"])

    def _fill(self, session: Session, table: type[Base], column: Any, key: str, row: dict[str, Any]) -> bool:
        """Insert a row, or fill the gaps of the one that is there; True when it is new."""
        if session.execute(self._new[table], [row]).first() is not None:
            return True
        there = session.get_one(table, key)
        gaps = {name: said for name, said in row.items() if said is not None and getattr(there, name) is None}
        if gaps:
            session.execute(update(table).where(column == key).values(gaps))
        return False

    def _instances(
        self, session: Session, counts: Counts, outcomes: Sequence[Outcome], unwanted: list[str]
    ) -> set[str]:
        """New rows, counted; rows that are there, replaced. The UIDs that are new."""
        if not outcomes:
            return set()
        rows = {
            o.sop_instance_uid: {**o.instance, "series_instance_uid": o.series["series_instance_uid"]} for o in outcomes
        }
        added = set(session.scalars(self._new[Instance], [rows[uid] for uid in sorted(rows)]))
        moved = Counter(rows[uid]["series_instance_uid"] for uid in added)
        for uid in sorted(rows.keys() - added):
            moved.update(self._again(session, rows[uid], unwanted))
        counts.instances({uid: number for uid, number in moved.items() if number})
        return added

    def _again(self, session: Session, row: dict[str, Any], unwanted: list[str]) -> dict[str, int]:
        """An object met again: other options add to its pictures, other content begins anew."""
        uid, series = row["sop_instance_uid"], row["series_instance_uid"]
        before = session.get_one(Instance, uid)
        if before.content_checksum == row["content_checksum"]:
            row["rendered_with"] = sorted({*(before.rendered_with or []), *(row["rendered_with"] or [])})
        else:
            renderings = delete(Rendering).where(Rendering.sop_instance_uid == uid).returning(Rendering.png_path)
            unwanted += session.scalars(renderings)
        session.execute(update(Instance).where(Instance.sop_instance_uid == uid).values(row))
        return {} if before.series_instance_uid == series else {before.series_instance_uid: -1, series: 1}

    def _children(self, session: Session, outcomes: Sequence[Outcome], folder: Path, unwanted: list[str]) -> None:
        """Segments and renderings; each PNG moves into its place."""
        if with_segments := [o for o in outcomes if o.segments]:
            session.execute(
                delete(Segment).where(Segment.sop_instance_uid.in_([o.sop_instance_uid for o in with_segments]))
            )
            session.execute(insert(Segment), [s for o in with_segments for s in o.segments])
        rows: list[Row] = [{**r, "png_path": str(self._place(o, r))} for o in outcomes for r in o.renderings]
        if not rows:
            return
        ids = [row["rendering_id"] for row in rows]
        unwanted += session.scalars(select(Rendering.png_path).where(Rendering.rendering_id.in_(ids)))
        session.execute(self._rendering, rows)
        for row in rows:
            (folder / row["rendering_id"]).replace(row["png_path"])
        places = {row["png_path"] for row in rows}
        unwanted[:] = [path for path in unwanted if path not in places]

    def _place(self, outcome: Outcome, rendering: RenderingRow) -> Path:
        """`target/<split>/<modality>/<first two digits>/<name>.png`."""
        name, modality = rendering["rendering_id"], outcome.series["modality"] or ""
        safe = modality if modality.isascii() and modality.isalnum() else "OTHER"  # never dots or slashes of a path
        place: Path = self.options.target / str(rendering["split"]) / safe / name[:2] / f"{name}.png"
        if place.parent not in self._made:
            place.parent.mkdir(parents=True, exist_ok=True)
            self._made.add(place.parent)
        return place

    def _rejections(self, session: Session, outcomes: Sequence[Outcome]) -> None:
        """One for each source that has a reason; none for those that are well now."""
        session.execute(delete(Rejection).where(Rejection.source.in_([o.item.source for o in outcomes])))
        rows = [
            {
                "source": o.item.source,
                "source_size": o.item.size,
                "source_mtime_ns": o.item.mtime_ns,
                "options": self.options.digest,
                "code": o.rejection.code,
                "reason": o.rejection.reason,
                "remedy": o.rejection.remedy,
                "sop_instance_uid": o.rejection.sop_instance_uid or None,
            }
            for o in outcomes
            if o.rejection
        ]
        if rows:
            session.execute(self.database.insert(Rejection).on_conflict_do_nothing(), rows)


def remove(database: Database, uids: Iterable[str]) -> int:
    """Remove instances with all that hangs on them, PNGs too. Files go first: a repeated run finds the rows."""
    number = 0
    for chunk in chunked(uids, 500):
        with database.reading() as session:
            unlink(session.scalars(select(Rendering.png_path).where(Rendering.sop_instance_uid.in_(chunk))))
        with database.writing() as session:
            counts = Counts(session, database)
            counts.remove(chunk)
            counts.flush()
            session.execute(delete(Rejection).where(Rejection.sop_instance_uid.in_(chunk)))
        number += len(chunk)
    return number


def chunked(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Lists of up to `size` items, in order."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk


def unlink(paths: Iterable[str]) -> None:
    """Remove PNGs; what is gone already is no error."""
    for path in paths:
        Path(path).unlink(missing_ok=True)


def _known(session: Session, outcomes: Sequence[Outcome]) -> dict[str, Known]:
    uids = [o.sop_instance_uid for o in outcomes if o.sop_instance_uid]
    columns = (Instance.sop_instance_uid, Instance.source, Instance.content_checksum)
    return {row[0]: Known(*row) for row in session.execute(select(*columns).where(Instance.sop_instance_uid.in_(uids)))}


def _replaced(session: Session, outcomes: Sequence[Outcome]) -> list[str]:
    """UIDs that stand in the catalogue as coming from sources that hold something else now."""
    now = {o.item.source: o.sop_instance_uid for o in outcomes}
    columns = select(Instance.sop_instance_uid, Instance.source).where(Instance.source.in_(now))
    return [uid for uid, source in session.execute(columns) if now[source] != uid]


def _is_accepted(outcome: Outcome, known: dict[str, Known]) -> bool:
    """Whether this source gives the row of its UID; else it is rejected. First come, first served; but the
    archive is the truth: an archived instance takes the place of the file it is a copy of.
    """
    before, source = known.get(outcome.sop_instance_uid), outcome.item.source
    checksum = outcome.instance["content_checksum"]
    same = before is not None and before.checksum == checksum
    archived = source.startswith("archive:") and before is not None and not before.source.startswith("archive:")
    if before is None or before.source == source or (same and archived):
        known[outcome.sop_instance_uid] = Known(outcome.sop_instance_uid, source, checksum)
        return True
    uid = outcome.sop_instance_uid
    if same:
        outcome.reject("copy", f"{uid} is in the catalogue already, with the same content.", "Nothing to do.")
    else:
        outcome.reject(
            "conflict",
            f"{uid} is in the catalogue already, with other content: one UID, one object (PS3.5 9).",
            f"Compare it with {before.source}; give one of them another UID.",
        )
    return False


def _of_their_study(session: Session, outcomes: Sequence[Outcome]) -> list[Outcome]:
    """A study belongs to the patient, a series to the study, under which it was first met."""
    studies, series = Study.study_instance_uid, Series.series_instance_uid
    wanted = {o.study["study_instance_uid"] for o in outcomes}
    patient_of = _pairs(session, select(studies, Study.patient_key).where(studies.in_(wanted)))
    wanted = {o.series["series_instance_uid"] for o in outcomes}
    study_of = _pairs(session, select(series, Series.study_instance_uid).where(series.in_(wanted)))
    kept = []
    for outcome in outcomes:
        study = outcome.study["study_instance_uid"]
        if study_of.setdefault(outcome.series["series_instance_uid"], study) != study:
            reason = f"Its series {outcome.series['series_instance_uid']} belongs to another study (PS3.3 A.1.2.3)."
            outcome.reject("conflict", reason, "Correct its UIDs.")
            continue
        outcome.series["study_instance_uid"] = study
        if patient_of.setdefault(study, outcome.study["patient_key"]) != outcome.study["patient_key"]:
            outcome.study["patient_key"], outcome.patient = patient_of[study], {}
            remarks = outcome.instance["remarks"] or ""
            outcome.instance["remarks"] = f"{remarks} Its Patient ID is not its study's.".strip()
        kept.append(outcome)
    return kept


def _pairs(session: Session, columns: Select[str, str]) -> dict[str, str]:
    return {row[0]: row[1] for row in session.execute(columns)}


def _merged(outcomes: Iterable[Outcome], name: str, key: str) -> list[tuple[str, dict[str, Any]]]:
    """One row for each key, the first one's values first, sorted."""
    rows: dict[str, dict[str, Any]] = {}
    for outcome in outcomes:
        said = getattr(outcome, name)
        if said:
            row = rows.setdefault(said[key], dict(said))
            row.update({k: v for k, v in said.items() if v is not None and row[k] is None})
    return sorted(rows.items())


def _tally(outcomes: Sequence[Outcome], accepted: int, added: int) -> Tally:
    tally = Tally(added=added, changed=accepted - added)
    for outcome in outcomes:
        if outcome.rejection:
            tally.rejected[outcome.rejection.code] += 1
        else:
            tally.rendered += len(outcome.renderings)
            tally.images += bool(outcome.renderings)
            tally.others += not outcome.renderings
    return tally
