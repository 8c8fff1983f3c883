"""A share of a file or directory of this host, and its handle."""

from __future__ import annotations

from dfengine.client import sharing
from dfengine.client.sharing import Sharing
from dfengine.programs.handle import Handle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from dfengine.settings import ShareSettings


class Share(Handle[Sharing]):
    """Handle of a share. If it ends early, by an error or a cancel, the share is withdrawn, as its name was not returned."""

    def __init__(self, settings: ShareSettings, ended: Callable[[Share], None]) -> None:
        """ended: see Handle."""
        super().__init__(f"the share of {settings.path}", ended)
        self._settings = settings

    def _work(self) -> Sharing:
        self.check()
        share = sharing.Share(self._settings, lambda _: self.check())
        shared = share.run()
        try:
            return share.await_copies(shared)
        except BaseException:
            share.end()
            raise

    def _interrupt(self, error: BaseException) -> None:
        """Nothing to do: the share calls `check` in its waits, which raises the error."""
