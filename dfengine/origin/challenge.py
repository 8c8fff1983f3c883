"""The authentication that a registry requires, parsed from its WWW-Authenticate. Pure.

Sources: RFC 9110 sections 11.2 to 11.6.1, and the distribution project's token specification. A field, or several fields, may list
challenges of several schemes, each with its own parameters.
"""

from __future__ import annotations

import re

from dfengine.value import Value

MAX_LENGTH = 8000
"""Maximum number of characters that are parsed."""

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r'\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s",]+))')


class Challenge(Value):
    """A challenge. scheme: "bearer" (a token), "basic" (user and password) or "" (none of these). realm, service, scope: parameters of a
    token server, "" if absent.
    """

    scheme: str = ""
    realm: str = ""
    service: str = ""
    scope: str = ""


def parse(header: str) -> Challenge:
    """The challenge to meet of those that the fields, joined by commas, list: bearer before basic."""
    listed = _challenges(header[:MAX_LENGTH])
    for scheme in ("bearer", "basic"):
        for name, parameters in listed:
            if name == scheme:
                return Challenge(scheme, *(parameters.get(each, "") for each in ("realm", "service", "scope")))
    return Challenge()


def _challenges(header: str) -> list[tuple[str, dict[str, str]]]:
    """(scheme in lower case, parameters) of each challenge. A name that `=` and a value follow is a parameter, any other name a scheme. Of
    a repeated parameter the first value counts. What is neither name nor value is skipped.
    """
    listed: list[tuple[str, dict[str, str]]] = []
    position = 0
    while (name := _TOKEN.search(header, position)) is not None:
        value = _VALUE.match(header, name.end())
        position = value.end() if value is not None else name.end()
        if value is None:
            listed.append((name[0].lower(), {}))
        elif listed:
            listed[-1][1].setdefault(name[0].lower(), re.sub(r"\\(.)", r"\1", value[1] or "") or value[2] or "")
    return listed
