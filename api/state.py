"""What every view has at hand: settings, the catalogue's database, the archive."""

import threading
from typing import TYPE_CHECKING, cast

from flask import current_app

from api.quick import Reader
from minipacs.database import Database
from minipacs.settings import Settings

if TYPE_CHECKING:
    from minipacs.archive import Archive


class State:
    """One per process, shared by its threads."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.database = Database(settings.database_url)
        self.quick = Reader(self.database)
        self._archive: Archive | None = None
        self._lock = threading.Lock()

    @property
    def archive(self) -> "Archive":
        """The archive, opened at first use."""
        with self._lock:
            if self._archive is None:
                from minipacs.archive import Archive

                self._archive = Archive(self.settings)
            return self._archive

    def close(self) -> None:
        """Give the connections back."""
        with self._lock:
            if self._archive is not None:
                self._archive.close()
            self.quick.close()
            self.database.close()


def state() -> State:
    """The state of the application that handles this request."""
    return cast(State, current_app.extensions["minipacs"])
