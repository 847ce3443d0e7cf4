"""Settings that hold more than one value are checked when they are read, all of them."""

import pytest

from minipacs.errors import SettingsError
from minipacs.setting_values import parse_peers, parse_retry_rules
from minipacs.settings import Settings

UNUSABLE = [
    ("HTTP_PORT", "0"),
    ("UPLOAD_MB", "0"),
    ("AET", "X" * 17),
    ("STABLE_STUDY_ADDRESS", "nowhere"),
    ("PROMPTS", "localhost"),
    ("PEERS", "CT1"),
    ("RETRY", "segment"),
    ("PUBLIC_URL", "example.org"),
    ("LOG_FORMAT", "xml"),
    ("NOTIFY_ON", "sometimes"),
    ("WEBHOOK_URL", "file:///etc/passwd"),
    ("SMTP_URL", "http://mail"),
    ("ORTHANC_DATABASE_URL", "sqlite:///x"),
    ("ORTHANC_DATABASE_URL", "postgresql://host/db"),
    ("ORTHANC_DATABASE_URL", "no url"),
]


@pytest.mark.parametrize(("name", "text"), UNUSABLE)
def test_what_cannot_be_used_is_refused_at_the_start_by_its_name(name: str, text: str) -> None:
    with pytest.raises(SettingsError, match=f"MINIPACS_{name}") as caught:
        Settings.from_env({f"MINIPACS_{name}": text})
    assert caught.value.hint


def test_peers_are_orthancs_modalities() -> None:
    assert parse_peers("CT1=SCANNER@10.0.0.5:104, PACS=ARCHIVE@pacs:11112") == {
        "CT1": ["SCANNER", "10.0.0.5", 104],
        "PACS": ["ARCHIVE", "pacs", 11112],
    }


def test_retry_rules_are_seconds_by_kind() -> None:
    assert parse_retry_rules("segment=3600, catalogue=0.5") == {"segment": 3600.0, "catalogue": 0.5}
    assert parse_retry_rules("") == {}
