"""Which machines a fetch may talk to: public ones, and those that the user named.

A link, or what it redirects to, may point at a machine inside the user's own network, or at the address that tells a
cloud machine its secrets. So each hop's address is checked after its name was looked up, and again on the socket that
was connected: a name that answers differently the second time gains nothing.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from typing import Any

from facet.data.fetch.limits import InterruptedTransferError
from facet.errors import DataError, ParamsError

_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class Guard:
    """``allowed`` are hosts, each as ``name`` or ``name:port``, that may be private and may speak http."""

    def __init__(self, allowed: Iterable[str] = ()):
        self._allowed = frozenset(_host(name) for name in allowed)

    def trusts(self, host: str, port: int) -> bool:
        """Whether the user named this host."""
        return not self._allowed.isdisjoint((_bare(host), f"{_bare(host)}:{port}"))

    def check_name(self, host: str, port: int, look_up: bool = True) -> None:
        """Raises DataError where any address of ``host`` is not public, InterruptedTransferError where it has none.

        Without ``look_up``, as behind a proxy that does it, only a host given as an address is checked.
        """
        if self.trusts(host, port):
            return
        flags = 0 if look_up else socket.AI_NUMERICHOST
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
        except (OSError, UnicodeError) as error:
            if not look_up:
                return
            raise InterruptedTransferError(f"the name {host} is not known ({error})") from error
        for *_, address in found:
            self.check_peer(host, port, address[0])

    def check_peer(self, host: str, port: int, address: str) -> None:
        """Raises DataError where ``host`` stands at an address that is not public."""
        if not is_public(address) and not self.trusts(host, port):
            raise DataError(
                f"{host} is at {address}, which is not a public address: if you trust it, add --allow-private {host}"
            )


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the public internet, also when it is wrapped in an IPv6 address."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    inner: Any = None
    if ip.version == 6:
        inner = ip.ipv4_mapped or ip.sixtofour
        if ip in _NAT64:
            inner = ipaddress.ip_address(int(ip) & 0xFFFFFFFF)
    ip = inner or ip
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


def _host(name: str) -> str:
    bare = _bare(name.strip())
    if not bare or "/" in bare or "@" in bare or "*" in bare:
        raise ParamsError(f"the allowed host is given as {name!r}, expected a name or an address, maybe with :PORT")
    return bare


def _bare(host: str) -> str:
    """Lower case, without the brackets of an IPv6 address and the dot at the end of a full name."""
    host = host.lower()
    if host.startswith("["):
        inner, _, rest = host[1:].partition("]")
        return inner + rest
    return host.removesuffix(".")
