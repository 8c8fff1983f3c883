"""What a task is called among the supernodes of a cluster, and in its Redis: HMAC-SHA256(the cluster's key, what the task's id is made of).

Each supernode makes the ids of private files with a key of its own (`credentials`), so two of them have two ids for one file. By this name
they agree on who leads it, and a follower knows that the leader has registered it for the same task. It opens nothing: no port takes it.
So Redis sees no id, by which a file could be read.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from dfengine.location import CONTENT, Location, parse, scheme_of
from dfengine.supernode.credentials import Credentials

if TYPE_CHECKING:
    from dfengine.supernode.copies.wanted import Wanted


class ClusterNames:
    """key: the cluster's. may_sign: whether this supernode's own credentials are used for a location (--origin-sign).

    What one supernode opens with its own credentials has another name than what others read without: those give nobody more than that.
    """

    def __init__(self, key: bytes, may_sign: Callable[[Location], bool]) -> None:
        self._names = Credentials("", hmac.digest(key, b"names of tasks 1", "sha256"))
        self._may_sign = may_sign

    def tasks(self, wanted: Wanted, url: str, sign: str) -> Iterator[str]:
        """Of the tasks that `Credentials.tasks` has, in its order."""
        signed = scheme_of(wanted.url) not in ("", CONTENT) and self._may_sign(parse(wanted.url))
        for name, _ in self._names.tasks(wanted, url, sign):
            yield self._names.alias("signed task" if signed else "task", name)

    def opened(self, wanted: Wanted, url: str, sign: str, version: str) -> str:
        """Of the task that `Credentials.opened` has."""
        return self._names.alias("task", self._names.opened(wanted, url, sign, version))

    def variant(self, name: str, headers: Iterable[tuple[str, str]], names: Iterable[str]) -> str:
        """Of the task that `Credentials.variant` has of the one that is called `name`."""
        return self._names.variant(name, headers, names)
