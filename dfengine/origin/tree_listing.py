"""Makes the manifest of a tree: lists what lies below a URL, and asks for what the listing did not tell.

Laws:

1. Of each file the size is told, by the listing or by the file's own answer to HEAD.
2. Of a file that lies in more than one piece a validator is told, too, where the origin has any: so pieces that are fetched by different
   connections, or after a restart, are of one version. A file within one piece needs none: it comes as a whole or not at all.
3. A file that is changed changes the manifest. So where an index shows times by the minute, a file of this minute or the one before is
   asked itself: it may change once more within the same minute.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress

from dfengine._piece import Geometry
from dfengine.errors import BadListing, BadValue, OriginError
from dfengine.globs import Globs
from dfengine.location import scheme_of
from dfengine.manifest import LONGEST, File, Manifest
from dfengine.origin.body import naming
from dfengine.origin.cancel import Cancel
from dfengine.origin.driver import Driver
from dfengine.origin.head import seconds
from dfengine.origin.listing import files
from dfengine.origin.listing_http import Memory, Pages
from dfengine.origin.listing_names import Limits, Names
from dfengine.origin.reach import Reach
from dfengine.tree import tree_url

LOOKS = 8
"""Requests at once for what a listing did not tell."""

OVERHEAD = 32
"""Bytes that a file takes in an encoding besides its texts, at most."""


LATELY = 60.0
"""Seconds within which a listed date binds nothing: a file may change twice within one second, and clocks differ."""

MOST_PAGES = 2000
"""Pages of a listing that the next one is compared with, at most."""


FRESH = 120.0
"""Seconds since the minute that an index shows of a file, within which the file is asked itself. An index may show another zone's time than
GMT; then nothing tells which files these are."""


class Before:
    """What the manifest of one directory was made of last. find: the manifest of an identity, if it is still kept."""

    def __init__(self, find: Callable[[str], Manifest | None] = lambda identity: None) -> None:
        self.find = find
        self.identity = ""
        self.pages = Memory()
        self.looked: dict[int, File] = {}
        """Files that were asked themselves, by their number."""


def manifest(
    url: str, reach: Reach, cancel: Cancel, globs: Globs | None = None, limits: Limits | None = None, before: Before | None = None
) -> Manifest:
    """Of the directory `url`: all files below it, or those that `globs` take.

    before: of the same directory and globs; is replaced. Where the origin says the same again, its manifest itself is the answer.
    reach, cancel, limits: see `listing.files`, also for what is raised; OriginError (404) where there is no such file at all. Blocks.
    """
    if any(name.lower() == "range" for name, _ in reach.headers):
        raise BadValue("a directory has no Range")
    limits, began, url = limits or Limits(), time.monotonic(), tree_url(url)
    before = before or Before()
    known = before.find(before.identity) if before.identity else None
    with _kept(reach, cancel) as near:
        if known is not None and _is_same(before, url, near, cancel, limits):
            return known
        before.identity = ""
        base, found = _listed(url, near, cancel, globs or Globs(), limits, before)
    before.pages.ahead.clear()
    found.sort(key=lambda file: file.path)
    if not scheme_of(url):
        look = _Look(reach, cancel, began + limits.seconds)
        sizeless = [n for n, file in enumerate(found) if file.size < 0]
        look.at(found, sizeless)
        now = time.time()
        fresh = {n for n, file in enumerate(found) if file.shown != -1 and abs(now - file.shown) < FRESH}
        asked = sorted({*divided([file.size for file in found]), *fresh}.difference(sizeless))
        unbound = [n for n in asked if not (found[n].etag or 0 <= found[n].modified < now - LATELY)]
        look.at(found, unbound)
        before.looked = {n: found[n] for n in (*sizeless, *unbound)}
    made = Manifest(base, found)
    if len(before.pages.pages) <= MOST_PAGES >= len(before.looked):
        before.identity = made.identity
    else:
        before.pages, before.looked = Memory(), {}
    return made


@contextmanager
def _kept(reach: Reach, cancel: Cancel) -> Iterator[Reach]:
    """The same, by connections that are kept."""
    driver = Driver(cancel)
    try:
        yield reach.replace(kept=driver)
    finally:
        driver.close()


def _listed(url: str, reach: Reach, cancel: Cancel, globs: Globs, limits: Limits, before: Before) -> tuple[str, list[File]]:
    """The base of the files, and what the listing says of those that are wanted."""
    takes = globs.matcher().takes
    found: list[File] = []
    base, told, length = url, 0, 0
    with closing(files(url, reach, cancel, limits, before.pages)) as entries:
        for each in entries:
            told += 1
            if not takes(each.path):
                continue
            if not found:
                base = each.url.rsplit("/", each.path.count("/") + 1)[0] + "/"
            length += len(each.path) + len(each.etag) + len(each.digest) + OVERHEAD
            if length > LONGEST:
                raise BadListing(f"the listing of {url[:200]} has more than {LONGEST} bytes of names")
            found.append(File(**each.__dict__))
    if not found:
        raise OriginError(f"{url[:200]}: no file lies below it" + (f" that is selected, of {told}" if told else ""), 404, final=True)
    return base, found


def _is_same(before: Before, url: str, reach: Reach, cancel: Cancel, limits: Limits) -> bool:
    """The origin lists what it listed before, and each file that was asked itself answers the same."""
    began = time.monotonic()
    if scheme_of(url):
        return False
    pages = Pages(lambda page: reach.http(page, cancel), Names(url[:300], limits), limits)
    if not before.pages.same(pages):
        return False
    answers = dict(before.looked)
    with suppress(BadListing):  # another size
        _Look(reach, cancel, began + limits.seconds).at(answers, [*answers])
        return answers == before.looked
    return False


def divided(sizes: list[int]) -> list[int]:
    """Those of a tree's files, by their bytes in order, that lie in more than one piece of its data."""
    at, piece = 0, Geometry(sum(sizes)).content_size
    found = []
    for n, size in enumerate(sizes):
        if size and at // piece != (at + size - 1) // piece:
            found.append(n)
        at += size
    return found


class _Look:
    """Asks for what a listing did not tell, over a few connections. until: monotonic seconds."""

    def __init__(self, reach: Reach, cancel: Cancel, until: float) -> None:
        self._reach = reach
        self._cancel = cancel
        self._until = until
        self._error: BaseException | None = None

    def at(self, files: list[File] | dict[int, File], which: list[int]) -> None:
        """Replace these files by what HEAD says of them. Raises BadListing, OriginError and its kin, SourceGone; names the path."""
        left = iter(which)
        threads = [threading.Thread(target=self._work, args=(files, left), name="look", daemon=True) for _ in which[1:LOOKS]]
        for thread in threads:
            thread.start()
        if which:
            self._work(files, left)
        for thread in threads:
            thread.join()
        if self._error is not None:
            raise self._error

    def _work(self, files: list[File] | dict[int, File], left: object) -> None:
        driver = Driver(self._cancel)
        try:
            reach = self._reach.replace(kept=driver)
            for n in left:  # type: ignore[attr-defined]  # a list's iterator, which threads may share
                if self._error is not None:
                    return
                files[n] = self._told(files[n], reach)
        except BaseException as error:
            self._error = self._error or error
        finally:
            driver.close()

    def _told(self, file: File, reach: Reach) -> File:
        try:
            with naming(file.path):
                version = reach.http(file.url, self._cancel).look(self._look)
        except OriginError as error:
            if file.size < 0 or error.status not in (405, 501):
                raise
            return file.replace(modified=-1)  # there is no HEAD: nothing binds it
        if version.length < 0:
            raise BadListing(f"nothing says how many bytes {file.path[:200]!r} has: neither the listing nor the file's own answer")
        if file.size not in (-1, version.length):
            raise BadListing(f"{file.path[:200]!r} is listed with {file.size} bytes, and answers with {version.length}")
        changed = seconds(version.last_modified) if version.dated else None
        return file.replace(size=version.length, etag=version.etag, modified=-1 if changed is None else changed)

    def _look(self) -> None:
        if time.monotonic() > self._until:
            raise BadListing("the listing has not ended within its time: it does not tell how large its files are")
