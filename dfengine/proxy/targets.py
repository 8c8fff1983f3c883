"""Targets of a forward proxy: the absolute URL of a request, the server that CONNECT names. Pure.

Source: RFC 9112 sections 3.2.2 (absolute-form) and 3.2.3 (authority-form). A target is never decoded: the origin receives it byte by byte
as the client wrote it.
"""

from __future__ import annotations

import re

from dfengine.net.http import BadRequest
from dfengine.net.origin_access import address_of, effective_addresses
from dfengine.origin.request import PORTS
from dfengine.proxy.registries import Registry

_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = rf"(?:{_LABEL}(?:\.{_LABEL})*\.?|\[[0-9a-f:.]{{2,45}}\])"
_AUTHORITY = re.compile(rf"(?P<host>{_NAME})(?::(?P<port>[0-9]{{1,5}}))?")
_ABSOLUTE = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<place>[^/?#]*)(?P<rest>[/?][!-~]*)?")
MAX_NAME = 253


def is_absolute(target: bytes) -> bool:
    """Whether the target is an absolute URL, not a path."""
    return b"://" in target and target[:1] not in (b"/", b"*")


def parse_absolute(target: bytes) -> tuple[Registry, str]:
    """The server and path of a request's absolute URL. Raises BadRequest unless it is http://HOST[:PORT]/... ."""
    found = _ABSOLUTE.fullmatch(target.decode("latin-1"))
    if found is None or "#" in (found["rest"] or ""):
        raise BadRequest(400, "the target is not an absolute URL, as http://HOST/PATH")
    scheme = found["scheme"].lower()
    if scheme != "http":
        raise BadRequest(501, f"an absolute URL must be http, not {scheme[:20]}: use CONNECT for https")
    if "@" in found["place"]:
        raise BadRequest(400, "the URL names a user: send Authorization")
    server = parse_server(found["place"], scheme)
    rest = found["rest"] or "/"
    return server, rest if rest[0] == "/" else f"/{rest}"


def is_server(target: bytes) -> bool:
    """Whether the target is an absolute URL without a path: with OPTIONS it means the server as a whole (RFC 9112 section 3.2.4)."""
    found = _ABSOLUTE.fullmatch(target.decode("latin-1"))
    return found is not None and not found["rest"]


def path(target: bytes) -> str:
    """The target of a request in origin-form, for its server. Raises BadRequest."""
    if not re.fullmatch(rb"/[!-~]*", target):
        raise BadRequest(400, "the target has characters that are to be percent-encoded")
    return target.decode("ascii")


def is_local(server: Registry) -> bool:
    """Whether the name stands for another server on each host."""
    address = address_of(server.connect_host)
    named = server.host.rstrip(".") == "localhost" or server.host.rstrip(".").endswith(".localhost")
    return named or (address is not None and any(each.is_loopback or each.is_link_local for each in effective_addresses(address)))


def parse_server(text: str, scheme: str) -> Registry:
    """The server at HOST[:PORT]. Raises BadRequest."""
    found = _AUTHORITY.fullmatch(text.lower())
    if found is None or len(found["host"]) > MAX_NAME or not 0 < int(found["port"] or PORTS[scheme]) < 65536:
        raise BadRequest(400, "no HOST[:PORT] in the target")
    return Registry(scheme, found["host"], int(found["port"] or PORTS[scheme]))


def parse_connect(target: bytes) -> Registry:
    """The server that CONNECT names, with an explicit port, as an https one. Raises BadRequest."""
    text = target.decode("latin-1")
    if not re.search(r":[0-9]{1,5}$", text):
        raise BadRequest(400, "CONNECT needs HOST:PORT")
    return parse_server(text, "https")
