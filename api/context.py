"""What every view has at hand: settings, the catalogue's database, the archive."""

import threading
from base64 import b64encode
from functools import cached_property
from typing import TYPE_CHECKING, cast

from flask import current_app

from api.catalogue.row_reader import Reader
from api.dicomweb.frame_client import Line
from minipacs.database import Database
from minipacs.secrets import secret
from minipacs.settings import Settings

if TYPE_CHECKING:
    from minipacs.archive.client import Archive


class State:
    """One per process, shared by its threads."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.database = Database(settings.database_url)
        self.quick = Reader(self.database)
        self.line = Line(settings.orthanc_url)
        self._archive: Archive | None = None
        self._lock = threading.Lock()

    @property
    def archive(self) -> "Archive":
        """The archive, opened at first use."""
        with self._lock:
            if self._archive is None:
                from minipacs.archive.client import Archive

                self._archive = Archive(self.settings)
            return self._archive

    @cached_property
    def orthanc_authorization(self) -> str:
        """Our credentials at Orthanc, as a header."""
        password = self.settings.orthanc_password or secret(self.settings.home, "orthanc_password")
        return "Basic " + b64encode(f"{self.settings.orthanc_user}:{password}".encode()).decode()

    def close(self) -> None:
        """Give the connections back."""
        with self._lock:
            if self._archive is not None:
                self._archive.close()
            self.line.close()
            self.quick.close()
            self.database.close()


def state() -> State:
    """The state of the application that handles this request."""
    return cast(State, current_app.extensions["minipacs"])
