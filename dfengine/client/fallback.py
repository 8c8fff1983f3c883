"""Whether a download may fetch from the origin after the swarm failed. Pure."""

from __future__ import annotations

from dfengine.errors import BadValue, SupernodeError
from dfengine.location import is_content, scheme_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dfengine.settings import GetSettings


def check(settings: GetSettings, reason: str) -> None:
    """Raise SupernodeError if falling back is not allowed, BadValue if there is neither origin nor swarm. reason: why the swarm failed."""
    if is_content(settings.url):
        if not settings.nodes or settings.pattern == "source":
            raise BadValue(f"{settings.url} has no origin: name the supernode at which it is shared (-n HOST), without --pattern source")
        raise SupernodeError(reason)
    if settings.pattern == "source":
        return
    if settings.notbs:
        raise SupernodeError(f"{reason}; falling back to the origin is forbidden (--notbs)")
    if settings.nodes and scheme_of(settings.url) == "file":
        # On this host, the same path may name another file.
        raise SupernodeError(f"{reason}; a file:// URL names a file of the supernode's disk, not of this host's")


def allows(settings: GetSettings) -> bool:
    """Whether the download may fall back to the origin."""
    try:
        check(settings, "")
    except (BadValue, SupernodeError):
        return False
    return True


def reason_without_swarm(settings: GetSettings) -> str:
    """Return why no supernode is asked; "" if one is."""
    if settings.pattern == "source":
        return "asked for by --pattern source"
    return "" if settings.nodes else "no supernode is given"


def unsent_headers(settings: GetSettings) -> list[str]:
    """Return the names of the user's headers that are not forwarded to an origin."""
    if not settings.headers:
        return []
    from dfengine.origin.request import NOT_FORWARDED

    return [*dict.fromkeys(name for name, _ in settings.headers if name.lower() in NOT_FORWARDED)]
