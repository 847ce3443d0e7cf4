"""The older query client's routes answer as they did, and take what that client sent."""

import io
from typing import Any

import pytest

STUDY, SERIES = "1.2.3.4.1", "1.2.3.4.1.1"
RESULT = f"{STUDY}/{SERIES}/slicer"
PICTURE = "0b6f6c3e-5f0e-5f0e-8f0e-000000000001"


def test_older_clients_list_and_download(viewer: Any) -> None:
    assert f"{RESULT}/model.glb" in viewer("/jsonlist").get_json()
    answer = viewer(f"/download/{RESULT}/model.glb")
    assert "attachment" in answer.headers["Content-Disposition"]
    assert viewer("/status").get_json() == {"new_files": True, "current_file": None, "queue_size": 1}


@pytest.mark.parametrize(
    "path", ["/status", "/jsonlist", f"/download/{RESULT}/model.glb", f"/imageinfo/{PICTURE}", "/output/P1/scans"]
)
def test_a_parameter_that_is_not_known_is_passed_over(viewer: Any, path: str) -> None:
    assert viewer(path + "?_=1732700000").status_code == viewer(path).status_code == 200


def test_a_qr_code_is_of_a_share_that_was_made_for_one_file(operator: Any) -> None:
    share = operator(f"/qr?filename={RESULT}/model.glb&size=large").get_json()
    assert share["files"] == [f"{RESULT}/model.glb"]
    assert share["qr"]
    assert operator("/qr").status_code == 404


@pytest.mark.parametrize("sent", [{}, {"data": {"zip": "a.zip"}}, {"json": ["a.zip"]}, {"data": b"x"}])
def test_there_is_no_zip_to_delete_whatever_is_sent(operator: Any, sent: dict[str, Any]) -> None:
    assert operator("/delete_zip", "POST", **sent).get_json()["status"] == "success"


def test_files_may_be_sent_to_the_root_with_any_other_field(operator: Any) -> None:
    form = {"file": (io.BytesIO(b""), "a.dcm"), "folder": "somewhere"}
    answer = operator("/", "POST", data=form)
    assert answer.status_code == 422
    assert [file["verdict"] for file in answer.get_json()["files"]] == ["refused"]
    assert operator("/upload", "POST", data={**form, "file": (io.BytesIO(b"x"), "a.dcm")}).status_code == 400
