"""Segmentation as work: orders, the flow through an archive, and everything that can go wrong."""

from dataclasses import replace
from io import BytesIO

import pytest
from pydicom import dcmread
from sqlalchemy import select

from minipacs.archive.content import MANUFACTURER, InstanceContent, SeriesContent, StudyContent
from minipacs.catalogue import SegmentationResult
from minipacs.database import Database
from minipacs.errors import EngineExceedsMemory, EngineFailed, EngineUnavailable, NotAVolume
from minipacs.jobs.contract import Cancelled
from segmentation.job import work


class FakeArchive:
    """An archive in memory, as `minipacs.archive.client.Archive` answers."""

    def __init__(self):
        self.files = {}
        self.stored = 0

    def store_file(self, file):
        uid = dcmread(BytesIO(file), stop_before_pixels=True).SOPInstanceUID
        self.stored += uid not in self.files
        self.files.setdefault(uid, file)
        return uid

    def read_file(self, instance_id):
        return self.files[instance_id]

    def headers(self):
        return [dcmread(BytesIO(f), stop_before_pixels=True) for f in self.files.values()]

    def read_dataset(self, instance_id):
        return dcmread(BytesIO(self.files[instance_id]))

    def find_study_id(self, uid):
        return uid

    def read_study(self, uid):
        series = {}
        for h in self.headers():
            series.setdefault(h.SeriesInstanceUID, []).append(h)
        return StudyContent(uid, uid, tuple(make_series_content(of) for _, of in sorted(series.items())))

    def find_ids(self, level, uid):
        return (
            [uid]
            if any(h.get(f"{'SOP' if level == 'Instance' else level}InstanceUID") == uid for h in self.headers())
            else []
        )

    def delete_series(self, uid):
        gone = [h.SOPInstanceUID for h in self.headers() if h.SeriesInstanceUID == uid]
        for sop in gone:
            del self.files[sop]

    def ours(self, modality="SEG"):
        return [h for h in self.headers() if h.get("Manufacturer") == MANUFACTURER and h.Modality == modality]


def make_series_content(headers):
    first = headers[0]
    instances = tuple(sorted(InstanceContent(str(h.SOPInstanceUID), str(h.SOPInstanceUID)) for h in headers))
    return SeriesContent(
        str(first.SeriesInstanceUID),
        str(first.SeriesInstanceUID),
        first.Modality,
        first.get("Manufacturer", ""),
        first.get("SeriesDescription", ""),
        instances,
    )


class FakeTask:
    """A running job; cancelled when told a stage that `cancel_at` names."""

    def __init__(self, archive, settings, cancel_at=""):
        self.archive, self.settings, self.cancel_at = archive, settings, cancel_at
        self.args = {"study_instance_uid": "1.2.826.0.1.3680043.8.498.1"}
        settings.home.mkdir(exist_ok=True)
        self.database = Database(settings.database_url)
        self.database.upgrade_schema()
        self.stages = []

    def progress(self, stage, done=0, total=0, note=""):
        self.stages.append(stage)
        if stage == self.cancel_at:
            raise Cancelled


@pytest.fixture
def archive(series, phantom):
    """An archive that holds one series."""
    held = FakeArchive()
    s = series()
    store_images(held, s.images(phantom(s)))
    return held


def store_images(archive, images):
    for image in images:
        buffer = BytesIO()
        image.save_as(buffer, enforce_file_format=True)
        archive.store_file(buffer.getvalue())
    archive.stored = 0


def read_the_study(archive):
    return archive.read_study("1.2.826.0.1.3680043.8.498.1")


# -- orders -----------------------------------------------------------------------------------------
def test_a_study_with_images_is_one_order(archive, settings, engines):
    (order,) = work.orders(read_the_study(archive), settings)
    assert order.kind == "segment"
    assert order.args == {"study_instance_uid": order.study_instance_uid}
    assert "/threshold/1.2/" in order.key


def test_our_own_objects_change_no_order(archive, settings, engines):
    before = work.orders(read_the_study(archive), settings)
    work.run(FakeTask(archive, settings))
    assert archive.ours()
    assert work.orders(read_the_study(archive), settings) == before


def test_a_late_slice_is_another_order(archive, settings, engines, series, phantom):
    before = work.orders(read_the_study(archive), settings)
    s = series(shape=(13, 20, 28))
    store_images(archive, s.images(phantom(s))[12:])
    assert work.orders(read_the_study(archive), settings)[0].key != before[0].key


def test_no_engine_no_order(archive, settings, engines):
    assert work.orders(read_the_study(archive), replace(settings, engine="")) == []


def test_asking_for_what_is_done_automatically_is_the_same_order(archive, settings, engines):
    study = read_the_study(archive)
    (automatic,) = work.orders(study, settings)
    assert work.create_order(study, settings, settings.engine).key == automatic.key


def test_asking_for_another_engine_is_another_order_that_runs_it(archive, settings, engines):
    order = work.create_order(read_the_study(archive), replace(settings, engine=""), "threshold")
    task = FakeTask(archive, replace(settings, engine=""))
    task.args = order.args
    (made,) = work.run(task)["segmentations"]
    assert made["engine"] == "threshold"


def test_nothing_can_be_asked_of_a_study_without_images(settings, engines):
    with pytest.raises(NotAVolume):
        work.create_order(StudyContent("s", "1", ()), settings, "threshold")


def test_a_study_without_images_of_its_own_is_no_order(settings, engines):
    report = SeriesContent("s", "1.2", "SR", "", "", (InstanceContent("1.3", "i"),))
    assert work.orders(StudyContent("s", "1", (report,)), settings) == []
    assert work.orders(StudyContent("s", "1", ()), settings) == []


def test_an_engine_that_becomes_available_is_another_order(archive, settings, engines):
    (order,) = work.orders(read_the_study(archive), replace(settings, engine="absent"))
    assert "/absent/absent/" in order.key


# -- the flow ---------------------------------------------------------------------------------------
def test_a_study_comes_back_segmented(archive, settings, engines):
    task = FakeTask(archive, settings)
    answer = work.run(task)
    (seg,) = archive.ours()
    (made,) = answer["segmentations"]
    assert made["seg_sop_instance_uid"] == seg.SOPInstanceUID
    assert made["seg_series_instance_uid"] == seg.SeriesInstanceUID
    assert made["segments"] == ["Bone", "Soft tissue"]
    assert answer["summary"].startswith("2 segments in 1 series")
    assert {"download", "read", "threshold", "SEG", "store"} <= set(task.stages)
    folder = settings.output / "results" / seg.StudyInstanceUID / made["series"] / "threshold"
    assert {"seg.dcm", "manifest.json"} <= {f.name for f in folder.iterdir()}
    assert not list((settings.output / "results").glob(".partial*"))


def test_doing_it_again_does_nothing(archive, settings, engines):
    first = work.run(FakeTask(archive, settings))
    archive.stored = 0
    again = FakeTask(archive, settings)
    assert work.run(again) == first
    assert archive.stored == 0
    assert "segment" not in again.stages


def test_a_crash_before_the_archive_is_mended_without_segmenting_again(archive, settings, engines):
    work.run(FakeTask(archive, settings))
    (seg,) = archive.ours()
    del archive.files[seg.SOPInstanceUID]
    again = FakeTask(archive, settings)
    work.run(again)
    assert archive.ours()[0].SOPInstanceUID == seg.SOPInstanceUID
    assert "segment" not in again.stages


def test_late_slices_supersede_the_result(archive, settings, engines, series, phantom):
    work.run(FakeTask(archive, settings))
    s = series(shape=(13, 20, 28))
    store_images(archive, s.images(phantom(series()).repeat(2, 0)[:13])[12:])
    task = FakeTask(archive, settings)
    newer = work.run(task)["segmentations"][0]["seg_series_instance_uid"]
    assert len({seg.SeriesInstanceUID for seg in archive.ours()}) == 2
    with task.database.reading() as session:
        rows = {row.seg_series_instance_uid: row for row in session.scalars(select(SegmentationResult))}
    (older,) = set(rows) - {newer}
    assert (rows[older].superseded_by, rows[newer].superseded_by) == (newer, None)
    assert rows[newer].manifest["images"] == 13


def test_the_superseded_is_removed_where_the_rules_say_so(archive, settings, engines, series, phantom):
    settings.home.mkdir(exist_ok=True)
    (settings.home / "segmentation.toml").write_text('superseded = "remove"\n')
    work.run(FakeTask(archive, settings))
    s = series(shape=(13, 20, 28))
    store_images(archive, s.images(phantom(s))[12:])
    answer = work.run(FakeTask(archive, settings))
    assert [seg.SeriesInstanceUID for seg in archive.ours()] == [answer["segmentations"][0]["seg_series_instance_uid"]]


def test_every_volume_of_a_study_is_segmented(archive, settings, engines, series, phantom):
    s = series(uid="1.2.826.0.1.3680043.8.498.1.7", orientation=(0, 1, 0, 0, 0, -1))
    store_images(archive, s.images(phantom(s)))
    assert len(work.run(FakeTask(archive, settings))["segmentations"]) == 2


def test_a_study_without_a_volume_is_done_and_says_why(settings, engines, series, phantom):
    archive, s = FakeArchive(), series()
    store_images(archive, s.images(phantom(s))[:5])
    answer = work.run(FakeTask(archive, settings))
    assert answer["summary"] == (
        "Nothing segmented: The series cannot be segmented: it has 5 images; a volume needs 10."
    )
    assert not archive.ours()


def test_another_modality_is_left_out_without_a_download(settings, engines, series, phantom):
    archive, s = FakeArchive(), series(header={"Modality": "MR"})
    store_images(archive, s.images(phantom(s)))
    task = FakeTask(archive, settings)
    assert work.run(task)["skipped"][0]["reason"].endswith("it is MR; the engine takes CT.")
    assert "download" not in task.stages


# -- what can go wrong ------------------------------------------------------------------------------
def has_no_partial_result(archive, settings):
    files = [f for f in (settings.output / "results").rglob("*") if f.is_file()]
    return not archive.ours() and not files


@pytest.mark.parametrize(
    ("engine", "sentence"),
    [
        ("crashing", "The engine crashing crashed (SIGSEGV), while at: "),
        ("hanging", "The engine hanging took longer than 6 s, while at: "),
        ("lying", "The engine returned another geometry than the series has."),
        ("leaving", "The engine leaving ended without a result (exit code 3), while at: "),
    ],
)
def test_an_engine_that_breaks_fails_in_a_sentence(archive, settings, engines, engine, sentence):
    settings = replace(settings, engine=engine, engine_limit_s=6 if engine == "hanging" else 60)
    with pytest.raises(EngineFailed) as failure:
        work.run(FakeTask(archive, settings))
    assert failure.value.message.startswith(sentence)
    assert has_no_partial_result(archive, settings)


def test_a_failure_that_another_attempt_may_mend_decides_about_the_retry(
    archive, settings, engines, series, phantom, monkeypatch
):
    s = series(uid="1.2.826.0.1.3680043.8.498.1.7", orientation=(0, 1, 0, 0, 0, -1))
    store_images(archive, s.images(phantom(s)))
    failures = [EngineExceedsMemory("The first series needs too much."), EngineFailed("The second crashed.")]
    remaining = iter(failures)

    def fail(*_arguments):
        raise next(remaining)

    monkeypatch.setattr(work, "_segment_series", fail)
    with pytest.raises(EngineFailed) as failure:
        work.run(FakeTask(archive, settings))
    assert failure.value is failures[1]


def test_what_an_engine_says_in_its_error_reaches_no_message(archive, settings, engines):
    with pytest.raises(EngineFailed) as failure:
        work.run(FakeTask(archive, replace(settings, engine="stumbling")))
    assert failure.value.message.startswith("The engine stumbling broke: ValueError in mischief_engines.py, line ")
    assert "Doe" not in str(failure.value)


def test_an_absent_engine_says_what_to_do(archive, settings, engines):
    with pytest.raises(EngineUnavailable, match="Put them there"):
        work.run(FakeTask(archive, replace(settings, engine="absent")))


def test_an_unknown_engine_lists_the_known(archive, settings, engines):
    with pytest.raises(EngineUnavailable, match="threshold"):
        work.run(FakeTask(archive, replace(settings, engine="nobody")))


def test_a_cancelled_job_ends_its_child(archive, settings, engines):
    task = FakeTask(archive, replace(settings, engine="hanging"), cancel_at="threshold")
    with pytest.raises(Cancelled):
        work.run(task)
    assert has_no_partial_result(archive, settings)


# -- rules ------------------------------------------------------------------------------------------
def test_a_rule_chooses_engine_and_parameters(archive, settings, engines):
    settings.home.mkdir(exist_ok=True)
    (settings.home / "segmentation.toml").write_text(
        '[[rule]]\ndescription = "(?i)lung"\nengine = ""\n'
        '[[rule]]\nmodality = "CT"\nslices = [10, 20]\nengine = "threshold"\nparameters = { bone = 2000 }\n'
    )
    assert work.run(FakeTask(archive, settings))["segmentations"][0]["segments"] == ["Soft tissue"]


def test_a_rule_can_skip(archive, settings, engines):
    settings.home.mkdir(exist_ok=True)
    (settings.home / "segmentation.toml").write_text('[[rule]]\ndescription = "soft"\nengine = ""\n')
    assert "A rule says" in work.run(FakeTask(archive, settings))["summary"]
