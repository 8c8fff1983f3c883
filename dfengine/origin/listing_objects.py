"""Listing of all objects below a prefix of a bucket, by obstore."""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import Iterator
from typing import Any

from dfengine.errors import BadListing, OriginError, OriginForbidden
from dfengine.location import Location
from dfengine.net.origin_access import OriginAccess
from dfengine.origin.listing_names import Entry, Limits, ListingNames
from dfengine.origin.object_address import address
from dfengine.origin.object_store import reason, store
from dfengine.origin.request import Hop

CHUNK = 1000
"""Objects per page, as the stores send them."""


_SURE = re.compile(r"[\w .~/-]*")
"""Keys that obstore certainly encodes correctly."""


def list_objects(location: Location, signed: bool, access: OriginAccess | None, names: ListingNames, limits: Limits) -> Iterator[Entry]:
    """List `location.key` as a directory: `s3://bucket/a` and `s3://bucket/a/` list the keys that begin with `a/`.

    signed: with this process's credentials. Objects whose key ends in a slash are a console's markers of empty directories: they are
    omitted. Raises BadValue, LocalError, OriginError (status), OriginForbidden, BadListing. Not to be called in a thread with a running
    event loop.
    """
    prefix, began = location.key.strip("/"), time.monotonic()
    if access is not None:
        # obstore opens the connections itself, to the address that the environment of this process names.
        hop = Hop(address(location.replace(key="x", version=""), os.environ))
        access.check_name(hop.host)
        if not access.addresses(hop.host, hop.port):
            raise OriginForbidden(f"this supernode may not fetch from {hop.host}")
    objects = store(location, skip_signature=not signed)
    stream, loop = objects.list(prefix or None, chunk_size=CHUNK), asyncio.new_event_loop()
    try:
        while True:
            names.count_page(time.monotonic() - began)
            left = max(0.01, limits.seconds - (time.monotonic() - began))
            page = _await(loop, lambda: anext(stream, None), left, location)
            if page is None:
                return
            for found in page:
                path, size = str(found["path"]), int(found["size"])
                if not size and _SURE.fullmatch(path) and not _await(loop, lambda path=path: _exists(objects, path), left, location):
                    continue
                inner = path[len(prefix) + 1 :] if prefix else path
                if prefix and not path.startswith(prefix + "/"):
                    raise BadListing(f"the listing of {location.url} names {path[:200]!r}, which is not below it")
                yield Entry(names.file(inner, size), location.replace(key=path, version="").url, size, _tag(found.get("e_tag") or ""),
                            found["last_modified"].timestamp())
    finally:
        loop.close()


def _tag(etag: str) -> str:
    """The entity-tag as in responses to GETs: Azure's listings omit the quotes."""
    return f'"{etag}"' if etag and '"' not in etag else etag


async def _exists(objects: Any, path: str) -> bool:
    """Tell an object from a marker: obstore returns `a` for both the empty object `a` and the marker `a/`."""
    try:
        await objects.head_async(path)
    except FileNotFoundError:
        return False
    return True


def _await(loop: asyncio.AbstractEventLoop, begin: Any, seconds: float, location: Location) -> Any:
    """Run the coroutine of `begin` to its result. Raises OriginError for obstore's exceptions, BadListing after `seconds`."""
    from obstore.exceptions import BaseError

    async def within() -> Any:
        return await asyncio.wait_for(begin(), seconds)

    try:
        return loop.run_until_complete(within())
    except TimeoutError:
        raise BadListing(f"the listing of {location.url} has not ended within its time") from None
    except (BaseError, FileNotFoundError, PermissionError) as error:
        status = re.search(r"status code: (\d{3})|returned error response (\d{3})", str(error))
        number = int(status[1] or status[2]) if status else 0
        raise OriginError(f"{location.url} cannot be listed: {reason(error)}", number, final=True) from None
