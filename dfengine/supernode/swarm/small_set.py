"""Small sets of objects that are few as nearly always (downloads of one peer, of one CID): a tuple, else a dict, which grows in place."""

from __future__ import annotations

from collections.abc import Collection
from typing import TypeVar

_Item = TypeVar("_Item")

FEW = 8
"""Maximum number of items in a tuple."""


def added(items: Collection[_Item], item: _Item) -> Collection[_Item]:
    """Return the set with this item at its end."""
    if not isinstance(items, dict):
        if len(items) < FEW:
            return (*items, item)
        items = dict.fromkeys(items)
    items[item] = None
    return items


def removed(items: Collection[_Item], item: _Item) -> Collection[_Item]:
    """Return the set without this item, the same object that was added."""
    if isinstance(items, dict):
        del items[item]
        return items if items else ()
    return tuple([other for other in items if other is not item])
