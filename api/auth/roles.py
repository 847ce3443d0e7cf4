"""The roles of users and tokens."""

ROLES = ("viewer", "annotator", "operator", "admin")
"""Each may what those before it may: look and download · prompt and segment · upload, share, cancel · users, audit."""


def lesser_role(one: str, other: str) -> str:
    """The one of two roles that may do less."""
    return ROLES[min(ROLES.index(one), ROLES.index(other))]


def role_includes(role: str, needed: str) -> bool:
    """Whether a user of `role` may do what needs `needed`."""
    return ROLES.index(role) >= ROLES.index(needed)
