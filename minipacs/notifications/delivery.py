"""Deliver one notification, by webhook or by mail. A failure raises `NotDelivered`; the outbox tries again."""

import hmac
import json
import smtplib
import ssl
import time
import urllib.error
import urllib.request
from email.message import EmailMessage
from hashlib import sha256
from http.client import HTTPException
from typing import Any, TypedDict
from urllib.parse import unquote, urlsplit

from minipacs.errors import NotDelivered
from minipacs.secrets import get_or_create_secret
from minipacs.settings import Settings

TIMEOUT_S = 10.0
"""Longest wait for a receiver."""


class EndedJob(TypedDict):
    """A job in a notification: UIDs and our own sentences, never a name. Times in seconds since 1970."""

    id: int
    kind: str
    state: str
    study_instance_uid: str
    attempt: int
    error: str
    hint: str
    created: float
    started: float | None
    finished: float | None


class JobEvent(TypedDict):
    """A notification, as a webhook receives it."""

    event: str
    """`job.` + the state."""
    ended: float
    url: str
    """Address of the job at the front door."""
    job: EndedJob


class NoRedirectHandler(urllib.request.HTTPRedirectHandler):
    """Follows no redirection: only the configured address is notified."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        """Refuse, so that the answer counts as an error."""


OPENER = urllib.request.build_opener(NoRedirectHandler)


def post_webhook(settings: Settings, url: str, delivery: int, event: JobEvent) -> None:
    """POST the event, signed: `t` and the body under HMAC-SHA256, so that an old one cannot be sent again."""
    body, now = json.dumps(event).encode(), int(time.time())
    key = settings.webhook_secret or get_or_create_secret(settings.home, "webhook_secret")
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "minipacs",
        "X-Minipacs-Delivery": str(delivery),
        "X-Minipacs-Signature": f"t={now},v1={compute_signature(key, now, body)}",
    }
    try:
        with OPENER.open(urllib.request.Request(url, body, headers, method="POST"), timeout=TIMEOUT_S) as response:
            response.read(1024)
    except urllib.error.HTTPError as error:
        error.close()
        raise NotDelivered(f"The webhook answered {error.code}.", "Check MINIPACS_WEBHOOK_URL.") from error
    except (OSError, HTTPException) as error:
        why = f"The webhook does not answer ({type(error).__name__})."
        raise NotDelivered(why, "Check MINIPACS_WEBHOOK_URL.") from error


def compute_signature(key: str, now: int, body: bytes) -> str:
    """HMAC-SHA256 of `now.body`, in hexadecimal digits."""
    return hmac.new(key.encode(), str(now).encode() + b"." + body, sha256).hexdigest()


def send_mail(settings: Settings, to: str, delivery: int, event: JobEvent) -> None:
    """Send the event as plain text; STARTTLS where the server offers it, always before a password."""
    message = EmailMessage()
    job = event["job"]
    message["Subject"] = f"minipacs: {job['kind']} {job['state']}"
    message["From"], message["To"] = settings.mail_from, to
    message["Message-ID"] = f"<{delivery}.{int(event['ended'] * 1000)}@minipacs>"
    lines = [f"{job['kind']} of study {job['study_instance_uid']}: {job['state']}", job["error"], job["hint"]]
    message.set_content("\n".join(filter(None, [*lines, "", event["url"]])) + "\n")
    parts = urlsplit(settings.smtp_url)
    try:
        with _connect(settings.smtp_url) as server:
            if parts.username:
                server.login(unquote(parts.username), unquote(parts.password or ""))
            server.send_message(message)
    except (OSError, smtplib.SMTPException) as error:
        why = f"The mail server did not take the mail ({type(error).__name__})."
        raise NotDelivered(why, "Check MINIPACS_SMTP_URL.") from error


def _connect(url: str) -> smtplib.SMTP:
    """A connection to the mail server, encrypted where it offers that; never a password over a plain one."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    context = ssl.create_default_context()
    if parts.scheme == "smtps":
        return smtplib.SMTP_SSL(host, parts.port or 465, timeout=TIMEOUT_S, context=context)
    server = smtplib.SMTP(host, parts.port or 25, timeout=TIMEOUT_S)
    server.ehlo_or_helo_if_needed()
    if server.has_extn("starttls"):
        server.starttls(context=context)
    elif parts.username:
        server.close()
        raise NotDelivered("The mail server offers no STARTTLS: no password is sent to it.", "Use smtps://.")
    return server
