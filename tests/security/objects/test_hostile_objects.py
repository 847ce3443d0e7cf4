"""Objects whose every text is hostile, sent to the whole product by every way in: nothing leaves its place."""

import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pydicom
import pytest
from pydicom import config
from sqlalchemy import select

from dicom_objects import ROOT, as_file, image
from minipacs.catalogue import Rejection
from minipacs.doctor.catalogue_check import check_catalogue
from minipacs.formats.uids import is_uid
from minipacs.local.phantom import write_chest_ct
from minipacs.result_paths import results_root
from security.objects.hostile_objects import HOSTILE_UIDS, PIXELS, write_text_everywhere, write_uid
from security.objects.mutants import send_by_c_store, send_by_stow, send_by_upload, wait_until_catalogued
from stack import RunningStack, running
from waiting import PATIENCE_S

TEXT = "=1+1\r\nX-Forged: yes\x1b[2J<img src=x onerror=alert(1)>'\"%s../.."
STUDY, SERIES = f"{ROOT}.66", f"{ROOT}.66.1"
SLICES = 24
KEYWORDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
PAGES = (
    "/", "/studies", "/patients", "/series", "/images", "/jobs", "/rejections", "/files", "/export.csv", "/audit",
    f"/studies/{STUDY}", f"/series/{SERIES}", f"/where?q={STUDY}", f"/studies/{STUDY}/results",
    "/dicom-web/studies", "/dicom-web/series", f"/dicom-web/studies/{STUDY}/series", "/metrics",
)  # fmt: skip


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """A product that has taken hostile objects by every way in."""
    folder = tmp_path_factory.mktemp("hostile")
    with running(folder) as stack:
        files = list(make_files())
        for number, send in enumerate((send_by_c_store, send_by_stow, send_by_upload)):
            assert list(send(stack, files[number::3]))
        send_hostile_series(stack, folder / "phantom")
        wait_until_catalogued(stack)
        yield stack


def make_files() -> Iterator[bytes]:
    """One object for each hostile UID at each of the three places."""
    for number, uid in enumerate(HOSTILE_UIDS):
        for keyword in KEYWORDS:
            whole = {name: f"{ROOT}.8.{number}.{index}" for index, name in enumerate(KEYWORDS)}
            file = as_file(image(PIXELS, **{**whole, keyword: f"{ROOT}.77"}))
            yield write_uid(file, f"{ROOT}.77", uid)


def send_hostile_series(stack: RunningStack, folder: Path) -> None:
    """A series that is segmented, with hostile text in every element."""
    for path in write_chest_ct(folder, slices=SLICES):
        with config.disable_value_validation():
            dataset = write_text_everywhere(pydicom.dcmread(path), TEXT, "RescaleType", "ImageType")
            dataset.StudyInstanceUID, dataset.SeriesInstanceUID = STUDY, SERIES
            dataset.PatientID = TEXT[:40]
            path.write_bytes(as_file(dataset))
    assert set(send_by_c_store(stack, [path.read_bytes() for path in sorted(folder.iterdir())])) == {"0x0000"}


def test_nothing_is_written_outside_of_the_output_folder(stack: RunningStack) -> None:
    root = results_root(stack.settings)

    assert not Path("/tmp/outside").exists()
    assert not [path for path in stack.settings.home.parent.rglob("*") if path.name.endswith("outside")]
    folders = [folder for folder in root.iterdir() if not folder.name.startswith(".")] if root.exists() else []
    assert all(is_uid(folder.name) for folder in folders)
    assert [folder.name for folder in folders] in ([], [STUDY])


def test_every_hostile_object_is_a_rejection_that_names_its_fault(stack: RunningStack) -> None:
    assert check_catalogue(stack.settings).state == "ok"
    with stack.database.reading() as session:
        codes = list(session.scalars(select(Rejection.code)))
    assert codes.count("bad_uid") + codes.count("no_uid") >= len(HOSTILE_UIDS)


def test_no_job_failed(stack: RunningStack) -> None:
    failed = [job for job in stack.get_json("/jobs?limit=200")["jobs"] if job["state"] == "failed"]

    assert not failed, failed


def test_no_text_forges_a_line_of_a_log_or_commands_a_terminal(stack: RunningStack) -> None:
    for log in [*(stack.settings.home / "log").glob("*.log"), *(stack.settings.home / "failures").glob("*.log")]:
        for line in log.read_text("utf-8", "replace").splitlines():
            assert "\x1b" not in line, (log.name, line)
            assert not line.startswith("X-Forged"), (log.name, line)
            assert "onerror" not in line, (log.name, line)


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("accept", ["text/html", "application/json"])
def test_no_text_becomes_a_header_an_element_or_a_formula(stack: RunningStack, page: str, accept: str) -> None:
    request = stack.request(page, Accept=accept)
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            status, headers, body = answer.status, answer.headers, answer.read().decode()
    except urllib.error.HTTPError as error:
        status, headers, body = error.code, error.headers, error.read().decode()

    assert status < 500
    assert "X-Forged" not in headers
    assert not re.search(r"\nX-Forged", body)
    if "html" in headers["Content-Type"]:
        assert "<img src=x" not in body
        assert "<script>alert" not in body
    if "csv" in headers["Content-Type"]:
        assert not re.search(r'(^|,)"?[=+@-][^0-9.]', body, re.MULTILINE)


def test_the_segmentation_of_a_series_full_of_hostile_text_is_downloaded_whole(stack: RunningStack) -> None:
    (result,) = stack.get_json(f"/studies/{STUDY}/results")
    assert result["segments"]
    for result in stack.get_json(f"/studies/{STUDY}/results"):
        for address in result["addresses"].values():
            with urllib.request.urlopen(stack.request(address), timeout=PATIENCE_S) as answer:
                assert answer.status == 200
                content = answer.read()
            if address.endswith(".dcm"):
                assert pydicom.dcmread(BytesIO(content)).StudyInstanceUID == STUDY
