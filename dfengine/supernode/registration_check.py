"""Validates registrations, and builds the request to the origin. Texts of refusals are 1.x's (docs/protocol.md)."""

from __future__ import annotations

import base64
import binascii
import contextlib
import socket
from collections.abc import Iterable, Iterator

from dfengine import wire
from dfengine.codes import INVALID
from dfengine.errors import BadValue, ProtocolViolation
from dfengine.location import OBJECTS, scheme_of
from dfengine.origin.signed_origin import is_signed_form
from dfengine.settings import parse_header
from dfengine.supernode.copies.fetch_request import FetchRequest, RetryLimits
from dfengine.supernode.supernode_state import SupernodeState
from dfengine.task import (
    MAX_HEADERS,
    MAX_TEXT,
    MAX_URL,
    PEER_PORTS,
    SUPERNODE_CID,
    check_task_url,
    check_url,
    content_of,
    names_same,
    peer_path,
    redacted_url,
    typed_url,
)
from dfengine.tree import TreeTask, tree_url

EMPTY = '{"Code":1,"Msg":"empty value"}'
KEPT = ("cid", "ip", "path", "host_name", "version", "call_system", "location", "super_node_ip")
"""Fields of a registration that stay in memory as long as it lasts."""

MAX_CERTIFICATES = 1024
"""Texts of certificates; their length is bounded by a request's body."""

OVERHEAD = 4096
"""Bytes that a registration takes in addition to its texts while it waits for the origin."""


def within(name: str, length: int, most: int, what: str = "characters") -> None:
    """Raise BadValue with 1.x's message if a field has more than `most` of `what`."""
    if length > most:
        raise BadValue(f"{name}: {length} {what} are more than {most}: {INVALID}")


def checked(registration: wire.Registration) -> wire.Registration:
    """Return the registration, its md5 and URLs in their canonical form. Raises BadValue with 1.x's message for an invalid field."""
    for name in (*KEPT, "md5", "identifier", "pattern"):
        within(name, len(getattr(registration, name)), MAX_TEXT)
    for name in ("raw_url", "task_url", "signed_url"):
        within(name, len(getattr(registration, name)), MAX_URL)
    within("headers", len(registration.headers or ()), MAX_HEADERS // 4, "headers")
    within("headers", sum(map(len, registration.headers or ())), MAX_HEADERS)
    within("rootCAs", len(registration.root_cas or ()), MAX_CERTIFICATES, "certificates")
    if registration.port and registration.port not in PEER_PORTS:
        low = registration.port < PEER_PORTS[0]
        bound = f"{'greater' if low else 'less'} than or equal to {PEER_PORTS[0 if low else -1]}"
        raise BadValue(f"validation failure list:\nport in body should be {bound}: {INVALID}")
    for name, value in (("cID", registration.cid), ("peer ip", registration.ip), ("path", registration.path)):
        if not value:
            raise BadValue(f"{name}: {EMPTY}")
        if any(character < " " for character in value):
            raise BadValue(f"{name}: {INVALID}")
    if not _is_address(registration.ip):
        raise BadValue(f"validation failure list:\nip in body must be of type ipv4: {registration.ip[:60]!r}: {INVALID}")
    try:
        registration.path = peer_path(registration.path)
    except BadValue:
        # Other downloads will request this path at the registered address, whichever host that is.
        raise BadValue(f"path: {registration.path[:80]}: {INVALID}") from None
    if registration.cid.startswith(SUPERNODE_CID):
        raise BadValue(f"cID: {INVALID}")
    if registration.pattern not in ("", "p2p", "cdn", "source"):
        raise BadValue(f"pattern: {registration.pattern}: {INVALID}")
    # A 1.x client compares md5s as text, and ends without a message and without a file if its user wrote capitals. If its registration is
    # refused, it goes to the origin and reports the mismatch, as with a 1.x supernode.
    digits = "0123456789abcdefABCDEF" if registration.native else "0123456789abcdef"
    if registration.md5 and not (len(registration.md5) == 32 and set(registration.md5) <= set(digits)):
        raise BadValue(f"md5: {registration.md5}: {INVALID}")
    registration.md5 = registration.md5.lower()
    if registration.stream_mode and (registration.window_size == 0 or registration.window_size < -1):
        raise BadValue(f"windowsize: {registration.window_size}: {INVALID}")
    # 1.x accepts an unescaped blank in a URL's path or query.
    registration.raw_url, registration.task_url = typed_url(registration.raw_url), typed_url(registration.task_url)
    try:
        if names_tree(registration):
            registration.raw_url, registration.task_url = tree_url(registration.raw_url), ""
        else:
            check_task_url(registration.raw_url)
    except BadValue:
        raise BadValue(f"raw url: {redacted_url(registration.raw_url)}: {INVALID}") from None
    scheme, signed = scheme_of(registration.raw_url), registration.signed_url
    own = not scheme and registration.task_url in ("", registration.raw_url) and is_signed_form(signed, registration.raw_url)
    if signed and scheme not in OBJECTS and not own:
        raise BadValue(f"signed url: neither for an object nor the raw url with a query: {INVALID}")
    try:
        check_url(registration.signed_url or "http://none")
    except BadValue:
        raise BadValue(f"signed url: {INVALID}") from None  # without the URL, which is secret
    if registration.task_url and not (
        names_same(registration.task_url, registration.raw_url) or content_of(registration.task_url, registration.raw_url)
    ):
        # Otherwise bytes of one URL could be given to all clients that request another URL.
        raise BadValue(f"task url: {redacted_url(registration.task_url)} is not the raw url less some query parameters: {INVALID}")
    return registration


def names_tree(registration: wire.Registration) -> bool:
    """Whether the registration names a tree. Raises ProtocolViolation when it has fields that a tree cannot have."""
    if not (registration.tree or registration.include or registration.exclude or registration.manifest):
        return False
    other = registration.task_url not in ("", registration.raw_url)
    ranged = any(header.partition(":")[0].strip().lower() == "range" for header in registration.headers or ())
    if not registration.native or registration.stream_mode or registration.md5 or registration.signed_url or other or ranged:
        raise ProtocolViolation("a tree is for native downloads: it has no range, md5, stream, signed URL or other name")
    return True


def tree_of(registration: wire.Registration) -> TreeTask | None:
    """Return the tree's task that a checked registration names, None without one. Raises ProtocolViolation for invalid fields."""
    if not names_tree(registration):
        return None
    try:
        return TreeTask.parse(registration.tree, registration.include or (), registration.exclude or (), registration.manifest)
    except BadValue as error:
        raise ProtocolViolation(str(error)) from None


def _is_address(text: str) -> bool:
    """Whether the text is an IPv4 address, the only kind that 1.x accepts, or an IPv6 address."""
    for family in (socket.AF_INET, socket.AF_INET6):
        with contextlib.suppress(OSError):
            return bool(socket.inet_pton(family, text))
    return False


def _complete(headers: Iterable[str]) -> Iterator[str]:
    """1.x's reading of headers: those without a name, a colon or a value are skipped."""
    for header in headers:
        name, _, value = (part.strip() for part in header.partition(":"))
        if name and value:
            yield f"{name}: {value}"


def wanted(state: SupernodeState, registration: wire.Registration, address: str) -> FetchRequest:
    """Return the request to the origin; removes the certificates from the registration. Raises BadValue, RemoteError."""
    try:
        certificates = tuple(base64.b64decode(pem, validate=True) for pem in registration.root_cas or ())
    except (binascii.Error, ValueError):
        raise BadValue(f"rootCAs: {INVALID}") from None
    registration.root_cas = None
    given = registration.headers or ()
    headers = tuple(parse_header(header) for header in (given if registration.native else _complete(given)))
    tries = RetryLimits.of_client(registration.origin_tries, registration.origin_retry_time, registration.origin_connect_time,
                         registration.origin_first_byte_time)
    url, named = registration.raw_url, registration.task_url
    return FetchRequest(
        url, headers, registration.insecure, state.quota.shared(certificates, address), registration.md5, registration.signed_url,
        named if named != url else "", tries, content_of(named or "", url), tree=tree_of(registration),
        split=(registration.private or state.settings.private) != "share", identifier="" if registration.md5 else registration.identifier,
    )
