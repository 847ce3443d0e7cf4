"""The secrets of a worker: each worker has its own, and nothing that is sent to it by the scheduler holds any.

Whoever runs the scheduler, or another worker, can read what is submitted.
"""

from dataclasses import replace

from minipacs.settings import Settings

__all__ = ["WORKER_SECRETS", "add_worker_secrets", "keep_worker_secrets"]

WORKER_SECRETS = ("database_url", "orthanc_password")
"""Names of the secret settings that a worker needs."""

_kept: dict[str, str] = {}
"""The secrets of this process by the name of their setting; empty in a process that is no worker."""


def keep_worker_secrets(settings: Settings) -> None:
    """Remember the secrets of these settings for the work of this process; a worker does so when it starts."""
    _kept.update({name: getattr(settings, name) for name in WORKER_SECRETS})


def add_worker_secrets(settings: Settings) -> Settings:
    """Settings that came without secrets, with those of this worker; unchanged in a process that is no worker."""
    return replace(settings, **_kept)  # type: ignore[arg-type]  # all of them are texts
