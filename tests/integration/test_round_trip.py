"""One study all the way, through real parts: Orthanc, the job service, the pool, the front door."""

import shutil
import subprocess
import urllib.request
from pathlib import Path

import pydicom
import pytest
from sqlalchemy import select

from data import shared_data
from minipacs.catalogue import Rendering
from minipacs.local.phantom import write_chest_ct
from stack import RunningStack
from waiting import PATIENCE_S, until

pytestmark = pytest.mark.integration


def study_uid(folder: Path) -> str:
    return str(pydicom.dcmread(next(p for p in sorted(folder.rglob("*")) if p.is_file())).StudyInstanceUID)


def count(stack: RunningStack, noun: str) -> int:
    (number,) = stack.get_json(f"/{noun}/count").values()
    return int(number)


def store_by_storescu(stack: RunningStack, folder: Path) -> None:
    command = ["storescu", "-R", "-aec", stack.settings.aet, "127.0.0.1", str(stack.settings.dicom_port), "+sd", "+r"]
    subprocess.run([*command, str(folder)], check=True, capture_output=True)


def store_by_rest(stack: RunningStack, folder: Path) -> None:
    for path in sorted(folder.rglob("*.dcm")):
        stack.archive.store_file(path.read_bytes())


def store_by_stow(stack: RunningStack, folder: Path) -> None:
    boundary = "minipacs-test"
    parts = b"".join(
        f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode() + path.read_bytes() + b"\r\n"
        for path in sorted(folder.rglob("*.dcm"))
    )
    kind = f'multipart/related; type="application/dicom"; boundary={boundary}'
    request = stack.request("/dicom-web/studies", **{"Content-Type": kind, "Accept": "application/dicom+json"})
    request.data = parts + f"--{boundary}--\r\n".encode()
    with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
        assert answer.status == 200


@pytest.mark.parametrize(
    ("patient", "store"),
    [("BY-STORESCU", store_by_storescu), ("BY-REST", store_by_rest), ("BY-STOW", store_by_stow)],
)
def test_a_study_comes_back_segmented_however_it_was_sent(
    stack: RunningStack, tmp_path: Path, patient: str, store: object
) -> None:
    if store is store_by_storescu and shutil.which("storescu") is None:
        pytest.skip("DCMTK is not installed")
    write_chest_ct(tmp_path, patient_id=patient)
    store(stack, tmp_path)  # type: ignore[operator]
    study = study_uid(tmp_path)
    seg = stack.wait_segmented(study)
    assert stack.segs(study) == [seg]
    counts = stack.get_json(f"/patients/{patient}/counts")
    assert set(counts.values()) >= {1}, counts


def test_sending_the_same_study_again_changes_nothing(stack: RunningStack, tmp_path: Path) -> None:
    write_chest_ct(tmp_path, patient_id="TWICE")

    (study,) = stack.send(tmp_path)
    study_id = stack.archive.find_study_id(study)

    def content() -> tuple[int, int, list[int], list[str]]:
        """Of this study alone: others of the same product may still be worked on."""
        held = {i.instance_id for s in stack.archive.read_study(study_id).series for i in s.instances}
        changes = stack.archive.read_changes(0, limit=100_000).entries
        arrivals = [c for c in changes if c.type == "NewInstance" and c.resource_id in held]
        catalogued = stack.get_json("/patients/TWICE/counts")["image_count"]
        return len(arrivals), catalogued, [job.id for job in stack.jobs(study)], stack.segs(study)

    stack.wait_segmented(study)
    until(lambda: content()[0] == content()[1], what="every object of the study in the catalogue")
    stack.wait_jobs(study, "segment", "catalogue")
    before = content()
    stack.send(tmp_path)
    assert stack.send(tmp_path) == {study}
    assert content() == before


def test_our_own_result_starts_no_second_segmentation(stack: RunningStack, tmp_path: Path) -> None:
    write_chest_ct(tmp_path, patient_id="LOOP")
    stack.send(tmp_path)
    study = study_uid(tmp_path)
    stack.wait_segmented(study)
    segmentations = [job.id for job in stack.jobs(study) if job.kind == "segment"]
    study_id = stack.archive.find_study_id(study)
    until(lambda: stack.archive.is_stable(study_id), what="the study to be stable with its result")
    jobs = stack.wait_jobs(study, "segment", "catalogue")
    assert [job.id for job in jobs if job.kind == "segment"] == segmentations


def test_every_picture_on_disk_is_a_row_and_every_row_a_picture(stack: RunningStack, tmp_path: Path) -> None:
    write_chest_ct(tmp_path, patient_id="PICTURES")
    stack.send(tmp_path)
    stack.wait_segmented(study_uid(tmp_path))

    def rows_and_files() -> tuple[list[str], list[str]]:
        """Of all studies: another test's may be catalogued at this moment."""
        with stack.database.reading() as session:
            rows = list(session.scalars(select(Rendering.png_path)))
        return sorted(rows), sorted(str(file) for file in (stack.settings.output / "png").rglob("*.png"))

    until(lambda: len(set(map(tuple, rows_and_files()))) == 1, what="the same pictures in the catalogue and on disk")
    rows, _ = rows_and_files()
    assert len(set(rows)) == len(rows) >= 72


def test_a_real_chest_ct_comes_back_segmented(stack: RunningStack) -> None:
    folder = shared_data("ct_chest_lungdx_A0001")
    (study,) = stack.send(folder)
    seg = stack.wait_segmented(study)
    ds = _seg_dataset(stack, study)
    assert seg == ds.SeriesInstanceUID
    assert {"Right lung (aerated)", "Left lung (aerated)", "Bone"} <= {s.SegmentLabel for s in ds.SegmentSequence}
    assert ds.PatientID == pydicom.dcmread(next(folder.iterdir()), stop_before_pixels=True).PatientID


def _seg_dataset(stack: RunningStack, study: str) -> pydicom.Dataset:
    content = stack.archive.read_study(stack.archive.find_study_id(study))
    (uid,) = stack.segs(study)
    (series,) = [s for s in content.series if s.series_instance_uid == uid]
    return stack.archive.read_dataset(series.instances[0].instance_id)


def test_a_study_that_is_no_volume_ends_in_a_sentence(stack: RunningStack) -> None:
    folder = shared_data("geometry_traps/notavolume_001")
    stack.send(folder)
    jobs = stack.wait_jobs(study_uid(folder), "segment", "catalogue")
    *_, segment = [job for job in jobs if job.kind == "segment"]
    assert segment.summary.endswith(".")
    assert stack.segs(study_uid(folder)) == []


def test_a_truncated_file_loses_nothing(stack: RunningStack, tmp_path: Path) -> None:
    whole = write_chest_ct(tmp_path, patient_id="TRUNCATED", slices=3)
    body = whole[0].read_bytes()
    before = count(stack, "images")
    (tmp_path / "CT0000.dcm").write_bytes(body[: len(body) // 2])
    command = ["storescu", "-R", "-aec", stack.settings.aet, "127.0.0.1", str(stack.settings.dicom_port), "+sd", "+r"]
    subprocess.run([*command, "--no-halt", str(tmp_path)], check=False, capture_output=True)
    stack.wait_jobs(str(pydicom.dcmread(whole[1]).StudyInstanceUID), "catalogue")
    until(lambda: count(stack, "images") >= before + 2, what="the whole files in the catalogue")


def test_wrong_credentials_get_one_sentence(stack: RunningStack) -> None:
    request = urllib.request.Request(stack.address + "/jobs", headers={"Authorization": "Bearer wrong"})
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request)
    assert caught.value.code == 401
    assert b'"error"' in caught.value.read()
