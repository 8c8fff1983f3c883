"""Streams: a file is delivered in order while its pieces arrive from the swarm, through a window in memory, without a disk.

    credit    pieces that the consumer may still take: `StreamDownload.next`, `consumed`
    network   pieces that are requested: `[una, una+wnd)`, the window of the client's plan; una moves when the consumer has taken a piece
    cache     delivered pieces that stay in memory for other peers: `cache.Cache`

Invariant: cache eviction never blocks the reader. `stream_download` manages the three separately and fills the window; `pipe` and `reader`
empty it. `stream_from_leader` fills it from this host's leader, `kept_stream` from pieces that this host keeps in memory. `leader_digest`
is the whole-file digest that a leader computes for its followers.
"""

from __future__ import annotations

from dfengine.streaming.pipe import to_descriptor
from dfengine.streaming.reader import Reader

__all__ = ["Reader", "to_descriptor"]
