"""Schemathesis makes requests from our OpenAPI document: no answer is a mistake, none breaks the document.

A quick share in every run; `MINIPACS_API_CASES=5000` asks for so many in all (docs/api.md).
"""

import os
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from waiting import SCALE

STUDY, SERIES, ODD = "1.2.3.4.1", "1.2.3.4.1.1", "A/B 50%-ü"
PICTURE = "0b6f6c3e-5f0e-5f0e-8f0e-000000000001"
CASES = int(os.environ.get("MINIPACS_API_CASES", "600"))
NOT_HERE = ("/dicom-web", "/jobs/events", "/prompts", "/segment_input", "/get_", "/health_check")
"""Orthanc's answers (tests/api/dicomweb), a stream that does not end, and the prompt service's answers."""
REAL: dict[str, list[Any]] = {
    "patient_id": ["P1", ODD],
    **{name: [STUDY, "1.2.3.4.3"] for name in ("study_instance_uid", "study", "StudyInstanceUID")},
    **{name: [SERIES, "1.2.3.4.3.1"] for name in ("series_instance_uid", "series", "SeriesInstanceUID")},
    "sop_instance_uid": [f"{SERIES}.1"],
    "engine": ["slicer"],
    "scan_name": [f"{SERIES}_slicer", "labels"],
    "filename": ["labels.nii.gz", PICTURE, f"{PICTURE}.png", f"{STUDY}/{SERIES}/slicer/model.glb"],
    "relative": [f"{STUDY}/{SERIES}/slicer/{name}" for name in ("labels.json", "model.glb")],
    "where": ["P1", "P1/scans", "P1/voxels", f"P1/voxels/{SERIES}_slicer/original"],
    "label_ids": ["1", "1,2,3"],
    "labels": ["1", "Left lung,3"],
    "limit": ["1", "2", "1000"],
    "job_id": [1],
    "share_id": [1],
}
"""Values that lead somewhere, beside whatever Schemathesis invents."""


def with_real_values(document: dict[str, Any]) -> dict[str, Any]:
    """The document, whose parameters may also have the values that are in the catalogue."""
    paths = {path: methods for path, methods in document["paths"].items() if not path.startswith(NOT_HERE)}
    for methods in paths.values():
        for operation in methods.values():
            for parameter in operation["parameters"]:
                if real := REAL.get(parameter["name"]):
                    parameter["schema"] = {"anyOf": [{"enum": real}, parameter["schema"]]}
    return {**document, "paths": paths}


@pytest.mark.timeout(SCALE * max(1800, CASES))
def test_no_answer_breaks_the_document(app: Flask, caller: Callable[[str], Any]) -> None:
    schemathesis = pytest.importorskip("schemathesis")
    hypothesis = pytest.importorskip("hypothesis")
    admin = caller("admin")
    schema = schemathesis.openapi.from_dict(with_real_values(admin("/openapi.json").get_json()))
    schema.app = app
    checks = [
        schemathesis.checks.not_a_server_error,
        *(getattr(schemathesis.specs.openapi.checks, name) for name in (
            "status_code_conformance", "content_type_conformance", "response_schema_conformance",
        )),
    ]  # fmt: skip
    operations = [result.ok() for result in schema.get_all_operations()]
    seen: Counter[int] = Counter()
    quiet = [hypothesis.HealthCheck.too_slow, hypothesis.HealthCheck.filter_too_much]
    each = hypothesis.settings(
        max_examples=-(-CASES * 11 // (10 * len(operations))), deadline=None, database=None, derandomize=True,
        suppress_health_check=quiet, phases=[hypothesis.Phase.generate],
    )  # fmt: skip

    def asked(case: Any) -> None:
        response = case.call(headers=admin.headers)
        seen[response.status_code] += 1
        no_archive = response.status_code == 503 and (case.path == "/readyz" or "archive_unreachable" in response.text)
        case.validate_response(response, checks=checks[no_archive:])  # 503 is right: there is none here

    for operation in operations:
        answers = each(hypothesis.given(case=operation.as_strategy())(asked))
        answers()
    assert sum(seen.values()) >= CASES, seen
    assert {200, 400, 404} <= set(seen), seen
    print(f"{sum(seen.values())} cases of {len(operations)} operations: {dict(seen)}")


def test_every_answer_is_described(admin: Any) -> None:
    document = admin("/openapi.json").get_json()
    only_elsewhere = {"login_log_out_post", "login_change_own_password_post"}
    bare = {
        operation["operationId"]
        for methods in document["paths"].values()
        for operation in methods.values()
        if "content" not in operation["responses"]["2XX"]
    }
    assert bare == only_elsewhere, "@answers on the view says what a route answers"
