"""Validation of the Redis URL: redis-py reads an invalid database as 0, and refuses a wrong option only when it connects. Pure."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, urlsplit

OPTIONS = frozenset((
    "client_name", "db", "health_check_interval", "max_connections", "password", "protocol", "retry_on_timeout", "socket_connect_timeout",
    "socket_keepalive", "socket_timeout", "username",
))
"""Options of redis-py that a URL may set, besides `ssl_` ones. Others, such as `decode_responses`, would change the form of answers."""

SENTINEL = re.compile(r"sentinel(s?)://(?:([^:@/]*)(?::([^@/]*))?@)?([^@/]+)/([^/?]+)(?:/(\d{1,5}))?(?:\?(.*))?")
"""Groups: TLS, user, password, hosts, service, database, query."""


def check_url(url: str) -> None:
    """Check a URL. Raises ValueError with the reason, without the password."""
    try:
        parts = urlsplit(url)
    except ValueError:  # its text may contain the password
        raise ValueError("it is no URL") from None
    scheme = parts.scheme
    sentinel = scheme in ("sentinel", "sentinels")
    if not sentinel and scheme not in ("redis", "rediss", "unix"):
        raise ValueError("it has another scheme")
    if sentinel and not SENTINEL.fullmatch(url):
        raise ValueError("a sentinel's URL names hosts and a service")
    for name, _ in parse_qsl(parts.query, keep_blank_values=True):
        if name.startswith("ssl_"):
            if scheme not in ("rediss", "sentinels"):
                raise ValueError(f"its option {name[:40]!r} is for TLS, which rediss:// and sentinels:// have")
        elif sentinel or name not in OPTIONS:
            raise ValueError(f"it has no option {name[:40]!r}")
    if scheme == "unix" and (not parts.path.strip("/") or parts.netloc.rpartition("@")[2]):
        raise ValueError("a socket's PATH begins with a slash, as in unix:///run/redis.sock")
    if scheme in ("redis", "rediss"):
        try:
            _ = parts.port
        except ValueError:
            raise ValueError("its port is no number") from None
        if not re.fullmatch(r"/?|/\d{1,5}/?", parts.path, re.ASCII):
            raise ValueError("its database is no number")


def redact_url(url: str) -> str:
    """Return a URL for messages: without user, password and options."""
    before, at, place = url.rpartition("@")
    if not at:
        return url.partition("?")[0][:200]
    return f"{url.partition('://')[0][:20]}://...@{'' if '?' in before else place.partition('?')[0][:200]}"
