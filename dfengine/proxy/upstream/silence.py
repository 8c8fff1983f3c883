"""How long an answer of others is awaited, and who of them was silent a moment ago.

    PATIENCE   a registry's answer that this host could do without, since it has one of its own
    OWN        an answer to a question of the proxy's own, as a HEAD before a file: without it the request is passed on, or refused
    IN_ALL     the answer to a request where files are all that is asked for, counted from when it came: at registries and hubs, who begin
               to answer at once. What is left of it is for whoever the request is passed on to, and LEFT at least if he was heard.
    else       as long as the other side of a connection may take (`front.STALL_SECONDS`): a package index, or a batch of LFS, may be made
               when it is asked for

Who was silent is not waited for with questions for SILENT_SECONDS, unless he is heard before. Silence opens no more than a refused
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

SILENT_SECONDS = 10.0

MOST = 1024
"""Registries that are remembered."""


def left(elapsed: float, heard: bool) -> float:
    """Seconds for the answer to a request that came `elapsed` ago and is passed on now. heard: who is asked has answered since."""
    return max(LEFT if heard else OWN, IN_ALL - elapsed)


class Unanswered(OriginUnreachable):
    """A question of the proxy's own had no answer within OWN, or is not waited for, since its place was silent a moment ago."""

    @classmethod
    def of(cls, place: str) -> Unanswered:
        """place: who was asked."""
        return cls(f"{place} did not answer within {OWN:g} s")


class Silence:
    """clock: seconds, as of the loop. On the loop's thread."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._until: OrderedDict[str, float] = OrderedDict()

    def note(self, registry: Place) -> None:
        """It said nothing in time."""
        self._until.pop(registry.url, None)
        self._until[registry.url] = self._clock() + SILENT_SECONDS
        if len(self._until) > MOST:
            self._until.popitem(last=False)

    def heard(self, registry: Place) -> None:
        """It said something."""
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
        self._silence.heard(self._registry)

    def failed(self) -> None:
        """There is no answer, or none that is of use."""
        if self._clock() - self._asked >= PATIENCE:
            self._silence.note(self._registry)
