"""A double of the module `orthanc`, enough to load the plugin, fire events and ask its routes."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

ChangeType = SimpleNamespace(STABLE_STUDY=1, NEW_INSTANCE=2, ORTHANC_STARTED=3, ORTHANC_STOPPED=4, DELETED=5)
ResourceType = SimpleNamespace(PATIENT=0, STUDY=1, SERIES=2, INSTANCE=3, NONE=4)
ErrorCode = SimpleNamespace(UNKNOWN_RESOURCE=17, DATABASE=11)
routes: dict[str, Callable[..., None]] = {}
resources: dict[str, bytes | int] = {}
"""What Orthanc's own API answers, by path; a number is the code of an error."""
callbacks: list[Callable[[int, int, str], None]] = []
store_filters: list[Callable[[object], int]] = []
said: list[str] = []


def RegisterOnChangeCallback(callback: Callable[[int, int, str], None]) -> None:  # noqa: N802  Orthanc's name
    """Orthanc's registration."""
    callbacks.append(callback)


def RegisterIncomingCStoreInstanceFilter(keeper: Callable[[object], int]) -> None:  # noqa: N802  Orthanc's name
    """Orthanc's registration."""
    store_filters.append(keeper)


def GetConfiguration() -> str:  # noqa: N802  Orthanc's name
    """Orthanc's configuration, as far as the plugin reads it."""
    return '{"StorageDirectory": ".", "RegisteredUsers": {"minipacs": "the password"}}'


def LogWarning(sentence: str) -> None:  # noqa: N802  Orthanc's name
    """Orthanc's log."""
    said.append(sentence)


LogInfo = LogWarning


class OrthancException(Exception):
    """Orthanc's."""


class RestOutput:
    """What a route answered."""

    def __init__(self) -> None:
        self.status = 200
        self.body = ""

    def AnswerBuffer(self, body: str, _media_type: str) -> None:  # noqa: N802  Orthanc's name
        """An answer."""
        self.body = body

    def SendHttpStatusCode(self, status: int) -> None:  # noqa: N802  Orthanc's name
        """An error."""
        self.status = status

    def SendMethodNotAllowed(self, _allowed: str) -> None:  # noqa: N802  Orthanc's name
        """Another error."""
        self.status = 405


def RegisterRestCallback(path: str, callback: Callable[..., None]) -> None:  # noqa: N802  Orthanc's name
    """Orthanc's registration."""
    routes[path] = callback


def RestApiGet(path: str) -> bytes:  # noqa: N802  Orthanc's name
    """Orthanc's own API, from within."""
    answer = resources.get(path, ErrorCode.UNKNOWN_RESOURCE)
    if isinstance(answer, bytes):
        return answer
    raise OrthancException(answer, "an error of Orthanc")


def ask(path: str, **request: Any) -> RestOutput:
    """Ask a route of the plugin, as Orthanc would."""
    output = RestOutput()
    routes[path](output, path, **request)
    return output
