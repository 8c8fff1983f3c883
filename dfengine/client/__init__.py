"""Downloads one file: registers with a supernode, fetches pieces from several sources, falls back to the origin.

    nodes                 in which order supernodes are tried      link native legacy rhythm      speaking to one
    plan job pace health  what is fetched next, from whom (pure)   messages                       what is said and heard
    patience              when the swarm has failed (pure)         receiving leaving              what is under way, what goes
    digest                the whole file's digest on the way       transfer fetch lines throttle  the threads that do it
    local_peer            this host's own piece server             from_origin                    ranges of the origin
    assembly              the file being put together              download                       all of it, in order

Threads and blocking sockets, because a small download is judged by its start-up and a large one by what runs
without the GIL.
"""

from __future__ import annotations

from dfengine.client.download import Result, get

__all__ = ["Result", "get"]
