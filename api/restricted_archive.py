"""The archive as one member of groups may see it: what is found by a UID or a text is of a visible study."""

from collections.abc import Callable

from minipacs.archive.client import Archive, ArchivedStudy
from minipacs.errors import NotInArchive
from minipacs.formats.uids import is_uid


class RestrictedArchive(Archive):
    """Finds what the member may see. What takes an identifier of Orthanc's takes one that was found here."""

    def __init__(self, archive: Archive, is_study_visible: Callable[[str], bool]) -> None:
        self.url = archive.url
        self._client = archive._client
        self._timeout_s, self._wait = archive._timeout_s, archive._wait
        self._is_study_visible = is_study_visible

    def find_study_id(self, study_instance_uid: str) -> str:
        """Orthanc's identifier of a study; raises `NotInArchive`."""
        found = super().find_study_id(study_instance_uid)
        if not self._is_study_visible(study_instance_uid):
            raise NotInArchive(f"The archive has no study {study_instance_uid}.", "Send it, or check the UID.")
        return found

    def find_ids(self, level: str, uid: str) -> list[str]:
        """Orthanc's identifiers of the resources with this UID; `level` is Study, Series or Instance."""
        return [found for found in super().find_ids(level, uid) if self._is_visible(found)]

    def find_studies(self, text: str, limit: int = 20) -> dict[str, ArchivedStudy]:
        """The visible study of this UID, by Study Instance UID.

        The archive is asked for nothing else: how long it takes would tell what others have. Names, PatientIDs and
        accession numbers are the catalogue's to find.
        """
        uid = text.strip()
        if not is_uid(uid) or not self._is_study_visible(uid):
            return {}
        found = super().find_studies(uid, limit)
        return {uid: found[uid]} if uid in found else {}

    def close(self) -> None:
        """Nothing: the connections belong to the archive's client."""

    def _is_visible(self, resource_id: str) -> bool:
        """Whether a study, a series or an instance belongs to a visible study."""
        return any(self._is_study_visible(uid) for uid in self.find_study_uids([resource_id]))
