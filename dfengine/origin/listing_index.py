"""Parsing of a web server's index of a directory: nginx (autoindex as HTML and as JSON), Apache, lighttpd, Python's http.server. Pure."""

from __future__ import annotations

import json
import re
from calendar import timegm
from html import unescape
from itertools import islice
from typing import Any
from urllib.parse import quote, unquote_to_bytes, urljoin, urlsplit

from dfengine.errors import BadListing
from dfengine.origin.head import MONTHS, seconds
from dfengine.value import Value

_INDEX = re.compile(r"<(?:title|h1)[^<>]{0,100}>\s*(?:Index of|Directory listing for)\b", re.IGNORECASE)
_LINK = re.compile(r"<a\s[^<>]{0,1000}?\bhref\s*=\s*(?:\"([^\"<>]{0,8000})\"|'([^'<>]{0,8000})')[^<>]{0,1000}>", re.IGNORECASE)
_SIZE = re.compile(r"(?a)(?<!\S)(\d{1,4}-(?:\d\d|[A-Za-z]{3})-\d{1,4}) (\d\d):(\d\d)(?::\d\d)?\s+(\d{1,19})\s*$")
_LONE = re.compile("[\ud800-\udc7f\udd00-\udfff]")
_TAG = re.compile(r"<[^<>]{0,2000}>")


class IndexMember(Value):
    """A member. name: one segment, decoded (PEP 383). link: as appended to the directory's URL. size: bytes, -1 unknown. modified: unix
    seconds, -1 unknown. shown: see `manifest.File`."""

    name: str
    link: str
    folder: bool
    size: int = -1
    modified: float = -1.0
    shown: int = -1


def parse_index(text: str, base: str, as_json: bool, most: int = 1_000_000) -> list[IndexMember]:
    """The members of a page; base: the directory's URL, which ends in a slash. Links that lead out of it are omitted.

    Raises BadListing for a page that is not an index, and for one of more than `most` members.
    """
    listed = _of_json(text, base) if as_json else _of_html(text, base, most)
    if len(listed) > most:
        raise BadListing(f"the index {base} names more than {most} files")
    return listed


def _of_json(text: str, base: str) -> list[IndexMember]:
    """Parse nginx's JSON: `[{"name", "type": "file"|"directory"|"other", "mtime", "size"}]`."""
    try:
        members: Any = json.loads(text)
    except (ValueError, RecursionError):
        raise BadListing(f"{base}: its response is no JSON") from None
    if not isinstance(members, list):
        raise BadListing(f"{base}: its response is no index of a directory")
    listed = []
    for each in members:
        name, kind = (each.get("name"), each.get("type")) if isinstance(each, dict) else (None, None)
        if not isinstance(name, str) or not isinstance(kind, str):
            raise BadListing(f"{base}: its response is no index of a directory")
        if kind not in ("file", "directory"):
            continue  # a socket or a device, which no server sends
        size, modified = each.get("size", -1), each.get("mtime")
        if kind == "file" and type(size) is not int:
            raise BadListing(f"the index {base} names {name[:200]!r} with the size {str(size)[:40]!r}")
        when = seconds(modified) if isinstance(modified, str) else None
        # nginx writes a name's bytes unchanged; a surrogate that encodes none of them is refused by the check of names.
        link = quote(name, safe="", errors="surrogatepass" if _LONE.search(name) else "surrogateescape")
        listed.append(IndexMember(name, link, kind == "directory", size if kind == "file" else -1, -1.0 if when is None else when))
    return listed


def _of_html(text: str, base: str, most: int) -> list[IndexMember]:
    if not _INDEX.search(text):
        raise BadListing(f"{base}: its response is no index of a directory: nginx's autoindex and Apache's are known")
    listed: dict[str, IndexMember] = {}
    links = list(islice(_LINK.finditer(text), 4 * most + 101))
    if len(links) > 4 * most + 100:
        raise BadListing(f"the index {base} has {len(links)} links or more, and may name {most} files")
    for n, link in enumerate(links):
        href = unescape(link[1] if link[1] is not None else link[2]).strip(" \t\r\n").partition("#")[0]
        end = links[n + 1].start() if n + 1 < len(links) else len(text)
        member = _member(href, base, text[link.end() : min(end, link.end() + 4000)])
        # A server may link an icon and a name to one file.
        if member is not None and (member.link not in listed or listed[member.link].size < 0):
            listed[member.link] = member
    return list(listed.values())


def _member(href: str, base: str, behind: str) -> IndexMember | None:
    """The member of a link, None for a link elsewhere, as to the parent directory and to another sort order."""
    if not href or "?" in href:
        return None
    climbs = [unquote_to_bytes(part) for part in href.split("/")]
    if b".." in climbs and re.fullmatch(r"(?:\.\./)*\.\.", href.removesuffix("/")) is None and "://" not in href:
        raise BadListing(f"the index {base} names {href[:200]!r}, which leads out of it: the whole list is rejected")
    try:
        there = urljoin(base, href)
        if urlsplit(there).netloc != urlsplit(base).netloc:
            return None
    except ValueError:
        return None
    if not there.startswith(base) or there == base:
        return None
    link = there[len(base) :]
    folder, link = link.endswith("/"), link.removesuffix("/")
    if "/" in link:
        return None  # a link in a page's text; deeper files are in the index of their own directory
    name = unquote_to_bytes(link).decode("utf-8", "surrogateescape")
    row = _TAG.sub(" ", re.split(r"</tr\s*>|\n", behind, maxsplit=1)[0])
    match = None if folder else _SIZE.search(row)
    when = _minute(match[1], match[2], match[3]) if match else -1
    # Without a date, a size alone may not distinguish two versions: the size then comes from a HEAD for the file itself.
    return IndexMember(name, link, folder, int(match[4]) if match and when >= 0 else -1, shown=when)


def _minute(day: str, hour: str, minute: str) -> int:
    """Unix seconds of `29-Nov-2026` or `2026-11-29` and `21:20`, read as GMT; -1: not a date."""
    parts = day.split("-")
    year, month, date = parts if len(parts[0]) == 4 else parts[::-1]
    try:
        numbered = MONTHS.index(month) + 1 if month in MONTHS else int(month)
        return max(-1, timegm((int(year), numbered, int(date), int(hour), int(minute), 0)))
    except ValueError:
        return -1
