"""Names of tasks among the supernodes of a cluster and in its Redis: HMAC-SHA256(the cluster's key, the parts of the task's id).

Each supernode derives the ids of private files from a key of its own (`task_ids`), so one file has a different id at each. This name
lets the supernodes agree on the leader of a task, and lets a follower verify that the leader registered it for the same task. The name
grants no access: no port accepts it in place of an id. So Redis holds no id with which a file could be read.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from dfengine.location import CONTENT, Location, parse, scheme_of
from dfengine.supernode.task_ids import TaskIds

if TYPE_CHECKING:
    from dfengine.supernode.copies.fetch_request import FetchRequest


class ClusterNames:
    """Names from the cluster's `key`. may_sign: whether this supernode's own credentials are used for a location (--origin-sign).

    A task that a supernode reads with its own credentials has another name than the task read without them. A supernode without those
    credentials thus obtains only bytes that it may read itself.
    """

    def __init__(self, key: bytes, may_sign: Callable[[Location], bool]) -> None:
        self._names = TaskIds("", hmac.digest(key, b"names of tasks 1", "sha256"))
        self._may_sign = may_sign

    def tasks(self, wanted: FetchRequest, url: str, sign: str) -> Iterator[str]:
        """Yield the names of the tasks that `TaskIds.tasks` yields, in the same order."""
        signed = scheme_of(wanted.url) not in ("", CONTENT) and self._may_sign(parse(wanted.url))
        for name, _ in self._names.tasks(wanted, url, sign):
            yield self._names.alias("signed task" if signed else "task", name)

    def shared_task(self, wanted: FetchRequest, url: str, sign: str, version: str) -> str:
        """Return the name of the task that `TaskIds.shared_task` returns."""
        return self._names.alias("task", self._names.shared_task(wanted, url, sign, version))

    def variant(self, name: str, headers: Iterable[tuple[str, str]], names: Iterable[str]) -> str:
        """Return the name of the task that `TaskIds.variant` derives from the task named `name`."""
        return self._names.variant(name, headers, names)
