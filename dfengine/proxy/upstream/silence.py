"""Registries that are there and say nothing: for how long their answer is awaited where this host has one of its own, and after which such
answers are given without asking them.

What is given then is what would be given if nothing could be connected to: silence opens no more than a refused connection does.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from dfengine.proxy.registries import Registry

PATIENCE = 3.0
"""Seconds for an answer that this host could do without. A registry answers a HEAD in much less than one; a client that pulls an image asks
some ten times, and itself waits for 10 to 30 s each time.
"""

SILENT_SECONDS = 10.0
"""For which a registry that did not answer within PATIENCE is not asked again for what this host can answer."""

MOST = 1024
"""Registries that are remembered."""


class Silence:
    """clock: seconds, as of the loop. On the loop's thread."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._until: OrderedDict[str, float] = OrderedDict()

    def note(self, registry: Registry) -> None:
        """It said nothing within PATIENCE."""
        self._until.pop(registry.url, None)
        self._until[registry.url] = self._clock() + SILENT_SECONDS
        if len(self._until) > MOST:
            self._until.popitem(last=False)

    def heard(self, registry: Registry) -> None:
        """It said something."""
        self._until.pop(registry.url, None)

    def of(self, registry: Registry) -> bool:
        """It was silent a moment ago."""
        return self._until.get(registry.url, 0.0) > self._clock()

    def ask(self, registry: Registry) -> Question:
        """It is asked now."""
        return Question(self, registry, self._clock)


class Question:
    """One request to a registry."""

    def __init__(self, silence: Silence, registry: Registry, clock: Callable[[], float]) -> None:
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
