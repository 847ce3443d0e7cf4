"""Parse and check the settings that are more than a word or a number. `Settings.complete` calls every function here.

Each raises `SettingsError`, which names the setting and the form it must have.
"""

import ipaddress
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from minipacs.errors import SettingsError

if TYPE_CHECKING:
    from sqlalchemy import URL

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

CORRECT_IT = "Correct it in .env or in the environment."
SYSLOG_ENDS = ("close_notify", "eof")
LOG_FORMATS = ("text", "json")
ENDED_STATES = ("done", "failed", "cancelled")
ROLES = ("viewer", "annotator", "operator", "admin")
"""Of users and tokens; each may what those before it may (`api.auth.roles`)."""
MAX_AET_LENGTH = 16
"""PS3.5 6.2, VR AE: 16 bytes maximum."""


def parse_list(text: str) -> list[str]:
    """The parts between commas, without spaces around them; empty parts are left out."""
    return [part.strip() for part in text.split(",") if part.strip()]


def parse_address(name: str, text: str) -> tuple[str, int]:
    """`host:port` as host and port."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit():
        raise SettingsError(f"{name} must be host:port, not {text!r}.", CORRECT_IT)
    return host, int(port)


def parse_retry_rules(text: str) -> dict[str, float]:
    """`kind=seconds,…` as job kind → seconds after which its failed jobs are queued again."""
    try:
        pairs = [rule.split("=") for rule in parse_list(text)]
        return {kind.strip(): float(seconds) for kind, seconds in pairs}
    except ValueError as error:
        form = f"MINIPACS_RETRY must be kind=seconds, separated by commas, not {text!r}."
        raise SettingsError(form, CORRECT_IT) from error


def parse_peers(text: str) -> dict[str, list[str | int]]:
    """`NAME=AET@host:port,…` as Orthanc's DicomModalities: name → [AET, host, port]."""
    peers: dict[str, list[str | int]] = {}
    for entry in parse_list(text):
        name, _, rest = entry.partition("=")
        aet, _, address = rest.partition("@")
        host, _, port = address.rpartition(":")
        if not (name and aet and host and port.isdigit()):
            raise SettingsError(f"MINIPACS_PEERS has {entry!r}.", "Write NAME=AET@host:port, separated by commas.")
        peers[name] = [aet, host, int(port)]
    return peers


def parse_notify_on(text: str) -> list[str]:
    """The job states that are notified."""
    states = parse_list(text)
    unknown = set(states) - set(ENDED_STATES)
    if unknown:
        choice = f"Choose from {', '.join(ENDED_STATES)}."
        raise SettingsError(f"MINIPACS_NOTIFY_ON has {', '.join(sorted(unknown))}.", choice)
    return states


def parse_webhook_urls(text: str) -> list[str]:
    """The URLs of webhooks."""
    urls = parse_list(text)
    if not all(url.startswith(("http://", "https://")) for url in urls):
        raise SettingsError("MINIPACS_WEBHOOK_URL must begin with http:// or https://.", CORRECT_IT)
    return urls


def make_absolute(path: str) -> str:
    """The absolute path of a file; empty where none is named."""
    return str(Path(path).expanduser().resolve()) if path else ""


def check_scheduler(address: str) -> None:
    """Check that it is empty, or the address of a Dask scheduler."""
    if not address:
        return
    try:
        parts = urlsplit(address)
        is_address = parts.scheme in ("tls", "tcp") and parts.hostname and parts.port
    except ValueError:  # a port that is none
        is_address = False
    if not is_address:
        raise SettingsError(f"MINIPACS_SCHEDULER is {address!r}.", "Write tls://host:port or tcp://host:port.")


def check_all_or_none(values: Mapping[str, str]) -> None:
    """Check that all of these settings have a value, or none."""
    missing = [name for name, value in values.items() if not value]
    if missing and len(missing) < len(values):
        there = [name for name in values if name not in missing]
        raise SettingsError(f"{', '.join(missing)} must be set, too, with {', '.join(there)}.", "Set all, or none.")


def check_openid(issuer: str, client_id: str, client_secret: str, roles: str, public_url: str) -> None:
    """Check that the settings of single sign-on are there together, and that nothing of it goes without https."""
    if issuer or roles:
        parse_openid_roles(roles)
    if not issuer:
        return
    parts = urlsplit(issuer)
    is_local = parts.hostname in ("localhost", "127.0.0.1", "::1")
    if not parts.hostname or not (parts.scheme == "https" or (parts.scheme == "http" and is_local)):
        raise SettingsError("MINIPACS_OPENID_ISSUER must begin with https://.", CORRECT_IT)
    needed = {"OPENID_CLIENT_ID": client_id, "OPENID_CLIENT_SECRET": client_secret, "PUBLIC_URL": public_url}
    missing = [f"MINIPACS_{name}" for name, value in needed.items() if not value]
    if missing:
        raise SettingsError(f"MINIPACS_OPENID_ISSUER needs {', '.join(missing)} too.", "Set all of them.")


def check_openid_groups_claim(claim: str, issuer: str) -> None:
    """Check that a claim of groups is that of a provider."""
    if claim and not issuer:
        raise SettingsError("MINIPACS_OPENID_GROUPS_CLAIM needs MINIPACS_OPENID_ISSUER too.", "Set both, or none.")


def parse_openid_roles(text: str) -> dict[str, str]:
    """`group=role,…` as group at the OpenID provider → role here. The last `=` separates: groups may have one."""
    pairs = [part.rpartition("=") for part in parse_list(text)]
    if not pairs or not all(group and role in ROLES for group, _, role in pairs):
        form = f"Write group=role, separated by commas; the roles are {', '.join(ROLES)}, and * is every group."
        raise SettingsError("MINIPACS_OPENID_ROLES is empty, or a part of it is not group=role.", form)
    return {group: role for group, _, role in pairs}


def parse_networks(name: str, text: str) -> list[Network]:
    """Addresses and networks, comma-separated: `127.0.0.1, 10.0.0.0/8, ::1`."""
    try:
        return [ipaddress.ip_network(part) for part in parse_list(text)]
    except ValueError as error:
        form = "Write addresses or networks, separated by commas: 127.0.0.1,10.1.0.0/16."
        raise SettingsError(f"{name} has an entry that is no network: {error}.", form) from error


def check_port(name: str, port: int) -> None:
    """Check a TCP port: 1 to 65535."""
    if not 0 < port < 65536:
        raise SettingsError(f"{name} must be a port, 1 to 65535.", CORRECT_IT)


def check_memory(name: str, megabytes: int) -> None:
    """Check an amount of memory: MB, or 0 for what fits the machine."""
    if megabytes < 0:
        raise SettingsError(f"{name} must be a number of MB, or 0 for what fits the machine.", CORRECT_IT)


def check_seconds(name: str, seconds: int) -> None:
    """Check a time limit: seconds, at least one."""
    if seconds < 1:
        raise SettingsError(f"{name} must be a number of seconds, 1 or more.", CORRECT_IT)


def check_aet(aet: str) -> None:
    """Check an application entity title: 1 to 16 characters."""
    if not 1 <= len(aet) <= MAX_AET_LENGTH:
        raise SettingsError(f"MINIPACS_AET must have 1 to {MAX_AET_LENGTH} characters.", CORRECT_IT)


def check_public_url(url: str) -> None:
    """Check that it is empty, or the URL of a web server."""
    if url and not url.startswith(("http://", "https://")):
        raise SettingsError("MINIPACS_PUBLIC_URL must start with http:// or https://.", CORRECT_IT)


def check_audit_syslog_end(text: str) -> None:
    """Check that it is one of `SYSLOG_ENDS`."""
    if text not in SYSLOG_ENDS:
        ends = " or ".join(SYSLOG_ENDS)
        raise SettingsError(f"MINIPACS_AUDIT_SYSLOG_END must be {ends}, not {text!r}.", CORRECT_IT)


def check_log_format(text: str) -> None:
    """Check that it is one of `LOG_FORMATS`."""
    if text not in LOG_FORMATS:
        raise SettingsError(f"MINIPACS_LOG_FORMAT must be {' or '.join(LOG_FORMATS)}, not {text!r}.", CORRECT_IT)


def check_smtp_url(url: str) -> None:
    """Check the URL of a mail server. The error does not repeat it, nor do those below: a URL may hold a password."""
    try:
        parts = urlsplit(url)
        is_server = parts.scheme in ("smtp", "smtps") and parts.hostname and parts.port != 0
    except ValueError:  # brackets or a port that are none
        is_server = False
    if not is_server:
        raise SettingsError("MINIPACS_SMTP_URL is no mail server.", "Write smtp://host:port or smtps://host:port.")


def check_database_url(url: str) -> None:
    """Check that it is SQLite's, or PostgreSQL's with the driver that is installed."""
    if url.startswith("sqlite:///"):
        return
    form = "Write sqlite:////folder/file or postgresql+psycopg://user:password@host:5432/database."
    parts = _parse_database_url("MINIPACS_DATABASE_URL", url, form)
    if parts.drivername not in ("sqlite", "sqlite+pysqlite", "postgresql+psycopg"):
        raise SettingsError("MINIPACS_DATABASE_URL is neither SQLite nor PostgreSQL.", form)


def check_orthanc_database_url(url: str) -> None:
    """Check that it is empty, or a PostgreSQL URL with user, host and database."""
    if not url:
        return
    form = "Write postgresql://user:password@host:5432/database."
    parts = _parse_database_url("MINIPACS_ORTHANC_DATABASE_URL", url, form)
    is_postgresql = parts.drivername.partition("+")[0] == "postgresql"
    if not (is_postgresql and parts.username and parts.host and parts.database):
        raise SettingsError("MINIPACS_ORTHANC_DATABASE_URL must name user, host and database.", form)


def _parse_database_url(variable: str, url: str, form: str) -> "URL":
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        return make_url(url)
    except (ArgumentError, ValueError):
        raise SettingsError(f"{variable} is no URL.", form) from None


def check_public_keys(keys: Sequence[str]) -> None:
    """Check that each is a public key of age; the error never repeats it: somebody may have written the private one."""
    if not keys:
        return
    import pyrage

    try:
        for key in keys:
            pyrage.x25519.Recipient.from_str(key)
    except pyrage.RecipientError as error:
        raise SettingsError(
            "MINIPACS_BACKUP_RECIPIENTS names something that is no public key (age1…).",
            "`minipacs backup --create-key FILE` makes a pair of keys and prints the public one.",
        ) from error
