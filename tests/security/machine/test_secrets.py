"""A secret is known to the processes that need it, and stands nowhere else: every secret setting has a canary."""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
import traceback
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from minipacs.archive import local_orthanc
from minipacs.backup.tables import Snapshot
from minipacs.database import Database
from minipacs.errors import MinipacsError, SettingsError
from minipacs.jobs.worker_secrets import WORKER_SECRETS
from minipacs.local.phantom import write_chest_ct
from minipacs.local.supervisor import SECRETS
from minipacs.settings import Settings, describe_settings, variable_name
from ports import free_ports
from postgres import new_url
from stack import RunningStack, command_line, running, settings_for
from waiting import PATIENCE_S, until

NAMES = [name for name, setting in describe_settings().items() if setting.is_secret]
CANARIES = {name: f"canary-{name.replace('_', '-')}-4711" for name in NAMES}
INDEX_IS_INSTALLED = any(
    Path(folder, name).exists() for folder in local_orthanc.PLUGIN_FOLDERS for name in local_orthanc.INDEX_PLUGIN
)
KNOWN_TO: Mapping[str, set[str]] = {
    "minipacs.cli up": set(NAMES),
    "minipacs.cli service": set(SECRETS["job service"]),
    "minipacs.cli prompts": set(SECRETS["prompt service"]),
    "minipacs.cli api": set(SECRETS["front door"]),
    "minipacs.jobs.worker": set(WORKER_SECRETS),
}
"""Words of a command line, and the secrets this process needs; every other process needs none."""


def canary_settings(tmp_path: Path) -> dict[str, str]:
    """A value with a canary for every secret setting: a URL's password, or the whole."""
    smtp, webhook = free_ports(2)
    urls = {
        "database_url": new_url("postgresql", tmp_path),
        "orthanc_database_url": new_url("postgresql", tmp_path).replace("+psycopg", ""),
        "smtp_url": f"smtp://user@127.0.0.1:{smtp}",
    }
    with_password = {name: url.replace("@", f":{CANARIES[name]}@") for name, url in urls.items()}
    with_token = {"webhook_url": f"http://127.0.0.1:{webhook}/hook/{CANARIES['webhook_url']}"}
    return {**CANARIES, **with_password, **with_token}


def find_canaries(text: str) -> set[str]:
    """Names of the settings whose canary stands in a text."""
    return {name for name, canary in CANARIES.items() if canary in text}


class ProcessWatch:
    """Looks at every process below another, again and again, until it is left."""

    def __init__(self, pid: int) -> None:
        self._root = psutil.Process(pid)
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self.on_command_lines: set[str] = set()
        """Command lines with a canary."""
        self.leaked: set[tuple[str, str]] = set()
        """Command lines of processes that were given a secret they do not need, and its name."""
        self.seen: set[str] = set()

    def __enter__(self) -> "ProcessWatch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def saw(self, words: str) -> bool:
        """Whether there was a process with these words on its command line."""
        return any(words in line for line in set(self.seen))

    def _look(self) -> None:
        while not self._is_over.is_set():
            for process in (self._root, *self._root.children(recursive=True)):
                line = " ".join(command_line(process))
                self.seen.add(line)
                if find_canaries(line):
                    self.on_command_lines.add(line)
                self.leaked |= {(line, name) for name in read_environment_canaries(process) - needed_by(line)}
            time.sleep(0)


def read_environment_canaries(process: psutil.Process) -> set[str]:
    try:
        return find_canaries("\n".join(process.environ().values()))
    except psutil.Error:  # it has ended
        return set()


def needed_by(line: str) -> set[str]:
    return next((secrets for words, secrets in KNOWN_TO.items() if words in line), set())


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunningStack, ProcessWatch]]:
    """The running product with a canary in every secret, a study segmented, a job failed and notified in vain."""
    if shutil.which("Orthanc") is None or not INDEX_IS_INSTALLED:
        pytest.skip("needs Orthanc with orthanc-postgresql")
    folder = tmp_path_factory.mktemp("secrets")
    write_chest_ct(folder / "ct", slices=12)
    changes = {
        **canary_settings(folder),
        "notify_on": "done,failed",
        "mail_to": "somebody@localhost",
    }
    (folder / "home").mkdir()
    with running(folder / "home", **changes) as stack:
        assert stack._process is not None
        with ProcessWatch(stack._process.pid) as watch:
            (study,) = stack.send(folder / "ct")
            stack.wait_jobs(study, "catalogue", "segment")
            watch_again(stack, watch, study)
            yield stack, watch


def watch_again(stack: RunningStack, watch: ProcessWatch, study: str) -> None:
    """Segmentations until one was looked at while it ran."""
    for engine in ("geodesic", "slicer", "no-such-engine"):
        path = f"/studies/{study}/segment"
        try:
            stack.post_json(path, engine=engine)
        except urllib.error.HTTPError as error:
            error.close()
    until(lambda: watch.saw("segmentation.job.child"), what="a look at a segmentation")


def test_no_secret_stands_on_a_command_line(product: tuple[RunningStack, ProcessWatch]) -> None:
    _, watch = product
    for words in (*KNOWN_TO, "Orthanc", "segmentation.job.child"):
        assert watch.saw(words), words
    assert watch.on_command_lines == set()


def test_a_process_is_given_only_the_secrets_it_needs(product: tuple[RunningStack, ProcessWatch]) -> None:
    _, watch = product
    assert watch.leaked == set()


def test_no_secret_stands_in_a_log_or_another_file(product: tuple[RunningStack, ProcessWatch]) -> None:
    stack, _ = product
    home = stack.settings.home
    read_answers(stack)
    found = {
        (str(path.relative_to(home)), name)
        for path in home.rglob("*")
        if path.is_file()
        for name in find_canaries(path.read_bytes().decode("latin-1"))
    }
    configuration = "orthanc/configuration/machine.json"
    assert found == {(configuration, "orthanc_password"), (configuration, "orthanc_database_url")}
    assert (home / configuration).stat().st_mode & 0o077 == 0
    assert list((home / "log").iterdir())


def test_no_secret_stands_in_a_row(product: tuple[RunningStack, ProcessWatch]) -> None:
    stack, _ = product
    with Snapshot(stack.database) as snapshot:
        rows = {table.name: b"".join(snapshot.read_json_lines(table)).decode() for table in snapshot.tables}
    assert rows["job"]
    assert rows["notification"], "notifications were tried in vain"
    assert {name: find_canaries(text) for name, text in rows.items() if find_canaries(text)} == {}


def test_no_secret_stands_in_an_answer(product: tuple[RunningStack, ProcessWatch]) -> None:
    stack, _ = product
    answers = read_answers(stack)
    assert {path: find_canaries(text) for path, text in answers.items() if find_canaries(text)} == {}


def read_answers(stack: RunningStack) -> dict[str, str]:
    """Pages and errors of the front door, by their path."""
    paths = ["/healthz", "/metrics", "/where", "/jobs", "/engines", "/rules", "/openapi.json", "/audit", "/users"]
    paths += ["/studies/1.2.3", "/dicom-web/studies/1.2.3/metadata", "/results/..%2f..%2fsecrets.json", "/nowhere"]
    return {path: read_answer(stack.request(path)) for path in paths}


def read_answer(request: urllib.request.Request) -> str:
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            return str(answer.headers) + answer.read().decode("latin-1")
    except urllib.error.HTTPError as error:
        with error:
            return str(error.headers) + error.read().decode("latin-1")


@pytest.mark.parametrize("command", [["doctor", "--json"], ["doctor"], ["jobs"], ["engines"]])
def test_no_secret_is_printed(product: tuple[RunningStack, ProcessWatch], command: list[str]) -> None:
    stack, _ = product
    assert find_canaries(run_command(stack.settings, *command)) == set()


def test_no_secret_is_in_what_the_doctor_says_of_broken_parts(
    product: tuple[RunningStack, ProcessWatch], tmp_path: Path
) -> None:
    stack, _ = product
    (nobody,) = free_ports(1)
    elsewhere = f"postgresql+psycopg://me:{CANARIES['database_url']}@127.0.0.1:{nobody}/none"
    broken = replace(
        settings_for(tmp_path),
        **{name: f"not-{value}" for name, value in CANARIES.items() if "url" not in name},
        database_url=elsewhere,
        orthanc_port=stack.settings.orthanc_port,
        orthanc_url=stack.settings.orthanc_url,
    )
    said = run_command(broken, "doctor", "--json")
    states = {line["part"]: line["state"] for line in map(json.loads, said.splitlines()) if line}
    assert states["database"] == states["archive"] == "failed"
    assert find_canaries(said) == set()


def test_no_secret_is_in_a_backup(product: tuple[RunningStack, ProcessWatch], tmp_path: Path) -> None:
    stack, _ = product
    said = run_command(stack.settings, "backup", str(tmp_path / "backup"))
    contents = [path.read_bytes().decode("latin-1") for path in (tmp_path / "backup").rglob("*") if path.is_file()]
    assert len(contents) > 10
    assert find_canaries("\n".join([said, *contents])) == set()


def run_command(settings: Settings, *arguments: str) -> str:
    """All that a command prints."""
    command = [sys.executable, "-m", "minipacs.cli", *arguments]
    environment = {**os.environ, **settings.as_environment()}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


# -- without a product ------------------------------------------------------------------------------
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("form", ["{}", "http://{}", "postgresql://me:{}", "smtp:/{}/", "x://u:{}@[", "u:{}@h:port"])
def test_a_wrong_secret_is_refused_without_being_repeated(tmp_path: Path, name: str, form: str) -> None:
    environment = {"MINIPACS_HOME": str(tmp_path), variable_name(name): form.format(CANARIES[name])}
    try:
        settings = Settings.from_env(environment)
    except SettingsError as error:
        shown = "".join(traceback.format_exception(error))
    else:
        shown = repr(settings)
        assert "url" not in name or (name == "webhook_url" and form == "http://{}"), "another form of a URL is wrong"
    assert find_canaries(shown) == set()


def test_settings_that_are_printed_show_no_secret() -> None:
    settings = Settings(**CANARIES)
    assert find_canaries(f"{settings} {settings!r} {[settings]}") == set()
    assert "http_port=8080" in repr(settings)


def test_an_unreachable_database_is_said_without_its_password() -> None:
    (nobody,) = free_ports(1)
    database = Database(f"postgresql+psycopg://me:{CANARIES['database_url']}@127.0.0.1:{nobody}/none")
    with pytest.raises(MinipacsError) as error, database.reading() as session:
        session.connection()
    assert find_canaries(str(error.value)) == set()


def test_every_part_is_given_only_settings_that_exist() -> None:
    for secrets in (*SECRETS.values(), WORKER_SECRETS):
        assert set(secrets) <= set(NAMES)
