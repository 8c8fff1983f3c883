"""The proxy's own credentials for registries: a file written by `docker login`, and requests to token servers. Pure.

Sources: Docker's config.json and containers-auth.json(5) (`auths`); the distribution project's token specification.
"""

from __future__ import annotations

import binascii
import json
import re
from base64 import b64decode
from typing import Any
from urllib.parse import quote, urlsplit

from dfengine.errors import BadValue
from dfengine.origin.challenge import Challenge
from dfengine.origin.image_name import HUB, HUB_NAMES
from dfengine.origin.request import PORTS
from dfengine.proxy.reference import host
from dfengine.proxy.registries import Registry

MAX_BYTES = 1 << 20
"""Maximum number of bytes of such a file."""

SECONDS = 60.0
"""Lifetime of a token without a stated one."""


def token_server(challenge: Challenge, registry: Registry, scope: str) -> tuple[Registry, str]:
    """The token server that a bearer challenge names, and the target of the request to it. Raises BadValue for a realm that must not
    receive a password.
    """
    try:
        parts = urlsplit(challenge.realm)
        place, port = host(parts.netloc), parts.port
    except ValueError:
        place = ""
    # The password of an https registry is not sent unencrypted.
    if not place or parts.scheme not in ("https", registry.scheme) or not re.fullmatch("/?[!-~]*", parts.path) or "#" in challenge.realm:
        raise BadValue(f"{registry.authority} names no valid token server: {challenge.realm[:80]!r}")
    name = place[: -len(str(port)) - 1] if port is not None else place
    query = "&".join(f"{name}={quote(value, safe='')}" for name, value in (("service", challenge.service), ("scope", scope)) if value)
    whom = Registry(parts.scheme, name, port or PORTS[parts.scheme], known=registry.known)
    return whom, f"{parts.path or '/'}?{'&'.join(filter(None, (parts.query, query)))}"


def scope_of(target: str) -> str:
    """Scope of a token for a GET of this target: reading its repository, nothing else."""
    found = re.match(r"/v2/([a-z0-9._/-]+)/(?:manifests|blobs|tags|referrers)/", target)
    return f"repository:{found[1]}:pull" if found else ""


def token_of(body: bytes) -> tuple[str, float]:
    """(token, seconds of its lifetime) from a token server's response. Raises BadValue."""
    try:
        parsed = json.loads(body)
        token, seconds = parsed.get("token") or parsed.get("access_token"), parsed.get("expires_in") or SECONDS
    except (ValueError, AttributeError, RecursionError):
        raise BadValue("the response to a request for a token contains none") from None
    if not isinstance(token, str) or not re.fullmatch("[!-~]{1,16384}", token) or type(seconds) not in (int, float):
        raise BadValue("the response to a request for a token contains none")
    return token, min(max(float(seconds), SECONDS), 86400.0)


def read(text: bytes, path: str) -> dict[str, str]:
    """HOST[:PORT] -> NAME:PASSWORD from a config.json. Raises BadValue, without any part of a password."""
    try:
        parsed: Any = json.loads(text)
        given = dict(parsed.get("auths", {}))
    except (ValueError, AttributeError, TypeError, RecursionError):
        raise BadValue(f"--registry-auth {path} is not a config.json in docker login's format") from None
    found = {}
    for place, entry in given.items():
        url = place.partition("://")[2] if "://" in place else place
        name = host(url.partition("/")[0])
        user = _user(entry)
        if not name or not user:
            kept = " (docker login has put it into another program: credsStore)" if not entry else ""
            raise BadValue(f"--registry-auth {path}: {place[:80]!r} has no user and password{kept}")
        found[HUB if name in HUB_NAMES else name] = user
    return found


def _user(entry: object) -> str:
    if not isinstance(entry, dict):
        return ""
    name, password = entry.get("username"), entry.get("password")
    if isinstance(entry.get("auth"), str) and entry["auth"]:
        try:
            user = b64decode(entry["auth"], validate=True).decode().rstrip("\0")
        except (binascii.Error, ValueError):
            return ""
    else:
        user = f"{name}:{password}" if isinstance(name, str) and isinstance(password, str) and ":" not in name else ""
    return user if re.fullmatch(r"[^:\r\n\0]+:[^\r\n\0]+", user) else ""


def given(registries: tuple[Registry, ...], logins: dict[str, str]) -> tuple[Registry, ...]:
    """The same registries, with the users of a file if their URLs name none."""

    def user(each: Registry) -> str:
        names = (each.authority, f"{each.host}:{each.port}", each.name)
        return each.user or next((logins[name] for name in names if name and name in logins), "")

    return tuple(each.replace(user=user(each)) for each in registries)
