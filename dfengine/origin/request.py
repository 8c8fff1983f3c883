"""Requests to an origin: the target of each hop, redirects, and which of a user's headers are sent. Pure."""

from __future__ import annotations

import re
from base64 import b64encode
from urllib.parse import quote, unquote, unquote_to_bytes, urljoin, urlsplit

from dfengine.errors import BadValue, OriginError
from dfengine.task import check_url, redacted_url
from dfengine.trace_context import NAME

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

PORTS = {"http": 80, "https": 443}

NOT_FORWARDED = frozenset((
    "connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "content-length",
    "accept-encoding", "if-none-match", "if-modified-since", "if-range", "if-match", "if-unmodified-since", "expect",
))
"""Headers of a user that belong to one connection, or that each request sets itself."""

HARMLESS = frozenset((
    "accept", "accept-charset", "accept-language", "b3", "baggage", "cache-control", "cdn-loop", "content-type", "date", "dnt", "forwarded",
    "origin", "pragma", "priority", "range", "referer", "save-data", "traceparent", "tracestate", "uber-trace-id",
    "upgrade-insecure-requests", "user-agent", "via", "x-amzn-trace-id", "x-client-request-id", "x-cloud-trace-context", "x-correlation-id",
    "x-forwarded-for", "x-forwarded-host", "x-forwarded-port", "x-forwarded-proto", "x-forwarded-server", "x-real-ip", "x-request-id",
    "x-requested-with", "x-trace-id",
))
HARMLESS_FAMILIES = ("sec-ch-", "sec-fetch-", "x-b3-", "x-datadog-")
"""Headers of a user, and prefixes of more, that grant no access; every other one counts as a credential. So does Host, which names another
server's files."""

READABLE = frozenset(("accept", "accept-charset", "accept-encoding", "accept-language", "range"))
"""Headers of a user that only select a form or a part of a file: Redis may contain them. Other harmless ones do not grant access to the
file, but may contain credentials for other resources: a Referer has a URL with its query, baggage and the families have any text."""

_SAFE = "".join(map(chr, set(range(0x21, 0x7F)) - {ord("#"), ord("?")}))
"""Sent unescaped, as by curl: RFC 3986 requires brackets and the like to be escaped, but some servers compare a target literally."""


def is_private(name: str) -> bool:
    """Whether a header may grant access: it is not sent to the target of a redirect to another host, and a file that was fetched with it is
    served only to requests with the same header."""
    lower = name.lower()
    return lower not in HARMLESS and lower not in NOT_FORWARDED and not lower.startswith(HARMLESS_FAMILIES)


def is_readable(name: str) -> bool:
    """Whether a header may be visible to clients without access to the file."""
    return name.lower() in READABLE


def with_traceparent(url: str, headers: tuple[tuple[str, str], ...], text: str) -> tuple[tuple[str, str], ...]:
    """A user's headers, and this process's traceparent unless they have one. For servers of http and https only."""
    if not text or not url.lower().startswith(("http://", "https://")) or any(name.lower() == NAME for name, _ in headers):
        return headers
    return *headers, (NAME, text)


def selection(headers: Iterable[tuple[str, str]], names: Iterable[str]) -> dict[str, str]:
    """The values of the fields that a Vary names, by name, `*`: all fields; each value ends in a line break.

    Only harmless headers count: other credentials make another task anyway, and the fields that each request sets itself never vary.
    """
    found: dict[str, str] = {}
    wanted = {name.lower() for name in names}
    for name in wanted - {"*"}:
        if name != "range" and name not in NOT_FORWARDED and not is_private(name):
            found[name] = "".join(f"{value}\n" for each, value in headers if each.lower() == name)
    if "*" in wanted:
        others = sorted((each.lower(), value) for each, value in headers if each.lower() != "range" and not is_private(each))
        found["*"] = "".join(f"{name}: {value}\n" for name, value in others if name not in NOT_FORWARDED)
    return found


def check_header(name: str, value: str) -> None:
    """Raise BadValue for a header that cannot be sent."""
    if re.search(r"[\r\n\0]", name + value) or not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name):
        raise BadValue(f"header {name!r} cannot be sent")


class Hop:
    """One URL of a chain of redirects. Raises BadValue for a URL that is not of http or https.

    server, target: the server, and the request's target. key: scheme, host and port in comparable form, `http://host:80`. place: host and
    port for messages, without credentials.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(check_url(url))
        self.scheme = parts.scheme.lower()
        self.host = _named((parts.hostname or "").lower())
        self.port = parts.port or PORTS[self.scheme]
        self.userinfo = parts.netloc.rpartition("@")[0]
        written = f"[{self.host}]" if ":" in self.host else self.host
        self.place = f"{written}:{self.port}"
        self.key = f"{self.scheme}://{written.rstrip('.')}:{self.port}"
        query = "?" + quote(parts.query, safe=_SAFE + "?") if "?" in url.partition("#")[0] else ""
        self.target = without_dots(quote(parts.path or "/", safe=_SAFE)) + query
        # The Host header is made of this: it omits a default port.
        self.server = f"{self.scheme}://{written if self.port == PORTS[self.scheme] else self.place}"
        self._text = url

    def basic(self) -> list[tuple[str, str]]:
        """The header for a user and password in the URL (RFC 7617)."""
        return [basic(*map(unquote_to_bytes, self.userinfo.partition(":")[::2]))] if self.userinfo else []

    def child(self, link: str) -> Hop:
        """The hop of a file below this URL, which ends in a slash; link: the percent-encoded rest, as in a manifest."""
        hop = Hop.__new__(Hop)
        hop.__dict__.update(self.__dict__)
        hop.target += quote(link, safe=_SAFE)
        hop._text += link
        return hop

    def follow(self, location: str, status: int) -> Hop:
        """The target of a Location, given as text of one character per byte. A user in the URL stays for the same server.

        Raises OriginError when that is not an http or https URL.
        """
        path, mark, query = location.strip(" \t").partition("?")
        text = _escaped(path, "%20") + mark + _escaped(query, "+")
        try:
            there = Hop(urljoin(self._text, text))
        except ValueError:
            raise OriginError(f"{self.place} redirects to {redacted_url(text)[:80]!r}, which is no http or https URL", status) from None
        if self.userinfo and not there.userinfo and there.key == self.key:
            scheme, _, rest = there._text.partition("://")
            there = Hop(f"{scheme}://{self.userinfo}@{rest}")
        return there


def _named(host: str) -> str:
    """A host in its form on the wire: without percent-encoding, in IDNA's form. Raises BadValue for invalid names.

    libcurl decodes and converts the host itself; checks must apply to the host that it connects to.
    """
    if ":" in host or (host.isascii() and "%" not in host):  # the zone of an IPv6 address has a %
        return host
    try:
        plain = unquote(host).lower().encode("idna").decode()
    except UnicodeError:
        plain = ""
    # IDNA's compatibility forms contain characters that end a host: U+2100 is written a/c.
    if not plain or re.search(r"[\0-\x20\x7f%/:#?!@{}\[\]\\$'\"^`*<>=;,|&()]", plain):
        raise BadValue(f"host {host[:80]!r} is no name")
    return plain


def without_dots(path: str) -> str:
    """A path without its `.` and `..` segments (RFC 3986 section 5.2.4)."""
    if "/." not in path:
        return path
    kept: list[str] = []
    segments = path.split("/")
    for segment in segments[1:]:
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    if segments[-1] in (".", ".."):
        kept.append("")
    return "/" + "/".join(kept)


def _escaped(text: str, blank: str) -> str:
    """Escape blanks and bytes beyond ASCII as curl does: servers send them raw, and some compare the next request's target literally."""
    return "".join(each if "\x20" < each < "\x7f" else blank if each == " " else f"%{ord(each) & 255:02x}" for each in text)


def basic(user: bytes, password: bytes) -> tuple[str, str]:
    """The header with a user's credentials (RFC 7617)."""
    return "Authorization", "Basic " + b64encode(user + b":" + password).decode()


def asked_range(value: str) -> tuple[int, int]:
    """(first, last) bytes of a user's Range header: last -1 for an open end, first -N for the last N. Raises BadValue."""
    match = re.fullmatch(r"bytes=(?:(\d{1,18})-(\d{0,18})|-(\d{1,18}))", value.replace(" ", ""), re.ASCII)
    if match is None:
        raise BadValue(f"Range {value[:40]!r} is not bytes=A-B, bytes=A- or bytes=-N")
    if match[3] is not None:
        if int(match[3]) == 0:
            raise BadValue("a range of the last 0 bytes holds nothing")
        return -int(match[3]), -1
    first, last = int(match[1]), int(match[2]) if match[2] else -1
    if 0 <= last < first:
        raise BadValue(f"Range {value[:40]!r} ends before it begins")
    return first, last


def as_sent(value: str) -> str:
    """Convert a value of a response's head, one character per byte, to a header's value with the same bytes."""
    return value.encode("latin-1", "replace").decode("utf-8", "surrogateescape")


def wire_headers(headers: list[tuple[str, str]]) -> list[bytes]:
    """The headers in libcurl's form, in UTF-8; a header without a value ends in a semicolon there."""
    return [(f"{name}: {value}" if value else f"{name};").encode("utf-8", "surrogateescape") for name, value in headers]
