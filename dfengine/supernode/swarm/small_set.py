"""Small sets of downloads (of one peer, of one CID): a tuple while they are few, as nearly always; else a dict, which grows in place."""

from __future__ import annotations

from collections.abc import Collection

from dfengine.supernode.swarm._state import Download

FEW = 8
"""Maximum number of downloads in a tuple."""


def added(downloads: Collection[Download], download: Download) -> Collection[Download]:
    """Return the set with this download at its end."""
    if not isinstance(downloads, dict):
        if len(downloads) < FEW:
            return (*downloads, download)
        downloads = dict.fromkeys(downloads)
    downloads[download] = None
    return downloads


def removed(downloads: Collection[Download], download: Download) -> Collection[Download]:
    """Return the set without this download."""
    if isinstance(downloads, dict):
        del downloads[download]
        return downloads if downloads else ()
    return tuple([other for other in downloads if other is not download])
