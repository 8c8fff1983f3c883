"""Whether a download that the swarm failed may go to the origin. Pure."""

from __future__ import annotations

from dfengine.errors import BadValue, SupernodeError
from dfengine.location import is_content, scheme_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dfengine.settings import GetSettings


def check(settings: GetSettings, reason: str) -> None:
    """Raises SupernodeError where it may not, BadValue where there is no swarm to ask. reason: why the swarm did not bring the file."""
    if is_content(settings.url):
        if not settings.nodes or settings.pattern == "source":
            raise BadValue(f"{settings.url} has no origin: name the supernode at which it is shared (-n HOST), without --pattern source")
        raise SupernodeError(reason)
    if settings.pattern == "source":
        return
    if settings.notbs:
        raise SupernodeError(f"{reason}; falling back to the origin is forbidden (--notbs)")
    if settings.nodes and scheme_of(settings.url) == "file":
        # Another file may have the same path here.
        raise SupernodeError(f"{reason}; a file:// URL names a file of the supernode's disk, not of this host's")


def allows(settings: GetSettings) -> bool:
    """Where the swarm fails there is another way to the file."""
    try:
        check(settings, "")
    except (BadValue, SupernodeError):
        return False
    return True


def alone(settings: GetSettings) -> str:
    """Why no supernode is asked; "" if one is."""
    if settings.pattern == "source":
        return "asked for by --pattern source"
    return "" if settings.nodes else "no supernode is given"


def unsent(settings: GetSettings) -> list[str]:
    """The user's headers that no request to an origin carries."""
    if not settings.headers:
        return []
    from dfengine.origin.request import NOT_FORWARDED

    return [*dict.fromkeys(name for name, _ in settings.headers if name.lower() in NOT_FORWARDED)]
