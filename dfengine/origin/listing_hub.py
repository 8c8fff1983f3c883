"""Listing of all files of a repository of the Hugging Face Hub, or of a directory in it, at one commit.

The tree API is paginated: each page names the next in `Link: <URL>; rel="next"` (RFC 8288).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from dfengine.errors import BadListing
from dfengine.location import Location
from dfengine.origin.head import Head
from dfengine.origin.hub import api_url
from dfengine.origin.listing_http import Pages
from dfengine.origin.listing_names import Entry, ListingNames
from dfengine.origin.request import Hop

_NEXT = re.compile(r"<([^<>]{1,8000})>\s*;[^<>]{0,200}?\brel=\"?next\b")


def tree(location: Location, base: str, pages: Pages, names: ListingNames) -> Iterator[Entry]:
    """List the files. base: the Hub's address. Raises OriginError and its subclasses, BadListing."""
    shown = location.url
    asked = quote(location.version or "main", safe="")
    _, text = pages.read(api_url(base, location, f"revision/{asked}"), shown)
    commit = _object(text, shown).get("sha")
    if not isinstance(commit, str) or not re.fullmatch(r"[0-9a-fA-F]{40,64}", commit):
        raise BadListing(f"{shown}: the Hub does not say which commit {location.version or 'main'} is")
    folder = location.key.strip("/")
    path = f"/{quote(folder, safe='/')}" if folder else ""
    url, seen = api_url(base, location, f"tree/{commit}{path}?recursive=true"), set[str]()
    while url:
        if url in seen:
            raise BadListing(f"{shown}: the Hub's pages of the tree name each other in a circle")
        seen.add(url)
        head, text = pages.read(url, shown)
        members = _json(text, shown)
        if not isinstance(members, list):
            raise BadListing(f"{shown}: the Hub's response is no tree")
        for member in members:
            entry = _entry(member, location, commit, folder, names, shown)
            if entry is not None:
                yield entry
        url = _next(head, base, shown)


def _next(head: Head, base: str, shown: str) -> str:
    match = _NEXT.search(head.get("link"))
    if match is None:
        return ""
    url = match[1] if "://" in match[1] else f"{Hop(base).key}{match[1]}"
    try:
        same = Hop(url).key == Hop(base).key
    except ValueError:
        same = False
    if not same:  # the token would be sent there
        raise BadListing(f"{shown}: the Hub's tree continues at another server")
    return url


def _entry(member: Any, location: Location, commit: str, folder: str, names: ListingNames, shown: str) -> Entry | None:
    path, kind = (member.get("path"), member.get("type")) if isinstance(member, dict) else (None, None)
    if not isinstance(path, str):
        raise BadListing(f"{shown}: the Hub's response is no tree")
    if kind == "directory":
        return None
    inner = path
    if folder:
        if not path.startswith(folder + "/"):
            raise BadListing(f"the listing of {shown} names {path[:200]!r}, which is not below it: the whole list is rejected")
        inner = path[len(folder) + 1 :]
    lfs = member.get("lfs")
    size, oid, digest = member.get("size"), member.get("oid"), ""
    if isinstance(lfs, dict):
        size, oid = lfs.get("size", size), lfs.get("oid")
        digest = f"sha256:{oid}" if isinstance(oid, str) and re.fullmatch(r"[0-9a-f]{64}", oid) else ""
    if type(size) is not int:
        raise BadListing(f"the listing of {shown} names {path[:200]!r} with the size {str(size)[:40]!r}")
    names.file(inner, size)
    return Entry(inner, location.replace(key=path, version=commit).url, size, f'"{oid}"' if isinstance(oid, str) else "", -1.0, digest)


def _json(text: str, shown: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise BadListing(f"{shown}: the Hub's response is no JSON") from None


def _object(text: str, shown: str) -> dict[str, Any]:
    found = _json(text, shown)
    if not isinstance(found, dict):
        raise BadListing(f"{shown}: the Hub's response is no JSON object")
    return found
