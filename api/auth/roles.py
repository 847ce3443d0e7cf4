"""The roles of users and tokens; each may what those before it may.

A viewer looks and downloads, an annotator prompts and segments, an operator uploads, shares and cancels, an
administrator has users and the audit.
"""

from minipacs.setting_values import ROLES

__all__ = ["ROLES", "lesser_role", "role_includes"]


def lesser_role(one: str, other: str) -> str:
    """The one of two roles that may do less."""
    return ROLES[min(ROLES.index(one), ROLES.index(other))]


def role_includes(role: str, needed: str) -> bool:
    """Whether a user of `role` may do what needs `needed`."""
    return ROLES.index(role) >= ROLES.index(needed)
