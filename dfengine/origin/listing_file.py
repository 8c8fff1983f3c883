"""Listing of all files below a directory of this machine's own disk."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator

from dfengine.errors import BadListing, OriginError
from dfengine.location import Location
from dfengine.origin.listing_names import Entry, ListingNames
from dfengine.origin.local_root import Roots, shown
from dfengine.origin.local_version import etag


def list_files(location: Location, roots: Roots, names: ListingNames, check: Callable[[], None], skips: bool = False) -> Iterator[Entry]:
    """List directory by directory, sorted by name. A link to a file is listed as that file. A link to a directory is refused, since it may
    form a cycle. Raises OriginError (403, 404), BadListing. check: called for each directory and file; an exception that it raises ends the
    listing.

    skips: omit entries that cannot be read or vanish meanwhile, and links to directories.
    """
    top = "/" + location.key.strip("/")
    folders = [""]
    while folders:
        before = folders.pop()
        check()
        try:
            fd = roots.open(f"{top}/{before}".rstrip("/") or "/")
        except OriginError:
            if skips and before:
                continue
            raise
        try:
            if not stat.S_ISDIR(os.fstat(fd).st_mode):
                raise OriginError(f"{shown(top)} is no directory", 404, final=True)
            inside = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in os.scandir(fd)]
        except OSError as error:
            raise OriginError(f"{shown(top)} cannot be read: {error.strerror}", 500, final=True) from None
        finally:
            os.close(fd)
        folders += [names.folder(before + name) + "/" for name, folder in sorted(inside, reverse=True) if folder]
        for name in sorted(name for name, folder in inside if not folder):
            check()
            try:
                found = _file(top, before + name, roots, names)
            except OriginError:
                if skips:
                    continue
                raise
            yield found


def _file(top: str, path: str, roots: Roots, names: ListingNames) -> Entry:
    whole = f"{top.rstrip('/')}/{path}"
    fd = roots.open(whole)
    try:
        status = os.fstat(fd)
    finally:
        os.close(fd)
    if stat.S_ISDIR(status.st_mode):
        raise BadListing(f"the directory {shown(top)} holds {path[:200]!r}, a link to a directory: the whole list is rejected")
    url = Location("file", "", whole).url
    return Entry(names.file(path, status.st_size), url, status.st_size, etag(status), status.st_mtime, "", status.st_mode & 0o777)
