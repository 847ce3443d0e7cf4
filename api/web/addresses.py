"""This server's address, as others reach it."""

import socket

from flask import request

from api.context import context

LOOPBACK = ("127.0.0.1", "localhost", "::1")
"""Settings of a host that serves this machine alone."""
DOCUMENTATION_ADDRESS = ("192.0.2.1", 9)
"""RFC 5737: routed as any other, but no machine has it."""


def server_address() -> str:
    """This server as others reach it: as set, as asked, or by this machine's own address; never loopback."""
    if public := context().settings.public_url:
        return public.rstrip("/")

    name = request.host.rsplit(":", 1)[0].strip("[]")
    if name not in ("localhost", "::1") and not name.startswith("127."):
        return f"{request.scheme}://{request.host}"
    return f"{request.scheme}://{machine_address()}:{context().settings.http_port}"


def machine_address() -> str:
    """The address this machine would send from; a UDP socket that is connected sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(DOCUMENTATION_ADDRESS)
            address = str(probe.getsockname()[0])
        except OSError:
            return socket.gethostname()
    return socket.gethostname() if address.startswith(("127.", "0.")) else address


def serves_this_machine_alone() -> bool:
    """Whether no other machine can reach the address that this server listens at."""
    settings = context().settings
    return not settings.public_url and settings.http_host in LOOPBACK
