import hmac
import importlib.util
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pytest

HERE = Path(__file__).parent
PLUGIN = HERE.parent.parent / "orthanc_plugin" / "plugin.py"


def load(path: Path, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def receiver() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(5)
        yield receiver


@contextmanager
def plugin_loaded(monkeypatch: pytest.MonkeyPatch, port: int) -> Iterator[ModuleType]:
    sdk = load(HERE / "fake_orthanc.py", "orthanc")
    monkeypatch.setitem(sys.modules, "orthanc", sdk)
    monkeypatch.syspath_prepend(str(PLUGIN.parent))
    monkeypatch.setenv("MINIPACS_STABLE_STUDY_ADDRESS", f"127.0.0.1:{port}")
    load(PLUGIN, "plugin_under_test")
    yield sdk


def signed(message: bytes) -> bytes:
    """The message with the signature of the password that the double's configuration has."""
    return message + b" " + hmac.digest(b"the password", message, "sha256").hex().encode()


def test_a_stable_study_is_notified(monkeypatch: pytest.MonkeyPatch, receiver: socket.socket) -> None:
    with plugin_loaded(monkeypatch, receiver.getsockname()[1]) as sdk:
        sdk.callbacks[0](sdk.ChangeType.STABLE_STUDY, 1, "4f3c-study")
        assert receiver.recv(200) == signed(b"stable 4f3c-study")


def test_nothing_else_is_notified(monkeypatch: pytest.MonkeyPatch, receiver: socket.socket) -> None:
    with plugin_loaded(monkeypatch, receiver.getsockname()[1]) as sdk:
        sdk.callbacks[0](sdk.ChangeType.NEW_INSTANCE, 3, "an instance")
        sdk.callbacks[0](sdk.ChangeType.STABLE_STUDY, 1, "the study")
        assert receiver.recv(200) == signed(b"stable the study")


def test_a_notification_that_nobody_receives_breaks_nothing(
    monkeypatch: pytest.MonkeyPatch, receiver: socket.socket
) -> None:
    port = receiver.getsockname()[1]
    receiver.close()
    with plugin_loaded(monkeypatch, port) as sdk:
        for _ in range(3):
            sdk.callbacks[0](sdk.ChangeType.STABLE_STUDY, 1, "a study")


@pytest.mark.parametrize(("reserve_mb", "status"), [(0, 0x0000), (2**40, 0xA700)])
def test_below_the_reserve_a_c_store_is_refused(
    monkeypatch: pytest.MonkeyPatch, receiver: socket.socket, reserve_mb: int, status: int
) -> None:
    monkeypatch.setenv("MINIPACS_RESERVE_MB", str(reserve_mb))
    with plugin_loaded(monkeypatch, receiver.getsockname()[1]) as sdk:
        assert sdk.store_filters[0](object()) == status
