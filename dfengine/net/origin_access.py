"""Which origins a supernode may connect to for clients: checked by the URL's host name and by the address before each connection.

A client that registers a URL makes the supernode send a request. Forbidden targets are therefore refused at connect time, by the very
address that is connected to: a name that resolves differently the second time does not bypass the check. Redirects are checked in the same
way. Where a proxy connects, the proxy resolves names, and its rules decide.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from dfengine.errors import BadValue, OriginForbidden, OriginUnreachable
from dfengine.net import metadata_addresses

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

DENIED = metadata_addresses.NETWORKS
"""Denied, except for addresses in an allowed network that lies within one of these."""

_THIS_MACHINE: dict[Address, Address] = {ip_address("0.0.0.0"): ip_address("127.0.0.1"), ip_address("::"): ip_address("::1")}

_EMBEDDING = tuple(map(IPv6Network, ("64:ff9b::/96", "::ffff:0:0:0/96", "::/96")))
"""IPv6 networks whose addresses end in the IPv4 address they represent: NAT64 (RFC 6052), SIIT (RFC 2765), IPv4-compatible."""

_LOCAL_NAT64 = IPv6Network("64:ff9b:1::/48")
"""Local-use NAT64 prefix (RFC 8215): the site chooses the prefix length, and so the place of the IPv4 address (RFC 6052 section 2.2)."""

_ISATAP = frozenset((0x00005EFE, 0x01005EFE, 0x02005EFE, 0x03005EFE))
"""First 32 bits of an ISATAP address's lower half, with either of its two flags (RFC 5214 section 6.1); the IPv4 address follows."""

_NOWHERE = IPv4Network("0.0.0.0/8")
"""Never a destination (RFC 1122 section 3.2.1.3): such a result means that no IPv4 address is embedded at that place."""


class OriginAccess:
    """Rules for the hosts and addresses that may be connected to.

    allow, deny: hosts (`example.com`; `.example.com` for all names below it), addresses and CIDRs. Raises BadValue for anything else.
    `deny` overrides `allow`. Without `allow` everything else is permitted; with it, only the targets that it names.
    """

    def __init__(self, allow: Iterable[str] = (), deny: Iterable[str] = ()) -> None:
        self._allowed, self._allowed_hosts = _rules(allow)
        self._denied, self._denied_hosts = _rules(deny)
        self._only = bool(self._allowed or self._allowed_hosts)

    @property
    def has_rules(self) -> bool:
        """Whether `allow` or `deny` has a rule; without rules only DENIED counts."""
        return self._only or bool(self._denied or self._denied_hosts)

    def permits(self, host: str, address: str) -> bool:
        """Whether a connection to `host`, as written in the URL, at `address` is permitted."""
        host = _plain(host)
        given = ip_address(address.partition("%")[0])
        meant = effective_addresses(given)
        if _named(host, self._denied_hosts) or any(_within(found, self._denied) for found in (given, *meant)):
            return False
        opened = [[network for network in self._allowed if found in network] for found in meant]
        for found, networks in zip(meant, opened, strict=True):
            if any(found in denied and not any(_inside(network, denied) for network in networks) for denied in DENIED):
                return False
        return not self._only or all(opened) or _within(given, self._allowed) or _named(host, self._allowed_hosts)

    def check_name(self, host: str) -> None:
        """Check `host` for a proxy, which will resolve it: an IP address in any notation by the rules for addresses, a name by those for
        names.

        Raises OriginForbidden, also for a name where only addresses are allowed.
        """
        name = _plain(host)
        address = address_of(name)
        if address is not None:
            permitted = self.permits(host, str(address))
        else:
            permitted = not _named(name, self._denied_hosts) and (not self._only or _named(name, self._allowed_hosts))
        if not permitted:
            raise OriginForbidden(f"this supernode may not fetch from {host}")

    def addresses(self, host: str, port: int) -> list[str]:
        """Resolve `host` to its permitted addresses, for a proxy that connects by address; IPv6 in brackets. Raises OriginUnreachable."""
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise OriginUnreachable(f"{host} cannot be found: {error.strerror or error}") from None
        addresses = dict.fromkeys(str(address[0]) for *_, address in found if self.permits(host, str(address[0])))
        return [f"[{address}]" if ":" in address else address for address in addresses]


def effective_addresses(given: Address) -> list[Address]:
    """Return the addresses that packets to `given` may reach, at least one: IPv4 is found inside every form of IPv6 that embeds it.

    Where the form alone does not determine the place of the IPv4 address, each possible place is read. Teredo and ISATAP reach both ends of
    a tunnel.
    """
    found = _embedded(given) if isinstance(given, IPv6Address) else [given]
    # A connection to the unspecified address reaches this machine.
    return [_THIS_MACHINE.get(each, each) for each in found]


def _embedded(given: IPv6Address) -> list[Address]:
    number = int(given)
    last = IPv4Address(number & 0xFFFFFFFF)
    if given.ipv4_mapped is not None:
        return [last]
    if number > 1 and any(given in network for network in _EMBEDDING):
        return [last]
    if given in _LOCAL_NAT64:
        # Prefixes of 48, 56 and 64 bits; bits 64 to 71 are skipped.
        high, low = (number >> 64) & 0xFFFF, (number >> 24) & 0xFFFFFFFF
        addresses = (high << 16 | low >> 16, (high & 0xFF) << 24 | low >> 8, low)
        return [last, *(address for each in addresses if (address := IPv4Address(each)) not in _NOWHERE)]
    found: list[Address] = [given]
    if given.sixtofour is not None:
        found = [given.sixtofour]
    elif given.teredo is not None:
        found += given.teredo
    if (number >> 32) & 0xFFFFFFFF in _ISATAP:
        found.append(last)
    return found


def address_of(host: str) -> Address | None:
    """Parse `host` as an address, also in the resolver's notations: one number, fewer than four, hexadecimal, octal (inet_aton(3))."""
    with contextlib.suppress(ValueError):
        return ip_address(host.partition("%")[0])
    with contextlib.suppress(OSError, ValueError):
        return IPv4Address(socket.inet_aton(host))
    return None


def _plain(host: str) -> str:
    """Return the name in the form that is resolved: lower case, IDNA."""
    with contextlib.suppress(UnicodeError):  # such a name does not resolve
        host = host if host.isascii() else host.encode("idna").decode()
    return host.lower().rstrip(".")


def _within(address: Address, networks: Iterable[Network]) -> bool:
    return any(address in network for network in networks)


def _inside(network: Network, outer: Network) -> bool:
    return network.version == outer.version and network.network_address in outer and network.prefixlen >= outer.prefixlen


def _named(host: str, names: Iterable[str]) -> bool:
    return any(host.endswith(name) if name.startswith(".") else host == name for name in names)


def _rules(texts: Iterable[str]) -> tuple[list[Network], list[str]]:
    networks: list[Network] = []
    names: list[str] = []
    for text in texts:
        plain = _plain(text.strip())
        try:
            networks.append(ip_network(plain.strip("[]"), strict=False))
            continue
        except ValueError:
            pass
        letters = plain.replace(".", "").replace("-", "").replace("_", "")
        # Text with a slash or a colon, or of digits only, is meant as an address: as a name it would never match.
        if not letters or not letters.isalnum() or letters.isdigit():
            raise BadValue(f"origin {text!r} is neither a host, an address nor a CIDR")
        names.append(plain)
    return networks, names
