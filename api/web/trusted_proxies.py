"""The client as a trusted proxy names it: its address, the scheme and the host it asked for.

A WSGI middleware before the application: what it writes into the environment is what `request.remote_addr`,
`request.scheme` and `request.host` give, everywhere. Headers of anybody but a trusted proxy are taken out of it.
werkzeug's `ProxyFix` counts hops and believes whoever connects; here the connection's own address decides.
"""

import ipaddress
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from minipacs.setting_values import Network

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

FORWARDED = (
    "HTTP_X_FORWARDED_FOR",
    "HTTP_X_FORWARDED_PROTO",
    "HTTP_X_FORWARDED_HOST",
    "HTTP_X_FORWARDED_PORT",
    "HTTP_X_FORWARDED_PREFIX",
    "HTTP_FORWARDED",
)
HOST = re.compile(r"(?:[A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
"""RFC 3986 3.2.2 and 3.2.3: a registered name or an address, and a port."""
WITH_PORT = re.compile(r"\[([0-9A-Fa-f:.]+)\](?::[0-9]+)?|([0-9.]+):[0-9]+")
"""Some proxies write the client's port behind its address."""
DEFAULT_PORTS = {"http": "80", "https": "443"}

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class TrustedProxies:
    """The application behind proxies of these networks; without any, no `X-Forwarded-*` header counts."""

    def __init__(self, app: "WSGIApplication", networks: Iterable[Network]) -> None:
        self._app = app
        self._networks = tuple(networks)

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        """Answer the request of the client that the proxies name."""
        named = {name: environ.pop(name) for name in FORWARDED if name in environ}
        if named and self._is_trusted(parse_ip_address(environ.get("REMOTE_ADDR", ""))):
            self._apply(environ, named)
        return self._app(environ, start_response)

    def _apply(self, environ: "WSGIEnvironment", named: dict[str, Any]) -> None:
        """Write what the proxies say; what is malformed is left out."""
        environ["REMOTE_ADDR"] = self._find_client(environ["REMOTE_ADDR"], named.get("HTTP_X_FORWARDED_FOR", ""))

        scheme = _last_entry(named.get("HTTP_X_FORWARDED_PROTO", "")).lower()
        if scheme in DEFAULT_PORTS:
            environ["wsgi.url_scheme"] = scheme

        host = _last_entry(named.get("HTTP_X_FORWARDED_HOST", ""))
        if HOST.fullmatch(host):
            environ["HTTP_HOST"] = host

    def _find_client(self, peer: str, forwarded_for: str) -> str:
        """The last address, from the right, that is no trusted proxy's: what is left of it, a client may have written.

        An entry that is no address ends the search: the proxy that wrote it is the client then.
        """
        client = peer
        for entry in reversed(forwarded_for.split(",")):
            address = parse_ip_address(entry.strip())
            if address is None:
                break
            client = str(address)
            if not self._is_trusted(address):
                break
        return client

    def _is_trusted(self, address: Address | None) -> bool:
        return address is not None and any(address in network for network in self._networks)


def parse_ip_address(text: str) -> Address | None:
    """An IP address, with or without a port behind it; None where it is none. IPv4 within IPv6 is IPv4."""
    match = WITH_PORT.fullmatch(text)
    try:
        address = ipaddress.ip_address((match.group(1) or match.group(2)) if match else text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _last_entry(text: str) -> str:
    """The entry of the nearest proxy: only it is known to be trusted."""
    return text.rpartition(",")[2].strip()
