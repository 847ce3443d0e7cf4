"""The roles of users and tokens."""

ROLES = ("viewer", "annotator", "operator", "admin")
"""Each may what those before it may: look and download · prompt and segment · upload, share, cancel · users, audit."""


def role_includes(role: str, needed: str) -> bool:
    """Whether a user of `role` may do what needs `needed`."""
    return ROLES.index(role) >= ROLES.index(needed)
