"""Header fields of proxied messages: which are passed on, and how a body is framed. Pure.

Source: RFC 9110 section 7.6 (fields of one connection), RFC 9112 section 6 (framing).
"""

from __future__ import annotations

from dfengine.net.http import BadRequest
from dfengine.origin.request import is_private

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Fields = list[tuple[bytes, bytes]]
"""Names as received, with their values, in order."""

HOP = frozenset((
    b"connection", b"keep-alive", b"proxy-connection", b"proxy-authenticate", b"proxy-authorization", b"te", b"trailer",
    b"transfer-encoding", b"upgrade", b"http2-settings",
))
"""Hop-by-hop fields."""

TOKEN = b"x-dfengine-token"
"""Field by which a client proves that it may use this proxy."""

PROXY_FIELDS = frozenset((
    TOKEN, b"x-dragonfly-registry", b"x-dragonfly-use-p2p", b"x-dragonfly-filtered-query-params", b"x-dragonfly-tag", b"host",
))
"""Fields of a request that are addressed to this proxy."""

NON_CREDENTIAL_REGISTRY_FIELDS = frozenset((b"docker-distribution-api-version", b"docker-upload-uuid"))
"""Fields of registry clients that are not credentials."""

NOT_FORWARDED_IN_RESPONSES = HOP | {b"content-length"}
NOT_FORWARDED_IN_REQUESTS = NOT_FORWARDED_IN_RESPONSES | PROXY_FIELDS
"""Fields of a response, and of a request, that are not passed on."""

PLAIN_CONNECTION_OPTIONS = frozenset((b"keep-alive", b"close", b"Keep-Alive", b"Close"))
"""Values of Connection that name no field that would be passed on."""

CACHE_KEY_FIELDS = frozenset((b"accept", b"accept-encoding", b"authorization", b"user-agent", b"if-none-match"))
"""Request fields that are part of the cache key of a response, or do not affect the response."""

SINGLE = frozenset((
    b"host", b"content-length", b"transfer-encoding", b"range", b"if-range", b"authorization", b"expect", b"upgrade", TOKEN,
    b"x-dragonfly-registry",
))
"""Fields of a request that would be ambiguous if repeated."""

CHUNKED = -1
"""Length of a chunked body."""

UNTIL_CLOSE = -2
"""Length of a body that ends when its connection closes."""

MAX_LENGTH = 18
"""Maximum number of digits of a length: 10**18 bytes."""


def get(fields: Iterable[tuple[bytes, bytes]], name: bytes) -> bytes | None:
    """The first value of a field, None without it; name in lower case."""
    return next((value for each, value in fields if each.lower() == name), None)


def text(fields: Iterable[tuple[bytes, bytes]], name: bytes) -> str:
    """The first value of a field as text, "" without it."""
    value = get(fields, name)
    return value.decode("latin-1").strip() if value is not None else ""


def joined(fields: Iterable[tuple[bytes, bytes]], name: bytes) -> str:
    """All values of a field that is a list, as one (RFC 9110 section 5.3); "" without it. name in lower case."""
    return ", ".join(value.decode("latin-1").strip() for each, value in fields if each.lower() == name)


def connection_options(fields: Iterable[tuple[bytes, bytes]]) -> frozenset[bytes]:
    """Fields that Connection lists as hop-by-hop, in lower case."""
    found: set[bytes] = set()
    for name, value in fields:
        if name.lower() == b"connection":
            found.update(option.strip().lower() for option in value.split(b","))
    return frozenset(found)


def end_to_end(fields: Sequence[tuple[bytes, bytes]], request: bool) -> Fields:
    """The end-to-end fields, without Content-Length, which the framing adds."""
    left_out = NOT_FORWARDED_IN_REQUESTS if request else NOT_FORWARDED_IN_RESPONSES
    found, more = [], False
    for field in fields:
        name = field[0].lower()
        if name not in left_out:
            found.append(field)
        elif name == b"connection" and field[1] not in PLAIN_CONNECTION_OPTIONS:
            more = True
    if more:
        others = connection_options(fields)
        found = [field for field in found if field[0].lower() not in others]
    return found


def credentials(fields: Iterable[tuple[bytes, bytes]]) -> Fields:
    """The fields of a request that may be credentials."""
    left_out = PROXY_FIELDS | NON_CREDENTIAL_REGISTRY_FIELDS | HOP
    return [(name, value) for name, value in fields if name.lower() not in left_out and is_private(name.decode("latin-1"))]


def is_cacheable_request(fields: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether a request has no field for which a registry could send another response. Otherwise its response is not cached."""
    expected = CACHE_KEY_FIELDS | NOT_FORWARDED_IN_REQUESTS | NON_CREDENTIAL_REGISTRY_FIELDS
    return all(name.lower() in expected for name, _ in fields)


def framing(fields: Iterable[tuple[bytes, bytes]], version: str, request: bool) -> int:
    """Bytes of the body, CHUNKED, or UNTIL_CLOSE (of a response). Raises BadRequest if the framing is ambiguous."""
    lengths, codings = [], []
    for name, value in fields:
        if len(name) == 14 and name.lower() == b"content-length":
            lengths.append(value.strip(b" \t"))
        elif len(name) == 17 and name.lower() == b"transfer-encoding":
            codings.append(value.strip(b" \t").lower())
    if codings:
        if lengths or codings != [b"chunked"] or version != "1.1":
            raise BadRequest(400 if lengths or version != "1.1" else 501, "a body is either of a Content-Length or, in HTTP/1.1, chunked")
        return CHUNKED
    if not lengths:
        return 0 if request else UNTIL_CLOSE
    given = lengths[0]
    if len(lengths) > 1 or not given.isdigit() or len(given) > MAX_LENGTH:
        raise BadRequest(400, "bad Content-Length")
    return int(given)


def bodiless(method: str, status: int) -> bool:
    """Whether a response has no body, whatever its fields are."""
    return method == "HEAD" or status in (204, 304) or 100 <= status < 200


def head(first: bytes, fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The head of a message."""
    return b"%b\r\n%b\r\n" % (first, b"".join([b"%b: %b\r\n" % field for field in fields]))
