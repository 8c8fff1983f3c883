"""Pages of a listing by http, and the index of a web server, directory by directory."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from dfengine.errors import BadListing, BadValue
from dfengine.origin.head import Head
from dfengine.origin.http import HttpOrigin
from dfengine.origin.listing_index import found
from dfengine.origin.listing_names import Entry, Limits, Names

STEP = 64 << 10
"""Bytes that are read at once."""


class Pages:
    """Reads pages one after the other; limits hold for all of them together. open: makes the origin of a URL."""

    def __init__(self, open: Callable[[str], HttpOrigin], names: Names, limits: Limits) -> None:
        self._open = open
        self._names = names
        self._limits = limits
        self._began = time.monotonic()

    def look(self) -> None:
        """Raises BadListing when the listing has taken too long."""
        self._names.clock(time.monotonic() - self._began)

    def read(self, url: str, shown: str) -> tuple[Head, str]:
        """The head and the whole body. shown: the URL for messages. Raises OriginError and its kin, BadListing."""
        self._names.page(time.monotonic() - self._began)
        body = self._open(url).open(waiting=self.look)
        whole, part = bytearray(), memoryview(bytearray(STEP))
        try:
            while got := body.read_into(part):
                whole += part[:got]
                self.look()
                if len(whole) > self._limits.page_bytes:
                    raise BadListing(f"{shown} answers with more than {self._limits.page_bytes} bytes in one page of a listing")
        finally:
            body.close()
        return body.head, whole.decode("utf-8", "surrogateescape")


def index(url: str, pages: Pages, names: Names, limits: Limits) -> Iterator[Entry]:
    """Every file below the directory `url`, one directory after the other. Raises BadValue, OriginError and its kin, BadListing."""
    if "?" in url or "#" in url:
        raise BadValue("the URL of a directory to list has no query")
    top = url if url.endswith("/") else url + "/"
    folders = [("", top)]
    while folders:
        before, base = folders.pop()
        head, text = pages.read(base, base)
        kind = head.get("content-type").lower()
        below = []
        for each in found(text, base, "json" in kind, limits.entries):
            path = names.segment(before, each.name)
            if each.folder:
                below.append((names.folder(path) + "/", f"{base}{each.link}/"))
            else:
                yield Entry(names.file(path, each.size), base + each.link, each.size, "", each.modified)
        folders += reversed(below)
