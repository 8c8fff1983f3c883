"""Keeps Python's garbage collector from blocking the loop: with 200,000 downloads one full collection takes half a second.

What has lived through a settling is not looked at any more. It goes when nothing refers to it, as all that a supernode remembers does;
cycles are broken where they would arise. Those of what lives shortly are found as ever.
"""

from __future__ import annotations

import gc

FEW = 20_000
"""Objects that are looked at together in some milliseconds."""

NEVER = 1 << 30


def begin() -> None:
    """The process is ready: what is here stays."""
    gc.collect()
    gc.freeze()
    young, middle, _ = gc.get_threshold()
    gc.set_threshold(young, middle, NEVER)


def settle() -> None:
    """From time to time: look at what came since the last time, if that is little, and keep the rest."""
    if len(gc.get_objects(generation=2)) < FEW:
        gc.collect()
    gc.freeze()
