"""Streams: a file is delivered in order while its pieces arrive from the swarm, through a window in memory, without a disk.

    stream_download     one download: it fills the window, and `next` and `consumed` give its pieces to a consumer
    pipe, reader        the consumers: they write to a descriptor, or are read by a program
    stream_buffer       the pieces' slots in memory
    cache               delivered pieces that stay in memory for other peers
    stream_from_leader  fills the window from this host's leader; `kept_stream`: from pieces that this host keeps in memory
    leader_digest       the whole-file digest that a leader computes for its followers

Three amounts are managed separately: the pieces that the consumer may still take, the window `[una, una+wnd)` of pieces that are requested
(una moves when the consumer has taken a piece), and the cache. Invariant: cache eviction never blocks the reader. Start with
`stream_download`.
"""

from __future__ import annotations

from dfengine.streaming.pipe import to_descriptor
from dfengine.streaming.reader import Reader

__all__ = ["Reader", "to_descriptor"]
