"""Addresses that open something by themselves: neither logs nor the audit have them as they are."""

import hashlib

from flask import request

SECRETS = ("token", "signature")
"""Parts of addresses that open something without login, by their name in the route."""
DIGEST_CHARACTERS = 12


def path_without_secrets() -> str:
    """The path of this request; what opens something without login is replaced by a digest."""
    path = request.path
    for name in SECRETS:
        if secret := str((request.view_args or {}).get(name, "")):
            digest = hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()[:DIGEST_CHARACTERS]
            path = path.replace(secret, f"({name} {digest})")
    return path


def has_secret() -> bool:
    """Whether the address of this request opens something without login."""
    return any(name in SECRETS for name in request.view_args or ())
