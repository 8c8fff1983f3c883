"""A thread of a download that has joined its host's leader: it waits in the leader's page of signals for new pieces."""

from __future__ import annotations

import threading

from dfengine.client.monitor import TICK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from dfengine.client.transfer import Transfer
    from dfengine.storage.signal_page import SignalPage

RECHECK = 1.0
"""Seconds after which a thread that waits for a change checks without a wake-up: the process that should wake it may have died."""

ENDING = 5.0
"""Seconds to wait for the end of the thread."""


class LeaderPageWaiter:
    """Thread that runs `work` of a subclass. ended: called when it is `over`."""

    def __init__(self, transfer: Transfer, page: SignalPage, ended: Callable[[], None]) -> None:
        self.transfer = transfer
        self.page = page
        self.finishing = False
        """Whether the thread processes the present pieces and then ends, without waiting for more."""
        self.over = threading.Event()
        self._ended = ended

    def work(self) -> None:
        """Work until `finishing`, the transfer's end, or no work is left. An error ends the download."""
        raise NotImplementedError

    def run(self) -> None:
        """Run `work` in the thread."""
        try:
            self.work()
        except BaseException as error:
            self.transfer.fail(error)
        finally:
            self.over.set()
            self._ended()

    def finish(self) -> None:
        """Set `finishing` and wake the thread."""
        self.finishing = True
        self.page.wake()

    def end(self) -> None:
        """Finish, and wait until the thread is over."""
        # The thread may be just about to wait when it is woken, so it is woken repeatedly.
        for _ in range(int(ENDING / TICK)):
            self.finish()
            if self.over.wait(TICK):
                break
