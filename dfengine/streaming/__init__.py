"""A file in order, as its pieces come from the swarm: a window over the client, and no byte on a disk.

    credit    what the consumer may still be given: `Streaming.next`, `taken`
    network   what is asked for: `[una, una+wnd)`, the window of the client's plan; una moves when the consumer has taken a piece
    cache     what is kept for other peers after that: `cache.Cache`

Law: cache eviction never blocks the reader. `download` keeps the three apart and fills the window; `pipe` and `reader` empty it.
`joined` fills it from what this host's leader has, `kept` from what this host keeps in memory. `lent_digest` is the digest that a leader
computes.
"""

from __future__ import annotations

from dfengine.streaming.pipe import to_descriptor
from dfengine.streaming.reader import Reader

__all__ = ["Reader", "to_descriptor"]
