"""The older query API's routes and answers, and what is beyond them."""

import csv
import io
from base64 import urlsafe_b64encode
from typing import Any
from urllib.parse import quote

import pytest

STUDY, SERIES, IMAGE = "1.2.3.4.1", "1.2.3.4.1.1", "1.2.3.4.1.1.1"
ODD = "A/B 50%-ü"
PICTURE = "0b6f6c3e-5f0e-5f0e-8f0e-000000000001"


def make_cursor(text: str) -> str:
    """A cursor as ours are, of any text."""
    return urlsafe_b64encode(text.encode()).decode().rstrip("=")


@pytest.fixture(params=["sqlite", "postgresql"])
def kind(request: pytest.FixtureRequest) -> str:
    """Both databases."""
    return str(request.param)


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/patients/count", {"patient_count": 2}),
        ("/studies/count", {"study_count": 3}),
        ("/series/count", {"series_count": 3}),
        ("/images/count", {"images_count": 6}),
        ("/patients/P1/studycount", {"patient_id": "P1", "study_count": 2}),
        ("/patients/P1/seriescount", {"patient_id": "P1", "series_count": 2}),
        ("/patients/P1/imagecount", {"patient_id": "P1", "images_count": 4}),
        ("/patients/P1/counts", {"patient_id": "P1", "study_count": 2, "series_count": 2, "image_count": 4}),
    ],
)
def test_counts_answer_as_the_older_api_did(viewer: Any, path: str, answer: dict[str, Any]) -> None:
    assert viewer(path).get_json() == answer


def test_an_id_may_have_slashes_blanks_percent_signs_and_any_letter(viewer: Any) -> None:
    path = "/patients/" + quote(ODD, safe="")
    assert viewer(path).get_json()["PatientID"] == ODD
    assert viewer(path + "/counts").get_json()["study_count"] == 1
    assert [s["StudyInstanceUID"] for s in viewer(path + "/studies").get_json()] == ["1.2.3.4.3"]


def test_each_level_answers_with_keywords_of_the_standard(viewer: Any) -> None:
    assert viewer(f"/studies/{STUDY}").get_json()["StudyDate"] == "2024-01-01"
    assert viewer(f"/studies/{STUDY}").get_json()["series"][0]["Modality"] == "CT"
    assert viewer(f"/series/{SERIES}").get_json()["NumberOfSeriesRelatedInstances"] == 2
    assert viewer(f"/images/{IMAGE}").get_json()["renderings"][0]["WindowCenter"] == 40.0


@pytest.mark.parametrize("name", [PICTURE, f"{PICTURE}.png", f"train/CT/{PICTURE}.png", IMAGE])
def test_imageinfo_knows_a_png_with_or_without_extension(viewer: Any, name: str) -> None:
    info = viewer(f"/imageinfo/{name}").get_json()
    expected = {
        "InstanceNumber": 1, "PatientID": "P1", "RescaleIntercept": -1024.0, "RescaleSlope": 1.0,
        "SeriesDescription": "Series", "StudyDescription": "Study 1", "WindowCenter": 40.0, "WindowWidth": 400.0,
    }  # fmt: skip
    assert {key: info[key] for key in expected} == expected


@pytest.mark.parametrize(
    "path",
    ["/patients/none", "/patients/none/counts", "/patients/none/studies", "/studies/1.9", "/series/1.9", "/images/1.9",
     "/imageinfo/none.png", "/jobs/999", "/jobs/99999999999999999999", "/nothing", "/images/1.9/png",
     "/patients/%00", "/studies/%00", "/imageinfo/%00", "/results/none", "/download/none"],
)  # fmt: skip
def test_what_is_missing_is_404_in_the_one_shape(viewer: Any, path: str) -> None:
    answer = viewer(path)
    assert answer.status_code == 404
    assert set(answer.get_json()["error"]) == {"code", "message", "hint"}


def test_lists_are_filtered(viewer: Any) -> None:
    def uids(query: str) -> list[str]:
        return [s["StudyInstanceUID"] for s in viewer("/studies?" + query).get_json()["studies"]]

    assert uids("modality=MR") == ["1.2.3.4.3"]
    assert uids("from=2024-01-15") == ["1.2.3.4.2"]
    assert uids("to=2024-01-15") == ["1.2.3.4.1"]
    assert uids("q=odd") == ["1.2.3.4.3"]
    assert uids("PatientName=*Ünïcödé") == ["1.2.3.4.2", "1.2.3.4.1"]
    assert len(viewer("/images?split=train").get_json()["images"]) == 1


def test_pages_follow_each_other_without_gap_or_repeat(viewer: Any) -> None:
    for noun, key, number in (("studies", "StudyInstanceUID", 3), ("images", "SOPInstanceUID", 6)):
        seen, address = [], f"/{noun}?limit=1"
        while address:
            answer = viewer(address).get_json()
            seen += [row[key] for row in answer[noun]]
            address = answer["next"]
        assert len(seen) == len(set(seen)) == number
    newest_first = [s["StudyInstanceUID"] for s in viewer("/studies").get_json()["studies"]]
    assert newest_first == ["1.2.3.4.2", "1.2.3.4.1", "1.2.3.4.3"]


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=x",
        "limit=1001",
        "after=x",
        "after=W10",
        "nothing=1",
        "from=yesterday",
        "after=W251bGwsbnVsbF0",
        "after=" + make_cursor("[" * 4000),
        "after=" + make_cursor("[" * 4000 + "]" * 4000),
        "after=" + make_cursor('["2024-01-31", "1.2\\ud800"]'),
        "after=" + make_cursor('["2024-01-31", "1.2\\u0000"]'),
    ],
)
def test_a_wrong_query_is_400_with_a_remedy(viewer: Any, query: str) -> None:
    answer = viewer("/studies?" + query)
    assert answer.status_code == 400
    assert answer.get_json()["error"]["hint"]


def test_where_things_lie_on_our_disk_is_not_told(viewer: Any, settings: Any) -> None:
    for path in (f"/images/{IMAGE}", f"/imageinfo/{PICTURE}", "/images", f"/studies/{STUDY}"):
        assert str(settings.home) not in viewer(path).get_data(as_text=True)


def test_the_data_set_is_exported_as_a_table_without_names(viewer: Any) -> None:
    text = viewer("/export.csv?split=train").get_data(as_text=True)
    lines = text.splitlines()
    assert lines[0].startswith("filename,split,")
    assert len(lines) == 2
    assert PICTURE in lines[1]
    assert "alert" not in text


def test_the_greeting_is_json_for_clients_and_a_page_for_browsers(viewer: Any) -> None:
    assert viewer("/").get_json()["counts"] == {"patients": 2, "studies": 3, "series": 3, "images": 6}
    assert "text/html" in viewer("/", headers={"Accept": "text/html"}).headers["Content-Type"]


def test_parquet_holds_what_the_csv_holds(viewer: Any) -> None:
    files = pytest.importorskip("pyarrow.parquet")
    answer = viewer("/export.parquet?split=train")
    table = files.read_table(io.BytesIO(answer.data))
    rows = list(csv.DictReader(io.StringIO(viewer("/export.csv?split=train").get_data(as_text=True))))
    assert table.column_names == list(rows[0])
    assert table.num_rows == len(rows) == 1
    (found,) = table.to_pylist()
    assert found["SOPInstanceUID"] == rows[0]["SOPInstanceUID"] == IMAGE
    assert (found["WindowWidth"], str(found["StudyDate"])) == (400.0, rows[0]["StudyDate"])
    assert files.read_table(io.BytesIO(viewer("/export.parquet?split=nothing").data)).num_rows == 0


def test_totals_are_told_by_modality(viewer: Any) -> None:
    assert viewer("/totals").get_json() == {
        "modalities": [
            {"modality": "CT", "studies": 2, "series": 2, "images": 4},
            {"modality": "MR", "studies": 1, "series": 1, "images": 2},
        ]
    }
    assert [row["studies"] for row in viewer("/totals?from=2024-01-15").get_json()["modalities"]] == [1]


def test_every_level_has_its_children_and_their_filters(viewer: Any) -> None:
    assert len(viewer("/patients/P1/series").get_json()["series"]) == 2
    assert viewer("/patients/P1/series?Modality=MR").get_json()["series"] == []
    assert [s["StudyInstanceUID"] for s in viewer("/patients/P1/studies?from=2024-01-15").get_json()] == ["1.2.3.4.2"]
    assert len(viewer(f"/studies/{STUDY}/images").get_json()["images"]) == 2
    assert len(viewer(f"/studies/{STUDY}/images?split=train").get_json()["images"]) == 1
    assert viewer(f"/studies/{STUDY}/series?Modality=MR").get_json() == []
    assert len(viewer(f"/series/{SERIES}/images?InstanceNumber=2").get_json()["images"]) == 1
    assert viewer(f"/series/{SERIES}/images?nonsense=2").status_code == 400
