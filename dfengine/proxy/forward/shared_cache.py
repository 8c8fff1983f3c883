"""Which responses of an origin may be sent to other clients, and how long they are fresh. Pure.

Source: RFC 9111 (HTTP caching), as a shared cache: sections 3 (what may be stored), 3.5 (Authorization), 4.1 (Vary), 4.2 (freshness),
5.2 (Cache-Control); RFC 9110 sections 8.8 (validators), 13 (conditions).

Stricter than required where an error could expose or corrupt content: a Cookie counts like Authorization, and so does every field that may
be a credential. A Vary forbids sharing, except on Accept-Encoding if the response has no coding. A qualified no-cache or private counts as
unqualified. Responses without a strong validator are not shared, and stale responses are not sent.
"""

from __future__ import annotations

import re
from datetime import UTC
from email.utils import parsedate_to_datetime

from dfengine.origin.version import LATER, Version
from dfengine.proxy.header_fields import Fields, credentials, joined

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

FORBIDS = frozenset(("authorization", "cookie", "no-store", "private", "set-cookie", "vary"))
"""Obstacles to sharing, unless a rule ignores them."""

MAX_HEURISTIC = 60.0
"""Maximum freshness in seconds of a response that does not state any (RFC 9111 section 4.2.2)."""

PART = 0.1
"""Fraction of the file's age at the response for which such a response is fresh."""

MAX_FRESH = 86400.0
"""Maximum freshness in seconds, whatever an origin states."""

_DIRECTIVE = re.compile(r"""\s*,?\s*([!#$%&'*+.^_`|~0-9A-Za-z-]+)(?:=(?:"((?:[^"\\]|\\.)*)"|([^\s,"]*)))?\s*(?=,|$)""")


def directives(fields: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Directives of all Cache-Control fields, names in lower case; unreadable ones count as `no-store`."""
    found: dict[str, str] = {}
    for name, value in fields:
        if name.lower() != b"cache-control":
            continue
        text, at = value.decode("latin-1").strip(" \t,"), 0
        while at < len(text):
            match = _DIRECTIVE.match(text, at)
            if match is None or match.end() == at:
                found["no-store"] = ""
                break
            key, argument = match[1].lower(), match[2] if match[2] is not None else match[3] or ""
            # Of two different values the shorter time counts.
            found[key] = min(found[key], argument, key=_seconds) if key in found else argument
            at = match.end()
    return found


def _seconds(text: str) -> float:
    """Value of max-age and the like; 0 for an invalid number (RFC 9111 section 4.2.1: it is stale)."""
    return min(float(text), 2.0**31) if text.isascii() and text.isdigit() and len(text) < 20 else 0.0


def _all(fields: Iterable[tuple[bytes, bytes]], name: bytes) -> list[str]:
    return [value.decode("latin-1").strip() for each, value in fields if each.lower() == name]


def date(text: str) -> float | None:
    """Unix seconds of an HTTP date; None if it is invalid."""
    try:
        found = parsedate_to_datetime(text)
        return (found if found.tzinfo is not None else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def forbidden_by_request(method: str, fields: Fields, ignore: frozenset[str]) -> str:
    """The reason for which the response to this request is for its client only; "" if the request does not forbid sharing."""
    if method != "GET":
        return "method"
    names = {name.lower() for name, _ in fields}
    if b"authorization" in names and "authorization" not in ignore:
        return "authorization"
    if b"cookie" in names and "cookie" not in ignore:
        return "cookie"
    if "authorization" not in ignore and {name.lower() for name, _ in credentials(fields)} - {b"authorization", b"cookie"}:
        return "authorization"
    return "no-store" if "no-store" in directives(fields) and "no-store" not in ignore else ""


def forbidden_by_answer(status: int, fields: Fields, length: int, ignore: frozenset[str]) -> str:
    """The reason for which a response must not be shared, or "". length: of its body, bytes; negative: not known."""
    if status != 200:
        return "status"
    cache_control = directives(fields)
    for name in ("no-store", "private"):
        if name in cache_control and name not in ignore:
            return name
    if _all(fields, b"set-cookie") and "set-cookie" not in ignore:
        return "set-cookie"
    vary = {name.strip().lower() for each in _all(fields, b"vary") for name in each.split(",")} - {"", "accept-encoding"}
    if vary and "vary" not in ignore:
        return "vary"
    if {each.lower() for each in _all(fields, b"content-encoding")} - {"", "identity"}:
        return "coding"
    if length < 0:
        return "length"
    return "" if names_version(version(fields, length)) else "validator"


def version(fields: Fields, length: int) -> Version:
    """The version of the file that a response states; repeated validators are ignored."""
    tags, modified, dates = _all(fields, b"etag"), _all(fields, b"last-modified"), _all(fields, b"date")
    tag = tags[0] if len(tags) == 1 and re.fullmatch(r'(?:W/)?"[!#-~\x80-\xff]*"', tags[0]) else ""
    last = modified[0] if len(modified) == 1 and not (tags and not tag) else ""
    changed, sent = date(last) if last else None, date(dates[0]) if len(dates) == 1 else None
    dated = changed is not None and sent is not None and sent - changed >= LATER
    return Version(tag, last if changed is not None else "", length, dated)


def names_version(version: Version) -> bool:
    """Whether it identifies a version byte by byte: a strong entity-tag, or a Last-Modified a second old (RFC 9110 section 8.8.2.2)."""
    return bool(version.strong or (version.last_modified and version.dated))


def fresh_until(fields: Fields, asked: float, answered: float) -> float:
    """Unix seconds until which the response at `answered` to a request at `asked` is fresh; before `answered`: not at all."""
    cache_control = directives(fields)
    dates = _all(fields, b"date")
    sent = date(dates[0]) if len(dates) == 1 else None
    sent = answered if sent is None else sent
    if "no-cache" in cache_control:
        return asked
    expires = _all(fields, b"expires")
    if "s-maxage" in cache_control:
        lifetime = _seconds(cache_control["s-maxage"])
    elif "max-age" in cache_control:
        lifetime = _seconds(cache_control["max-age"])
    elif expires:
        at = date(expires[0]) if len(expires) == 1 else None
        lifetime = max(0.0, at - sent) if at is not None else 0.0
    else:
        changed = date(next(iter(_all(fields, b"last-modified")), ""))
        lifetime = min(MAX_HEURISTIC, max(0.0, sent - changed) * PART) if changed is not None else 0.0
    return answered + min(MAX_FRESH, lifetime - max(answered - sent, _carried(fields) + answered - asked))


def _carried(fields: Fields) -> float:
    """Age in seconds of a response at its arrival, as earlier caches state it."""
    return max(map(_seconds, _all(fields, b"age")), default=0.0)


def age(fields: Fields, answered: float, now: float) -> float:
    """Age in seconds of a response that arrived at `answered` (RFC 9111 section 4.2.3)."""
    return _carried(fields) + max(0.0, now - answered)


def asks_again(fields: Fields) -> bool:
    """Whether a request demands that the origin is asked (RFC 9111 section 5.2.1)."""
    cache_control = directives(fields)
    if any(name.lower() == b"pragma" and b"no-cache" in value.lower() for name, value in fields) and not cache_control:
        return True
    # Cached heads are at most a day old: a request that may want a newer one is passed to the origin.
    return bool({"no-cache", "max-age", "min-fresh"} & set(cache_control))


def only_if_cached(fields: Fields) -> bool:
    """Whether the origin must not be asked (RFC 9111 section 5.2.1.7)."""
    return "only-if-cached" in directives(fields)


def status(fields: Fields, version: Version) -> int:
    """200, or 304 or 412 as the conditions of a GET require for this version (RFC 9110 section 13.2.2)."""
    given = {name: joined(fields, name) for name in (b"if-match", b"if-none-match")}
    if given[b"if-match"]:
        if not (given[b"if-match"] == "*" or (version.strong and version.strong in _tags(given[b"if-match"]))):
            return 412
    elif (since := _date(fields, b"if-unmodified-since")) is not None:
        changed = date(version.last_modified)
        if changed is None or changed > since:
            return 412
    if given[b"if-none-match"]:
        tags = {tag.removeprefix("W/") for tag in _tags(given[b"if-none-match"])}
        return 304 if given[b"if-none-match"] == "*" or (version.etag and version.etag.removeprefix("W/") in tags) else 200
    since = _date(fields, b"if-modified-since")
    changed = date(version.last_modified)
    return 304 if since is not None and changed is not None and changed <= since else 200


def _tags(text: str) -> list[str]:
    return re.findall(r'(?:W/)?"[!#-~\x80-\xff]*"', text)


def _date(fields: Fields, name: bytes) -> float | None:
    given = _all(fields, name)
    return date(given[0]) if len(given) == 1 else None


def range_applies(fields: Fields, version: Version) -> bool:
    """Whether Range applies: there is no If-Range, or it names this very version (RFC 9110 section 13.1.5)."""
    given = _all(fields, b"if-range")
    return not given or (len(given) == 1 and given[0] in ({version.strong, version.last_modified if version.dated else ""} - {""}))
