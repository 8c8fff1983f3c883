"""Listings of the files below a URL: a bucket's prefix, a repository of a hub, a web server's index, a directory of this machine's disk.

    for entry in files("s3://bucket/models/", settings, cancel): entry.path, entry.url, entry.size, entry.etag, entry.modified, entry.digest

`Entry` and `Limits` are in `listing_names`. Entries are yielded while the listing is read, in an order that depends on the kind. A listing
contains claims of its origin: names are checked (`ListingNames`), sizes and entity-tags are proved only by responses to GETs of the files.
"""

from __future__ import annotations

import os
from collections.abc import Generator

from dfengine.errors import BadValue
from dfengine.location import OBJECTS, parse, scheme_of
from dfengine.origin.cancel import Cancel
from dfengine.origin.http import HttpOrigin
from dfengine.origin.listing_names import Entry, Limits, ListingNames
from dfengine.origin.origin_settings import OriginSettings
from dfengine.task import check_url, redacted_url

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dfengine.origin.listing_http import PageDigests


def files(
    url: str, settings: OriginSettings, cancel: Cancel, limits: Limits | None = None, memory: PageDigests | None = None
) -> Generator[Entry, None, None]:
    """List every file below the directory `url`; one with http or https is read as an index.

    settings: see `origin_settings.OriginSettings`. cancel: ends a wait for http at once, from any thread: SourceGone. memory: for an
    index by http; its pages are replaced by those of this listing.
    Raises BadValue for a URL that is not a directory's, OriginError (status) and its subclasses, LocalError where an extra is missing, and
    BadListing, which names the path, for names that must not be written, and for listings that are larger or longer than `limits`.
    Blocks; not to be called in a thread with a running event loop. A consumer that stops early closes the generator.
    """
    limits = limits or Limits()
    names = ListingNames(redacted_url(url)[:300], limits)
    scheme = scheme_of(url)
    if not scheme:
        from dfengine.origin.listing_http import Pages, index

        if memory is not None:
            memory.pages.clear()
        yield from index(check_url(url), Pages(lambda page: settings.http(page, cancel), names, limits, memory), names, limits)
        return
    location = parse(url)
    if location.version and scheme in OBJECTS:
        raise BadValue(f"{redacted_url(url)[:200]} names one version of one object: it cannot be listed")
    if scheme in OBJECTS:
        from dfengine.origin import listing_objects

        yield from listing_objects.list_objects(location, settings.may_sign(location), settings.access, names, limits)
    elif scheme == "hf":
        from dfengine.origin import hub
        from dfengine.origin.listing_http import Pages
        from dfengine.origin.listing_hub import tree

        def page(asked: str) -> HttpOrigin:
            return settings.http(asked, cancel, hub.authorization(settings.hub_token(location)))

        yield from tree(location, hub.endpoint(os.environ), Pages(page, names, limits), names)
    else:
        from dfengine.origin import listing_file
        from dfengine.origin.listing_http import Pages

        pages = Pages(lambda asked: settings.http(asked, cancel), names, limits)
        yield from listing_file.list_files(location, settings.roots, names, pages.check)
