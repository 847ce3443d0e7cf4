"""HTTPS of the front door: its certificate is looked at before a start, and this machine's own requests trust it."""

import ssl
import urllib.request
from datetime import UTC, datetime
from http.client import HTTPResponse
from pathlib import Path
from typing import cast

from minipacs.errors import SettingsError
from minipacs.settings import Settings

RENEW_IT = "Renew it: `minipacs certificates https --replace`, or whoever issued it; then start again."
ALL_ADDRESSES = ("0.0.0.0", "::")


def check_https_certificate(settings: Settings) -> None:
    """Raise `SettingsError` where the certificate or its key is missing, unreadable, of another pair, or has ended."""
    if not settings.serves_https:
        return
    from minipacs.certificates.files import find_first_end, read_key_and_certificate

    certificate, key = Path(settings.https_certificate), Path(settings.https_key)
    read_key_and_certificate(certificate, key)
    end = find_first_end(certificate)
    if end < datetime.now(UTC):
        raise SettingsError(f"{certificate} ended on {end:%Y-%m-%d}: no browser takes it.", RENEW_IT)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
    except ssl.SSLError as error:
        raise SettingsError(f"{certificate} and {key} cannot be used ({error.reason}).", RENEW_IT) from error


def local_front_door_url(settings: Settings) -> str:
    """The front door's address for programs of this machine."""
    host = "127.0.0.1" if settings.http_host in ALL_ADDRESSES else settings.http_host
    host = f"[{host}]" if ":" in host else host
    return f"{'https' if settings.serves_https else 'http'}://{host}:{settings.http_port}"


def open_front_door(
    settings: Settings, path: str, timeout_s: float, headers: dict[str, str] | None = None
) -> HTTPResponse:
    """GET a path of our own front door. Raises `OSError` where nobody, or another than the settings' one, answers.

    Whatever names the certificate has: it must be the very one that the settings name.
    """
    request = urllib.request.Request(local_front_door_url(settings) + path, headers=headers or {})
    context = make_client_context(settings) if settings.serves_https else None
    return cast(HTTPResponse, urllib.request.urlopen(request, timeout=timeout_s, context=context))


def make_client_context(settings: Settings) -> ssl.SSLContext:
    """TLS that trusts the front door's own certificate, and none else: no authority that follows it in the file.

    Raises `OSError` where it cannot be read.
    """
    from minipacs.certificates.files import read_first_certificate_as_der

    try:
        own = read_first_certificate_as_der(Path(settings.https_certificate))
    except SettingsError as error:
        raise OSError(str(error)) from error
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # a certificate that no authority of ours signed
    context.load_verify_locations(cadata=own)
    return context
