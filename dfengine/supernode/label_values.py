"""Bounded label values for metrics. Pure.

Clients choose labels (a calling system, an address), so their number must be bounded. A counter's series must never decrease once it was
exposed. So the first values have series of their own, and all later ones are counted together.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from dfengine.net.client_quota import SHARE, Quota

Value = TypeVar("Value")

OTHER = "other"
"""The value for all that have no series of their own."""

MAX_VALUE = 100
"""Characters of a label's value, at most."""


def label(text: str) -> str:
    """Return `text` as a label's value: one line of at most MAX_VALUE printable characters."""
    return "".join(each if each.isprintable() else "?" for each in text[:MAX_VALUE])


def number(value: object, most: float) -> float:
    """Return a client's value as a number of 0..most; 0 for anything else."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= most else 0.0


class Labels:
    """Combinations of label values. most: with series of their own. share: percent of these for one client."""

    def __init__(self, most: int, share: int = SHARE) -> None:
        self._most = most
        self._shares = Quota(most, share)
        self._known: set[tuple[str, ...]] = set()

    def of(self, values: tuple[str, ...], client: str) -> tuple[str, ...]:
        """Return `values` if they have a series or get one now, for the client at this address; else OTHER for each."""
        found = tuple(map(label, values))
        if found in self._known:
            return found
        if len(self._known) >= self._most or not self._shares.acquire(client):
            return (OTHER,) * len(values)
        self._known.add(found)
        return found


class Count:
    """A number that only increases."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0


class Series(Generic[Value]):
    """One value for each combination of labels. new_value: returns one. labels: the combinations with values of their own."""

    def __init__(self, new_value: Callable[[], Value], labels: Labels) -> None:
        self._new_value = new_value
        self._labels = labels
        self._values: dict[tuple[str, ...], Value] = {}

    def at(self, values: tuple[str, ...], client: str) -> Value:
        """Return the value of these labels, or of OTHER."""
        key = self._labels.of(values, client)
        found = self._values.get(key)
        if found is None:
            found = self._values[key] = self._new_value()
        return found

    def items(self) -> list[tuple[tuple[str, ...], Value]]:
        """Return (labels, value) of all."""
        return list(self._values.items())
