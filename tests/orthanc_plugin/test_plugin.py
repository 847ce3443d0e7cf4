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
def door() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as door:
        door.bind(("127.0.0.1", 0))
        door.settimeout(5)
        yield door


@contextmanager
def plugged_in(monkeypatch: pytest.MonkeyPatch, port: int) -> Iterator[ModuleType]:
    sdk = load(HERE / "fake_orthanc.py", "orthanc")
    monkeypatch.setitem(sys.modules, "orthanc", sdk)
    monkeypatch.setenv("MINIPACS_STABLE_STUDY_ADDRESS", f"127.0.0.1:{port}")
    with load(PLUGIN, "plugin_under_test").BELL:
        yield sdk


def test_a_stable_study_rings(monkeypatch: pytest.MonkeyPatch, door: socket.socket) -> None:
    with plugged_in(monkeypatch, door.getsockname()[1]) as sdk:
        sdk.callbacks[0](sdk.ChangeType.STABLE_STUDY, 1, "4f3c-study")
        assert door.recv(100) == b"stable 4f3c-study"


def test_anything_else_does_not_ring(monkeypatch: pytest.MonkeyPatch, door: socket.socket) -> None:
    with plugged_in(monkeypatch, door.getsockname()[1]) as sdk:
        sdk.callbacks[0](sdk.ChangeType.NEW_INSTANCE, 3, "an instance")
        sdk.callbacks[0](sdk.ChangeType.STABLE_STUDY, 1, "the study")
        assert door.recv(100) == b"stable the study"


def test_nobody_at_the_door_breaks_nothing(monkeypatch: pytest.MonkeyPatch, door: socket.socket) -> None:
    port = door.getsockname()[1]
    door.close()
    with plugged_in(monkeypatch, port) as sdk:
        for _ in range(3):
            sdk.callbacks[0](sdk.ChangeType.STABLE_STUDY, 1, "unheard")


@pytest.mark.parametrize(("reserve_mb", "status"), [(0, 0x0000), (2**40, 0xA700)])
def test_below_the_reserve_a_c_store_is_refused(
    monkeypatch: pytest.MonkeyPatch, door: socket.socket, reserve_mb: int, status: int
) -> None:
    monkeypatch.setenv("MINIPACS_RESERVE_MB", str(reserve_mb))
    with plugged_in(monkeypatch, door.getsockname()[1]) as sdk:
        assert sdk.keepers[0](object()) == status
