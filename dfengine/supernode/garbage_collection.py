"""Keeps Python's garbage collector from blocking the loop: with 200,000 downloads a full collection takes half a second.

Objects that survive a `settle` are frozen: the collector no longer visits them. Reference counting still frees them, because the
supernode's long-lived objects form no cycles. Cycles of short-lived objects are collected as usual.
"""

from __future__ import annotations

import gc

FEW = 20_000
"""Objects that the collector visits in a few milliseconds."""

NEVER = 1 << 30


def begin() -> None:
    """Call when the process is ready: freeze all existing objects."""
    gc.collect()
    gc.freeze()
    young, middle, _ = gc.get_threshold()
    gc.set_threshold(young, middle, NEVER)


def settle() -> None:
    """Call periodically: collect the objects made since the last call if they are few, then freeze all live objects."""
    if len(gc.get_objects(generation=2)) < FEW:
        gc.collect()
    gc.freeze()
