"""A file in order, as its pieces come from the swarm: a window over the client, and no byte on a disk.

    credit    what the consumer may still be given: `Streaming.next`, `taken`
    network   what is asked for: `[una, una+wnd)`, the window of the client's plan; una moves when the consumer has taken a piece
    cache     what is kept for other peers after that: `cache.Cache`

Law: eviction never gates credit. The three are told apart in `streaming`, which fills the window; `pipe` and `reader` empty it.
"""

from __future__ import annotations

import sys
from types import ModuleType

from dfengine.stream.pipe import to_descriptor
from dfengine.stream.reader import Reader, stream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class _Opens(ModuleType):
    """`dfengine.stream` is this package and the function that opens a stream: whoever imported the one has not lost the other."""

    def __call__(self, url: str, **settings: Any) -> Reader:
        return stream(url, **settings)


sys.modules[__name__].__class__ = _Opens

__all__ = ["Reader", "stream", "to_descriptor"]
