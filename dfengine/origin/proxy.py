"""Which proxy stands between this machine and an origin, by the environment: pure, with the variables as argument.

    http_proxy                      for http URLs; in lower case only, since a CGI server makes HTTP_PROXY of a request's header
    https_proxy, HTTPS_PROXY        for https URLs, by CONNECT
    all_proxy, ALL_PROXY            for both, where the one above is not set
    no_proxy, NO_PROXY              asked directly: `*`, hosts with all below them, addresses, CIDRs; each with a `:port` or without

As curl reads them, but that loopback is never asked through a proxy, as in 1.x. A proxy is `[SCHEME://][user:password@]host[:port]`;
SCHEME is http (the default), https, socks4 (also written socks), socks4a, socks5 or socks5h. For socks4 and socks5 this machine
looks names up; the other kinds of proxy are told the name.
"""

from __future__ import annotations

import re
from ipaddress import ip_network
from urllib.parse import unquote_to_bytes, urlsplit

from dfengine.errors import OriginUnreachable
from dfengine.net.access import address_of
from dfengine.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

SCHEMES = ("http", "https", "socks4", "socks4a", "socks5", "socks5h")

PORT = 1080
"""Of a proxy that names none, as curl has it; one of https has 443."""

_ENTRY = re.compile(r"(\[[^\]]*\](?=:|$)|[^:]*)(?::(\d+))?")


class Proxy(Value):
    """One proxy. user, password: bytes, empty without."""

    scheme: str
    host: str
    port: int
    user: bytes = b""
    password: bytes = b""

    @property
    def url(self) -> str:
        """Without credentials."""
        return f"{self.scheme}://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    @property
    def tunnels(self) -> bool:
        """What is sent through it is as if it were sent to the origin."""
        return self.scheme.startswith("socks")

    @property
    def resolves_names(self) -> bool:
        """The proxy finds the addresses of names, not this machine."""
        return self.scheme not in ("socks4", "socks5")


def proxy_for(scheme: str, host: str, port: int, environment: Mapping[str, str]) -> Proxy | None:
    """The proxy by which `host` is to be asked, None: directly. Raises OriginUnreachable where what is named is no proxy."""
    names = ["http_proxy"] if scheme == "http" else ["https_proxy", "HTTPS_PROXY"]
    text = next((environment[name] for name in (*names, "all_proxy", "ALL_PROXY") if environment.get(name)), "").strip()
    if not text or _is_direct(host, port, environment.get("no_proxy") or environment.get("NO_PROXY") or ""):
        return None
    try:
        parts = urlsplit(re.sub(r"(?i)^socks://", "socks4://", text) if "://" in text else f"http://{text}")
        name, number = parts.hostname, parts.port
    except ValueError:
        name, number = None, None
    if name is None or parts.scheme not in SCHEMES or re.search(r"[\0-\x20\x7f]", text):
        # Without what may be a password.
        raise OriginUnreachable(f"the environment's proxy for {scheme} URLs is not SCHEME://HOST:PORT with one of {', '.join(SCHEMES)}",
                                final=True)
    user, _, password = parts.netloc.rpartition("@")[0].partition(":")
    default = 443 if parts.scheme == "https" else PORT
    return Proxy(parts.scheme, name, default if number is None else number, unquote_to_bytes(user), unquote_to_bytes(password))


def _is_direct(host: str, port: int, exceptions: str) -> bool:
    """No proxy is used for this host."""
    host = host.lower().rstrip(".")
    address = address_of(host)
    if host == "localhost" or (address is not None and (getattr(address, "ipv4_mapped", None) or address).is_loopback):
        return True
    for entry in exceptions.lower().replace(",", " ").split():
        if entry == "*":
            return True
        network = entry.strip("[]")
        if address is not None and _holds(network, address):
            return True
        match = _ENTRY.fullmatch(entry)
        if match is None or (match[2] and int(match[2]) != port):
            continue
        name = match[1].strip("[]").strip(".")
        if name and (_holds(name, address) if address is not None else host == name or host.endswith(f".{name}")):
            return True
    return False


def _holds(text: str, address: object) -> bool:
    """The address is of this CIDR, or is this one."""
    try:
        return address in ip_network(text, strict=False)
    except ValueError:
        return False
