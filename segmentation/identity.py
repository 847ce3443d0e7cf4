"""What a result is made of, and the UIDs that follow from it: a redo finds itself.

A result is known by its source series, the digest of that series' sorted SOP Instance UIDs, the
engine, its version, its parameters (and prompts). Every UID of ours is UUIDv5 over these and the
kind of object, written as PS3.5 B.2 says: 2.25.<decimal>.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Any
from uuid import UUID, uuid5

NAMESPACE = UUID("6b0f1a52-5d0e-5b0b-9c3e-0d7c1f2a4e61")
"""Never change it: every result would be made again."""


@dataclass(frozen=True)
class Identity:
    """What a result is made of."""

    series_instance_uid: str
    digest: str
    """Of the series' sorted SOP Instance UIDs (`minipacs.work.digest`)."""
    engine: str
    version: str
    parameters: str
    """`digest_parameters` of the engine's parameters and the prompts."""

    def derive_uid(self, kind: str) -> str:
        """The UID of an object of this kind: `SEG series`, `SEG instance`, `SR series`, …"""
        return derive_uid(self.series_instance_uid, self.digest, self.engine, self.version, self.parameters, kind)

    def as_json(self) -> dict[str, str]:
        """For the manifest."""
        return asdict(self)


def derive_uid(*parts: str) -> str:
    """The UID of what is made of these parts, in this order."""
    return f"2.25.{uuid5(NAMESPACE, chr(10).join(parts)).int}"


def digest_parameters(parameters: Mapping[str, Any]) -> str:
    """The same for the same JSON values in any order; `-` for none."""
    if not parameters:
        return "-"

    text = json.dumps(dict(parameters), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return sha256(text.encode("ascii")).hexdigest()[:16]
