"""Rows into the catalogue and PNGs into their place: one transaction a chunk, the kept counts with it.

A PNG is in its place before its row is committed: a run killed anywhere leaves rows whose files exist,
and a repeated run puts the same names again. Rows are locked in one order (patient, study, series,
instance, total), so that writers at the same time wait for each other and never deadlock.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

from sqlalchemy import Table, delete, insert, select, update
from sqlalchemy.exc import DataError, IntegrityError, InvalidRequestError
from sqlalchemy.orm import Session

from etl.extract import ARCHIVE_PREFIX
from etl.loading.acceptance import (
    CataloguedInstance,
    accept_outcomes,
    find_moved_instances,
    find_replaced_instances,
    read_catalogued_instances,
)
from etl.loading.counts import CountUpdater
from etl.loading.removal import delete_pngs
from etl.options import Options
from etl.records import Outcome, RejectionReason, RenderingRow, Row
from etl.tally import Tally
from minipacs.catalogue import Instance, Patient, Rejection, Rendering, Segment, Series, Study
from minipacs.database import Database
from minipacs.tables import Base

__all__ = ["Loader"]

REFUSED_VALUE_ERRORS = (DataError, IntegrityError, InvalidRequestError, ValueError, OverflowError, TypeError)
"""A number beyond its column, a text that the database cannot hold, a row whose parent is missing."""


class _InsertedByAnother(Exception):
    """Another writer has inserted an instance since the catalogue was read: the chunk is decided anew."""


class Loader:
    """Loads outcomes into one catalogue."""

    def __init__(self, database: Database, options: Options) -> None:
        self.database = database
        self.options = options
        self._existing_folders: set[Path] = set()
        self._insert_new: dict[type[Base], Any] = {
            table: self._make_insert_new_statement(table) for table in (Patient, Study, Series, Instance)
        }
        self._upsert_rendering = self._make_upsert_statement(Rendering)

    def load(self, outcomes: Sequence[Outcome], folder: Path) -> Tally:
        """Load one chunk in one transaction; the PNGs of the outcomes lie in `folder`.

        Where the database refuses the chunk for a value of one object, each outcome is loaded by itself, and that one
        is rejected: the others never notice.
        """
        try:
            while True:
                with suppress(_InsertedByAnother):
                    return self._load_in_one_transaction(outcomes, folder)
        except REFUSED_VALUE_ERRORS as error:
            if len(outcomes) > 1:
                tally = Tally()
                for outcome in outcomes:
                    tally.add(self.load([outcome], folder))
                return tally

            rejected = [_reject_unstorable(outcome, error) for outcome in outcomes]
            return self._load_in_one_transaction(rejected, folder)

    def _load_in_one_transaction(self, outcomes: Sequence[Outcome], folder: Path) -> Tally:
        with self.database.writing() as session:
            counts = CountUpdater(session, self.database)
            catalogued = read_catalogued_instances(session, outcomes)
            obsolete_pngs = set(counts.remove_instances(find_replaced_instances(session, outcomes)))

            accepted = accept_outcomes(session, outcomes, catalogued)
            moved_from = counts.find_patients(find_moved_instances(accepted, catalogued))
            self._load_parents(session, counts, accepted, moved_from)
            added, replaced_pngs = self._load_instances(session, counts, accepted, catalogued)
            _load_segments(session, accepted)
            renderings, moved_pngs = self._load_renderings(session, accepted)
            self._load_rejections(session, outcomes)

            obsolete_pngs.update(replaced_pngs, moved_pngs)
            obsolete_pngs.difference_update(row["png_path"] for row in renderings)
            for row in renderings:
                (folder / row["rendering_id"]).replace(row["png_path"])
            counts.write_totals()

        delete_pngs(obsolete_pngs)
        return _count_outcomes(outcomes, accepted=len(accepted), added=added)

    # -- statements ---------------------------------------------------------------------------------
    def _make_insert_new_statement(self, model: type[Base]) -> Any:
        """A statement that inserts the rows whose key is new, and returns those keys."""
        table = cast(Table, model.__table__)
        return self.database.build_insert(table).on_conflict_do_nothing().returning(*table.primary_key.columns)

    def _make_upsert_statement(self, model: type[Base]) -> Any:
        """A statement that inserts rows, or writes them over those with their key."""
        table = cast(Table, model.__table__)
        keys = [column.name for column in table.primary_key.columns]
        new = self.database.build_insert(table)
        values = {column.name: new.excluded[column.name] for column in table.columns if column.name not in keys}
        return new.on_conflict_do_update(index_elements=keys, set_=values)

    # -- tables, in the order in which they are locked ----------------------------------------------
    def _load_parents(
        self, session: Session, counts: CountUpdater, outcomes: Sequence[Outcome], moved_from: Collection[str]
    ) -> None:
        """Insert patients, studies and series: the first object with a value decides it, later ones fill gaps.

        `moved_from`: the patients that lose instances to those of the outcomes; they are locked with them.
        """
        for key, row in _merge_rows((outcome.patient for outcome in outcomes), "patient_key"):
            if self._insert_or_fill_gaps(session, Patient, Patient.patient_key, key, row):
                counts.increase_patient_count()

        counts.lock_patients({*moved_from, *(outcome.study["patient_key"] for outcome in outcomes)})

        for key, row in _merge_rows((outcome.study for outcome in outcomes), "study_key"):
            if self._insert_or_fill_gaps(session, Study, Study.study_key, key, row):
                counts.change_study_counts(row["patient_key"])

        for key, row in _merge_rows((outcome.series for outcome in outcomes), "series_key"):
            if self._insert_or_fill_gaps(session, Series, Series.series_key, key, row):
                counts.change_series_counts(row["study_key"])

    def _insert_or_fill_gaps(self, session: Session, table: type[Base], column: Any, key: str, row: Row) -> bool:
        """Insert a row, or fill the gaps of the one that is there; whether it is new."""
        if session.execute(self._insert_new[table], [row]).first() is not None:
            return True

        existing = session.get_one(table, key)
        gaps = {name: value for name, value in row.items() if value is not None and getattr(existing, name) is None}
        if gaps:
            session.execute(update(table).where(column == key).values(gaps))
        return False

    def _load_instances(
        self,
        session: Session,
        counts: CountUpdater,
        outcomes: Sequence[Outcome],
        catalogued: Mapping[str, CataloguedInstance],
    ) -> tuple[int, list[str]]:
        """Insert new instances, update the others; how many are new, and the PNGs of content that was replaced.

        Raises `_InsertedByAnother` for an instance that is neither new nor among those that were `catalogued` when it
        was accepted: it would take the row from the source that has it, which would have neither row nor rejection.
        """
        if not outcomes:
            return 0, []

        rows = {outcome.instance_key: outcome.instance for outcome in outcomes}
        added = set(session.scalars(self._insert_new[Instance], [rows[key] for key in sorted(rows)]))
        if not rows.keys() <= added | catalogued.keys():
            raise _InsertedByAnother
        changes_by_series = Counter(rows[key]["series_key"] for key in added)

        replaced_pngs = []
        for key in sorted(rows.keys() - added):
            changes, pngs = _update_instance(session, rows[key])
            changes_by_series.update(changes)
            replaced_pngs += pngs

        counts.change_instance_counts({key: number for key, number in changes_by_series.items() if number})
        smaller_series = [key for key, number in changes_by_series.items() if number < 0]
        if smaller_series:
            counts.remove_empty_parents(smaller_series)
        return len(added), replaced_pngs

    def _load_renderings(self, session: Session, outcomes: Sequence[Outcome]) -> tuple[list[Row], list[str]]:
        """Insert or replace renderings; their rows, and where the PNGs of those that were there already lay."""
        rows: list[Row] = [
            {**rendering, "png_path": str(self._prepare_png_path(outcome, rendering))}
            for outcome in outcomes
            for rendering in outcome.renderings
        ]
        if not rows:
            return [], []

        ids = [row["rendering_id"] for row in rows]
        paths = list(session.scalars(select(Rendering.png_path).where(Rendering.rendering_id.in_(ids))))
        session.execute(self._upsert_rendering, rows)
        return rows, paths

    def _prepare_png_path(self, outcome: Outcome, rendering: RenderingRow) -> Path:
        """`target/<split>/<modality>/<first two digits>/<name>.png`; its folder is made."""
        name = rendering["rendering_id"]
        modality = outcome.series["modality"] or ""
        is_safe = modality.isascii() and modality.isalnum()  # no dots or slashes of a path
        folder = self.options.target / rendering["split"] / (modality if is_safe else "OTHER") / name[:2]

        if folder not in self._existing_folders:
            folder.mkdir(parents=True, exist_ok=True)
            self._existing_folders.add(folder)
        return folder / f"{name}.png"

    def _load_rejections(self, session: Session, outcomes: Sequence[Outcome]) -> None:
        """Write a row for each source with a reason; remove those of the sources that are well now.

        What breaks a limit again keeps the largest one that it was looked at with: it is looked at once for each.
        """
        of_sources = Rejection.source.in_([outcome.item.source for outcome in outcomes])
        columns = select(Rejection.source, Rejection.limit_setting, Rejection.limit_value)
        limits = {
            (source, setting): limit or 0 for source, setting, limit in session.execute(columns.where(of_sources))
        }
        session.execute(delete(Rejection).where(of_sources))

        rows = []
        for outcome in outcomes:
            if not outcome.rejection:
                continue
            source, reason = outcome.item.source, outcome.rejection
            instance_key, series_key, study_key = _find_keys(outcome)
            limit = reason.limit_value
            if limit is not None:
                limit = max(limit, limits.get((source, reason.limit_setting), 0))
            rows.append(
                {
                    "source": source,
                    "source_size": outcome.item.size,
                    "source_mtime_ns": outcome.item.mtime_ns,
                    "options": self.options.digest,
                    "code": reason.code,
                    "reason": reason.reason,
                    "remedy": reason.remedy,
                    "sop_instance_uid": reason.sop_instance_uid or None,
                    "instance_key": instance_key,
                    "series_key": series_key,
                    "study_key": study_key,
                    "limit_setting": reason.limit_setting,
                    "limit_value": limit,
                }
            )
        if rows:
            session.execute(self.database.build_insert(Rejection).on_conflict_do_nothing(), rows)


def _reject_unstorable(outcome: Outcome, error: Exception) -> Outcome:
    """A rejection in place of an outcome that the database refuses."""
    reason = f"A value of the object cannot be in the catalogue ({type(error).__name__})."
    uid = outcome.sop_instance_uid or None
    rejection = RejectionReason("not_storable", reason, "Correct the object and send it again.", uid)
    return Outcome(outcome.item, rejection=rejection, keys=outcome.keys)


def _find_keys(outcome: Outcome) -> tuple[str | None, str | None, str | None]:
    """The keys of instance, series and study of an outcome; of one that cannot be described, what the archive says."""
    if outcome.keys:
        return outcome.keys.instance, outcome.keys.series, outcome.keys.study
    item = outcome.item
    instance_key = item.source.removeprefix(ARCHIVE_PREFIX) if item.source.startswith(ARCHIVE_PREFIX) else None
    return instance_key, item.series_key, item.study_key


def _update_instance(session: Session, row: Row) -> tuple[dict[str, int], list[str]]:
    """Update an object that was met again: other options add to its pictures, other content replaces them.

    The pictures of before the keys are replaced too: nobody knows whether they are of this object.

    Returns the changed counts by the key of the series, and the PNGs of content that was replaced.
    """
    key, series_key = row["instance_key"], row["series_key"]
    before = session.get_one(Instance, key)
    series_key_before = before.series_key

    replaced_pngs: list[str] = []
    if before.rendered_with and before.content_checksum == row["content_checksum"]:
        digests = sorted({*before.rendered_with, *(row["rendered_with"] or [])})
        row = {**row, "rendered_with": digests}
    else:
        removal = delete(Rendering).where(Rendering.instance_key == key)
        replaced_pngs = list(session.scalars(removal.returning(Rendering.png_path)))

    session.execute(update(Instance).where(Instance.instance_key == key).values(row))

    if series_key_before == series_key:
        return {}, replaced_pngs
    return {series_key_before: -1, series_key: 1}, replaced_pngs


def _load_segments(session: Session, outcomes: Sequence[Outcome]) -> None:
    """Replace the segments of the SEG objects among these outcomes."""
    with_segments = [outcome for outcome in outcomes if outcome.segments]
    if not with_segments:
        return

    keys = [outcome.instance_key for outcome in with_segments]
    session.execute(delete(Segment).where(Segment.instance_key.in_(keys)))
    rows = [{**row, "instance_key": outcome.instance_key} for outcome in with_segments for row in outcome.segments]
    session.execute(insert(Segment), rows)


def _merge_rows(rows: Iterable[Row], key: str) -> list[tuple[str, Row]]:
    """One row for each key, with the first value that is not None of each column; sorted by key."""
    merged: dict[str, Row] = {}
    for row in rows:
        if not row:
            continue
        first = merged.setdefault(row[key], dict(row))
        first.update({name: value for name, value in row.items() if value is not None and first[name] is None})
    return sorted(merged.items())


def _count_outcomes(outcomes: Sequence[Outcome], *, accepted: int, added: int) -> Tally:
    """The tally of a chunk."""
    tally = Tally(added=added, changed=accepted - added)
    for outcome in outcomes:
        if outcome.rejection:
            tally.rejected[outcome.rejection.code] += 1
        elif outcome.renderings:
            tally.rendered += len(outcome.renderings)
            tally.images += 1
        else:
            tally.others += 1
    return tally
