"""Adds the URL to an error's message. Pure."""

from __future__ import annotations

import re


def with_url(message: str, url: str, status: int = 0) -> str:
    """Return `message` with `url`, unless it contains that already. Userinfo and query are left out: they may contain credentials.

    status: of the server's answer, 0 if there is none; then a message that contains the host is left as it is.
    """
    scheme, there, _, host, rest = _parts(url)
    place = f"{scheme}{there}{host}{rest.partition('?')[0].partition('#')[0]}"
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    if place in message or (not status and re.search(rf"(?<![\w.-]){re.escape(name)}:\d", message)):
        return message
    return f"{message}: {place}"


def _parts(url: str) -> tuple[str, str, str, str, str]:
    """Split into (scheme, "://", userinfo, host with port, the rest); also a text that is not a URL."""
    scheme, there, rest = url.partition("://") if "://" in url else ("", "", url)
    end = min((at for at in map(rest.find, "/?#") if at >= 0), default=len(rest))
    userinfo, _, host = rest[:end].rpartition("@")
    return scheme, there, userinfo, host, rest[end:]
