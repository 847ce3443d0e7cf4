"""Syslog over TLS: messages of RFC 5424 in the frames of RFC 5425, as PS3.15 A.6 asks of audit messages."""

import contextlib
import os
import socket
import ssl
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Self

from minipacs import setting_values
from minipacs.errors import NotDelivered, SettingsError
from minipacs.settings import Settings

PRIORITY = 10 * 8 + 5
"""RFC 5424 6.2.1: facility 10, security and authorization; severity 5, notice."""
MESSAGE_ID = "DICOM+RFC3881"
TIMEOUT_S = 30.0
READ_BYTES = 4096


def make_frame(message: bytes, at: float, host: str) -> bytes:
    """A message as a syslog frame: `LENGTH SP <PRI>1 TIME HOST APP PROCID MSGID SD BOM MESSAGE`."""
    time = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    name = "".join(c for c in host if "!" <= c <= "~") or "-"
    header = f"<{PRIORITY}>1 {time} {name} minipacs {os.getpid()} {MESSAGE_ID} - "
    syslog = header.encode() + b"\xef\xbb\xbf" + message
    return str(len(syslog)).encode() + b" " + syslog


def send_frames(settings: Settings, frames: Iterable[bytes]) -> None:
    """Send the frames by one connection, and wait until the receiver has read them all and ended it too.

    Raises:
        NotDelivered: the receiver was not reached, did not prove who it is, or broke off: send all of them again.
    """
    address = settings.audit_syslog
    try:
        with _Connection(settings) as connection:
            for frame in frames:
                connection.send(frame)
            connection.end(may_be_silent=settings.audit_syslog_end == "eof")
    except ssl.SSLCertVerificationError as error:
        hint = "Set MINIPACS_AUDIT_SYSLOG_CA to the authority of its certificate."
        raise NotDelivered(f"The syslog receiver {address} is not trusted ({error.verify_message}).", hint) from error
    except ssl.SSLEOFError as error:
        hint = "Look at its log. If it never sends close_notify, set MINIPACS_AUDIT_SYSLOG_END=eof."
        raise NotDelivered(f"The syslog receiver {address} broke off without close_notify.", hint) from error
    except OSError as error:
        reason = error.strerror or type(error).__name__
        hint = "Start it, or correct MINIPACS_AUDIT_SYSLOG."
        raise NotDelivered(f"The syslog receiver {address} does not take the audit ({reason}).", hint) from error


def make_tls_context(settings: Settings) -> ssl.SSLContext:
    """TLS 1.2 or newer; the receiver's name is checked against its certificate."""
    try:
        context = ssl.create_default_context(cafile=settings.audit_syslog_ca or None)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF  # an end without close_notify is told from one with it
        if settings.audit_syslog_certificate:
            context.load_cert_chain(settings.audit_syslog_certificate, settings.audit_syslog_key or None, password="")
    except OSError as error:
        raise SettingsError(
            f"A certificate of MINIPACS_AUDIT_SYSLOG cannot be read ({error.strerror or error}).",
            setting_values.CORRECT_IT,
        ) from error
    return context


class _Connection:
    """A TLS connection that tells a close_notify from an alert.

    `ssl.SSLSocket.unwrap` takes both for an end in order. With TLS 1.3 a receiver refuses a client's certificate by an
    alert after the client has sent its first messages, which are then lost.
    """

    def __init__(self, settings: Settings) -> None:
        host, port = settings.audit_syslog_address
        context = make_tls_context(settings)
        self._received, self._to_send = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._received, self._to_send, server_hostname=host)
        self._socket = socket.create_connection((host, port), TIMEOUT_S)

    def __enter__(self) -> Self:
        try:
            self._repeat_until_done(self._tls.do_handshake)
        except BaseException:
            self._socket.close()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        self._socket.close()

    def send(self, data: bytes) -> None:
        """Send all of the data."""
        self._tls.write(data)
        self._flush()

    def end(self, *, may_be_silent: bool) -> None:
        """Say that no more comes, and wait for the receiver's close_notify: only then it has read all (RFC 5425 4.4).

        `may_be_silent`: the end of the connection itself is taken for it, which a killed receiver sends too.
        """
        try:
            with contextlib.suppress(ssl.SSLWantReadError):
                self._read_until_closed()
            with contextlib.suppress(ssl.SSLWantReadError):
                self._tls.unwrap()
            self._repeat_until_done(self._read_until_closed)
        except ssl.SSLEOFError:
            if not may_be_silent:
                raise

    def _read_until_closed(self) -> None:
        """Read until the receiver's close_notify; its alert is raised as `ssl.SSLError`."""
        with contextlib.suppress(ssl.SSLZeroReturnError):
            while self._tls.read(READ_BYTES):
                pass

    def _repeat_until_done(self, step: Callable[[], object]) -> None:
        while True:
            try:
                step()
            except ssl.SSLWantReadError:
                self._flush()
                self._receive()
            else:
                self._flush()
                return

    def _receive(self) -> None:
        if data := self._socket.recv(READ_BYTES):
            self._received.write(data)
        else:
            self._received.write_eof()

    def _flush(self) -> None:
        if data := self._to_send.read():
            self._socket.sendall(data)
