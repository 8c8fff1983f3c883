"""URLs at which content named by its sha256 is stored, as clients report, and which of them sent other bytes. Pure. now: seconds.

A location is a URL without its query. A location whose bytes had another sha256 is not requested for that content again for BLOCKED
seconds, and locations that are named by a client that has named WRONG such locations are not used for as long. The next fetch uses another
location. So a wrong registry, or a client that names it, fails a task a few times instead of permanently.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from dfengine.errors import OriginError
from dfengine.origin.request import is_private

if TYPE_CHECKING:
    from dfengine.supernode.copies.fetch_request import FetchRequest

BLOCKED = 600.0
WRONG = 3

MAX_TASKS = 16384
MAX_URLS = 8
"""Places of one task in memory."""

MAX_BLOCKED = 256
"""Blocked locations of one task, and clients that named them; the oldest are dropped first."""


class _TaskSources:
    """The locations of one task."""

    def __init__(self) -> None:
        self.urls: dict[str, tuple[FetchRequest, str]] = {}
        """Place -> the request for it, and the client that named it."""
        self.blocked: OrderedDict[str, float] = OrderedDict()
        """Place -> the time until which it is blocked."""
        self.clients: OrderedDict[str, tuple[int, float]] = OrderedDict()
        """Client -> the number of wrong locations that it named, and the time until which they count."""
        self.wrong = 0
        self.distrusted_until = 0.0

    def is_trusted(self, wanted: FetchRequest, client: str, now: float) -> bool:
        """Whether the location may be requested on the word of this client."""
        count, until = self.clients.get(client, (0, 0.0))
        return self.blocked.get(_without_query(wanted.url), now) <= now and (count < WRONG or until <= now)


class ContentSources:
    """The locations of content, by task."""

    def __init__(self) -> None:
        self._by_task: OrderedDict[str, _TaskSources] = OrderedDict()

    def note(self, task: str, wanted: FetchRequest, client: str) -> None:
        """Note a location that a client names. A request with credentials is not noted, because other clients may not use them."""
        known = self._of(task)
        if len(known.urls) < MAX_URLS and not any(is_private(name) for name, _ in wanted.headers):
            known.urls.setdefault(_without_query(wanted.url), (wanted, client))

    def choose(self, task: str, wanted: FetchRequest, client: str, now: float) -> FetchRequest:
        """Return the request to fetch for a client that names `wanted`. Raises OriginError when all known locations sent other bytes."""
        known = self._of(task)
        for each, by in ((wanted, client), *known.urls.values()):
            if known.is_trusted(each, by, now):
                return each
        location = _without_query(wanted.url)[:200]
        raise OriginError(f"{location} has sent bytes with another sha256: it is not requested again for {BLOCKED:g} s")

    def report_wrong_digest(self, task: str, url: str, client: str, now: float) -> None:
        """The bytes of `url` have another digest. client: the one to blame when no client is noted for this location."""
        known, location = self._of(task), _without_query(url)
        known.wrong += 1
        _, client = known.urls.pop(location, (None, client))
        _put_bounded(known.blocked, location, now + BLOCKED)
        count, until = known.clients.get(client, (0, 0.0))
        _put_bounded(known.clients, client, (count + 1 if until > now else 1, now + BLOCKED))

    def distrust_sharers(self, task: str, now: float) -> None:
        """A download got all of the content from hosts that share it, and its digest was wrong."""
        self._of(task).distrusted_until = now + BLOCKED

    def distrusts_sharers(self, task: str, now: float) -> bool:
        """Whether `distrust_sharers` was called in the last BLOCKED seconds; the content is then fetched from a location."""
        known = self._by_task.get(task)
        return known is not None and known.distrusted_until > now

    def wrong(self, task: str) -> int:
        """Return the number of fetches of this task that had another digest."""
        known = self._by_task.get(task)
        return known.wrong if known is not None else 0

    def _of(self, task: str) -> _TaskSources:
        known = self._by_task.get(task)
        if known is None:
            known = self._by_task[task] = _TaskSources()
            if len(self._by_task) > MAX_TASKS:
                self._by_task.popitem(last=False)
        self._by_task.move_to_end(task)
        return known


def _put_bounded(kept: OrderedDict[str, Any], key: str, value: Any) -> None:
    kept.pop(key, None)
    kept[key] = value
    if len(kept) > MAX_BLOCKED:
        kept.popitem(last=False)


def _without_query(url: str) -> str:
    """Return a URL without query and fragment, which do not change where content is stored."""
    return url.partition("#")[0].partition("?")[0]
