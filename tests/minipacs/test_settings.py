import dataclasses
from pathlib import Path

import pytest

from minipacs.errors import SettingsError
from minipacs.settings import Settings, describe_renamed_settings, describe_settings, read_env_file


def test_the_environment_fills_the_settings(tmp_path: Path) -> None:
    settings = Settings.from_env({"MINIPACS_HOME": str(tmp_path), "MINIPACS_HTTP_PORT": "81", "MINIPACS_POLL_S": "0.5"})
    assert (settings.home, settings.http_port, settings.poll_s) == (tmp_path, 81, 0.5)


def test_defaults_follow_from_other_settings(tmp_path: Path) -> None:
    settings = Settings.from_env({"MINIPACS_HOME": str(tmp_path), "MINIPACS_STABLE_AGE_S": "10"})
    assert settings.output == tmp_path / "output"
    assert settings.database_url == f"sqlite:///{tmp_path}/catalogue.sqlite"
    assert settings.quiet_s == 25


def test_child_processes_get_the_same_settings(tmp_path: Path) -> None:
    settings = Settings.from_env({"MINIPACS_HOME": str(tmp_path), "MINIPACS_AET": "OTHER"})
    assert Settings.from_env(settings.as_environment()) == settings


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HTTP_PORT", "eighty"),
        ("DICOM_PORT", "0"),
        ("ORTHANC_PORT", "65536"),
        ("AET", "X" * 17),
        ("STABLE_STUDY_ADDRESS", "nowhere"),
    ],
)
def test_a_wrong_value_names_its_setting(name: str, value: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_env({f"MINIPACS_{name}": value})
    assert f"MINIPACS_{name}" in caught.value.message
    assert caught.value.hint


def test_every_setting_has_a_meaning() -> None:
    assert set(describe_settings()) == {f.name for f in dataclasses.fields(Settings)}
    assert all(setting.meaning for setting in describe_settings().values())


def test_secrets_are_left_out_of_what_is_handed_on() -> None:
    secrets = {name for name, setting in describe_settings().items() if setting.is_secret}
    assert {name for name in describe_settings() if "password" in name or "secret" in name} <= secrets
    settings = Settings(**dict.fromkeys(secrets, "geheim"))
    assert "geheim" not in settings.as_environment(with_secrets=False).values()
    assert "geheim" in settings.as_environment().values()


def test_the_older_name_of_a_setting_is_still_read_and_said() -> None:
    old = {"MINIPACS_DOORBELL": "127.0.0.1:1"}
    assert Settings.from_env(old).stable_study_host_and_port == ("127.0.0.1", 1)
    (sentence,) = describe_renamed_settings(old)
    assert "MINIPACS_DOORBELL is called MINIPACS_STABLE_STUDY_ADDRESS now" in sentence


def test_the_new_name_of_a_setting_wins_over_the_older() -> None:
    both = {"MINIPACS_DOORBELL": "127.0.0.1:1", "MINIPACS_STABLE_STUDY_ADDRESS": "127.0.0.1:2"}
    assert Settings.from_env(both).stable_study_host_and_port == ("127.0.0.1", 2)


def test_an_env_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("# a comment\nMINIPACS_AET=HOSPITAL\nexport MINIPACS_HOME='/data'\n\n")
    assert read_env_file(file) == {"MINIPACS_AET": "HOSPITAL", "MINIPACS_HOME": "/data"}
    assert read_env_file(tmp_path / "absent") == {}
