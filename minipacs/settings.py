"""Every setting once: name, default, unit, meaning.

`Settings.from_env()` is called once by each command and then passed on; nothing else reads the
environment (except the Orthanc plugin, which is alone in its interpreter). A `.env` file in the
working directory is read first; the environment wins over it.
"""

import os
import socket
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import Annotated, Any, get_args, get_type_hints
from urllib.parse import urlsplit

from minipacs import setting_values
from minipacs.errors import SettingsError

PREFIX = "MINIPACS_"
SECRET = "secret"
"""Marks a setting that is never printed, backed up or handed to a process that does not need it."""
RENAMED = {"MINIPACS_DOORBELL": "stable_study_address"}
"""Older names of settings, which are still read."""
MEMORY_SETTINGS = (
    *("object_mb", "frame_mb", "volume_mb"),
    *("worker_memory_mb", "archive_memory_mb", "engine_memory_mb"),
)
"""Amounts of memory; 0 is what fits the machine."""
ROOT = Path(__file__).resolve().parent.parent
"""The checkout: `orthanc.json`, `ohif_config/` and `orthanc_plugin/` are found below it."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Settings:
    """One field a setting; the environment variable is `MINIPACS_` + the field's name in capitals."""

    # fmt: off
    home: Annotated[Path, "folder that holds all data: archive, catalogue, results, secrets"] = Path("~/minipacs")
    output: Annotated[Path, "folder of PNGs and result files (default: HOME/output)"] = Path()
    ohif: Annotated[Path, "folder of the prepared OHIF build"] = ROOT / ".ohif"
    database_url: Annotated[str, "catalogue and jobs, as an SQLAlchemy URL (default: SQLite in HOME)", SECRET] = ""
    scheduler: Annotated[str, "address of a Dask scheduler, tls://host:port (default: an embedded pool)"] = ""
    scheduler_certificate: Annotated[str, "PEM file: certificate of this machine for the scheduler at tls://"] = ""
    scheduler_key: Annotated[str, "PEM file: private key of that certificate"] = ""
    scheduler_trusted_certificates: Annotated[str, "PEM file: authority of all certificates of the pool"] = ""
    scheduler_network_is_trusted: Annotated[int, "1: tcp:// is allowed; everybody on that network can run code"] = 0
    workers: Annotated[int, "worker processes of the embedded pool"] = 2
    gpus: Annotated[int, "GPUs of the embedded pool; one worker each, for jobs that need one"] = 0

    http_host: Annotated[str, "address the front door listens on; 0.0.0.0 for the whole network"] = "127.0.0.1"
    http_port: Annotated[int, "port of the front door"] = 8080
    http_workers: Annotated[int, "processes of the front door"] = 1
    http_threads: Annotated[int, "threads of each process of the front door"] = 24
    https_certificate: Annotated[str, "PEM file: certificate of the front door, which speaks HTTPS alone then"] = ""
    https_key: Annotated[str, "PEM file: private key of that certificate"] = ""
    public_url: Annotated[str, "address of the front door for links and QR codes (default: detected)"] = ""
    trusted_proxies: Annotated[str, "networks of proxies whose X-Forwarded-For, -Proto and -Host count"] = ""
    cors_origins: Annotated[str, "origins whose pages may send a token, comma-separated; empty: none"] = ""
    browsing: Annotated[int, "1: result folders can be browsed below /output; 0: files by their address alone"] = 1
    upload_mb: Annotated[int, "MB one upload may have, and a ZIP may unpack to"] = 8192
    upload_files: Annotated[int, "files one upload, or one ZIP, may have"] = 20000
    upload_ratio: Annotated[int, "times its size a ZIP may unpack to"] = 200
    admin_user: Annotated[str, "name of the first administrator"] = "admin"
    admin_password: Annotated[str, "password of the first administrator (default: generated and printed)", SECRET] = ""

    openid_issuer: Annotated[str, "OpenID Connect provider of a single sign-on, https://…; empty: none"] = ""
    openid_client_id: Annotated[str, "client ID of minipacs at that provider"] = ""
    openid_client_secret: Annotated[str, "client secret of minipacs at that provider", SECRET] = ""
    openid_scopes: Annotated[str, "scopes to ask for, with spaces between them"] = "openid profile"
    openid_name_claim: Annotated[str, "claim that is the user's name here"] = "preferred_username"
    openid_role_claim: Annotated[str, "claim that holds groups or roles: groups, realm_access.roles"] = "groups"
    openid_roles: Annotated[str, "roles here by group there: pacs-admins=admin,radiology=annotator,*=viewer"] = ""
    openid_groups_claim: Annotated[str, "claim that holds the user's groups of studies here, by name; empty: none"] = ""
    idle_minutes: Annotated[int, "minutes without use after which a session in a browser ends; 0: never"] = 30

    aet: Annotated[str, "application entity title of the archive"] = "MINIPACS"
    dicom_port: Annotated[int, "DICOM port of the archive"] = 4242
    dicom_certificate: Annotated[str, "PEM file: certificate of the archive; DICOM is over TLS alone then"] = ""
    dicom_key: Annotated[str, "PEM file: private key of that certificate"] = ""
    dicom_trusted_certificates: Annotated[str, "PEM file: authorities of the modalities' certificates"] = ""
    peers: Annotated[str, "modalities allowed to send, NAME=AET@host:port,…; empty: anyone may store"] = ""
    orthanc_port: Annotated[int, "HTTP port of Orthanc"] = 8042
    orthanc_url: Annotated[str, "address of Orthanc's HTTP server (default: this machine, ORTHANC_PORT)"] = ""
    orthanc_database_url: Annotated[str, "PostgreSQL URL of Orthanc's index (default: SQLite in HOME)", SECRET] = ""
    orthanc_user: Annotated[str, "user name at Orthanc"] = "minipacs"
    orthanc_password: Annotated[str, "password at Orthanc (default: generated once, kept in HOME)", SECRET] = ""
    stable_study_address: Annotated[str, "host:port (UDP) where the job service receives the plugin's notifications"] = "127.0.0.1:8043"  # noqa: E501

    stable_age_s: Annotated[int, "seconds without a new instance after which Orthanc calls a study stable"] = 15
    quiet_s: Annotated[int, "seconds without a new instance after which a study is due (0: 2 × STABLE_AGE_S + 5)"] = 0
    poll_s: Annotated[float, "seconds between looks at the change log"] = 1.0
    reconcile_s: Annotated[int, "seconds between full comparisons of archive and catalogue"] = 300
    lease_s: Annotated[int, "seconds a worker may be silent before its job is given to another"] = 30
    attempts: Annotated[int, "attempts a job has before it is failed"] = 3
    retry: Annotated[str, "failed jobs to queue again by kind and seconds: segment=3600,…; empty: none"] = ""
    object_mb: Annotated[int, "MB of memory an object may take, unpacked; 0: an eighth of the memory, at least 256"] = 0
    frame_mb: Annotated[int, "MB of memory a decoded frame may take; 0: 1/32 of the memory, at least 96"] = 0
    volume_mb: Annotated[int, "MB of memory a volume may take; 0: a twelfth of the memory, at least 256"] = 0
    render_limit_s: Annotated[int, "seconds that the pictures of one object may take"] = 900
    worker_memory_mb: Annotated[int, "MB of memory a worker may take; 0: its share of what the machine has"] = 0
    archive_memory_mb: Annotated[int, "MB of memory Orthanc may take; 0: 640 + 3 × OBJECT_MB, at most 3/8 of it"] = 0
    reserve_mb: Annotated[int, "free disk, in MB, below which no new work starts"] = 512

    backup_recipients: Annotated[str, "public keys that backups are encrypted for, comma-separated; empty: none"] = ""
    backup_identity: Annotated[str, "file of the private key that an encrypted backup is restored with"] = ""

    log_format: Annotated[str, "log lines as `text`, or as `json` for machines"] = "text"
    notify_on: Annotated[str, "job states that are notified, comma-separated: done, failed, cancelled"] = "failed"
    webhook_url: Annotated[str, "URLs that receive notifications by POST (docs/operations.md), comma-separated", SECRET] = ""  # noqa: E501
    webhook_secret: Annotated[str, "key of webhook signatures (default: generated once, kept in HOME)", SECRET] = ""
    mail_to: Annotated[str, "mail addresses that receive notifications, comma-separated"] = ""
    mail_from: Annotated[str, "sender of the notification mails"] = "minipacs@localhost"
    smtp_url: Annotated[str, "mail server, smtp://user:password@host:587 or smtps://…", SECRET] = "smtp://127.0.0.1:25"

    audit_days: Annotated[int, "days an audit entry is kept; 0: for ever"] = 0
    audit_syslog: Annotated[str, "host:port of a syslog receiver (TLS) that gets the audit; empty: none"] = ""
    audit_syslog_ca: Annotated[str, "authority of the syslog receiver's certificate, PEM (default: the system's)"] = ""
    audit_syslog_certificate: Annotated[str, "our certificate for the syslog receiver, PEM; empty: none"] = ""
    audit_syslog_key: Annotated[str, "key of that certificate, PEM"] = ""
    audit_syslog_end: Annotated[str, "it ends TLS by `close_notify`; `eof`: it never sends that"] = "close_notify"

    engine: Annotated[str, "segmentation engine for new studies; `none` for no segmentation"] = "slicer"
    engine_limit_s: Annotated[int, "seconds a segmentation of one series may take"] = 900
    engine_stall_s: Annotated[int, "seconds an engine may neither report progress nor use the processor"] = 300
    engine_memory_mb: Annotated[int, "MB of memory one segmentation may take, 512 or more; 0: what is there"] = 0
    prompts: Annotated[str, "host:port (TCP) where the prompt service answers the front door"] = "127.0.0.1:8044"
    prompts_memory_mb: Annotated[int, "MB of volumes the prompt service keeps in memory"] = 1024
    sam_model: Annotated[str, "folder of a SAM or SAM 2 model (transformers); nothing is fetched"] = ""
    sam_python: Annotated[str, "Python of an environment that has torch and transformers, for SAM"] = ""
    sam_memory_mb: Annotated[int, "MB of image embeddings SAM's process keeps"] = 512
    slicer_executable: Annotated[str, "program of a full 3D Slicer, for the engine slicer-desktop"] = ""
    totalsegmentator_python: Annotated[str, "Python of an environment that has TotalSegmentator"] = ""
    totalsegmentator_weights: Annotated[str, "folder of TotalSegmentator's models; nothing is fetched"] = ""
    vista3d_url: Annotated[str, "address of a self-hosted VISTA-3D NIM; no other server is contacted"] = ""
    vista3d_address: Annotated[str, "the front door as the VISTA-3D server reaches it (default: localhost)"] = ""
    # fmt: on

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> "Settings":
        """Read `MINIPACS_*`; without `environ`, from `.env` in the working directory and the environment."""
        if environ is None:
            environ = read_environment()
        values: dict[str, Any] = {}
        for name, setting in describe_settings().items():
            variable, text = _find_variable(environ, name)
            if text == "":
                continue
            try:
                values[name] = setting.type(text)
            except ValueError as error:
                raise SettingsError(f"{variable} must be a number, not {text!r}.", setting_values.CORRECT_IT) from error
        return cls(**values).complete()

    def complete(self) -> "Settings":
        """Fill in the defaults that depend on other settings; check every setting that can be checked alone."""
        home = self.home.expanduser().resolve()
        completed = replace(
            self,
            home=home,
            output=(home / "output" if self.output == Path() else self.output).expanduser().resolve(),
            ohif=self.ohif.expanduser().resolve(),
            database_url=self.database_url or f"sqlite:///{home / 'catalogue.sqlite'}",
            orthanc_url=(self.orthanc_url or f"http://127.0.0.1:{self.orthanc_port}").rstrip("/"),
            quiet_s=self.quiet_s or 2 * self.stable_age_s + 5,
            dicom_certificate=setting_values.make_absolute(self.dicom_certificate),
            dicom_key=setting_values.make_absolute(self.dicom_key),
            dicom_trusted_certificates=setting_values.make_absolute(self.dicom_trusted_certificates),
            scheduler_certificate=setting_values.make_absolute(self.scheduler_certificate),
            scheduler_key=setting_values.make_absolute(self.scheduler_key),
            scheduler_trusted_certificates=setting_values.make_absolute(self.scheduler_trusted_certificates),
        )
        completed._check()
        return completed

    def _check(self) -> None:
        """Raise `SettingsError` for the first setting that cannot be used."""
        for name in ("http_port", "orthanc_port", "dicom_port"):
            setting_values.check_port(variable_name(name), getattr(self, name))
        if self.idle_minutes < 0:
            raise SettingsError("MINIPACS_IDLE_MINUTES must be 0 or more.", setting_values.CORRECT_IT)
        for name in ("upload_mb", "upload_files", "upload_ratio"):
            if getattr(self, name) < 1:
                raise SettingsError(f"{variable_name(name)} must be 1 or more.", setting_values.CORRECT_IT)
        for name in MEMORY_SETTINGS:
            setting_values.check_memory(variable_name(name), getattr(self, name))
        setting_values.check_seconds(variable_name("render_limit_s"), self.render_limit_s)
        for name in ("stable_study_address", "prompts"):
            setting_values.parse_address(variable_name(name), getattr(self, name))
        setting_values.check_scheduler(self.scheduler)
        for prefix in ("scheduler", "dicom"):
            names = [f"{prefix}_{name}" for name in ("certificate", "key", "trusted_certificates")]
            setting_values.check_all_or_none({variable_name(name): getattr(self, name) for name in names})
        pair = ("https_certificate", "https_key")
        setting_values.check_all_or_none({variable_name(name): getattr(self, name) for name in pair})
        setting_values.check_aet(self.aet)
        setting_values.check_public_url(self.public_url)
        client = (self.openid_client_id, self.openid_client_secret)
        setting_values.check_openid(self.openid_issuer, *client, self.openid_roles, self.public_url)
        setting_values.check_openid_groups_claim(self.openid_groups_claim, self.openid_issuer)
        setting_values.parse_networks("MINIPACS_TRUSTED_PROXIES", self.trusted_proxies)
        setting_values.check_log_format(self.log_format)
        setting_values.check_smtp_url(self.smtp_url)
        setting_values.check_database_url(self.database_url)
        setting_values.check_orthanc_database_url(self.orthanc_database_url)
        setting_values.parse_peers(self.peers)
        setting_values.parse_retry_rules(self.retry)
        setting_values.check_public_keys(self.backup_public_keys)
        setting_values.parse_notify_on(self.notify_on)
        setting_values.parse_webhook_urls(self.webhook_url)
        if self.audit_days < 0:
            raise SettingsError(f"{variable_name('audit_days')} must be 0 or more.", setting_values.CORRECT_IT)
        setting_values.check_audit_syslog_end(self.audit_syslog_end)
        if self.audit_syslog:
            setting_values.parse_address(variable_name("audit_syslog"), self.audit_syslog)

    def as_environment(self, *, with_secrets: bool | Collection[str] = True) -> dict[str, str]:
        """The same settings as environment variables, for child processes: with all secrets, with none, or with these.

        A process gets the secrets that it needs: `/proc/PID/environ` shows them, and so do its crash reports.
        """
        return {
            variable_name(name): str(getattr(self, name))
            for name, setting in describe_settings().items()
            if not setting.is_secret or (with_secrets if isinstance(with_secrets, bool) else name in with_secrets)
        }

    def without_secrets(self) -> "Settings":
        """The same settings with the default of every secret: for other machines, which have secrets of their own."""
        names = [name for name, setting in describe_settings().items() if setting.is_secret]
        defaults: dict[str, Any] = {f.name: f.default for f in fields(Settings) if f.name in names}
        return replace(self, **defaults)

    def __repr__(self) -> str:
        """The settings without their secrets: a library may print the arguments of a function that failed."""
        shown = {name: getattr(self, name) for name, setting in describe_settings().items() if not setting.is_secret}
        return f"Settings({', '.join(f'{name}={value!r}' for name, value in shown.items())})"

    @property
    def scheduler_host(self) -> str:
        """Host of the Dask scheduler; empty for an embedded pool."""
        return urlsplit(self.scheduler).hostname or ""

    @property
    def stable_study_host_and_port(self) -> tuple[str, int]:
        """Host and UDP port at which the job service receives the plugin's notifications."""
        return setting_values.parse_address(variable_name("stable_study_address"), self.stable_study_address)

    @property
    def prompts_address(self) -> tuple[str, int]:
        """Host and TCP port of the prompt service."""
        return setting_values.parse_address(variable_name("prompts"), self.prompts)

    @property
    def backup_public_keys(self) -> list[str]:
        """The public keys of BACKUP_RECIPIENTS."""
        return setting_values.parse_list(self.backup_recipients)

    @property
    def audit_syslog_address(self) -> tuple[str, int]:
        """Host and TCP port of the syslog receiver."""
        return setting_values.parse_address(variable_name("audit_syslog"), self.audit_syslog)

    @property
    def retry_rules(self) -> dict[str, float]:
        """Job kind → seconds after which its failed jobs are queued again."""
        return setting_values.parse_retry_rules(self.retry)

    @property
    def openid_role_of_group(self) -> dict[str, str]:
        """Group at the OpenID provider → role here; `*` is everybody."""
        return setting_values.parse_openid_roles(self.openid_roles)

    @property
    def automatic_engine(self) -> str:
        """The engine for new studies; empty where none is wanted."""
        return "" if self.engine == "none" else self.engine

    @property
    def allowed_origins(self) -> frozenset[str]:
        """The origins of CORS_ORIGINS."""
        return frozenset(part.strip().rstrip("/") for part in self.cors_origins.split(",") if part.strip())

    @property
    def front_door_url(self) -> str:
        """The front door's URL as a person on this machine types it."""
        return f"{'https' if self.serves_https else 'http'}://localhost:{self.http_port}"

    @property
    def serves_https(self) -> bool:
        """Whether the front door speaks HTTPS itself."""
        return bool(self.https_certificate)

    @property
    def host_name(self) -> str:
        """This machine's name, as it stands in job rows."""
        return socket.gethostname()


@dataclass(frozen=True)
class SettingDescription:
    """What is known of a setting beside its value."""

    type: type
    meaning: str
    is_secret: bool


@cache
def describe_settings() -> dict[str, SettingDescription]:
    """Every setting by its field name, in the order of the fields."""
    hints = get_type_hints(Settings, include_extras=True)
    described = {f.name: get_args(hints[f.name]) for f in fields(Settings)}
    return {
        name: SettingDescription(kind, meaning, SECRET in marks) for name, (kind, meaning, *marks) in described.items()
    }


def variable_name(name: str) -> str:
    """The environment variable of a setting."""
    return PREFIX + name.upper()


def _find_variable(environ: Mapping[str, str], name: str) -> tuple[str, str]:
    """The variable that holds a setting, by its name or an older one, and its text; empty where none is set."""
    for variable in (variable_name(name), *(old for old, new in RENAMED.items() if new == name)):
        if text := environ.get(variable, ""):
            return variable, text
    return variable_name(name), ""


def describe_renamed_settings(environ: Mapping[str, str]) -> list[str]:
    """A sentence for each older name of a setting that is still in use."""
    return [
        f"{old} is called {variable_name(new)} now; the old name is still read."
        for old, new in RENAMED.items()
        if environ.get(old)
    ]


def remove_secrets_from_environment() -> None:
    """Take our secrets out of this process' environment, once they are read: what it starts inherits none of them."""
    for name, setting in describe_settings().items():
        if setting.is_secret:
            os.environ.pop(variable_name(name), None)


def read_environment() -> dict[str, str]:
    """The variables of `.env` in the working directory and of the environment, which wins."""
    return {**read_env_file(Path(".env")), **os.environ}


def read_env_file(path: Path) -> dict[str, str]:
    """`NAME=value` lines of a `.env` file; `#` starts a comment line; quotes around a value are removed."""
    if not path.is_file():
        return {}
    lines = (line.strip() for line in path.read_text("utf-8").splitlines())
    pairs = (line.removeprefix("export ").partition("=") for line in lines if line and not line.startswith("#"))
    return {name.strip(): value.strip().strip("'\"") for name, _, value in pairs}
