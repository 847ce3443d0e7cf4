"""The checks of `minipacs doctor`: one function for each part, each with one finding.

A finding says ok, warning or failed, what was seen, and the remedy. A check may raise: that is a
failure in the error's own words.
"""

import logging
import shutil
import socket
import tempfile
import urllib.error
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path

from minipacs.archive.client import Archive
from minipacs.archive.dicom_tls import is_dicom_encrypted, make_client_tls
from minipacs.archive.local_orthanc import (
    PLUGIN_FOLDERS,
    find_binary,
    find_changed_configuration_keys,
    is_orthanc_local,
    required_plugins,
)
from minipacs.certificates.https import check_https_certificate, open_front_door
from minipacs.doctor.catalogue_check import check_catalogue, check_waiting_studies
from minipacs.doctor.certificate_check import check_certificates
from minipacs.doctor.finding import Finding, failure, ok, warning
from minipacs.doctor.work_checks import (
    check_audit,
    check_change_log,
    check_database,
    check_notifications,
    check_queue,
    check_scheduler,
)
from minipacs.errors import EngineUnavailable, MinipacsError
from minipacs.files import OTHERS
from minipacs.home_folder import RUN_AS_A_USER, find_open_paths, is_root
from minipacs.settings import (
    PREFIX,
    RENAMED,
    Settings,
    describe_renamed_settings,
    describe_settings,
    read_env_file,
    read_environment,
    variable_name,
)

ANSWER_TIMEOUT_S = 30.0
"""Longest wait for one part's answer: a part that answers late is busy, not broken."""
COMFORTABLE_RESERVES = 4
"""Free disk below this multiple of the reserve is a warning."""


def check_settings(settings: Settings, environ: Mapping[str, str] | None = None) -> Finding:
    """Every variable that is set is a setting; names that nobody reads are typing errors, older names are reported."""
    variables = read_environment() if environ is None else environ
    known = {variable_name(name) for name in describe_settings()} | set(RENAMED) | {"MINIPACS_TEST_DATA"}
    unknown = sorted(name for name in variables if name.startswith(PREFIX) and name not in known)
    if unknown:
        return warning(f"{', '.join(unknown)}: no such setting", "Correct the name (README.md, Settings) or remove it.")
    if is_env_file_open():
        return warning(".env holds secrets and can be read by other users of this machine", "chmod 600 .env")
    if renamed := describe_renamed_settings(variables):
        return warning(" ".join(renamed), "Write the new name in .env or in the environment.")
    return ok(f"{sum(name in known for name in variables)} set, the rest by default")


def is_env_file_open() -> bool:
    """Whether the `.env` of the working directory sets a secret, and others than its owner can read it."""
    file = Path(".env")
    secrets = {variable_name(name) for name, setting in describe_settings().items() if setting.is_secret}
    return bool(secrets & set(read_env_file(file))) and bool(file.stat().st_mode & OTHERS)


def check_home(settings: Settings) -> Finding:
    """HOME can be written, and nobody but its owner can open what is in it and in OUTPUT."""
    try:
        settings.home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=settings.home):
            pass
    except OSError as error:
        return failure(
            f"{settings.home} cannot be written ({error.strerror})", "Set MINIPACS_HOME, or its permissions."
        )
    open_paths = list(find_open_paths(settings))
    if open_paths:
        return warning(
            f"open to other users of this machine: {', '.join(map(str, open_paths))}",
            f"Close it, unless you share it on purpose: chmod -R go= {' '.join(map(str, open_paths))}",
        )
    return ok(f"{settings.home} can be written, and is closed to other users")


def check_user(settings: Settings) -> Finding:
    """minipacs runs as a user of its own, not as root."""
    if is_root():
        return warning("this is root; if minipacs is run so, whoever takes it over has the machine", RUN_AS_A_USER)
    return ok("an ordinary user")


def check_disk(settings: Settings) -> Finding:
    """The disk has more free space than the reserve."""
    free_mb = shutil.disk_usage(settings.home).free // 2**20
    seen = f"{free_mb} MB free, reserve {settings.reserve_mb} MB"
    remedy = "Free some disk space, or set MINIPACS_HOME to a larger disk."
    if free_mb < settings.reserve_mb:
        return failure(f"{seen}: no new work starts", remedy)
    return warning(seen, remedy) if free_mb < COMFORTABLE_RESERVES * settings.reserve_mb else ok(seen)


def check_viewer(settings: Settings) -> Finding:
    """The OHIF build is prepared."""
    if not (settings.ohif / "index.html").is_file():
        return failure(f"no OHIF build in {settings.ohif}", "Run scripts/setup, or set MINIPACS_OHIF.")
    return ok(f"OHIF is prepared in {settings.ohif}")


def check_engines(settings: Settings) -> Finding:
    """The engine for new studies is available; others may be missing."""
    reasons: dict[str, str] = {}
    """Why each engine is not available; empty for those that are."""
    for point in sorted(entry_points(group="minipacs.engines"), key=lambda p: p.name):
        try:
            point.load()(settings)
            reasons[point.name] = ""
        except (EngineUnavailable, ImportError) as error:
            reasons[point.name] = str(error)
    wanted = settings.automatic_engine
    if wanted and reasons.get(wanted, "not installed"):
        return failure(f"{wanted}: {reasons.get(wanted) or 'no such engine'}", "`minipacs engines` says what to do.")

    available = ", ".join(name for name, reason in reasons.items() if not reason)
    missing = ", ".join(name for name, reason in reasons.items() if reason)
    seen = f"{wanted or 'none'} for new studies; available: {available or 'none'}"
    return ok(f"{seen}; not available: {missing}" if missing else seen)


def check_orthanc_installation(settings: Settings) -> Finding:
    """Orthanc and its plugins are installed, where we start it ourselves."""
    if not is_orthanc_local(settings):
        return ok(f"runs elsewhere ({settings.orthanc_url})")
    missing = [
        package
        for file, package in required_plugins(settings).items()
        if not any(Path(folder, file).exists() for folder in PLUGIN_FOLDERS)
    ]
    if find_binary() is None:
        missing.insert(0, "orthanc")
    if missing:
        return failure(f"not installed: {', '.join(missing)}", f"apt-get install {' '.join(missing)}")
    return ok("program and plugins are installed")


def check_archive(settings: Settings) -> Finding:
    """The archive answers, is ours, has the plugins it needs and not the one that kills it."""
    with closing(Archive(settings, timeout_s=ANSWER_TIMEOUT_S)) as archive:
        system, plugins = archive.read_system_info(), archive.list_plugins()

    if "gdcm" in plugins:
        return failure("the gdcm plugin is loaded; its transcoding can kill Orthanc", "apt-get remove orthanc-gdcm")
    missing = [name for name in ("dicom-web", "python") if name not in plugins]
    if missing:
        return failure(f"plugins not loaded: {', '.join(missing)}", "Start it with scripts/up, or load them.")
    if system.get("DicomAet") != settings.aet:
        return warning(f"calls itself {system.get('DicomAet')}, not {settings.aet}", "Restart it: scripts/up.")
    if system.get("OverwriteInstances"):
        return warning("OverwriteInstances is on: repeats are stored again", "Set it to false in Orthanc.")
    index = "PostgreSQL" if system.get("DatabaseBackendPlugin") else "SQLite"
    if bool(settings.orthanc_database_url) != (index == "PostgreSQL") and is_orthanc_local(settings):
        return warning(f"its index is in {index}, not where the settings say", "Restart it: scripts/up.")
    return ok(f"Orthanc {system['Version']}, index in {index}")


def check_dicomweb(settings: Settings) -> Finding:
    """QIDO-RS is answered."""
    with closing(Archive(settings, timeout_s=ANSWER_TIMEOUT_S)) as archive:
        archive.check_dicomweb()
    return ok("QIDO-RS is answered")


def check_dicom_port(settings: Settings) -> Finding:
    """C-ECHO (PS3.7 9.1.5) is answered, as a modality would send it."""
    if not is_orthanc_local(settings):
        return ok("runs elsewhere: not checked")
    here = ("127.0.0.1", settings.dicom_port)
    try:
        socket.create_connection(here, ANSWER_TIMEOUT_S).close()
    except OSError:
        return failure(f"port {settings.dicom_port} accepts no connection", "Start everything with scripts/up.")
    from pynetdicom import AE

    logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)  # the finding says it
    entity = AE(ae_title="MINIPACSDOCTOR")
    entity.add_requested_context("1.2.840.10008.1.1")  # Verification SOP Class
    entity.connection_timeout = entity.acse_timeout = entity.dimse_timeout = ANSWER_TIMEOUT_S
    association = entity.associate(*here, ae_title=settings.aet, tls_args=make_client_tls(settings, here[0]))
    if not association.is_established:
        return failure(f"port {settings.dicom_port} accepts no association", "See HOME/log/orthanc.log.")
    status = association.send_c_echo()
    association.release()
    if getattr(status, "Status", None) != 0x0000:  # Success
        return failure("C-ECHO was refused", "See HOME/log/orthanc.log.")
    how = "over TLS" if is_dicom_encrypted(settings) else "unencrypted"
    return ok(f"{settings.aet} answers C-ECHO on port {settings.dicom_port}, {how}")


def check_orthanc_configuration(settings: Settings) -> Finding:
    """Orthanc was started with the configuration that follows from today's settings."""
    if not is_orthanc_local(settings):
        return ok("runs elsewhere: not checked")
    differing = find_changed_configuration_keys(settings)
    if differing is None:
        return warning("was never started here", "Start everything with scripts/up.")
    if differing:
        return warning(f"was started with other settings: {', '.join(differing)}", "Restart it: scripts/up.")
    return ok(f"stable after {settings.stable_age_s} s, as set")


def check_job_service(settings: Settings) -> Finding:
    """The job service listens for the plugin's notifications: their port cannot be taken."""
    host, port = settings.stable_study_host_and_port
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((host, port))
        except OSError:
            return ok(f"the job service listens on UDP port {port}")
    return failure(f"nobody listens on UDP port {port}: the job service does not run", "Start it with scripts/up.")


def check_prompts(settings: Settings) -> Finding:
    """The prompt service accepts connections."""
    try:
        socket.create_connection(settings.prompts_address, ANSWER_TIMEOUT_S).close()
    except OSError:
        return failure(f"nobody answers at {settings.prompts}", "Start it with scripts/up.")
    return ok(f"answers at {settings.prompts}")


def check_front_door(settings: Settings) -> Finding:
    """The front door answers."""
    try:
        check_https_certificate(settings)
        with open_front_door(settings, "/healthz", ANSWER_TIMEOUT_S):
            return ok(f"answers at {settings.front_door_url}")
    except urllib.error.HTTPError as error:
        return failure(
            f"port {settings.http_port} answers {error.code}: another program?", "Stop it, or set MINIPACS_HTTP_PORT."
        )
    except (urllib.error.URLError, OSError):
        return failure(f"nobody answers at {settings.front_door_url}", "Start it with scripts/up.")


@dataclass(frozen=True)
class Check:
    """The name of a part, and the function that checks it."""

    part: str
    run: Callable[[Settings], Finding]


CHECKS = (
    Check("settings", check_settings),
    Check("home", check_home),
    Check("user", check_user),
    Check("disk", check_disk),
    Check("certificates", check_certificates),
    Check("database", check_database),
    Check("viewer", check_viewer),
    Check("engines", check_engines),
    Check("orthanc", check_orthanc_installation),
    Check("archive", check_archive),
    Check("orthanc configuration", check_orthanc_configuration),
    Check("dicomweb", check_dicomweb),
    Check("dicom", check_dicom_port),
    Check("job service", check_job_service),
    Check("scheduler", check_scheduler),
    Check("queue", check_queue),
    Check("change log", check_change_log),
    Check("waiting studies", check_waiting_studies),
    Check("catalogue", check_catalogue),
    Check("notifications", check_notifications),
    Check("audit", check_audit),
    Check("prompts", check_prompts),
    Check("front door", check_front_door),
)


def run_checks(settings: Settings) -> Iterator[tuple[str, Finding]]:
    """Each part and its finding, in order; an error of a check is a failure."""
    for check in CHECKS:
        try:
            yield check.part, check.run(settings)
        except MinipacsError as error:
            yield check.part, failure(error.message.rstrip("."), error.hint)
        except OSError as error:
            yield check.part, failure(f"{type(error).__name__}: {error.strerror or error}", "See HOME/log.")
