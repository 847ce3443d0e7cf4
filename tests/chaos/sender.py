"""A modality: sends by C-STORE, and sends again what was not acknowledged, until everything was."""

import threading
from collections.abc import Sequence
from pathlib import Path

from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from pynetdicom import AE
from pynetdicom.association import Association

from chaos.studies import SmallStudy
from minipacs.settings import Settings

ANSWER_S = 30.0
"""A modality gives up an association that is silent for so long, and sends again what was not acknowledged."""
AGAIN_S = 0.5


class Modality(threading.Thread):
    """Sends the studies one after the other, `pace_s` apart; `acknowledged` counts instances."""

    def __init__(self, studies: Sequence[SmallStudy], settings: Settings, pace_s: float) -> None:
        super().__init__(name="modality", daemon=True)
        self.acknowledged, self.refused = 0, 0
        self._studies, self._settings, self._pace_s = studies, settings, pace_s
        self._stop_asked = threading.Event()

    def run(self) -> None:
        """Until every instance of every study was acknowledged, or somebody stops it."""
        for study in self._studies:
            left = list(study.files)
            while left and not self._stop_asked.is_set():
                left = self._send(left)
                self._stop_asked.wait(AGAIN_S if left else self._pace_s)

    def stop(self) -> None:
        """Give up; at most the answer under way is waited for."""
        self._stop_asked.set()
        self.join(3 * ANSWER_S)

    def _send(self, files: list[Path]) -> list[Path]:
        """One association; the files that were not acknowledged."""
        entity = AE(ae_title="CHAOS")
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = entity.connection_timeout = ANSWER_S
        entity.add_requested_context(CTImageStorage, ExplicitVRLittleEndian)
        association = entity.associate("127.0.0.1", self._settings.dicom_port, ae_title=self._settings.aet)
        if not association.is_established:
            self.refused += 1
            return files
        try:
            return [file for file in files if not self._stored(association, file)]
        finally:
            if association.is_established:
                association.release()

    def _stored(self, association: Association, file: Path) -> bool:
        if not association.is_established:
            return False
        try:
            status = association.send_c_store(file)
        except RuntimeError:  # the association ended between the look and the sending
            return False
        stored = bool(status) and int(status.Status) == 0
        self.acknowledged += stored
        self.refused += not stored
        return stored
