"""Which proxy stands between this machine and an origin, by the environment: pure, with the variables as argument.

    http_proxy                      for http URLs; in lower case only, since a CGI server makes HTTP_PROXY of a visitor's header
    https_proxy, HTTPS_PROXY        for https URLs, by CONNECT
    all_proxy, ALL_PROXY            for both, where the one above is not set
    no_proxy, NO_PROXY              asked directly: `*`, hosts with all below them, addresses, CIDRs; each with a `:port` or without

As curl reads them, but that loopback is never asked through a proxy, as in 1.x. A proxy is `[http://][user:password@]host[:port]`.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from typing import NamedTuple
from urllib.parse import unquote_to_bytes, urlsplit

from dfengine.errors import OriginUnreachable

PORT = 1080
"""Of a proxy that names none, as curl has it."""

_ENTRY = re.compile(r"(\[[^\]]*\](?=:|$)|[^:]*)(?::(\d+))?")


class Proxy(NamedTuple):
    """One proxy. authorization: the value of Proxy-Authorization (RFC 7617), "" without a user."""

    host: str
    port: int
    authorization: str

    @property
    def headers(self) -> dict[str, str]:
        """What the proxy itself is to be told."""
        return {"Proxy-Authorization": self.authorization} if self.authorization else {}


def proxy_for(scheme: str, host: str, port: int, environment: Mapping[str, str]) -> Proxy | None:
    """The proxy by which `host` is to be asked, None: directly. Raises OriginUnreachable where one is named that is no http proxy."""
    names = ["http_proxy"] if scheme == "http" else ["https_proxy", "HTTPS_PROXY"]
    text = next((environment[name] for name in (*names, "all_proxy", "ALL_PROXY") if environment.get(name)), "").strip()
    if not text or _is_direct(host, port, environment.get("no_proxy") or environment.get("NO_PROXY") or ""):
        return None
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        name, number = parts.hostname, parts.port
    except ValueError:
        name, number = None, None
    if name is None or parts.scheme != "http" or re.search(r"[\0-\x20\x7f]", text):
        # Without what may be a password.
        raise OriginUnreachable(f"the environment's proxy for {scheme} URLs is no http://host:port")
    user, _, password = parts.netloc.rpartition("@")[0].partition(":")
    secret = b64encode(unquote_to_bytes(user) + b":" + unquote_to_bytes(password)).decode() if user or password else ""
    return Proxy(name, PORT if number is None else number, f"Basic {secret}" if secret else "")


def _is_direct(host: str, port: int, exceptions: str) -> bool:
    """No proxy is used for this host."""
    host = host.lower().rstrip(".")
    try:
        address = ip_address(host)
    except ValueError:
        address = None
    if host == "localhost" or (address is not None and address.is_loopback):
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
