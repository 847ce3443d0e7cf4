"""The application's context: what every view needs, made once for a process."""

import threading
from base64 import b64encode
from functools import cached_property
from typing import TYPE_CHECKING, cast

from flask import current_app

from api.dicomweb.frame_client import Line
from minipacs.database import Database
from minipacs.secrets import secret
from minipacs.settings import Settings

if TYPE_CHECKING:
    from minipacs.archive.client import Archive


class AppContext:
    """Settings, the catalogue's database and the archive. One for each process, shared by its threads."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.database = Database(settings.database_url)
        self.line = Line(settings.orthanc_url)
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
    def orthanc_authorization(self) -> str:
        """The value of the `Authorization` header that Orthanc takes from us."""
        password = self.settings.orthanc_password or secret(self.settings.home, "orthanc_password")
        return "Basic " + b64encode(f"{self.settings.orthanc_user}:{password}".encode()).decode()

    def close(self) -> None:
        """Close every connection to the archive and to the database."""
        with self._lock:
            if self._archive is not None:
                self._archive.close()
            self.line.close()
            self.database.close()


def context() -> AppContext:
    """The context of the application that handles this request."""
    return cast(AppContext, current_app.extensions["minipacs"])
