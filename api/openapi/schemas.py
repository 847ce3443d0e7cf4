"""The shape of every JSON answer, as JSON Schema 2020-12: rows from the catalogue's own columns, the rest by hand.

`ANSWERS` says for each endpoint what it answers when all is well, by media type; `api.openapi.document` puts it into
the OpenAPI document, and the tests hold the answers to it.
"""

from typing import Any

from sqlalchemy import JSON, Boolean, Date, Double, Float, Integer
from sqlalchemy import types as sql

from api.auth import audit
from api.web import row_json
from minipacs.catalogue import Instance, Patient, Rejection, Rendering, Segment, Series, Study
from minipacs.database import Base
from minipacs.jobs.record import STATES

Schema = dict[str, Any]
PAGE, CSV, ZIP, GZIP, ANY = "text/html", "text/csv", "application/zip", "application/gzip", "*/*"
TYPES: tuple[tuple[type[sql.TypeEngine[Any]], str], ...] = (
    (Boolean, "boolean"),
    (Integer, "integer"),
    (Double, "number"),
    (Float, "number"),
    (JSON, "array"),
)
TEXT: Schema = {"type": "string"}
WHOLE: Schema = {"type": "integer"}
NUMBER: Schema = {"type": "number"}
YES_NO: Schema = {"type": "boolean"}


def maybe(schema: Schema) -> Schema:
    """The same, or null."""
    return {**schema, "type": [schema["type"], "null"]} if isinstance(schema.get("type"), str) else schema


def thing(**properties: Schema) -> Schema:
    """An object that has all of these and nothing else."""
    return {
        "type": "object",
        "properties": properties,
        "required": sorted(properties),
        "additionalProperties": False,
    }


def many(schema: Schema) -> Schema:
    """A list of them."""
    return {"type": "array", "items": schema}


def column(found: Any) -> Schema:
    """What a column's value may be."""
    kind = next((name for known, name in TYPES if isinstance(found.type, known)), "string")
    schema: Schema = {"type": kind}
    if isinstance(found.type, Date):
        schema["format"] = "date"
    return maybe(schema) if found.nullable else schema


def row(table: type[Base], **more: Schema) -> Schema:
    """A row of the catalogue, as `api.web.row_json` tells it, and what a route adds."""
    columns = table.__table__.columns
    return thing(**{name: column(columns[attribute]) for attribute, name in row_json.keys(table)}, **more)


def paged(noun: str, one: Schema) -> Schema:
    """A page of a list."""
    return thing(**{noun: many(one), "next": maybe(TEXT)})


RESULT = thing(series_instance_uid=TEXT, engine=TEXT, addresses={"type": "object", "additionalProperties": TEXT})
RESULT["additionalProperties"] = True
JOB: dict[str, Schema] = {
    **{"id": WHOLE, "kind": TEXT, "study": TEXT, "state": {"type": "string", "enum": list(STATES)}},
    **{"stage": TEXT, "percent": maybe({"type": "integer", "minimum": 0, "maximum": 100}), "note": TEXT},
    **{"summary": TEXT, "error": maybe(thing(message=TEXT, hint=TEXT)), "attempt": WHOLE, "attempts": WHOLE},
    **{"cancelling": YES_NO, "created": maybe(TEXT), "started": maybe(TEXT), "finished": maybe(TEXT)},
    **{"elapsed_s": maybe(NUMBER), "left_s": maybe(WHOLE)},
}
STEP = thing(
    step=TEXT, state=TEXT, sentence=TEXT, hint=TEXT, at=maybe(TEXT), job=maybe(WHOLE), percent=maybe(WHOLE),
    left_s=maybe(WHOLE), can_retry=YES_NO,
)  # fmt: skip
WAY = thing(
    StudyInstanceUID=TEXT, PatientID=maybe(TEXT), PatientName=maybe(TEXT), StudyDescription=maybe(TEXT),
    StudyDate=maybe(TEXT), state=TEXT, answer=TEXT, steps=many(STEP), links=many(thing(name=TEXT, url=TEXT)),
)  # fmt: skip
COUNTS = thing(patients=WHOLE, studies=WHOLE, series=WHOLE, images=WHOLE)
OF_MODALITY = thing(modality=maybe(TEXT), studies=WHOLE, series=WHOLE, images=WHOLE)
LABELS = thing(labels=many(thing(id=WHOLE, name=TEXT)), voxel_filename=TEXT)
SHARE: dict[str, Schema] = {"id": WHOLE, "url": TEXT, "files": many(TEXT), "created_by": TEXT, "ends": TEXT}
SHARED = thing(**SHARE, qr=TEXT, note=TEXT)
SHARED["required"].remove("note")
FILE = thing(name=TEXT, size=WHOLE, changed=TEXT, url=TEXT)
ENTRY = thing(name=TEXT, address=TEXT, size=maybe(WHOLE), changed=TEXT)
VERDICT = thing(name=TEXT, verdict=TEXT, reason=TEXT, kind=TEXT, study=TEXT)
VERDICTS = thing(files=many(VERDICT), stored=WHOLE, refused=WHOLE, studies=many(TEXT))
USER = thing(name=TEXT, role=TEXT, created=TEXT)
SERIES_OF_STUDY = row(Series, ours=YES_NO)
WHOLE_STUDY = row(Study, patient=row(Patient), series=many(SERIES_OF_STUDY), results=many(RESULT))
ENGINE = thing(
    name=TEXT, available=YES_NO, version=maybe(TEXT), modalities=many(TEXT), reason=maybe(TEXT), hint=maybe(TEXT)
)
IMAGE = row(Instance, renderings=many(row(Rendering)), segments=many(row(Segment)))
IMAGE_INFO = row(
    Rendering, InstanceNumber=maybe(WHOLE), PatientID=maybe(TEXT), SeriesDescription=maybe(TEXT),
    StudyDescription=maybe(TEXT), Modality=maybe(TEXT), SeriesInstanceUID=TEXT, StudyInstanceUID=TEXT,
)  # fmt: skip
AUDITED = row(audit.Entry)
AUDITED["properties"]["at"] = TEXT
OBJECT: Schema = {"type": "object"}


def counted(**names: Schema) -> Schema:
    """A patient's counts."""
    return thing(patient_id=TEXT, **names)


CODE = thing(value=TEXT, scheme=TEXT, meaning=TEXT)
TERM = thing(label=TEXT, category=CODE, type=CODE, laterality=maybe(CODE), color=many(WHOLE))
SLICE = thing(sop_instance_uid=TEXT, frame=WHOLE, runs=many(WHOLE))
ANSWERED = thing(
    session=TEXT, engine=TEXT, seconds=NUMBER, study_instance_uid=TEXT, voxels=WHOLE, rows=WHOLE, columns=WHOLE,
    slices=many(SLICE),
)  # fmt: skip


JSON_ANSWERS: dict[str, Schema] = {
    "welcome.welcome": thing(message=TEXT, version=TEXT, counts=COUNTS, links=OBJECT),
    "health.alive": thing(status=TEXT),
    "health.ready": thing(status=TEXT, checks={"type": "object", "additionalProperties": TEXT}),
    "patients.patients": paged("patients", row(Patient)),
    "patients.patient_count": thing(patient_count=WHOLE),
    "patients.patient": row(Patient),
    "patients.studies_of_patient": many(row(Study)),
    "patients.study_count": counted(study_count=WHOLE),
    "patients.series_count": counted(series_count=WHOLE),
    "patients.image_count": counted(images_count=WHOLE),
    "patients.counts": counted(study_count=WHOLE, series_count=WHOLE, image_count=WHOLE),
    "studies.studies": paged("studies", row(Study)),
    "studies.study_count": thing(study_count=WHOLE),
    "studies.study": WHOLE_STUDY,
    "studies.series_of_study": many(row(Series)),
    "studies.segments_of_study": many(row(Segment, SeriesInstanceUID=TEXT, superseded_by=maybe(TEXT))),
    "results.results": many(RESULT),
    "series.all_series": paged("series", row(Series)),
    "series.series_count": thing(series_count=WHOLE),
    "series.series": row(Series, patient_key=maybe(TEXT)),
    "series.images_of_series": paged("images", row(Instance)),
    "images.images": paged("images", row(Instance)),
    "images.image_count": thing(images_count=WHOLE),
    "images.image": IMAGE,
    "images.image_info": IMAGE_INFO,
    "studies.images_of_study": paged("images", row(Instance)),
    "patients.series_of_patient": paged("series", row(Series)),
    "export.by_modality": thing(
        modalities=many(thing(modality=maybe(TEXT), studies=WHOLE, series=WHOLE, images=WHOLE))
    ),
    "output.label_table": LABELS,
    "output.labels_of_result": LABELS,
    "share.files": thing(files=many(FILE)),
    "share.names": many(TEXT),
    "share.qr_of_file": SHARED,
    "share.make": SHARED,
    "share.shares": thing(shares=many(thing(**SHARE))),
    "share.revoke": thing(id=WHOLE, revoked=YES_NO),
    "share.nothing_to_delete": thing(status=TEXT, message=TEXT),
    "upload.upload": VERDICTS,
    "jobs.jobs": thing(jobs=many(thing(**JOB)), counts={"type": "object", "additionalProperties": WHOLE}),
    "jobs.job": thing(**JOB, result=maybe(OBJECT), log=TEXT, worker=maybe(TEXT), key=TEXT),
    "jobs.cancel": thing(**JOB),
    "jobs.retry": thing(**JOB),
    "where.where": thing(q=TEXT, studies=many(WAY), trouble=maybe(thing(message=TEXT, hint=TEXT))),
    "jobs.status": thing(new_files=YES_NO, current_file=maybe(TEXT), queue_size=WHOLE),
    "engines.engines": thing(engines=many(ENGINE), automatic=maybe(TEXT)),
    "engines.segment": thing(**JOB),
    "rules.rules": thing(rules=TEXT, default_engine=maybe(TEXT)),
    "rules.change": thing(rules=TEXT),
    "admin.users": many(USER),
    "admin.add_user": thing(name=TEXT),
    "admin.change_role": thing(name=TEXT, role=TEXT),
    "admin.remove_user": thing(name=TEXT, removed=YES_NO),
    "admin.tokens": many(USER),
    "admin.add_token": thing(name=TEXT, token=TEXT),
    "admin.remove_token": thing(name=TEXT, revoked=YES_NO),
    "admin.rejections": paged("rejections", row(Rejection)),
    "audit.entries": paged("entries", AUDITED),
    "prompts.engines": thing(engines=many(thing(name=TEXT, available=YES_NO, reason=TEXT, hint=TEXT))),
    "prompts.terminology": thing(terms=many(TERM)),
    "prompts.prompt": ANSWERED,
    "prompts.accept": thing(study_instance_uid=TEXT, series_instance_uid=TEXT, sop_instance_uid=TEXT),
    "prompts.discard": thing(discarded=TEXT),
    "older_prompts.segment": thing(timestamp=TEXT, engine=TEXT),
    "older_prompts.health_check": thing(status=TEXT),
    "docs.openapi": OBJECT,
}
OTHER_ANSWERS: dict[str, tuple[str, ...]] = {
    "admin.page": (PAGE,),
    "audit.entries": (CSV,),
    "docs.page": (PAGE,),
    "exchange.fetch": (ANY,),
    "export.export": (CSV,),
    "export.export_parquet": ("application/vnd.apache.parquet",),
    "gateway.retrieve": ("multipart/related", "application/dicom+json", "application/json", "image/*"),
    "gateway.store": ("application/dicom+json", "application/dicom+xml"),
    "images.png": ("image/png",),
    "live.events": ("text/event-stream",),
    "login.account": (PAGE,),
    "login.enter": (PAGE,),
    "login.form": (PAGE,),
    "metrics.metrics": ("text/plain",),
    "older_prompts.dicom_image": ("application/dicom",),
    "older_prompts.segmented_image": ("image/png",),
    "output.browse": (ANY,),
    "output.filtered_result": (GZIP,),
    "output.filtered_scan": (GZIP,),
    "output.filtered_voxels": (GZIP,),
    "results.result_file": (ANY,),
    "scene.images": (GZIP,),
    "scene.overlay": (PAGE,),
    "scene.view": (PAGE,),
    "share.download": (ANY,),
    "share.fetch": (ZIP,),
    "upload.form": (PAGE,),
}
"""What is no JSON, by media type."""
TWO_FACED = frozenset(
    ["welcome.welcome", "studies.studies", "studies.study", "where.where", "rules.rules", "rules.change",
     "engines.engines", "jobs.jobs", "jobs.job", "share.files",
     "share.make", "upload.upload", "admin.add_token", "audit.entries"]
)  # fmt: skip
"""Answers a browser with a page."""


def content(endpoint: str) -> dict[str, Any]:
    """What an endpoint answers when all is well: OpenAPI's media types."""
    found: dict[str, Any] = {kind: {} for kind in OTHER_ANSWERS.get(endpoint, ())}
    if endpoint in JSON_ANSWERS:
        found["application/json"] = {"schema": JSON_ANSWERS[endpoint]}
    if endpoint in TWO_FACED:
        found[PAGE] = {}
    return found
