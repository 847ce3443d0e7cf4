"""The client of Orthanc's REST API: the only importer of pyorthanc and httpx.

`Archive` returns values of ours and raises only our errors. Tests pass a `transport` of their own
(`httpx.MockTransport`).
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO
from typing import Any

import httpx
import pydicom
from pyorthanc import Orthanc

from minipacs.archive.content import InstanceContent, SeriesContent, StudyContent
from minipacs.archive.deletions import DeletionCursor, DeletionPage, parse_page
from minipacs.archive.file_contents import FileContent, FileContentReader
from minipacs.errors import ArchiveRefused, ArchiveUnreachable, NotInArchive
from minipacs.formats.dicom_file import read_dicom
from minipacs.formats.uids import is_uid
from minipacs.memory.size_limits import check_object_size
from minipacs.secrets import orthanc_password
from minipacs.settings import Settings

TIMEOUT_S = 60.0
KEEP_ALIVE_S = 0.5
"""Orthanc closes an idle connection after 1 s: we close ours before."""
PAGE_SIZE = 1000
"""Entries requested at once."""


@dataclass(frozen=True)
class Change:
    """One entry of the archive's change log."""

    number: int
    type: str
    resource_id: str


@dataclass(frozen=True)
class StoredFile:
    """A DICOM file in Orthanc's storage: it has a new `uuid` whenever it is stored anew."""

    instance_id: str
    uuid: str
    size: int


@dataclass(frozen=True)
class ArchivedInstance:
    """An instance in the archive, its UID (empty where that is none), and Orthanc's identifier of its study."""

    instance_id: str
    sop_instance_uid: str
    study_id: str


@dataclass(frozen=True)
class ArchivedStudy:
    """A study in the archive: its patient, and when its last instance arrived (seconds since 1970)."""

    study_id: str
    patient_id: str
    last_update: float
    series: int


@dataclass(frozen=True)
class ChangePage:
    """A page of the change log: its entries, the cursor after them, and whether it was the last page."""

    entries: tuple[Change, ...]
    last: int
    done: bool


class Archive:
    """The archive, over HTTP. Threads may share one; each process opens its own."""

    def __init__(
        self,
        settings: Settings,
        transport: httpx.BaseTransport | None = None,
        *,
        timeout_s: float = TIMEOUT_S,
        wait: Callable[[float], AbstractContextManager[float]] = nullcontext,
    ) -> None:
        """`wait`: what every request waits in; given the longest time in seconds, it says how long it may be."""
        self.url = settings.orthanc_url
        self._timeout_s, self._wait = timeout_s, wait
        self._file_contents = FileContentReader(self._request_json)
        self._client = Orthanc(
            self.url,
            username=settings.orthanc_user,
            password=orthanc_password(settings),
            timeout=timeout_s,
            limits=httpx.Limits(keepalive_expiry=KEEP_ALIVE_S),
            return_raw_response=True,
            transport=transport,
        )

    # -- reading ------------------------------------------------------------------------------------
    def read_version(self) -> str:
        """Orthanc's version; raises `ArchiveUnreachable` when nobody answers."""
        return str(self._request_json("GET", "/system")["Version"])

    def read_system_info(self) -> dict[str, Any]:
        """Orthanc's description of itself: version, application entity title, where its index is."""
        return dict(self._request_json("GET", "/system"))

    def list_plugins(self) -> list[str]:
        """Names of the loaded plugins."""
        return [str(name) for name in self._request_json("GET", "/plugins")]

    def check_dicomweb(self) -> None:
        """Send a QIDO-RS query for one study; raises when it is not answered."""
        self._request_json("GET", "/dicom-web/studies?limit=1", headers={"Accept": "application/dicom+json"})

    def read_last_change_number(self) -> int:
        """Number of the newest entry of the change log."""
        return int(self._request_json("GET", "/changes?last")["Last"])

    def read_changes(self, since: int, limit: int = PAGE_SIZE) -> ChangePage:
        """A page of the change log after entry `since`. Deletions do not stand in it."""
        answer = self._request_json("GET", f"/changes?since={since}&limit={limit}")
        entries = tuple(Change(int(e["Seq"]), str(e["ChangeType"]), str(e["ID"])) for e in answer["Changes"])
        return ChangePage(entries, int(answer["Last"]), bool(answer["Done"]))

    def list_study_ids(self) -> list[str]:
        """Orthanc's identifiers of all studies."""
        return [str(i) for i in self._request_json("GET", "/studies")]

    def find_parent_studies(self, resource_ids: Iterable[str]) -> set[str]:
        """The studies to which these patients, studies, series or instances belong; the deleted are left out."""
        ids = list(dict.fromkeys(resource_ids))
        found: set[str] = set()
        for start in range(0, len(ids), PAGE_SIZE):
            query = {"Resources": ids[start : start + PAGE_SIZE], "Level": "Study", "Metadata": False}
            found.update(str(entry["ID"]) for entry in self._request_json("POST", "/tools/bulk-content", json=query))
        return found

    def find_study_uids(self, resource_ids: Iterable[str]) -> set[str]:
        """Study Instance UIDs of the studies to which these resources belong; the deleted are left out."""
        query = {"Resources": list(resource_ids), "Level": "Study", "Metadata": False}
        entries = self._request_json("POST", "/tools/bulk-content", json=query)
        return {_read_uid(entry, "StudyInstanceUID") for entry in entries}

    def find_study_id(self, study_instance_uid: str) -> str:
        """Orthanc's identifier of a study; raises `NotInArchive`."""
        found = self.find_ids("Study", study_instance_uid)
        if not found:
            raise NotInArchive(f"The archive has no study {study_instance_uid}.", "Send it, or check the UID.")
        return found[0]

    def find_ids(self, level: str, uid: str) -> list[str]:
        """Orthanc's identifiers of the resources with this UID; `level` is Study, Series or Instance."""
        found = self._request_json("POST", "/tools/lookup", content=uid)
        return [str(e["ID"]) for e in found if e["Type"] == level]

    def find_studies(self, text: str, limit: int = 20) -> dict[str, ArchivedStudy]:
        """Studies whose UID, PatientID, accession number or patient's name is `text`, by Study Instance UID.

        A name matches in its middle, the rest whole; case does not count.
        """
        plain = text.strip().replace("*", "?")
        queries = [{"StudyInstanceUID": plain}, {"PatientID": plain}, {"AccessionNumber": plain}]
        queries.append({"PatientName": "*" + "*".join(plain.split()) + "*"})
        found: dict[str, ArchivedStudy] = {}
        for query in queries if plain else ():
            body = {"Level": "Study", "Expand": True, "CaseSensitive": False, "Limit": limit, "Query": query}
            for entry in self._request_json("POST", "/tools/find", json=body):
                uid = str(entry["MainDicomTags"].get("StudyInstanceUID", ""))
                last = datetime.strptime(str(entry["LastUpdate"]), "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
                patient = str(entry.get("PatientMainDicomTags", {}).get("PatientID", ""))
                found[uid] = ArchivedStudy(str(entry["ID"]), patient, last.timestamp(), len(entry["Series"]))
        return found

    def is_stable(self, study_id: str) -> bool:
        """Whether Orthanc calls the study stable; forgotten when Orthanc stops before that."""
        return bool(self._request_json("GET", f"/studies/{study_id}")["IsStable"])

    def count_series(self, study_id: str) -> int:
        """How many series the study has at this moment."""
        return len(self._request_json("GET", f"/studies/{study_id}")["Series"])

    def read_study(self, study_id: str) -> StudyContent:
        """What the study holds, without pixels."""
        study = self._request_json("GET", f"/studies/{study_id}")
        instances: dict[str, list[InstanceContent]] = {}
        entries = self._request_json("GET", f"/studies/{study_id}/instances?expand")
        for entry, instance in self._read_instances(entries):
            instances.setdefault(str(entry["ParentSeries"]), []).append(instance)
        series = [
            _parse_series(s, instances.get(str(s["ID"]), []))
            for s in self._request_json("GET", f"/studies/{study_id}/series?expand")
        ]
        uid = _read_uid(study, "StudyInstanceUID")
        return StudyContent(study_id, uid, tuple(sorted(series, key=lambda s: s.series_instance_uid)))

    def read_series(self, series_id: str) -> tuple[str, SeriesContent]:
        """The Study Instance UID of a series, and what it holds, without pixels."""
        series = self._request_json("GET", f"/series/{series_id}")
        study = self._request_json("GET", f"/studies/{series['ParentStudy']}")
        entries = self._request_json("GET", f"/series/{series_id}/instances?expand")
        instances = [instance for _, instance in self._read_instances(entries)]
        return _read_uid(study, "StudyInstanceUID"), _parse_series(series, instances)

    def _read_instances(self, entries: list[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], InstanceContent]]:
        """Orthanc's descriptions of instances, each with its content; the instances deleted meanwhile are left out."""
        files = self.read_file_contents({str(e["ID"]): str(e["FileUuid"]) for e in entries})
        for entry in entries:
            instance_id = str(entry["ID"])
            if (file := files.get(instance_id)) is not None:
                uid = _read_uid(entry, "SOPInstanceUID")
                yield entry, InstanceContent(uid, instance_id, file.content_md5, file.uuid, file.size)

    def read_file_contents(self, file_uuids: Mapping[str, str]) -> dict[str, FileContent]:
        """What the files of these instances hold; the instances that are not there are left out.

        `file_uuids`: the UUID that each instance's file had lately, where it is known, and empty where it is not.
        """
        return self._file_contents.read(file_uuids)

    def read_deletions(self, cursor: DeletionCursor) -> DeletionPage | None:
        """A page of our plugin's log of deletions after the cursor; `None` where Orthanc has no such log."""
        query = {"epoch": cursor.epoch, "since": str(cursor.position)}
        try:
            return parse_page(self._request_json("GET", "/minipacs/deletions", params=query))
        except NotInArchive:
            return None

    def list_instance_ids(self) -> list[str]:
        """Orthanc's identifiers of all instances, as they are at one moment."""
        return [str(i) for i in self._request_json("GET", "/instances")]

    def find_instances(self, instance_ids: Iterable[str]) -> Iterator[ArchivedInstance]:
        """These instances with their UIDs and their studies; those that were deleted are left out."""
        ids = list(instance_ids)
        for start in range(0, len(ids), PAGE_SIZE):
            page = {"Resources": ids[start : start + PAGE_SIZE], "Level": "Instance", "Metadata": False}
            entries = self._request_json("POST", "/tools/bulk-content", json=page)
            series_ids = sorted({str(entry["ParentSeries"]) for entry in entries})
            query = {"Resources": series_ids, "Level": "Series", "Metadata": False}
            series = self._request_json("POST", "/tools/bulk-content", json=query) if series_ids else []
            study_of = {str(one["ID"]): str(one["ParentStudy"]) for one in series}
            for entry in entries:
                uid = _read_uid(entry, "SOPInstanceUID")
                yield ArchivedInstance(str(entry["ID"]), uid, study_of.get(str(entry["ParentSeries"]), ""))

    def list_stored_files(self, instance_ids: Iterable[str]) -> Iterator[StoredFile]:
        """The files of these instances in Orthanc's storage; instances deleted meanwhile are left out."""
        ids = list(instance_ids)
        for start in range(0, len(ids), PAGE_SIZE):
            query = {"Resources": ids[start : start + PAGE_SIZE], "Level": "Instance", "Metadata": False}
            for entry in self._request_json("POST", "/tools/bulk-content", json=query):
                yield StoredFile(str(entry["ID"]), str(entry["FileUuid"]), int(entry["FileSize"]))

    def count_instances(self) -> int:
        """How many instances it holds."""
        return int(self._request_json("GET", "/statistics")["CountInstances"])

    # -- instances --------------------------------------------------------------------------
    def read_file(self, instance_id: str) -> bytes:
        """The instance as a DICOM file (PS3.10); raises `ExceedsMemory` for one larger than an object may be."""
        return self._request("GET", f"/instances/{instance_id}/file", stream=True).content

    def read_dataset(self, instance_id: str) -> "pydicom.Dataset":
        """The instance, read by pydicom; raises `Unreadable`."""
        return read_dicom(BytesIO(self.read_file(instance_id)), "An instance", force=True)

    def read_datasets(self, instance_ids: Iterable[str]) -> Iterator[pydicom.Dataset]:
        """The instances, one after the other, in the given order."""
        return (self.read_dataset(i) for i in instance_ids)

    def store_file(self, file: bytes) -> str:
        """Store a DICOM file; its identifier. Stored already: the same answer, nothing changes."""
        answer = self._request_json("POST", "/instances", content=file)
        return str(answer["ID"])

    def delete_series(self, series_id: str) -> None:
        """Delete a series; what is gone already is no error."""
        try:
            self._request("DELETE", f"/series/{series_id}")
        except NotInArchive:
            return

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    # -- requests -----------------------------------------------------------------------------------
    def _request_json(self, method: str, path: str, **options: Any) -> Any:
        """The JSON of an answer. Text that is no UTF-8, as broken objects have it, has U+FFFD in place of it."""
        content = self._request(method, path, **options).content
        try:
            return json.loads(content.decode("utf-8", "replace"), strict=False)
        except ValueError as error:
            raise ArchiveRefused(
                f"Orthanc answered {method} {path.partition('?')[0]} with no JSON.", "See its log."
            ) from error

    def _request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Send a request; errors of httpx and Orthanc become errors of ours."""
        try:
            try:
                response = self._send_request(method, path, **options)
            except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):  # a stale connection: send again;
                response = self._send_request(method, path, **options)  # every request of ours may be sent twice
        except httpx.TransportError as error:
            raise ArchiveUnreachable(
                f"Orthanc does not answer at {self.url} ({type(error).__name__}).", "Start it with scripts/up."
            ) from error
        if response.status_code == 404:
            raise NotInArchive(f"The archive has nothing at {path.partition('?')[0]}.", "It may have been deleted.")
        if response.status_code == 401:
            raise ArchiveRefused("Orthanc refused our credentials.", "Check MINIPACS_ORTHANC_USER and _PASSWORD.")
        if response.is_error:
            raise ArchiveRefused(
                f"Orthanc answered {response.status_code} to {method} {path.partition('?')[0]}.", "See its log."
            )
        return response

    def _send_request(self, method: str, path: str, *, stream: bool = False, **options: Any) -> httpx.Response:
        """`stream`: look at the length of the answer before its body is read."""
        with self._wait(self._timeout_s) as timeout_s:
            request = self._client.build_request(method, self.url + path, timeout=timeout_s, **options)
            response: httpx.Response = self._client.send(request, stream=stream)
            if stream:
                try:
                    check_object_size(int(response.headers.get("Content-Length") or 0))
                    response.read()
                finally:
                    response.close()
        return response


def _read_uid(resource: dict[str, Any], keyword: str) -> str:
    """A UID of Orthanc's description of a resource; empty where it is absent, or no UID (PS3.5 9.1)."""
    text = str(resource["MainDicomTags"].get(keyword, "")).strip(" \0")
    return text if is_uid(text) else ""


def _parse_series(series: dict[str, Any], instances: list[InstanceContent]) -> SeriesContent:
    """Orthanc's description of a series as a `SeriesContent`."""
    tags = series["MainDicomTags"]
    return SeriesContent(
        series_id=str(series["ID"]),
        series_instance_uid=_read_uid(series, "SeriesInstanceUID"),
        modality=str(tags.get("Modality", "")),
        manufacturer=str(tags.get("Manufacturer", "")),
        description=str(tags.get("SeriesDescription", "")),
        instances=tuple(sorted(instances)),
    )
