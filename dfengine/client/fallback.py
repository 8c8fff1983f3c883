"""Whether a download that the swarm failed may go to the origin. Pure."""

from __future__ import annotations

from dfengine.errors import SupernodeError
from dfengine.location import scheme_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dfengine.settings import GetSettings


def check(settings: GetSettings, reason: str) -> None:
    """Raises SupernodeError where it may not. reason: why the swarm did not bring the file."""
    if settings.pattern == "source":
        return
    if settings.notbs:
        raise SupernodeError(f"{reason}; falling back to the origin is forbidden (--notbs)")
    if settings.nodes and scheme_of(settings.url) == "file":
        # Another file may have the same path here.
        raise SupernodeError(f"{reason}; a file:// URL names a file of the supernode's disk, not of this host's")
