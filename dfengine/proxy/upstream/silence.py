"""How long an answer of others is awaited, and who of them was silent a moment ago.

    PATIENCE   a registry's answer that this host could do without, since it has one of its own
    OWN        an answer to a question of the proxy's own, as a HEAD before a file: without it the request is passed on, or refused
    IN_ALL     the answer to a request where files are all that is asked for, counted from when it came: at registries and hubs, who begin
               to answer at once. The rest of it is for the server that the request is passed on to, and at least LEFT if that has answered.
    STALLED    the next byte of a file whose download brings nothing new from any source; see `Progress`
    else       as long as the other side of a connection may take (`front.STALL_SECONDS`): a package index, or a batch of LFS, may be made
               when it is asked for

A server that was silent gets no questions for SILENT_SECONDS, unless it answers before. Silence opens no more than a refused
connection does.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from dfengine.errors import OriginUnreachable

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    class Place(Protocol):
        """A registry, an origin or a bucket."""

        @property
        def url(self) -> str: ...

PATIENCE = 3.0
"""Seconds for an answer that this host could do without. A registry answers a HEAD in much less than one; a client that pulls an image asks
some ten times, and itself waits for 10 to 30 s each time.
"""

OWN = 8.0
"""Seconds: clients wait for 10 and more."""

IN_ALL = 30.0
"""Seconds for which the most patient of them wait."""

LEFT = IN_ALL - OWN

STALLED = 180.0
"""Seconds. Within it a download gives up a swarm that brings nothing (128) and a place that fails (120, `blobs.OPEN_RETRY_SECONDS`), and
asks the origin besides. Programs that watch an image's progress wait for 300 at least, so their next request has its turn.
"""

SILENT_SECONDS = 10.0

MOST = 1024
"""Registries that are remembered."""


def left(elapsed: float, answered: bool) -> float:
    """Seconds for the answer to a request that came `elapsed` ago and is passed on now. answered: the server has answered since."""
    return max(LEFT if answered else OWN, IN_ALL - elapsed)


class Unanswered(OriginUnreachable):
    """A question of the proxy's own had no answer within OWN, or is not waited for, since its place was silent a moment ago."""

    @classmethod
    def of(cls, place: str) -> Unanswered:
        """place: who was asked."""
        return cls(f"{place} did not answer within {OWN:g} s")


class Progress:
    """Whether a download brings more than ever, from whichever source. What came before and comes once more is nothing new.

    So an answer that waits ends, whatever its sources do: there are only so many new bytes. now: seconds, of one clock.
    """

    def __init__(self, now: float) -> None:
        self._most, self._since = 0, now

    def update(self, count: int, now: float) -> None:
        """`count` bytes of it came so far, incomplete pieces included."""
        if count > self._most:
            self._most, self._since = count, now

    def left(self, since: float, now: float) -> float:
        """Seconds for which who waits for a byte since `since` goes on waiting; 0 or less: nothing is to be expected."""
        return STALLED - (now - max(since, self._since))


class Silence:
    """clock: seconds, as of the loop. On the loop's thread."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._until: OrderedDict[str, float] = OrderedDict()

    def note(self, registry: Place) -> None:
        """It did not answer in time."""
        self._until.pop(registry.url, None)
        self._until[registry.url] = self._clock() + SILENT_SECONDS
        if len(self._until) > MOST:
            self._until.popitem(last=False)

    def answered(self, registry: Place) -> None:
        """It answered."""
        self._until.pop(registry.url, None)

    def of(self, registry: Place) -> bool:
        """It was silent a moment ago."""
        return self._until.get(registry.url, 0.0) > self._clock()

    def ask(self, registry: Place) -> Question:
        """It is asked now."""
        return Question(self, registry, self._clock)


class Question:
    """One request to a registry."""

    def __init__(self, silence: Silence, registry: Place, clock: Callable[[], float]) -> None:
        self._silence = silence
        self._registry = registry
        self._clock = clock
        self._asked = clock()

    def answered(self) -> None:
        self._silence.answered(self._registry)

    def failed(self) -> None:
        """There is no answer, or none that is of use."""
        if self._clock() - self._asked >= PATIENCE:
            self._silence.note(self._registry)
