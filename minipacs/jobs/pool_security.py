"""Who may talk to the pool: whoever can connect to Dask's scheduler or to a worker has any code run there.

So every connection is TLS with a certificate at both ends (`tls://`), of one authority that serves the pool alone.
The embedded pool makes both anew at each start; a cluster's are made by `minipacs certificates cluster`. Without TLS
only this machine's own loopback is allowed, or a network that the settings say is trusted.
"""

import ssl
from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

from minipacs.errors import SettingsError
from minipacs.files import write_private
from minipacs.settings import Settings

if TYPE_CHECKING:
    from distributed import Security

VALID_FOR = timedelta(days=3650)
"""Of the embedded pool's certificates: longer than any process lives; they end with it."""


def load_pool_security(settings: Settings) -> "Security | None":
    """What Dask needs for the scheduler of the settings; `None` where it is one without TLS.

    Raises `SettingsError` as `check_pool_security`.
    """
    check_pool_security(settings)
    if not is_scheduler_encrypted(settings):
        return None
    from distributed import Security

    certificate, key = settings.scheduler_certificate, settings.scheduler_key
    return Security(
        require_encryption=True,
        tls_min_version=ssl.TLSVersion.TLSv1_3,
        tls_ca_file=settings.scheduler_trusted_certificates,
        tls_client_cert=certificate,
        tls_client_key=key,
        tls_scheduler_cert=certificate,
        tls_scheduler_key=key,
        tls_worker_cert=certificate,
        tls_worker_key=key,
    )


def check_pool_security(settings: Settings) -> None:
    """Raise `SettingsError` where the scheduler's certificates cannot be used, or TLS is needed and missing."""
    if is_scheduler_encrypted(settings):
        _check_certificates(settings)
    elif settings.scheduler:
        refuse_open_network(settings, settings.scheduler_host)


def is_scheduler_encrypted(settings: Settings) -> bool:
    """Whether the address of the scheduler asks for TLS."""
    return settings.scheduler.startswith("tls://")


def refuse_open_network(settings: Settings, host: str) -> None:
    """Raise `SettingsError` where `host` is not this machine's loopback and no setting says its network is trusted."""
    if is_loopback(host) or settings.scheduler_network_is_trusted:
        return
    raise SettingsError(
        f"A scheduler without TLS at {host} lets everybody who reaches it run code.",
        "Make certificates with `minipacs certificates cluster` and set MINIPACS_SCHEDULER=tls://…; or set "
        "MINIPACS_SCHEDULER_NETWORK_IS_TRUSTED=1 where only the cluster's own machines are on that network.",
    )


def is_loopback(host: str) -> bool:
    """Whether a host is this machine's loopback."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def create_pool_certificates(settings: Settings, folder: Path) -> Settings:
    """Make the embedded pool's certificate in this folder; the settings with its files.

    The authority's key is never written: nobody can issue another certificate.
    """
    from minipacs.certificates.authority import create_authority, issue_certificate

    authority = create_authority("minipacs embedded pool", VALID_FOR)
    member = issue_certificate(authority, "minipacs embedded pool member", ["127.0.0.1"], VALID_FOR)
    trusted, certificate, key = (folder / name for name in ("authority.crt", "pool.crt", "pool.key"))
    write_private(trusted, authority.certificate_pem)
    write_private(certificate, member.certificate_pem)
    write_private(key, member.key_pem)

    return replace(
        settings,
        scheduler_trusted_certificates=str(trusted),
        scheduler_certificate=str(certificate),
        scheduler_key=str(key),
    )


def _check_certificates(settings: Settings) -> None:
    """Raise `SettingsError` where the certificate, its key or the trusted certificates cannot be used together."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_cert_chain(settings.scheduler_certificate, settings.scheduler_key, password="")
        context.load_verify_locations(settings.scheduler_trusted_certificates)
    except OSError as error:
        raise SettingsError(
            f"The certificates of the pool cannot be used ({error.strerror or error}).",
            "Correct MINIPACS_SCHEDULER_CERTIFICATE, _KEY and _TRUSTED_CERTIFICATES; "
            "`minipacs certificates cluster` makes them.",
        ) from error
