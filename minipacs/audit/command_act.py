"""What a command does, for the audit. A command module that has `describe_act(arguments)` is audited by it."""

from typing import NamedTuple


class CommandAct(NamedTuple):
    """An act at the command line."""

    action: str
    """The audit's word for it."""
    text: str
    """The command and what it is about; no secret."""
    uids: tuple[str, ...] = ()
    """Studies it reaches."""
    is_service: bool = False
    """It runs until it is stopped: its start and its end are two entries."""
