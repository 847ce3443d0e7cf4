"""The application's context: what every view needs, made once for a process."""

import threading
from base64 import b64encode
from functools import cached_property
from typing import TYPE_CHECKING, cast

import urllib3
from flask import current_app

from api.auth.password_checks import PasswordChecks
from api.auth.proof_lookup import ProofLookup
from api.auth.session_use import SessionUseRecorder
from api.dicomweb.frame_client import FrameClient
from api.results.label_filter import FilteredLabelMapCache
from minipacs.database import Database
from minipacs.secrets import get_or_create_secret, orthanc_password
from minipacs.settings import Settings

if TYPE_CHECKING:
    from minipacs.archive.client import Archive

MAX_CONNECTIONS = 32
"""To Orthanc, kept for the gateway."""
CONNECT_TIMEOUT_S = 5
READ_TIMEOUT_S = 300


class AppContext:
    """Settings, the catalogue's database and the archive. One for each process, shared by its threads."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.database = Database(settings.database_url)
        self.proofs = ProofLookup(self.database)
        self.passwords = PasswordChecks(self.database, self.proofs, get_or_create_secret(settings.home, "session_key"))
        self.session_uses = SessionUseRecorder(self.database)
        self.filtered_label_maps = FilteredLabelMapCache()
        self.frame_client = FrameClient(settings.orthanc_url)
        self._archive: Archive | None = None
        self._lock = threading.Lock()

    @property
    def archive(self) -> "Archive":
        """The archive's client, opened at its first use."""
        with self._lock:
            if self._archive is None:
                from minipacs.archive.client import Archive

                self._archive = Archive(self.settings)
            return self._archive

    @cached_property
    def orthanc_connections(self) -> urllib3.PoolManager:
        """Connections for the gateway, whose answers stream through."""
        timeout = urllib3.Timeout(connect=CONNECT_TIMEOUT_S, read=READ_TIMEOUT_S)
        return urllib3.PoolManager(maxsize=MAX_CONNECTIONS, block=False, timeout=timeout)

    @cached_property
    def orthanc_authorization(self) -> str:
        """The value of the `Authorization` header that Orthanc takes from us."""
        password = orthanc_password(self.settings)
        return "Basic " + b64encode(f"{self.settings.orthanc_user}:{password}".encode()).decode()

    def close(self) -> None:
        """Close every connection to the archive and to the database."""
        with self._lock:
            if self._archive is not None:
                self._archive.close()
            self.frame_client.close()
            self.orthanc_connections.clear()
            self.session_uses.close()
            self.proofs.close()
            self.database.close()


def context() -> AppContext:
    """The context of the application that handles this request."""
    return cast(AppContext, current_app.extensions["minipacs"])
