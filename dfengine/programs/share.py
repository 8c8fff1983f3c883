"""A file or directory of this host that is given to the swarm, and the handle of it."""

from __future__ import annotations

from dfengine.client import sharing
from dfengine.client.sharing import Sharing
from dfengine.programs.handle import Handle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from dfengine.settings import ShareSettings


class Share(Handle[Sharing]):
    """A share that was begun. Where it ends early, by an error or a cancel, it is withdrawn: nobody has its name."""

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

    def _cut(self, error: BaseException) -> None:
        """`check`, which the share calls in its waits, raises it."""
