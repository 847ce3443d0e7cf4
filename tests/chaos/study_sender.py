"""Sends studies by C-STORE as a modality does: again and again, until every instance was acknowledged."""

import threading
from collections.abc import Sequence
from pathlib import Path

from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from pynetdicom import AE
from pynetdicom.association import Association

from chaos.studies import SmallStudy
from minipacs.settings import Settings

ANSWER_TIMEOUT_S = 30.0
"""Longest wait for an answer; then the association is ended, and what was not acknowledged is sent again."""
RETRY_DELAY_S = 0.5


class StudySender(threading.Thread):
    """Sends the studies one after the other, `pace_s` apart; `acknowledged` counts instances."""

    def __init__(self, studies: Sequence[SmallStudy], settings: Settings, pace_s: float) -> None:
        super().__init__(name="study sender", daemon=True)
        self.acknowledged, self.refused = 0, 0
        self._studies, self._settings, self._pace_s = studies, settings, pace_s
        self._stop_requested = threading.Event()

    def run(self) -> None:
        """Send until every instance of every study was acknowledged, or `stop` is called."""
        for study in self._studies:
            left = list(study.files)
            while left and not self._stop_requested.is_set():
                left = self._send(left)
                self._stop_requested.wait(RETRY_DELAY_S if left else self._pace_s)

    def stop(self) -> None:
        """Stop sending; wait at most for the present answer."""
        self._stop_requested.set()
        self.join(3 * ANSWER_TIMEOUT_S)

    def _send(self, files: list[Path]) -> list[Path]:
        """Send files over one association; those that were not acknowledged."""
        entity = AE(ae_title="CHAOS")
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = entity.connection_timeout = (
            ANSWER_TIMEOUT_S
        )
        entity.add_requested_context(CTImageStorage, ExplicitVRLittleEndian)
        association = entity.associate("127.0.0.1", self._settings.dicom_port, ae_title=self._settings.aet)
        if not association.is_established:
            self.refused += 1
            return files
        try:
            return [file for file in files if not self._store(association, file)]
        finally:
            if association.is_established:
                association.release()

    def _store(self, association: Association, file: Path) -> bool:
        """Send one file; whether it was acknowledged."""
        if not association.is_established:
            return False
        try:
            status = association.send_c_store(file)
        except RuntimeError:  # the association ended after the line above
            return False
        stored = bool(status) and int(status.Status) == 0
        self.acknowledged += stored
        self.refused += not stored
        return stored
