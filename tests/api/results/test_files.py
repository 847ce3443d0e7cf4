"""Files: ranges, ETags, labels; no way out of the root."""

import gzip
import io
import os
import string
import sys
import zipfile
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from flask import Flask

from api.results import label_filter
from api.web.file_responses import resolve_below
from minipacs.errors import NotFound
from minipacs.settings import Settings

STUDY, SERIES, IMAGE = "1.2.3.4.1", "1.2.3.4.1.1", "1.2.3.4.1.1.1"
RESULT = f"{STUDY}/{SERIES}/slicer"
SCAN = f"{SERIES}_slicer"
WAYS_OUT = [
    "../secrets.json", "..%2fsecrets.json", "%2e%2e/secrets.json", "/etc/passwd", "%2fetc/passwd", "..%5csecrets.json",
    f"{RESULT}/../../../../../secrets.json", f"{RESULT}/link", f"{RESULT}/linked/secrets.json", "x%00y", ".hidden",
    f"{RESULT}/....//", "~/x", "a" * 5000,
]  # fmt: skip


@pytest.mark.parametrize("root", ["/results/", "/download/", "/output/", "/imageinfo/", "/library/three/", "/static/"])
@pytest.mark.parametrize("way", WAYS_OUT)
def test_no_route_reaches_outside_its_root(viewer: Any, settings: Settings, root: str, way: str) -> None:
    secrets = settings.home / "secrets.json"
    folder = settings.output / "results" / RESULT
    os.symlink(secrets, folder / "link")
    os.symlink(settings.home, folder / "linked")
    answer = viewer(root + way)
    assert answer.status_code in (400, 404, 308), answer.status_code
    assert b"session_key" not in answer.data


def test_a_file_below_its_root_is_found_whatever_its_name(tmp_path: Path) -> None:
    (tmp_path / "a b%ü").write_text("x")
    assert resolve_below(tmp_path, "a b%ü").read_text() == "x"
    with pytest.raises(NotFound):
        resolve_below(tmp_path, "a b%ü/../../x")


def test_a_range_an_etag_and_a_second_look(viewer: Any) -> None:
    path = f"/results/{RESULT}/model.glb"
    whole = viewer(path)
    assert whole.headers["Content-Type"] == "model/gltf-binary"
    part = viewer(path, headers={"Range": "bytes=2-5"})
    assert (part.status_code, part.data) == (206, whole.data[2:6])
    assert part.headers["Content-Range"] == f"bytes 2-5/{len(whole.data)}"
    assert viewer(path, headers={"Range": "bytes=-3"}).data == whole.data[-3:]
    assert viewer(path, headers={"Range": "bytes=9999-"}).status_code == 416
    assert viewer(path, headers={"If-None-Match": whole.headers["ETag"]}).status_code == 304
    assert viewer(path, headers={"Range": "bytes=2-5", "If-Range": '"other"'}).status_code == 200
    assert viewer(f"/images/{IMAGE}/png").headers["Content-Type"] == "image/png"


@pytest.mark.parametrize(
    "path",
    [
        f"/filtered-scans/P1/{SCAN}.nii.gz?label_ids=1,3",
        "/filtered-scans/P1/labels.nii.gz?label_ids=1,3",
        f"/filtered-scans/P1/voxels/{SCAN}/original/labels.nii.gz?label_ids=1,%203",
        f"/studies/{STUDY}/results/{SERIES}/slicer/labels.nii.gz?labels=bone,Right%20lung",
    ],
)
def test_labels_asked_for_stay_and_the_rest_is_0(viewer: Any, settings: Settings, path: str) -> None:
    source: Any = nib.load(settings.output / "results" / RESULT / "labels.nii.gz")
    before = np.asanyarray(source.dataobj)
    answer = viewer(path)
    raw = gzip.decompress(answer.data)
    got: Any = nib.Nifti1Image.from_bytes(raw)
    assert (np.asanyarray(got.dataobj) == np.where(np.isin(before, (1, 3)), before, 0)).all()
    assert raw[:352] == gzip.decompress((settings.output / "results" / RESULT / "labels.nii.gz").read_bytes())[:352]
    assert viewer(path, headers={"If-None-Match": answer.headers["ETag"]}).status_code == 304
    assert viewer(path, headers={"Range": "bytes=0-1"}).data == b"\x1f\x8b"


@pytest.mark.parametrize("query", ["label_ids=9", "label_ids=spleen", "label_ids=", "", "label_ids=1;2"])
def test_an_unknown_label_is_400_and_names_those_there_are(viewer: Any, query: str) -> None:
    answer = viewer(f"/filtered-scans/P1/{SCAN}.nii.gz?{query}")
    assert answer.status_code == 400
    assert "2 (Left lung)" in answer.get_json()["error"]["hint"]


def test_what_is_no_label_map_is_said_to_be_none(viewer: Any) -> None:
    assert viewer("/filtered-scans/P1/model.glb?label_ids=1").status_code == 400
    assert viewer("/filtered-scans/P1/other.nii.gz?label_ids=1").status_code == 404
    image = nib.Nifti1Image(np.zeros((2, 3, 4), np.float32), np.eye(4))
    with pytest.raises(Exception, match="not a label map"):
        label_filter.keep_labels(image.to_bytes(), (1,))


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.uint16, np.int32, ">i2", ">u4"])
def test_every_whole_type_keeps_its_values_and_its_bytes_order(kind: Any) -> None:
    array = (np.arange(60).reshape(3, 4, 5) % 7).astype(kind)
    image = nib.Nifti1Image(array, np.eye(4), dtype=np.dtype(kind).newbyteorder("="))
    header = image.header.as_byteswapped(">") if str(kind).startswith(">") else image.header
    raw = nib.Nifti1Image(array, np.eye(4), header).to_bytes()
    got: Any = nib.Nifti1Image.from_bytes(gzip.decompress(label_filter.keep_labels(raw, (2, 6))))
    assert (np.asanyarray(got.dataobj) == np.where(np.isin(array, (2, 6)), array, 0)).all()


def test_a_share_is_opened_without_login_until_it_ends(app: Flask, operator: Any, monkeypatch: Any) -> None:
    names = [f"{RESULT}/model.glb", f"{RESULT}/labels.json"]
    share = operator("/files", "POST", json={"files": names, "seconds": 600}).get_json()
    path = "/shared/" + share["url"].rpartition("/")[2]
    stranger = app.test_client()
    with zipfile.ZipFile(io.BytesIO(stranger.get(path).data)) as archive:
        assert sorted(archive.namelist()) == sorted(names)
        assert archive.testzip() is None
        assert archive.read(names[0])[:4] == b"glTF"
    assert "127.0" not in share["url"]
    assert "localhost" not in share["url"]
    others = [path[:-1] + c for c in string.ascii_letters + string.digits + "-_" if c != path[-1]]
    assert {stranger.get(other).status_code for other in others} == {404}
    monkeypatch.setattr("api.results.shares.time.time", lambda: 4e9)
    assert stranger.get(path).status_code == 410


def test_a_share_can_be_revoked_and_names_only_files_that_are_there(app: Flask, operator: Any, viewer: Any) -> None:
    share = operator("/files", "POST", json={"files": [f"{RESULT}/model.glb"]}).get_json()
    path = "/shared/" + share["url"].rpartition("/")[2]
    assert operator(f"/shares/{share['id']}/revoke", "POST").status_code == 200
    assert app.test_client().get(path).status_code == 410
    assert operator("/files", "POST", json={"files": ["../secrets.json"]}).status_code == 404
    assert operator("/files", "POST", json={"files": []}).status_code == 400
    assert operator("/files", "POST", json={"files": [1]}).status_code == 400
    assert viewer("/files", "POST", json={"files": [f"{RESULT}/model.glb"]}).status_code == 403


@pytest.mark.parametrize("gone", ["model.glb", "slicer"])
@pytest.mark.parametrize("path", ["/files", "/jsonlist"])
def test_a_result_that_is_replaced_meanwhile_is_left_out(
    viewer: Any, monkeypatch: pytest.MonkeyPatch, path: str, gone: str
) -> None:
    stat = Path.stat

    def stat_or_fail(self: Path, **options: Any) -> os.stat_result:
        if self.name == gone and sys._getframe(1).f_code.co_name != "is_file":
            raise FileNotFoundError(self)
        return stat(self, **options)

    monkeypatch.setattr(Path, "stat", stat_or_fail)
    answer = viewer(path)
    assert answer.status_code == 200
    assert gone not in answer.get_data(as_text=True)
