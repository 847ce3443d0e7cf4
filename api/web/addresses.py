"""This server's address, as others reach it."""

import socket

from api.context import context

LOOPBACK = ("127.0.0.1", "localhost", "::1")
"""Settings of a host that serves this machine alone."""
EVERY_ADDRESS = ("0.0.0.0", "::", "")
"""Settings of a host that serves every network of this machine."""
DOCUMENTATION_ADDRESS = ("192.0.2.1", 9)
"""RFC 5737: routed as any other, but no machine has it."""


def server_address() -> str:
    """This server as others reach it: as set, or by the address it listens at; never what a request calls it.

    Whoever sends a request chooses its Host header: a link made of it would lead where they want.
    """
    settings = context().settings
    if settings.public_url:
        return settings.public_url.rstrip("/")

    listens_at = settings.http_host
    host = machine_address() if listens_at in (*LOOPBACK, *EVERY_ADDRESS) else listens_at
    name = f"[{host}]" if ":" in host else host
    return f"{'https' if settings.serves_https else 'http'}://{name}:{settings.http_port}"


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
