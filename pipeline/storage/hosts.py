"""Connections to hosts by name, which may be kept to public addresses.

An address is looked at after the name was resolved, and the connection is made to that very address: a name that gives
another one the next time (DNS rebinding) gains nothing.
"""

from __future__ import annotations

import ipaddress
import socket
from typing import Any

from pipeline.storage.errors import StorageError, UnansweredError

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_COMPATIBLE = ipaddress.IPv6Network("::/96")


def is_public(text: str) -> bool:
    """An IP address -> whether it is one of the internet at large: not of this machine, link, network or provider.

    >>> [is_public(each) for each in ("8.8.8.8", "10.0.0.1", "169.254.169.254", "::1", "::ffff:127.0.0.1")]
    [True, False, False, False, False]
    """
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        inner = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
        if address in _NAT64 or address in _COMPATIBLE:
            inner.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
        if not all(is_public(str(each)) for each in inner if each is not None):
            return False
        if address.is_site_local:
            return False
    return address.is_global and not address.is_multicast


def connect(uri: str, host: str, port: int, private: bool, timeout_s: float) -> socket.socket:
    """A connection to a host.

    Args:
      uri: on whose behalf.
      host: a name or address.
      port: of the host.
      private: whether it may have an address that is not public.
      timeout_s: for each of its addresses, and later for each wait.

    Raises:
      StorageError: there is no such host, or no public address of it.
      OSError, UnansweredError: nobody answers.
    """
    last: OSError = OSError(f"{host} has no address")
    for family, kind, protocol, _, address in _usable(uri, host, port, private):
        try:
            return _connected(family, kind, protocol, address, timeout_s)
        except OSError as error:
            last = error
    raise last


def expect_public(uri: str, host: str) -> None:
    """For libraries that make their connections themselves. Raises StorageError as `connect`."""
    _usable(uri, host, 0, False)


def _usable(uri: str, host: str, port: int, private: bool) -> list[Any]:
    """The addresses of a host that may be asked, as `socket.getaddrinfo` gives them."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        if error.errno == socket.EAI_AGAIN:
            raise UnansweredError(f"{host}: {error.strerror}") from error
        raise StorageError(uri, f"there is no host {host}: {error.strerror}", "Check the name") from error
    except (UnicodeError, ValueError, OverflowError) as error:  # a label of the name is empty or too long
        raise StorageError(uri, f"{host!r} is no host's name: {error}", "Check the name") from error
    usable = found if private else [each for each in found if is_public(str(each[4][0]))]
    if not usable:
        address = found[0][4][0]
        what = f"{host} is at {address}, which is no public address" if address != host else f"{host} is not public"
        raise StorageError(uri, f"{what}: refused", "Run with --allow_private_hosts if you trust the list")
    return usable


def _connected(family: int, kind: int, protocol: int, address: Any, timeout_s: float) -> socket.socket:
    result = socket.socket(family, kind, protocol)
    try:
        result.settimeout(timeout_s)
        result.connect(address)
    except BaseException:
        result.close()
        raise
    return result
