"""Every route × method × credential × group: nothing of another group's data is in any answer.

The routes are those of the application's own map; addresses, parameters and fields are filled with the names and
numbers of the other group, and once more with such as exist nowhere: both answers must be the same. A route that
takes something which this test does not know fails it.
"""

import gzip
import io
import json
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlencode

import msgspec
import pytest
from flask import Flask
from flask.testing import FlaskClient
from pyarrow import parquet
from sqlalchemy import select
from werkzeug.routing import Rule
from werkzeug.test import TestResponse

from api.web.describe_route import JSON, RouteDescription, read_description
from api.work import job_events
from front_doors import OUR_PAGE, PAGE, FrontDoors, log_in, open_front_doors
from minipacs.groups.visibility import VISIBLE
from minipacs.tables import load_tables
from route_walk import walk_routes
from two_groups import ALPHA, BETA, ENGINE, GHOST, Side, add_member, add_token, fill_with_two_groups

ACCOUNT_ROUTES = ("login.log_out", "login.change_own_password", "own_sessions.end_other_sessions")
"""They would end the credential that walks; about studies they know nothing."""
REFUSING_ROUTES = ("gateway.store_instances",)
"""What would be stored into another group's study is refused, where a new study would be stored: docs/security.md."""
CHANGING = re.compile(r'name="csrf_token" value="[^"]*"|nonce(=|-)["\w-]+')
"""Parts of a page that are other ones each time."""


@dataclass(frozen=True)
class Request:
    """A request of the walk, the same for every side but for its names and numbers."""

    method: str
    address: str
    headers: dict[str, str]
    body: dict[str, Any]

    @property
    def text(self) -> str:
        """All that it tells the server: an answer may say it again."""
        return unquote(self.address).replace("+", " ") + json.dumps(self.body, default=str)


@dataclass
class Credential:
    """A way to prove who one is."""

    name: str
    client: FlaskClient
    headers: dict[str, str]


def places_of(side: Side) -> dict[str, list[str]]:
    """What stands in an address, by the name of its part; `endpoint:part` where the name says too little."""
    scan, file = f"{side.series}_{ENGINE}", f"{side.result}/labels.nii.gz"
    patient = side.patient_id
    return {
        "study": [side.study], "study_instance_uid": [side.study],
        "series": [side.series], "series_instance_uid": [side.series, side.seg_series],
        "sop_instance_uid": [side.instance, side.seg],
        "patient_id": [patient], "engine": [ENGINE], "scan_name": [scan],
        "job_id": [str(side.job)], "share_id": [str(side.job)],
        "relative": [file, f"{side.result}/manifest.json", f"{side.result}/seg.dcm", side.study],
        "where": [
            patient, f"{patient}/scans", f"{patient}/scans/{scan}.nii.gz", f"{patient}/voxels",
            f"{patient}/voxels/{scan}", f"{patient}/voxels/{scan}/original", f"{patient}/nifti",
            f"{patient}/voxels/{scan}/organ_{side.name.lower()}_{side.number}.nii.gz",
        ],
        "filename": [f"{scan}.nii.gz", file, f"{side.picture}.png", side.instance],
        "path": [
            "studies", "series", "instances", f"studies/{side.study}", f"studies/{side.study}/series",
            f"studies/{side.study}/metadata", f"studies/{ALPHA.study}/series/{side.series}/metadata",
            f"studies/{ALPHA.study}/series/{ALPHA.series}/instances/{side.instance}/frames/1",
            f"studies/{side.study}/series/{side.series}/instances/{side.instance}/rendered",
            f"studies/{side.study}/series/{side.series}/instances/{side.instance}/bulk/7fe00010",
        ],
        "name": [side.name, f"viewer-of-{side.name}", f"token:{side.name}"],
        "token": ["a-token-of-nobody"], "session_id": [f"session-of-{side.number}"],
        "timestamp": [f"picture-of-{side.number}"],
        "folder": [str(side.number)], "ends": ["1"], "signature": ["x"],
    }  # fmt: skip


def values_of(side: Side) -> dict[str, Any]:
    """What parameters and fields hold, by their names."""
    code = {"value": "1", "scheme": "99TEST", "meaning": "a test"}
    file = f"{side.result}/labels.nii.gz"
    return {
        "StudyInstanceUID": side.study, "SeriesInstanceUID": side.series, "study": side.study, "series": side.series,
        "PatientID": side.patient_id, "patient": side.patient_id, "PatientName": side.patient_name,
        "AccessionNumber": side.accession, "StudyDescription": side.description,
        "SeriesDescription": side.description, "q": f"Family{side.name}{side.number}", "filename": file,
        "Modality": "CT", "modality": "CT", "kind": "segment", "state": "failed", "split": "train",
        "code": "conflict", "type": code, "labels": side.label, "label_ids": "1", "from": "2024-01-01",
        "to": "2024-12-31", "StudyDate": "2024-02-01", "limit": 5, "before": 10**6, "after": "",
        "SOPClassUID": "1.2.840.10008.5.1.4.1.1.2", "InstanceNumber": "1", "Manufacturer": "x",
        "BodyPartExamined": "x", "PatientSex": "M", "PatientBirthDate": "2000-01-01", "next": "/", "format": "json",
        "user": "x", "action": "view", "address": "x", "error": "x",
        "files": [file], "seconds": 3600, "studies": [side.study], "groups": [side.name], "group": side.name,
        "members": [f"viewer-of-{side.name}"], "name": f"walked-{side.number}", "description": "x", "role": "viewer",
        "sees_all": True, "password": "x", "old": "x", "new": "a new password", "again": "a new password",
        "rules": "", "engine": ENGINE, "session": f"session-of-{side.number}", "window": [40.0, 400.0],
        "propagate": False, "prompts": [{"point": [0.0, 0.0, 0.0], "sop_instance_uid": side.instance}],
        "label": "Liver", "category": code, "laterality": None, "color": [1, 2, 3], "sam_input": "{}",
    }  # fmt: skip


def requests_of(rule: Rule, method: str, description: RouteDescription, side: Side) -> Iterator[Request]:
    """Every request that the walk makes of a route: each address, each parameter, as a script and as a browser."""
    values = values_of(side)
    body = body_of(description, values) if method not in ("GET", "HEAD") else {}
    queries = [""]
    if description.query is not None:
        names = [field.encode_name for field in msgspec.structs.fields(description.query)]
        queries += ["?" + urlencode({name: values[name] if name != "type" else "BINARY"}) for name in names]
    if rule.endpoint == "gateway.search_or_retrieve":
        queries += ["?" + urlencode({name: values[name]}) for name in ("StudyInstanceUID", "PatientID", "PatientName")]
        queries += [f"?SeriesInstanceUID={side.series}&includefield=all", f"?0020000D={side.study}&limit=1"]
    for address in addresses_of(rule, side):
        for query in queries:
            yield Request(method, address + query, {"Accept": "*/*"}, body)
            if description.page:
                yield Request(method, address + query, PAGE, body)


def addresses_of(rule: Rule, side: Side) -> list[str]:
    """Addresses of a route with each value of each part."""
    addresses = [rule.rule]
    for part in sorted(rule.arguments):
        known = places_of(side)[part]
        pattern = re.compile(rf"<(?:\w+:)?{part}>")
        addresses = [pattern.sub(quote(value), address) for address in addresses for value in known]
    return addresses


def body_of(description: RouteDescription, values: dict[str, Any]) -> dict[str, Any]:
    """A body with every field that the route takes."""
    body = description.body
    if body is None:
        return {}
    if body.model is None:
        return {"data": b"x", "content_type": body.media[0]}
    fields = {field.encode_name: values[field.encode_name] for field in msgspec.structs.fields(body.model)}
    if JSON in body.media:
        return {"json": fields}
    return {"data": {name: str(value) for name, value in fields.items()}}


def ask(credential: Credential, request: Request) -> tuple[int, str]:
    """Status, and all that an answer says, unpacked: its headers that may name something, and its body."""
    headers = {**credential.headers, **OUR_PAGE, **request.headers}
    body = dict(request.body)
    if isinstance(body.get("data"), dict):
        body["data"] = {**body["data"], "file": (io.BytesIO(b"no DICOM"), "x.dcm")}
    answer = credential.client.open(request.address, method=request.method, headers=headers, **body)
    said = [answer.headers.get(name, "") for name in ("Location", "Content-Disposition", "Content-Type", "Warning")]
    text = "\n".join([*said, unpack(answer)])
    answer.close()
    return answer.status_code, CHANGING.sub("", text)


def unpack(answer: TestResponse) -> str:
    """The body as text, out of whatever it is packed in."""
    data = answer.get_data()
    if data[:2] == b"\x1f\x8b":
        data = gzip.decompress(data)
    if data[:4] == b"PAR1":
        return str(parquet.read_table(io.BytesIO(data)).to_pydict())
    if data[:4] == b"PK\x03\x04":
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return "\n".join(name + archive.read(name).decode("latin-1") for name in archive.namelist())
    return data.decode("utf-8", "replace")


def without_names(text: str, side: Side) -> str:
    """A text in which the two sides are the same, and what they cannot both be is left out."""
    return text.replace(str(side.number), "NUMBER").replace(side.name, "NAME").replace(side.name.lower(), "name")


@pytest.fixture(params=["sqlite", "postgresql"])
def doors(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FrontDoors]:
    monkeypatch.setattr(job_events, "STREAM_S", 0.05)
    monkeypatch.setattr(job_events, "POLL_S", 0.05)
    with open_front_doors(request.param, tmp_path) as doors:
        fill_with_two_groups(doors.database, doors.settings)
        yield doors


def credentials_of(doors: FrontDoors, side: Side) -> list[Credential]:
    """Nobody, a token of each role, a user by session, all of one group."""
    app = doors.apps[0]
    found = [Credential("nobody", app.test_client(), {})]
    for role in ("viewer", "annotator", "operator"):
        headers = add_token(doors.database, f"{role} of {side.name}", role, side)
        found.append(Credential(f"token {role}", app.test_client(), headers))
    browser = app.test_client()
    log_in(browser, add_member(doors.database, side, "operator"), "a good password")
    browser.get("/account")
    return [*found, Credential("session operator", browser, {})]


def read_rows_of(doors: FrontDoors, side: Side) -> list[str]:
    """Every row that is about one side."""
    rows: list[str] = []
    with doors.database.reading() as session:
        for name in sorted(set(VISIBLE) - {"api_audit"}):
            rows += [str(tuple(row)) for row in session.execute(select(load_tables().tables[name]))]
    return sorted(row for row in rows if str(side.number) in row)


def walk(app: Flask, side: Side) -> Iterator[tuple[str, Request]]:
    """Every request of every route, filled with one side's names and numbers; with the route's endpoint."""
    for rule, method, _ in walk_routes(app):
        description = read_description(app.view_functions[rule.endpoint])
        if rule.endpoint in ACCOUNT_ROUTES:
            continue
        for one in requests_of(rule, method, description, side):
            yield rule.endpoint, one


@pytest.mark.timeout(1200)
def test_no_answer_to_one_group_has_anything_of_another(doors: FrontDoors) -> None:
    app = doors.apps[0]
    before = read_rows_of(doors, BETA)
    asked = 0
    for credential in credentials_of(doors, ALPHA):
        for (endpoint, to_other), (_, to_ghost) in zip(walk(app, BETA), walk(app, GHOST), strict=True):
            status, said = ask(credential, to_other)
            what = (credential.name, endpoint, to_other.method, to_other.address)
            leaked = [name for name in BETA.identifiers() if name in said and name not in to_other.text]
            assert not leaked, (*what, leaked)
            assert status < 500 or status in (502, 503), what
            if to_other.text != to_ghost.text and endpoint not in REFUSING_ROUTES:
                ghost_status, ghost_said = ask(credential, to_ghost)
                assert (status, without_names(said, BETA)) == (ghost_status, without_names(ghost_said, GHOST)), what
            asked += 1
    assert asked > 1000
    assert read_rows_of(doors, BETA) == before


@pytest.mark.timeout(600)
def test_the_walk_finds_the_data_where_it_is_visible(doors: FrontDoors) -> None:
    headers = add_token(doors.database, "sees all", "viewer", None)
    for credential in (
        Credential("sees all", doors.apps[0].test_client(), headers),
        Credential("member", doors.apps[0].test_client(), add_token(doors.database, "of beta", "viewer", BETA)),
    ):
        found = set()
        for endpoint, one in walk(doors.apps[0], BETA):
            if one.method == "GET" and endpoint not in found:
                status, said = ask(credential, one)
                if status == 200 and any(name in said for name in BETA.identifiers()):
                    found.add(endpoint)
        assert len(found) > 35, (credential.name, sorted(found))
