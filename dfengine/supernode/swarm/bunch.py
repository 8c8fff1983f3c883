"""Downloads of one peer, or of one CID: a tuple while they are few, as nearly always; else a dict, where one more costs no copy of all."""

from __future__ import annotations

from collections.abc import Collection

from dfengine.supernode.swarm._state import Download

FEW = 8
"""Downloads in a tuple at most."""


def joined(bunch: Collection[Download], download: Download) -> Collection[Download]:
    """The bunch with this download at its end."""
    if not isinstance(bunch, dict):
        if len(bunch) < FEW:
            return (*bunch, download)
        bunch = dict.fromkeys(bunch)
    bunch[download] = None
    return bunch


def parted(bunch: Collection[Download], download: Download) -> Collection[Download]:
    """The bunch without this download."""
    if isinstance(bunch, dict):
        del bunch[download]
        return bunch if bunch else ()
    return tuple([other for other in bunch if other is not download])
