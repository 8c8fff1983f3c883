"""Access control and listening addresses of a proxy. Pure.

Law: a proxy that other hosts can reach serves only clients in allowed networks, or with its token.
"""

from __future__ import annotations

import hmac
import re
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from dfengine.errors import BadValue
from dfengine.value import Value

LOOPBACK = (IPv4Network("127.0.0.0/8"), IPv6Network("::1/128"))

MIN_TOKEN = 16
"""Minimum number of characters of a token."""


class Listen(Value):
    """IP address and port, or the path of a unix socket."""

    ip: str = ""
    port: int = 0
    path: str = ""

    @classmethod
    def parse(cls, text: str) -> Listen:
        """`IP:PORT`, `[IPv6]:PORT` or `unix:PATH`. Raises BadValue."""
        if text.startswith("unix:"):
            if not text.removeprefix("unix:").startswith("/") or "\0" in text or len(text.encode()) > 112:
                raise BadValue(f"--listen {text[:120]!r} is not unix:/PATH with a path of at most 107 bytes")
            return cls(path=text.removeprefix("unix:"))
        match = re.fullmatch(r"(?a)(?:\[([0-9a-fA-F:.]+)\]|([0-9.]+|localhost)):([0-9]{1,5})", text)
        try:
            if not match or int(match[3]) > 65535:
                raise ValueError
            return cls(str(ip_address("127.0.0.1" if match[2] == "localhost" else match[1] or match[2])), int(match[3]))
        except ValueError:
            raise BadValue(f"--listen {text[:80]!r} is not IP:PORT, [IPv6]:PORT or unix:/PATH") from None

    @property
    def local(self) -> bool:
        """Whether only this host can reach it."""
        return bool(self.path) or ip_address(self.ip).is_loopback

    def __str__(self) -> str:
        return f"unix:{self.path}" if self.path else f"[{self.ip}]:{self.port}" if ":" in self.ip else f"{self.ip}:{self.port}"


def is_own(address: str) -> bool:
    """Whether the address is this host's: loopback, or "" for a unix socket."""
    if not address:
        return True
    ip = ip_address(address.partition("%")[0])
    if isinstance(ip, IPv6Address):
        ip = ip.ipv4_mapped or ip
    return any(ip in network for network in LOOPBACK)


class AccessControl:
    """allow: CIDRs. token: "" for none. Raises BadValue, also if other hosts can reach a listening address and neither is given."""

    def __init__(self, listens: tuple[Listen, ...], allow: tuple[str, ...], token: str) -> None:
        open_to_all = next((each for each in listens if not each.local), None)
        if open_to_all is not None and not allow and not token:
            raise BadValue(f"--listen {open_to_all} can be reached by other hosts: name them by --allow CIDR, or give --token-file")
        if token and (len(token) < MIN_TOKEN or not re.fullmatch("[!-~]+", token)):
            raise BadValue(f"the token in --token-file needs at least {MIN_TOKEN} characters, none of them blank")
        try:
            self._allowed = tuple(ip_network(each, strict=False) for each in allow)
        except ValueError as error:
            raise BadValue(f"--allow: {error}") from None
        self._token = token.encode()

    def admits(self, address: str) -> bool:
        """Whether to accept a connection from `address`; "" is a unix socket. Without --allow its requests need the token."""
        if is_own(address):
            return True
        ip = ip_address(address.partition("%")[0])
        if isinstance(ip, IPv6Address):
            ip = ip.ipv4_mapped or ip
        return any(ip in network for network in self._allowed) if self._allowed else bool(self._token)

    def refuses(self, given: bytes | None) -> bool:
        """Whether to refuse a request with this token, or with None."""
        return bool(self._token) and not hmac.compare_digest(given or b"", self._token)
