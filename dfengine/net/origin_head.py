"""What a request to an origin says, and of a user's headers which go along: pure."""

from __future__ import annotations

from base64 import b64encode
from typing import Any
from urllib.parse import quote, unquote_to_bytes

from dfengine.net.proxy import Proxy

NOT_FORWARDED = frozenset((
    "host", "connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "content-length",
    "accept-encoding", "if-none-match", "if-modified-since", "if-range", "if-match", "if-unmodified-since", "expect",
))
"""Headers of a user's that belong to one connection, or that this module sets itself."""

HARMLESS = frozenset((
    "accept", "accept-charset", "accept-language", "cache-control", "content-type", "date", "forwarded", "origin", "pragma", "range",
    "referer", "traceparent", "tracestate", "user-agent", "via", "x-correlation-id", "x-forwarded-for", "x-forwarded-host",
    "x-forwarded-proto", "x-real-ip", "x-request-id",
))
"""Headers of a user's that open nothing; every other one counts as a credential."""


def is_private(name: str) -> bool:
    """A header that may open what is closed to others: a redirect to another host does not take it along, and a file that was
    fetched with it is for those who send the same."""
    return name.lower() not in HARMLESS and name.lower() not in NOT_FORWARDED


def ascii_host(host: str) -> str:
    """A host's name as it goes over the wire (IDNA); one that has no such form stays as it is."""
    try:
        return host if host.isascii() else host.encode("idna").decode()
    except UnicodeError:
        return host


def place(parts: Any, proxy: Proxy | None = None) -> str:
    """Host and port of a URL for people, without what may be a credential, and by which proxy it is asked."""
    address = str(parts.netloc.rpartition("@")[2])
    return address if proxy is None else f"{address}, by the proxy {proxy.host}:{proxy.port},"


def basic(parts: Any, headers: dict[str, str]) -> dict[str, str]:
    """The header for a user and password that stand in the URL (RFC 7617), unless one was given."""
    user, found, _ = parts.netloc.rpartition("@")
    if not found or any(name.lower() == "authorization" for name in headers):
        return {}
    name, _, password = user.partition(":")
    return {"Authorization": "Basic " + b64encode(unquote_to_bytes(name) + b":" + unquote_to_bytes(password)).decode()}


def target(parts: Any, proxy: Proxy | None = None) -> str:
    """What is asked for; what users leave unescaped is escaped, what is escaped stays. A proxy of plain http is told the whole URL."""
    path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
    path += "?" + quote(parts.query, safe="/%:@!$&'()*+,;=~-._?") if parts.query else ""
    if proxy is None or parts.scheme.lower() != "http":
        return path
    host = ascii_host(parts.hostname)
    port = "" if parts.port is None else f":{parts.port}"
    return f"http://{f'[{host}]' if ':' in host else host}{port}{path}"


def proxied(parts: Any, proxy: Proxy | None) -> dict[str, str]:
    """Headers that a proxy of plain http reads; one that tunnels is told them before."""
    return proxy.headers if proxy is not None and parts.scheme.lower() == "http" else {}
