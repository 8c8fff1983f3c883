"""A thread of a download that has joined its host's leader: it waits in the leader's page of signals, and takes what comes."""

from __future__ import annotations

import threading

from dfengine.client.watch import TICK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from dfengine.client.transfer import Transfer
    from dfengine.storage.signal_page import SignalPage

RECHECK = 1.0
"""Seconds after which a thread that waits for a change checks by itself: the process that should wake it may have died."""

ENDING = 5.0
"""Seconds for the thread to end."""


class PageWaiter:
    """Subclasses say in `work` what it does. ended: called when it is `over`."""

    def __init__(self, transfer: Transfer, page: SignalPage, ended: Callable[[], None]) -> None:
        self.transfer = transfer
        self.page = page
        self.ends = False
        """What is here now is taken, and nothing is waited for any more."""
        self.over = threading.Event()
        self._ended = ended

    def work(self) -> None:
        """Until `ends`, or the transfer's end, or there is nothing more to do. What it raises ends the download."""
        raise NotImplementedError

    def run(self) -> None:
        """The thread."""
        try:
            self.work()
        except BaseException as error:
            self.transfer.fail(error)
        finally:
            self.over.set()
            self._ended()

    def finish(self) -> None:
        """See `ends`."""
        self.ends = True
        self.page.wake()

    def end(self) -> None:
        """Finish, and wait until it is over."""
        # It may be just about to wait when it is woken.
        for _ in range(int(ENDING / TICK)):
            self.finish()
            if self.over.wait(TICK):
                break
