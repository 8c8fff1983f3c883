"""Where content that is named by its sha256 lies, as clients say, and which of these places have sent something else. Pure. now: seconds.

Law: a place whose bytes had another sha256 is not asked for that content again for BLOCKED, and the word of a client that named WRONG such
places counts for nothing as long. The next fetch asks another place. So a wrong registry, or a client that names it, spoils a task a few
times, and not for as long as it goes on.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from dfengine.errors import OriginError
from dfengine.origin.request import is_private

if TYPE_CHECKING:
    from dfengine.supernode.copies.wanted import Wanted

BLOCKED = 600.0
WRONG = 3

MOST_TASKS = 16384
MOST_PLACES = 8
"""Places of one task that are remembered."""

MOST_BLOCKED = 256
"""Places of one task that are blocked, and clients that named them; the oldest leave first."""


class _Known:
    """Of one task."""

    def __init__(self) -> None:
        self.places: dict[str, tuple[Wanted, str]] = {}
        """Place -> how it is asked, and who named it."""
        self.blocked: OrderedDict[str, float] = OrderedDict()
        """Place -> until when."""
        self.clients: OrderedDict[str, tuple[int, float]] = OrderedDict()
        """Client -> wrong places that it named, and until when they count."""
        self.wrong = 0
        self.doubted = 0.0

    def good(self, wanted: Wanted, client: str, now: float) -> bool:
        """May be asked, on this client's word."""
        count, until = self.clients.get(client, (0, 0.0))
        return self.blocked.get(_place(wanted.url), now) <= now and (count < WRONG or until <= now)


class ContentSources:
    """By task."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, _Known] = OrderedDict()

    def note(self, task: str, wanted: Wanted, client: str) -> None:
        """A client says that it lies there. What credentials open is asked for in their owner's name only: others do not get it there."""
        known = self._of(task)
        if len(known.places) < MOST_PLACES and not any(is_private(name) for name, _ in wanted.headers):
            known.places.setdefault(_place(wanted.url), (wanted, client))

    def choose(self, task: str, wanted: Wanted, client: str, now: float) -> Wanted:
        """What to fetch for a client that names `wanted`. Raises OriginError where every known place has sent other bytes."""
        known = self._of(task)
        for each, by in ((wanted, client), *known.places.values()):
            if known.good(each, by, now):
                return each
        raise OriginError(f"{_place(wanted.url)[:200]} has sent bytes whose sha256 is another one: it is not asked again for {BLOCKED:g} s")

    def blame(self, task: str, url: str, client: str, now: float) -> None:
        """What was read from `url` has another digest; client: whose word it was, where nobody is known to have named it."""
        known, place = self._of(task), _place(url)
        known.wrong += 1
        _, client = known.places.pop(place, (None, client))
        _keep(known.blocked, place, now + BLOCKED)
        count, until = known.clients.get(client, (0, 0.0))
        _keep(known.clients, client, (count + 1 if until > now else 1, now + BLOCKED))

    def doubt(self, task: str, now: float) -> None:
        """Somebody had all of it from hosts that share it, and its digest was another one."""
        self._of(task).doubted = now + BLOCKED

    def doubted(self, task: str, now: float) -> bool:
        """So it was lately: it is read from a place."""
        known = self._known.get(task)
        return known is not None and known.doubted > now

    def wrong(self, task: str) -> int:
        """Fetches of this task that had another digest."""
        known = self._known.get(task)
        return known.wrong if known is not None else 0

    def _of(self, task: str) -> _Known:
        known = self._known.get(task)
        if known is None:
            known = self._known[task] = _Known()
            if len(self._known) > MOST_TASKS:
                self._known.popitem(last=False)
        self._known.move_to_end(task)
        return known


def _keep(kept: OrderedDict[str, Any], key: str, value: Any) -> None:
    kept.pop(key, None)
    kept[key] = value
    if len(kept) > MOST_BLOCKED:
        kept.popitem(last=False)


def _place(url: str) -> str:
    """A URL without its query, which says nothing of where content lies."""
    return url.partition("#")[0].partition("?")[0]
