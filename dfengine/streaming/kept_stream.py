"""Delivers a stream whose file this host keeps in memory: the next few pieces are copied while the consumer takes them."""

from __future__ import annotations

import threading

from dfengine.client.copying import PieceCopier
from dfengine.client.leader_place import Unusable
from dfengine.client.monitor import TICK
from dfengine.streaming.stream_from_leader import PIECES_AHEAD

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dfengine.client.kept_copy import KeptCopy
    from dfengine.client.monitor import Monitor
    from dfengine.client.transfer import Transfer

RECHECK = 1.0
"""Seconds between two checks whether the stream has ended."""


def deliver(kept: KeptCopy, transfer: Transfer, monitor: Monitor) -> bool:
    """Copy all pieces of the complete `kept` to `transfer`. Return False at a piece that differs from its record, for fetching the rest.

    Raises StorageError, and the errors of `monitor`.
    """
    place, pieces, over = kept.place(), PieceCopier(transfer), threading.Event()
    window = transfer.plan.window
    ahead = min(PIECES_AHEAD, window.wnd) if window.wnd >= 0 else PIECES_AHEAD

    def run() -> None:
        n = window.una
        try:
            while not transfer.stopping and n < window.count:
                if transfer.await_una(n - ahead + 1, RECHECK):
                    if not pieces.copy(place, n):
                        return
                    n += 1
        except Unusable:
            return
        except BaseException as error:
            transfer.fail(error)
        finally:
            over.set()
            transfer.wake()

    transfer.start(run, "kept", fetches=False)
    while not over.is_set():
        monitor.check(transfer)
        transfer.sleep(TICK)
    monitor.check(transfer)
    return transfer.finished
