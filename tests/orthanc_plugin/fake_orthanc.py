"""A double of the module `orthanc`, enough to load the plugin and fire events."""

from collections.abc import Callable
from types import SimpleNamespace

ChangeType = SimpleNamespace(STABLE_STUDY=1, NEW_INSTANCE=2, ORTHANC_STARTED=3, ORTHANC_STOPPED=4)
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
