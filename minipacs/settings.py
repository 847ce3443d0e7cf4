"""Every setting once: name, default, unit, meaning.

`Settings.from_env()` is called once by each command and then passed on; nothing else reads the
environment (except the Orthanc plugin, which is alone in its interpreter). A `.env` file in the
working directory is read first; the environment wins over it.
"""

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any, get_args, get_type_hints

from minipacs.errors import SettingsError

PREFIX = "MINIPACS_"
ROOT = Path(__file__).resolve().parent.parent
"""The checkout: `orthanc.json`, `ohif_config/` and `orthanc_plugin/` are found below it."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One field a setting; the environment variable is `MINIPACS_` + the field's name in capitals."""

    # fmt: off
    home: Annotated[Path, "folder that holds all data: archive, catalogue, results, secrets"] = Path("~/minipacs")
    output: Annotated[Path, "folder of PNGs and result files (default: HOME/output)"] = Path()
    ohif: Annotated[Path, "folder of the prepared OHIF build"] = ROOT / ".ohif"
    database_url: Annotated[str, "catalogue and jobs, as an SQLAlchemy URL (default: SQLite in HOME)"] = ""
    scheduler: Annotated[str, "address of a Dask scheduler, tcp://host:port (default: an embedded pool)"] = ""
    workers: Annotated[int, "worker processes of the embedded pool"] = 2
    gpus: Annotated[int, "GPUs of the embedded pool; one worker each, for jobs that need one"] = 0

    http_host: Annotated[str, "address the front door listens on; 0.0.0.0 for the whole network"] = "127.0.0.1"
    http_port: Annotated[int, "port of the front door"] = 8080
    http_workers: Annotated[int, "processes of the front door"] = 1
    http_threads: Annotated[int, "threads of each process of the front door"] = 24
    public_url: Annotated[str, "address of the front door for links and QR codes (default: detected)"] = ""
    cors_origins: Annotated[str, "origins whose pages may ask with a token, comma-separated; empty: none"] = ""
    browsing: Annotated[int, "1: result folders can be browsed below /output; 0: files by their address alone"] = 1
    upload_mb: Annotated[int, "MB one upload may have, and a ZIP may unpack to"] = 8192
    upload_files: Annotated[int, "files one upload, or one ZIP, may have"] = 20000
    upload_ratio: Annotated[int, "times its size a ZIP may unpack to"] = 200
    admin_user: Annotated[str, "name of the first administrator"] = "admin"
    admin_password: Annotated[str, "password of the first administrator (default: made and printed once)"] = ""

    aet: Annotated[str, "application entity title of the archive"] = "MINIPACS"
    dicom_port: Annotated[int, "DICOM port of the archive"] = 4242
    peers: Annotated[str, "modalities allowed to send, NAME=AET@host:port,…; empty: anyone may store"] = ""
    orthanc_port: Annotated[int, "HTTP port of Orthanc"] = 8042
    orthanc_url: Annotated[str, "address of Orthanc's HTTP server (default: this machine, ORTHANC_PORT)"] = ""
    orthanc_database_url: Annotated[str, "PostgreSQL for Orthanc's index, as a URL (default: SQLite in HOME)"] = ""
    orthanc_user: Annotated[str, "user name at Orthanc"] = "minipacs"
    orthanc_password: Annotated[str, "password at Orthanc (default: made once, kept in HOME)"] = ""
    doorbell: Annotated[str, "host:port (UDP) where the job service hears the plugin ring"] = "127.0.0.1:8043"

    stable_age_s: Annotated[int, "seconds without a new instance after which Orthanc calls a study stable"] = 15
    quiet_s: Annotated[int, "seconds of quiet after which a study is due unrung (default: 2 × STABLE_AGE_S + 5)"] = 0
    poll_s: Annotated[float, "seconds between looks at the change log"] = 1.0
    reconcile_s: Annotated[int, "seconds between full comparisons of archive and catalogue"] = 300
    lease_s: Annotated[int, "seconds a worker may be silent before its job is given to another"] = 30
    attempts: Annotated[int, "attempts a job has before it is failed"] = 3
    retry: Annotated[str, "failed jobs to queue again by kind and seconds: segment=3600,…; empty: none"] = ""
    reserve_mb: Annotated[int, "free disk, in MB, below which no new work starts"] = 512

    log_format: Annotated[str, "log lines as `text`, or as `json` for machines"] = "text"
    notify_on: Annotated[str, "ends of jobs that are told, by comma: done, failed, cancelled"] = "failed"
    webhook_url: Annotated[str, "address that is told of them, by POST (docs/operations.md); several by comma"] = ""
    webhook_secret: Annotated[str, "key of the webhook's signature (default: made once, kept in HOME)"] = ""
    mail_to: Annotated[str, "mail addresses that are told of them, by comma"] = ""
    mail_from: Annotated[str, "sender of these mails"] = "minipacs@localhost"
    smtp_url: Annotated[str, "mail server, smtp://user:password@host:587 or smtps://…"] = "smtp://127.0.0.1:25"

    engine: Annotated[str, "segmentation engine for new studies; `none` for no segmentation"] = "slicer"
    engine_limit_s: Annotated[int, "seconds a segmentation of one series may take"] = 900
    engine_stall_s: Annotated[int, "seconds an engine may neither tell progress nor use the processor"] = 300
    engine_memory_mb: Annotated[int, "MB of memory one segmentation may take; 0: no limit"] = 0
    prompts: Annotated[str, "host:port (TCP) where the prompt service answers the front door"] = "127.0.0.1:8044"
    prompts_memory_mb: Annotated[int, "MB of volumes the prompt service keeps at hand"] = 1024
    sam_model: Annotated[str, "folder of a SAM or SAM 2 model (transformers); nothing is fetched"] = ""
    sam_python: Annotated[str, "Python of an environment that has torch and transformers, for SAM"] = ""
    sam_memory_mb: Annotated[int, "MB of image embeddings SAM's process keeps"] = 512
    slicer_executable: Annotated[str, "program of a full 3D Slicer, for the engine slicer-desktop"] = ""
    totalsegmentator_python: Annotated[str, "Python of an environment that has TotalSegmentator"] = ""
    totalsegmentator_weights: Annotated[str, "folder of TotalSegmentator's models; nothing is fetched"] = ""
    vista3d_url: Annotated[str, "address of a self-hosted VISTA-3D NIM; no other server is asked"] = ""
    vista3d_address: Annotated[str, "the front door as the VISTA-3D server reaches it (default: localhost)"] = ""
    # fmt: on

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> "Settings":
        """Read `MINIPACS_*`; without `environ`, from `.env` in the working directory and the environment."""
        if environ is None:
            environ = {**read_env_file(Path(".env")), **os.environ}
        values: dict[str, Any] = {}
        types = {name: kind for name, (kind, _meaning) in described().items()}
        for f in fields(cls):
            text = environ.get(PREFIX + f.name.upper(), "")
            if text == "":
                continue
            try:
                values[f.name] = types[f.name](text)
            except ValueError as error:
                raise SettingsError(
                    f"{PREFIX}{f.name.upper()} must be a number, not {text!r}.",
                    "Correct it in .env or in the environment.",
                ) from error
        return cls(**values).complete()

    def complete(self) -> "Settings":
        """Fill in the defaults that depend on other settings; check what can be checked alone."""
        home = self.home.expanduser().resolve()
        filled: dict[str, Any] = {
            "home": home,
            "output": (home / "output" if self.output == Path() else self.output).expanduser().resolve(),
            "ohif": self.ohif.expanduser().resolve(),
            "database_url": self.database_url or f"sqlite:///{home / 'catalogue.sqlite'}",
            "orthanc_url": (self.orthanc_url or f"http://127.0.0.1:{self.orthanc_port}").rstrip("/"),
            "quiet_s": self.quiet_s or 2 * self.stable_age_s + 5,
        }
        for name in ("http_port", "orthanc_port", "dicom_port"):
            if not 0 < getattr(self, name) < 65536:
                raise SettingsError(f"{PREFIX}{name.upper()} must be a port, 1 to 65535.", "Correct it in .env.")
        if not 1 <= len(self.aet) <= 16:  # PS3.5 6.2, VR AE: 16 bytes maximum
            raise SettingsError("MINIPACS_AET must have 1 to 16 characters.", "Correct it in .env.")
        if self.public_url and not self.public_url.startswith(("http://", "https://")):
            raise SettingsError("MINIPACS_PUBLIC_URL must start with http:// or https://.", "Correct it in .env.")
        for name in ("upload_mb", "upload_files", "upload_ratio"):
            if getattr(self, name) < 1:
                raise SettingsError(f"{PREFIX}{name.upper()} must be 1 or more.", "Correct it in .env.")
        self.doorbell_address  # noqa: B018  raises when it cannot be read
        self.retry_rules  # noqa: B018  the same
        self.prompts_address  # noqa: B018  the same
        return replace(self, **filled)

    def as_environment(self) -> dict[str, str]:
        """The same settings as environment variables, for child processes."""
        return {PREFIX + f.name.upper(): str(getattr(self, f.name)) for f in fields(self)}

    @property
    def doorbell_address(self) -> tuple[str, int]:
        """Host and UDP port of the doorbell."""
        return _address("doorbell", self.doorbell)

    @property
    def prompts_address(self) -> tuple[str, int]:
        """Host and TCP port of the prompt service."""
        return _address("prompts", self.prompts)

    @property
    def retry_rules(self) -> dict[str, float]:
        """Job kind → seconds after which its failed jobs are queued again."""
        try:
            pairs = [rule.split("=") for rule in self.retry.split(",") if rule.strip()]
            return {kind.strip(): float(seconds) for kind, seconds in pairs}
        except ValueError as error:
            raise SettingsError(
                f"MINIPACS_RETRY must be kind=seconds, separated by commas, not {self.retry!r}.", "Correct it in .env."
            ) from error

    @property
    def automatic_engine(self) -> str:
        """The engine for new studies; empty where none is wanted."""
        return "" if self.engine == "none" else self.engine

    @property
    def allowed_origins(self) -> frozenset[str]:
        """The origins of CORS_ORIGINS."""
        return frozenset(part.strip().rstrip("/") for part in self.cors_origins.split(",") if part.strip())

    @property
    def address(self) -> str:
        """The front door as a person on this machine types it."""
        return f"http://localhost:{self.http_port}"

    @property
    def host_name(self) -> str:
        """This machine's name, as it stands in job rows."""
        return socket.gethostname()


def _address(name: str, text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit():
        raise SettingsError(f"{PREFIX}{name.upper()} must be host:port, not {text!r}.", "Correct it in .env.")
    return host, int(port)


def described() -> dict[str, tuple[type, str]]:
    """Type and meaning of every setting, by field name: the README's table is tested against it."""
    hints = get_type_hints(Settings, include_extras=True)
    return {f.name: get_args(hints[f.name]) for f in fields(Settings)}


def read_env_file(path: Path) -> dict[str, str]:
    """`NAME=value` lines of a `.env` file; `#` starts a comment line; quotes around a value are removed."""
    if not path.is_file():
        return {}
    lines = (line.strip() for line in path.read_text("utf-8").splitlines())
    pairs = (line.removeprefix("export ").partition("=") for line in lines if line and not line.startswith("#"))
    return {name.strip(): value.strip().strip("'\"") for name, _, value in pairs}
