"""Selection of the proxy for an origin from environment variables. Pure: the variables are an argument.

    http_proxy                      for http URLs; in lower case only, since a CGI server makes HTTP_PROXY of a request's header
    https_proxy, HTTPS_PROXY        for https URLs, by CONNECT
    all_proxy, ALL_PROXY            for both, where the one above is not set
    no_proxy, NO_PROXY              no proxy: `*`, hosts and their subdomains, addresses, CIDRs; each with a `:port` or without

The variables have curl's semantics, except that loopback addresses are never proxied, as in 1.x. A proxy is
`[SCHEME://][user:password@]host[:port]`; SCHEME is http (the default), https, socks4 (also written socks), socks4a, socks5 or socks5h. With
socks4 and socks5 this machine resolves host names; with the others the proxy does.
"""

from __future__ import annotations

import re
from ipaddress import ip_network
from urllib.parse import unquote_to_bytes, urlsplit

from dfengine.errors import OriginUnreachable
from dfengine.net.origin_access import address_of
from dfengine.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

SCHEMES = ("http", "https", "socks4", "socks4a", "socks5", "socks5h")

PORT = 1080
"""Default port of a proxy, as in curl; an https proxy has 443."""

_ENTRY = re.compile(r"(\[[^\]]*\](?=:|$)|[^:]*)(?::(\d+))?")


class Proxy(Value):
    """A proxy. user, password: bytes, empty if there are none."""

    scheme: str
    host: str
    port: int
    user: bytes = b""
    password: bytes = b""

    @property
    def url(self) -> str:
        """The proxy's URL without credentials."""
        return f"{self.scheme}://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    @property
    def tunnels(self) -> bool:
        """Whether requests through the proxy have the form of requests to the origin."""
        return self.scheme.startswith("socks")

    @property
    def resolves_names(self) -> bool:
        """Whether the proxy, instead of this machine, resolves host names."""
        return self.scheme not in ("socks4", "socks5")


def proxy_for(scheme: str, host: str, port: int, environment: Mapping[str, str]) -> Proxy | None:
    """The proxy for requests to `host`, None: connect directly. Raises OriginUnreachable when the variable's value is not a proxy."""
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
        # The message omits the value, which may contain a password.
        raise OriginUnreachable(f"the environment's proxy for {scheme} URLs is not SCHEME://HOST:PORT with one of {', '.join(SCHEMES)}",
                                final=True)
    user, _, password = parts.netloc.rpartition("@")[0].partition(":")
    default = 443 if parts.scheme == "https" else PORT
    return Proxy(parts.scheme, name, default if number is None else number, unquote_to_bytes(user), unquote_to_bytes(password))


def _is_direct(host: str, port: int, exceptions: str) -> bool:
    """Whether this host is exempt from the proxy."""
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
    """Whether the address is in this CIDR, or equals this address."""
    try:
        return address in ip_network(text, strict=False)
    except ValueError:
        return False
