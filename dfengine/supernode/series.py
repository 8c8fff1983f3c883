"""What a metric's series may be called. Pure.

Clients choose labels (a calling system, an address), so their number must be bounded; and a counter's series, once told, must never fall.
So the first values keep their series, and all later ones are counted together.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from dfengine.net.quota import SHARE, Quota

Value = TypeVar("Value")

OTHER = "other"
"""The value that stands for all that have no series of their own."""

LONGEST = 100
"""Characters of a label's value."""


def label(text: str) -> str:
    """`text` as a label's value: one line of at most LONGEST characters that can be printed."""
    return "".join(each if each.isprintable() else "?" for each in text[:LONGEST])


def number(value: object, most: float) -> float:
    """What a client told as a number of 0..most; 0 for what is none."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= most else 0.0


class Labels:
    """most: combinations of values that have a series of their own. share: percent of these for one client."""

    def __init__(self, most: int, share: int = SHARE) -> None:
        self._most = most
        self._shares = Quota(most, share)
        self._known: set[tuple[str, ...]] = set()

    def of(self, values: tuple[str, ...], client: str) -> tuple[str, ...]:
        """`values` if they have a series or get one now, for who is at `client`; else OTHER for each."""
        found = tuple(map(label, values))
        if found in self._known:
            return found
        if len(self._known) >= self._most or not self._shares.acquire(client):
            return (OTHER,) * len(values)
        self._known.add(found)
        return found


class Count:
    """A number that only grows."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0


class Series(Generic[Value]):
    """One value for each combination of labels. make: a new one. labels: which combinations there may be."""

    def __init__(self, make: Callable[[], Value], labels: Labels) -> None:
        self._make = make
        self._labels = labels
        self._values: dict[tuple[str, ...], Value] = {}

    def at(self, values: tuple[str, ...], client: str) -> Value:
        """That of these labels, or of OTHER."""
        key = self._labels.of(values, client)
        found = self._values.get(key)
        if found is None:
            found = self._values[key] = self._make()
        return found

    def items(self) -> list[tuple[tuple[str, ...], Value]]:
        """(labels, value) of all."""
        return list(self._values.items())
