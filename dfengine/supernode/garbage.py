"""Keeps Python's garbage collector from blocking the loop: with 200,000 downloads one full collection takes half a second.

Objects that survive a `settle` are frozen: the collector does not visit them any more. Reference counting still frees them, because the
supernode's long-lived objects form no cycles. Cycles of short-lived objects are collected as usual.
"""

from __future__ import annotations

import gc

FEW = 20_000
"""Objects that the collector visits in some milliseconds."""

NEVER = 1 << 30


def begin() -> None:
    """The process is ready: what is here stays."""
    gc.collect()
    gc.freeze()
    young, middle, _ = gc.get_threshold()
    gc.set_threshold(young, middle, NEVER)


def settle() -> None:
    """Call from time to time: collect the objects made since the last call if they are few, then freeze all that live."""
    if len(gc.get_objects(generation=2)) < FEW:
        gc.collect()
    gc.freeze()
