"""Pages of a listing by http, and the index of a web server, directory by directory."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from hashlib import sha256

from dfengine.errors import BadListing, BadValue, OriginSlow
from dfengine.origin.head import Head
from dfengine.origin.http import HttpOrigin
from dfengine.origin.listing_index import parse_index
from dfengine.origin.listing_names import Entry, Limits, ListingNames

STEP = 64 << 10
"""Bytes per read."""


class PageDigests:
    """Digests of one listing's pages, for the next listing of the same directory: if no page has changed, neither has the list."""

    def __init__(self) -> None:
        self.pages: dict[str, bytes] = {}
        """URL -> SHA-256 of the page."""
        self.prefetched: dict[str, tuple[Head, str]] = {}
        """Pages that were already read for the comparison."""

    def unchanged(self, pages: Pages) -> bool:
        """Whether no page has changed. Raises as `Pages.read`; pages read up to the first difference are not requested again."""
        self.prefetched.clear()
        for url, digest in self.pages.items():
            head, text = pages.read(url, url)
            self.prefetched[url] = head, text
            if _digest(head, text) != digest:
                return False
        return bool(self.pages)


def _digest(head: Head, text: str) -> bytes:
    return sha256(f"{head.get('content-type')}\n{text}".encode("utf-8", "surrogateescape")).digest()


class Pages:
    """Reads pages one after the other; limits apply to all of them together. open: makes the origin of a URL. memory: records each page."""

    def __init__(self, open: Callable[[str], HttpOrigin], names: ListingNames, limits: Limits, memory: PageDigests | None = None) -> None:
        self._memory = memory
        self._open = open
        self._names = names
        self._limits = limits
        self._began = time.monotonic()

    def check(self) -> None:
        """Raise BadListing when the listing has taken too long."""
        self._names.check_time(time.monotonic() - self._began)

    def read(self, url: str, shown: str) -> tuple[Head, str]:
        """The head and the whole body. shown: the URL for messages. Raises OriginError and its subclasses, BadListing."""
        self._names.count_page(time.monotonic() - self._began)
        memory = self._memory
        if memory is None:
            return self._asked(url, shown)
        head, text = memory.prefetched.pop(url) if url in memory.prefetched else self._asked(url, shown)
        memory.pages[url] = _digest(head, text)
        return head, text

    def _asked(self, url: str, shown: str) -> tuple[Head, str]:
        body = self._open(url).open(waiting=self.check)
        whole, part = bytearray(), memoryview(bytearray(STEP))
        try:
            while got := body.read_into(part):
                whole += part[:got]
                self.check()
                if len(whole) > self._limits.page_bytes:
                    raise BadListing(f"{shown} answers with more than {self._limits.page_bytes} bytes in one page of a listing")
        except OriginSlow as error:
            error.final = True  # a retry begins the whole listing anew, and would take as long
            raise
        finally:
            body.close()
        self._names.charge(len(whole))
        return body.head, whole.decode("utf-8", "surrogateescape")


def index(url: str, pages: Pages, names: ListingNames, limits: Limits) -> Iterator[Entry]:
    """List every file below the directory `url`, one directory after the other. Raises BadValue, OriginError, BadListing."""
    if "?" in url or "#" in url:
        raise BadValue("the URL of a directory to list has no query")
    top = url if url.endswith("/") else url + "/"
    folders = [("", top)]
    while folders:
        before, base = folders.pop()
        head, text = pages.read(base, base)
        kind = head.get("content-type").lower()
        below = []
        for each in parse_index(text, base, "json" in kind, limits.entries):
            path = names.segment(before, each.name)
            if each.folder:
                below.append((names.folder(path) + "/", f"{base}{each.link}/"))
            else:
                yield Entry(names.file(path, each.size), base + each.link, each.size, "", each.modified, shown=each.shown)
        folders += reversed(below)
