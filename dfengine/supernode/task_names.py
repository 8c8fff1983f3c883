"""Public names of tasks, for administrators and logs: the id, or an alias where the id gives access to a private file.

A client that has a task's id may read its file at the download port, and a download's CID reveals the path at which its host serves the
file. So an id is shown only where the URL beside it is all that a registration needs (`FetchRequest.open` in `copies.fetch_request`). Any
other task has

    alias = HMAC-SHA256(the supernode's own key, id)

which only administrators' paths accept in place of the id. The alias of a task does not change, because the key does not.
"""

from __future__ import annotations

import re
import secrets
from typing import TYPE_CHECKING

from dfengine.errors import LocalError

if TYPE_CHECKING:
    from dfengine.events import Value
    from dfengine.supernode.copies.fetch_request import FetchRequest
    from dfengine.supernode.task_ids import TaskIds

MAX_ALIASES = 1 << 16
"""Private tasks whose aliases stay in memory after the task has left it."""

CID = 16
"""Characters of a download's alias."""

_ID = re.compile("(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")


class TaskNames:
    """The names at one supernode. Changed on the loop's thread; `mask` is called in any thread."""

    def __init__(self, credentials: TaskIds) -> None:
        self._credentials = credentials
        self._key = b""
        self._aliases: dict[str, str] = {}
        """Id -> alias, of private tasks."""
        self._ids: dict[str, str] = {}
        self._former: dict[str, None] = {}
        """Ids of private tasks that have left memory, the oldest first."""

    def add(self, task: str, wanted: FetchRequest) -> None:
        """Note a task that enters memory."""
        self._former.pop(task, None)
        if not wanted.open and task not in self._aliases:
            self._remember(task)
        elif wanted.open and task in self._aliases:
            del self._ids[self._aliases.pop(task)]

    def remove(self, task: str) -> None:
        """Note a task that leaves memory. Its alias stays valid for later messages."""
        if task in self._aliases:
            self._former[task] = None
            while len(self._former) > MAX_ALIASES:
                oldest = next(iter(self._former))
                del self._former[oldest]
                del self._ids[self._aliases.pop(oldest)]

    def _remember(self, task: str) -> str:
        found = self._aliases[task] = self.alias(task)
        self._ids[found] = task
        return found

    def public_name(self, task: str) -> str:
        """Return the name, for clients and logs, of a task that is or was in memory."""
        return self._aliases.get(task, task)

    def public_name_of(self, task: str, open: bool) -> str:
        """Return the name of a task that need not be in memory. open: see `FetchRequest.open`."""
        known = self._aliases.get(task)
        if open or known is not None:
            return known or task
        found = self._remember(task)
        self.remove(task)
        return found

    def public_cid(self, task: str, cid: str) -> str:
        """Return the name of a download of this task."""
        return self._keyed("cid", cid)[:CID] if task in self._aliases else cid

    def find(self, name: str) -> str:
        """Return the id of the task with this name, or `name` itself if it is no alias in memory."""
        return self._ids.get(name, name)

    def alias(self, task: str) -> str:
        """Return the alias of any task. May be called in any thread."""
        return self._keyed("task", task)

    def _keyed(self, kind: str, text: str) -> str:
        try:
            return self._credentials.alias(kind, text)
        except LocalError:  # the key cannot be stored: use names that are valid until the process ends
            import hmac

            self._key = self._key or secrets.token_bytes(32)
            return hmac.digest(self._key, f"{kind}\0{text}".encode("utf-8", "surrogatepass"), "sha256").hex()

    def mask_text(self, text: str) -> str:
        """Return `text` with the ids of private tasks replaced by their names."""
        if len(text) < 64 or not self._aliases:
            return text
        return _ID.sub(lambda match: self._aliases.get(match[0], match[0]), text)

    def mask(self, fields: dict[str, Value]) -> dict[str, Value]:
        """Return an event's fields for logs, with public names in `task`, `cid` and other texts. May be the same object."""
        if not self._aliases:
            return fields
        task = fields.get("task")
        found = {name: self.mask_text(value) if isinstance(value, str) else value for name, value in fields.items()}
        if isinstance(task, str) and isinstance(fields.get("cid"), str):
            found["cid"] = self.public_cid(task, str(fields["cid"]))
        return found
