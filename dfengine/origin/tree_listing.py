"""Makes the manifest of a tree: lists the files below a URL, and requests the metadata that the listing lacks.

Laws:

1. The size of each file is known, from the listing or from the response to a HEAD for the file.
2. A file that is in more than one piece has a validator, too, where the origin sends any: so pieces that are fetched by different
   connections, or after a restart, are of one version. A file within one piece needs none: it is received as a whole or not at all.
3. A changed file changes the manifest. So where an index shows times by the minute, a HEAD is sent for a file that may be of this minute
   or the one before, in any zone that the index may use: the file may change once more within the same minute.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, suppress

from dfengine._piece import Geometry
from dfengine.errors import BadListing, BadValue, OriginError
from dfengine.globs import Globs
from dfengine.location import scheme_of
from dfengine.manifest import MAX_ENCODED, File, Manifest
from dfengine.origin.cancel import Cancel
from dfengine.origin.curl_transfers import CurlTransfers
from dfengine.origin.head import seconds
from dfengine.origin.listing import files
from dfengine.origin.listing_http import PageDigests, Pages
from dfengine.origin.listing_names import Limits, ListingNames
from dfengine.origin.origin_settings import OriginSettings
from dfengine.origin.refused_files import FileRequests, refuses
from dfengine.task import redacted_url
from dfengine.tree import USED, tree_url

OVERHEAD = 32
"""Limit in bytes of a file in an encoding besides its texts."""


LATELY = 60.0
"""Seconds within which a listed date binds nothing: a file may change twice within one second, and clocks differ."""

MAX_PAGES = 2000
"""Limit of a listing's pages that the next one is compared with."""


FRESH = 120.0
"""Seconds since the minute that an index shows for a file, within which a HEAD is sent for the file."""

ZONES = -12 * 3600, 14 * 3600
"""Range of an index's time relative to GMT, seconds. The index does not state its zone."""

QUARTER = 900
"""Seconds: all zones differ from GMT by a multiple of it."""


def may_be_fresh(shown: int, now: float) -> bool:
    """Whether a time that an index shows may be one of the last FRESH seconds in some zone; unix seconds, read as GMT.

    True for no file of a tree whose files are older than a day, else for about a fourth of those of the last day.
    """
    ahead = shown - now
    west, east = ZONES
    return west - FRESH < ahead < east + FRESH and abs((ahead + QUARTER / 2) % QUARTER - QUARTER / 2) < FRESH


class ListingCache:
    """The inputs of a directory's last manifest. find: returns the manifest of an identity, if it is still stored."""

    def __init__(self, find: Callable[[str], Manifest | None] = lambda identity: None) -> None:
        self.find = find
        self.identity = ""
        self.pages = PageDigests()
        self.asked_files: dict[int, File] = {}
        """Files that a HEAD was sent for, by their number."""
        self.refused: tuple[tuple[File, int], ...] = ()
        """Files that the origin listed and refused, with its statuses."""
        self._reported: dict[str, int] = {}
        self._lock = threading.Lock()

    def report_refusal(self, path: str, status: int) -> None:
        """Record that a reader of the tree's data received this status: the next manifest is made with a request for the file. In any
        thread."""
        with self._lock:
            self._reported[path] = status

    def take_reported(self) -> dict[str, int]:
        """The files that `report_refusal` recorded since the last call."""
        with self._lock:
            reported, self._reported = self._reported, {}
            return reported


def manifest(
    url: str, settings: OriginSettings, cancel: Cancel, globs: Globs | None = None, limits: Limits | None = None,
    before: ListingCache | None = None,
) -> Manifest:
    """The manifest of the directory `url`: all files below it, or those that `globs` select.

    before: of the same directory and globs; is replaced. Where the origin's responses are unchanged, the manifest itself is returned.
    settings, cancel, limits: see `listing.files`, also for exceptions; OriginError (404) where there is no such file at all. Blocks.
    """
    if any(name.lower() == "range" for name, _ in settings.headers):
        raise BadValue("a directory has no Range")
    limits, began, url = limits or Limits(), time.monotonic(), tree_url(url)
    before = before or ListingCache()
    known = before.find(before.identity) if before.identity else None
    reported = before.take_reported()
    with _kept(settings, cancel) as near:
        if known is not None and not reported and _is_same(before, url, near, cancel, limits):
            return known
        before.identity = ""
        base, found = _listed(url, near, cancel, globs or Globs(), limits, before)
    before.pages.prefetched.clear()
    found.sort(key=lambda file: file.path)
    asking = _HeadRequests(settings, cancel, began + limits.seconds)
    suspects = {file.path: status for file, status in before.refused} | reported
    listed = {file.path: file for file in found}
    refused = asking.find_refused(found, suspects, not reported.keys().isdisjoint(listed)) if suspects else {}
    asked_files = dict[str, File]()
    while True:
        found = [listed[path] for path in listed if path not in refused]
        if not found:
            path, status = next(iter(refused.items()))
            text = f"{redacted_url(url)[:200]}: the origin lists {len(listed)} files and serves none: {path[:200]!r} is answered {status}"
            raise OriginError(text, status, final=True)
        if scheme_of(url):
            break
        asked_files = _with_heads(found, asking)
        if not asking.refusals:
            break
        more = asking.find_refused(found, asking.refusals, False)
        # A server that refuses only HEAD may still serve the file.
        if granted := [path for path in asking.refusals if path not in more]:
            for path in granted:
                if listed[path].size < 0:
                    status = asking.refusals[path]
                    raise BadListing(f"{path[:200]}: no response states how many bytes it has: HEAD is answered {status}")
            listed |= {path: listed[path].replace(modified=-1) for path in granted}
            asking.headless |= set(granted)
        refused |= more
        asking.refusals.clear()
    before.asked_files = {n: asked_files[file.path] for n, file in enumerate(found) if file.path in asked_files}
    before.refused = tuple((listed[path], status) for path, status in refused.items())
    made = Manifest(base, [asked_files.get(file.path, file) for file in found], refused)
    if len(before.pages.pages) <= MAX_PAGES >= len(before.asked_files):
        before.identity = made.identity
    else:
        before.pages, before.asked_files = PageDigests(), {}
    return made


def _with_heads(found: list[File], asking: _HeadRequests) -> dict[str, File]:
    """The files of a web server whose listing lacks metadata, completed by HEAD, by path."""
    files = [*found]
    sizeless = [n for n, file in enumerate(files) if file.size < 0]
    asking.at(files, sizeless)
    if asking.refusals:
        return {}
    now = time.time()
    fresh = {n for n, file in enumerate(files) if file.shown != -1 and may_be_fresh(file.shown, now)}
    asked = sorted({*divided([file.size for file in files]), *fresh}.difference(sizeless))
    unbound = [n for n in asked if not (files[n].etag or 0 <= files[n].modified < now - LATELY)]
    asking.at(files, unbound)
    return {files[n].path: files[n] for n in (*sizeless, *unbound)}


@contextmanager
def _kept(settings: OriginSettings, cancel: Cancel) -> Iterator[OriginSettings]:
    """The same settings, with connections that are kept."""
    transfers = CurlTransfers(cancel)
    try:
        yield settings.replace(kept=transfers)
    finally:
        transfers.close()


def _listed(
    url: str, settings: OriginSettings, cancel: Cancel, globs: Globs, limits: Limits, before: ListingCache
) -> tuple[str, list[File]]:
    """The base of the files, and the listed metadata of the selected ones."""
    matches = globs.matcher().matches
    found: list[File] = []
    base, listed, length = url, 0, 0
    with closing(files(url, settings, cancel, limits, before.pages)) as entries:
        for each in entries:
            listed += 1
            if each.path.startswith(USED) or not matches(each.path):
                continue
            if not found:
                base = each.url.rsplit("/", each.path.count("/") + 1)[0] + "/"
            length += len(each.path) + len(each.etag) + len(each.digest) + OVERHEAD
            if length > MAX_ENCODED:
                raise BadListing(f"the listing of {redacted_url(url)[:200]} has more than {MAX_ENCODED} bytes of names")
            found.append(File(**each.__dict__))
    if not found:
        selected = f" that is selected, of {listed}" if listed else ""
        raise OriginError(f"{redacted_url(url)[:200]}: there is no file below it{selected}", 404, final=True)
    return base, found


def _is_same(before: ListingCache, url: str, settings: OriginSettings, cancel: Cancel, limits: Limits) -> bool:
    """Whether the origin lists the same as before, and each HEAD has the same response."""
    began = time.monotonic()
    if scheme_of(url):
        return False
    pages = Pages(lambda page: settings.http(page, cancel), ListingNames(url[:300], limits), limits)
    if not before.pages.unchanged(pages):
        return False
    answers = dict(before.asked_files)
    with suppress(BadListing):  # another size
        asking = _HeadRequests(settings, cancel, began + limits.seconds)
        asking.at(answers, [*answers])
        refused = {file.path: status for file, status in before.refused}
        return answers == before.asked_files and asking.find_refused([file for file, _ in before.refused], refused, True) == refused
    return False


def divided(sizes: list[int]) -> list[int]:
    """The numbers of a tree's files, given by their bytes in order, that are in more than one piece of its data."""
    at, piece = 0, Geometry(sum(sizes)).content_size
    found = []
    for n, size in enumerate(sizes):
        if size and at // piece != (at + size - 1) // piece:
            found.append(n)
        at += size
    return found


class _HeadRequests(FileRequests):
    """Requests the metadata that a listing lacks."""

    def __init__(self, settings: OriginSettings, cancel: Cancel, until: float) -> None:
        super().__init__(settings, cancel, until)
        self.refusals: dict[str, int] = {}
        """Path -> status of the response, for files whose HEAD was refused."""
        self.headless: set[str] = set()
        """Paths of the files among them that the origin serves all the same."""

    def at(self, files: list[File] | dict[int, File], which: Iterable[int]) -> None:
        """Replace these files by the metadata of HEAD. Raises BadListing, OriginError, SourceGone; messages name the path."""

        def ask(n: int, settings: OriginSettings) -> None:
            files[n] = self._with_head(files[n], settings)

        self.for_each(which, ask)

    def _with_head(self, file: File, settings: OriginSettings) -> File:
        if file.path in self.headless:
            return file  # nothing binds it
        try:
            version = self.head(file, settings)
        except OriginError as error:
            if file.size >= 0 and error.status in (405, 501):
                return file.replace(modified=-1)  # HEAD is not supported: nothing binds the file
            if not refuses(error):
                raise
            self.refusals[file.path] = error.status
            return file
        if version.length < 0:
            raise BadListing(f"no response states how many bytes {file.path[:200]!r} has: neither the listing nor the file's own answer")
        if file.size not in (-1, version.length):
            raise BadListing(f"{file.path[:200]!r} is listed with {file.size} bytes, and answers with {version.length}")
        changed = seconds(version.last_modified) if version.dated else None
        return file.replace(size=version.length, etag=version.etag, modified=-1 if changed is None else changed)
