"""A run is complete, incremental and resumable, on either database."""

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import func, select

from data import shared_data
from dicom_objects import ROOT, as_file, image, nothing
from etl import catalogue_run as run_module
from etl.catalogue_run import load_source_into_catalogue
from etl.extract import FileReader, FolderSource
from etl.loading.prune import remove_instances_missing_from_folder
from etl.options import Options
from etl.tally import Tally
from minipacs.catalogue import (
    CatalogueCounts,
    Instance,
    Patient,
    Rejection,
    Rendering,
    Series,
    Study,
    read_catalogue_counts,
)
from minipacs.database import Database
from minipacs.errors import MinipacsError

Run = Callable[..., Tally]
PIXELS = np.arange(35, dtype=np.uint16).reshape(5, 7)


def write_images(folder: Path, *numbers: int, **elements: object) -> None:
    """Files of small images, numbered."""
    for number in numbers:
        (folder / f"{number:05d}").write_bytes(as_file(image(PIXELS + number, number, **elements)))


def read_everything(database: Database, target: Path) -> tuple[object, ...]:
    """All rows and files, comparable."""
    rows = []
    with database.reading() as session:
        for table in (Patient, Study, Series, Instance, Rendering, Rejection):
            columns = [c for c in table.__table__.columns if c.name != "source_mtime_ns"]
            rows.append(sorted(repr(tuple(row)) for row in session.execute(select(*columns))))
        rows.append(repr(read_catalogue_counts(session)))
    files = {str(p): sha256(p.read_bytes()).hexdigest() for p in sorted(target.rglob("*")) if p.is_file()}
    return (*rows, files)


def test_every_shared_file_ends_as_pictures_an_object_or_a_reason(database: Database, options: Options) -> None:
    folder = shared_data()
    files = sum(1 for path in folder.rglob("*") if path.is_file())
    first = load_source_into_catalogue(FolderSource(folder), database, options, workers=2)
    assert first.images + first.others + sum(first.rejected.values()) == files
    with database.reading() as session:
        reasons = list(session.scalars(select(Rejection)))
        with_pictures = session.scalar(select(func.count(Rendering.sop_instance_uid.distinct())))
        instances = session.scalar(select(func.count()).select_from(Instance))
        pngs = {Path(path) for path in session.scalars(select(Rendering.png_path))}
        counts = read_catalogue_counts(session)
    assert len(reasons) == sum(first.rejected.values())
    assert all(reason.reason.endswith(".") or ":" in reason.reason for reason in reasons)
    assert with_pictures == first.images
    assert instances == counts.images == first.added
    assert set(options.target.rglob("*.png")) == pngs
    assert len(pngs) == first.rendered
    again = load_source_into_catalogue(FolderSource(folder), database, options)
    assert again.rendered == again.added == again.changed == 0
    assert again.unchanged + sum(again.rejected.values()) == files


def test_junk_truncated_and_duplicate_files_have_their_reason(run: Run, database: Database) -> None:
    run(shared_data("derived"))
    run(shared_data("junk"))
    run(shared_data("ct_totalseg_20slices/as_published"))
    with database.reading() as session:
        found = {Path(r.source).name: (r.code, r.reason) for r in session.scalars(select(Rejection))}
    assert found["duplicate_sop_b.dcm"][0] == "conflict"
    assert found["truncated_pixels.dcm"][0] == "no_picture"
    assert found["truncated_header.dcm"][0] in ("no_uid", "truncated")
    assert found["preamble_only.dcm"][0] == "truncated"
    assert found["random.dcm"][0] == found["notes.txt"][0] == found["zip_named.dcm"][0] == "not_dicom"
    assert sum(code == "no_uid" for code, _ in found.values()) >= 20


def test_a_run_over_an_unchanged_source_reads_nothing(run: Run, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_images(source, 1, 2, 3)
    (source / "notes.txt").write_text("no DICOM")
    assert run().added == 3
    monkeypatch.setattr(FileReader, "read", None)  # calling it would break
    tally = run()
    assert (tally.unchanged, tally.rejected, tally.rendered) == (3, {"not_dicom": 1}, 0)


def test_late_instances_are_added_and_counted(run: Run, source: Path, database: Database) -> None:
    write_images(source, 1, 2)
    run()
    write_images(source, 3)
    tally = run()
    assert (tally.added, tally.unchanged) == (1, 2)
    with database.reading() as session:
        assert read_catalogue_counts(session) == CatalogueCounts(1, 1, 1, 3)
        assert session.scalars(select(Study)).one().number_of_study_related_instances == 3


def test_a_changed_file_replaces_its_pictures(run: Run, source: Path, database: Database, options: Options) -> None:
    write_images(source, 1)
    run(options=Options(target=options.target, window="10/20"))
    (source / "00001").write_bytes(as_file(image(PIXELS[::-1] * 7, 1)))
    tally = run()
    assert (tally.added, tally.changed, tally.rendered) == (0, 1, 1)
    with database.reading() as session:
        (rendering,) = session.scalars(select(Rendering))
        assert rendering.window_source == "computed"
        assert read_catalogue_counts(session).images == 1
    assert [str(p) for p in options.target.rglob("*.png")] == [rendering.png_path]


def test_a_file_that_holds_another_object_now_replaces_the_row(run: Run, source: Path, database: Database) -> None:
    write_images(source, 1)
    run()
    (source / "00001").write_bytes(as_file(image(PIXELS, 9, SeriesInstanceUID=f"{ROOT}.1.2")))
    run()
    with database.reading() as session:
        assert list(session.scalars(select(Instance.sop_instance_uid))) == [f"{ROOT}.1.1.9"]
        assert list(session.scalars(select(Series.series_instance_uid))) == [f"{ROOT}.1.2"]
        assert read_catalogue_counts(session) == CatalogueCounts(1, 1, 1, 1)


def test_an_object_that_moves_to_another_series_is_counted_there(run: Run, source: Path, database: Database) -> None:
    write_images(source, 1, 2)
    run()
    write_images(source, 2, SeriesInstanceUID=f"{ROOT}.1.2", SeriesNumber=2)
    run()
    with database.reading() as session:
        counts = select(Series.series_instance_uid, Series.number_of_series_related_instances)
        assert dict(session.execute(counts).all()) == {f"{ROOT}.1.1": 1, f"{ROOT}.1.2": 1}
        assert read_catalogue_counts(session) == CatalogueCounts(1, 1, 2, 2)
    write_images(source, 1, SeriesInstanceUID=f"{ROOT}.1.2", SeriesNumber=2)
    run()
    with database.reading() as session:
        assert dict(session.execute(counts).all()) == {f"{ROOT}.1.2": 2}
        assert read_catalogue_counts(session) == CatalogueCounts(1, 1, 1, 2)


def test_other_windows_add_pictures_and_keep_the_old(run: Run, source: Path, options: Options) -> None:
    write_images(source, 1, WindowCenter=[10, 20], WindowWidth=[5, 6])
    assert run().rendered == 1
    assert run(options=Options(target=options.target, window="all")).rendered == 2
    assert len(list(options.target.rglob("*.png"))) == 2
    assert run().rendered == run(options=Options(target=options.target, window="all")).rendered == 0


def test_another_split_moves_the_pictures(run: Run, source: Path, options: Options) -> None:
    write_images(source, 1, 2)
    run(options=Options(target=options.target, ratios=(1, 0, 0)))
    run(options=Options(target=options.target, ratios=(0, 0, 1)))
    assert {p.relative_to(options.target).parts[0] for p in options.target.rglob("*.png")} == {"test"}


def test_the_first_of_two_objects_with_one_uid_wins_and_keeps_its_picture(
    run: Run, source: Path, database: Database
) -> None:
    write_images(source, 1)
    (source / "z-copy").write_bytes(as_file(image(PIXELS + 1, 1)))
    (source / "z-other").write_bytes(as_file(image(PIXELS * 9, 1)))
    tally = run()
    assert tally.rejected == {"copy": 1, "conflict": 1}
    with database.reading() as session:
        (rendering,) = session.scalars(select(Rendering))
        assert sha256(Path(rendering.png_path).read_bytes()).hexdigest() == rendering.sha256
        assert np.asarray(Image.open(rendering.png_path))[0, 0] == 0


def test_prune_removes_what_is_gone_and_looks_at_copies_again(
    run: Run, source: Path, database: Database, options: Options
) -> None:
    write_images(source, 1, 2)
    (source / "z-copy").write_bytes((source / "00001").read_bytes())
    (source / "notes.txt").write_text("no DICOM")
    run()
    for name in ("00001", "00002", "notes.txt"):
        (source / name).unlink()
    assert remove_instances_missing_from_folder(database, FolderSource(source)) == 2
    with database.reading() as session:
        assert read_catalogue_counts(session) == CatalogueCounts()
        (copy,) = session.scalars(select(Rejection))
        assert copy.source.endswith("z-copy")
    assert not list(options.target.rglob("*.png"))
    assert run().added == 1


def test_prune_leaves_other_folders_alone(run: Run, source: Path, database: Database, tmp_path: Path) -> None:
    beside = tmp_path / "source-other"
    beside.mkdir()
    write_images(beside, 1)
    run(beside)
    (beside / "00001").unlink()
    assert remove_instances_missing_from_folder(database, FolderSource(source)) == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_a_killed_run_repeated_ends_in_the_same_rows_and_files(
    workers: int, source: Path, options: Options, tmp_path: Path, database: Database
) -> None:
    write_images(source, *range(1, 700))
    (source / "notes.txt").write_text("no DICOM")
    program = textwrap.dedent(f"""
        import os, signal, sys, threading
        from pathlib import Path
        from etl.extract import FolderSource
        from etl.options import Options
        from etl.catalogue_run import load_source_into_catalogue
        from minipacs.database import Database
        def end(tally):
            if tally.added + tally.unchanged >= int(sys.argv[1]):
                threading.Timer(0.02, os.killpg, (0, signal.SIGKILL)).start()  # in the middle of the next chunk
        if __name__ == "__main__":
            load_source_into_catalogue(FolderSource(Path({str(source)!r})), Database({database.url!r}),
                      Options(target=Path({str(options.target)!r})), workers={workers}, progress=end)
    """)
    script = tmp_path / "killed.py"
    script.write_text(program)
    for wanted in ("1", "150"):
        ended = subprocess.run([sys.executable, str(script), wanted], start_new_session=True, check=False)
        assert ended.returncode == -signal.SIGKILL
        with database.reading() as session:
            assert 0 < read_catalogue_counts(session).images < 699
    load_source_into_catalogue(FolderSource(source), database, options)
    resumed = read_everything(database, options.target)
    assert not list(options.target.glob(".partial*"))
    from etl.loading.removal import clear_catalogue

    clear_catalogue(database)
    assert not list(options.target.rglob("*.png"))
    load_source_into_catalogue(FolderSource(source), database, options)
    assert read_everything(database, options.target) == resumed


def test_a_full_disk_stops_the_run_with_a_sentence_and_nothing_half_written(
    run: Run, source: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_images(source, 1)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(MinipacsError, match="No space left on device"):
        run()
    monkeypatch.undo()
    with database.reading() as session:
        assert read_catalogue_counts(session) == CatalogueCounts()
    assert run().added == 1


def test_workers_give_the_same_rows_and_files_as_one(
    source: Path, database: Database, options: Options, tmp_path: Path
) -> None:
    write_images(source, *range(1, 70))
    (source / "z-other").write_bytes(as_file(image(PIXELS * 9, 1)))
    load_source_into_catalogue(FolderSource(source), database, options, workers=2)
    with_two = read_everything(database, options.target)
    from etl.loading.removal import clear_catalogue

    clear_catalogue(database)
    load_source_into_catalogue(FolderSource(source), database, options, workers=1)
    assert read_everything(database, options.target) == with_two


def test_a_multi_frame_object_is_a_png_a_frame(run: Run, source: Path, database: Database) -> None:
    frames = np.arange(3 * 5 * 7, dtype=np.uint16).reshape(3, 5, 7)
    (source / "a").write_bytes(as_file(image(frames)))
    assert run().rendered == 3
    with database.reading() as session:
        renderings = list(session.scalars(select(Rendering).order_by(Rendering.frame_number)))
    assert [r.frame_number for r in renderings] == [1, 2, 3]
    for frame, rendering in zip(frames, renderings, strict=True):
        shown = np.asarray(Image.open(BytesIO(Path(rendering.png_path).read_bytes())))
        np.testing.assert_array_equal(shown, np.floor((frame - frame.min()) * 255 / 34 + 1e-9))
        assert rendering.bytes == Path(rendering.png_path).stat().st_size
        assert rendering.pixel_aspect == pytest.approx(0.5 / 0.75)


def test_objects_without_pixels_are_catalogued(run: Run, source: Path) -> None:
    (source / "a").write_bytes(as_file(nothing(SOPClassUID="1.2.840.10008.5.1.4.1.1.88.11", Modality="SR")))
    tally = run()
    assert (tally.added, tally.others, tally.rendered) == (1, 1, 0)


def test_a_file_name_that_is_no_text_is_catalogued_all_the_same(run: Run, source: Path, database: Database) -> None:
    name = os.fsdecode(b"\xff\xfe.dcm")
    (source / name).write_bytes(as_file(image(PIXELS)))
    assert run().added == 1
    assert run().unchanged == 1
    with database.reading() as session:
        assert session.scalars(select(Instance.source)).one().endswith("%FF%FE.dcm")


def test_a_folder_that_cannot_be_looked_into_is_rejected(
    run: Run, source: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_images(source, 1)
    (source / "closed").mkdir()
    look = os.scandir

    def scandir(path: str) -> object:
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied")
        return look(path)

    monkeypatch.setattr(os, "scandir", scandir)
    tally = run()
    assert (tally.added, tally.rejected) == (1, {"unavailable": 1})


def test_a_worker_that_dies_ends_the_run_with_a_sentence(
    run: Run, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_images(source, 1)
    monkeypatch.setattr(run_module, "transform_chunk", dies)
    with pytest.raises(MinipacsError, match="A worker process died"):
        run(executor=None, workers=2)


def dies(*_: object, **__: object) -> None:
    """What a decoder's crash looks like."""
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_modality_never_leads_out_of_the_target(run: Run, source: Path, options: Options) -> None:
    dataset = image(PIXELS)
    dataset.add_new("Modality", "LO", "../../up")
    (source / "a").write_bytes(as_file(dataset))
    run()
    (png,) = options.target.rglob("*.png")
    assert png.relative_to(options.target).parts[1] == "OTHER"
