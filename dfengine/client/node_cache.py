"""Lists and controls a supernode's copies over its control port, for its administrator."""

from __future__ import annotations

import re

from dfengine.errors import BadValue
from dfengine.net.node_control import NodeControl
from dfengine.task import is_url, task_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from dfengine.net.dialer import Dialer
    from dfengine.settings import SupernodeAddress

PAGE = 500
"""Copies in one answer."""

MAX_PAGES = 10_000


class NodeCache:
    """The copies of one supernode. token: of its console, "" for none. All methods raise RemoteError."""

    def __init__(self, dialer: Dialer, node: SupernodeAddress, token: str = "") -> None:
        self._control = NodeControl(dialer, node, {"Authorization": f"Bearer {token}"} if token else None)
        # At a supernode with a secret, the token gives access to the console's paths only.
        self._path = "/api/v2/cache" if token else "/api/v1/cache"
        self._token = token
        self._node = node

    def listed(self) -> list[dict[str, Any]]:
        """Return every copy: task, url, length, pieces, here, taken (bytes on the disk), used, until (unix seconds), state, pinned,
        tree (which task of a tree), base (the data's name, for the manifest of a shared directory)."""
        found: list[dict[str, Any]] = []
        for page in range(MAX_PAGES):
            if self._token:
                part = self._control.request("GET", f"{self._path}?offset={page * PAGE}&limit={PAGE}")
                part = part.get("items") if isinstance(part, dict) else None
            else:
                part = self._control.request("GET", f"{self._path}?pageNum={page}&pageSize={PAGE}")
            if not isinstance(part, list) or not all(isinstance(each, dict) and _is_copy(each) for each in part):
                raise self._control.invalid_answer()
            found += part
            if not part:
                break
        return list({each["task"]: each for each in found}.values())

    def find(self, query: str) -> list[dict[str, Any]]:
        """Return the copies of this task or URL. Raises BadValue if there is none."""
        if re.fullmatch("[0-9a-f]{64}", query) or query.startswith("df:"):
            copy = self._control.request("GET", f"{self._path}/{task_id(query) if query.startswith('df:') else query}", missing=True)
            found = [copy] if isinstance(copy, dict) and _is_copy(copy) else []
        else:
            wanted = query.partition("?")[0] if is_url(query) else query
            found = [each for each in self.listed() if wanted == each["url"].partition("?")[0]]
        if not found:
            raise BadValue(f"{query[:200]} is not the URL or task of a copy at {self._node}: `dfengine cache ls -n HOST` lists them")
        return found

    def pin(self, task: str, pinned: bool) -> None:
        """Pin or unpin a copy; a pinned copy is kept until it is unpinned."""
        self._control.request("PATCH" if self._token else "POST", f"{self._path}/{task}", {"pinned": pinned})

    def remove(self, task: str) -> None:
        """Remove a copy from the supernode; its downloads register again."""
        self._control.request("DELETE", f"{self._path}/{task}")


def _is_copy(found: dict[str, Any]) -> bool:
    """Whether the object has all used fields, with the right types."""
    texts, numbers = ("task", "url", "state", "tree", "base"), ("length", "pieces", "here", "taken", "used", "until")
    return (
        all(isinstance(found.get(name, ""), str) for name in texts)
        and all(isinstance(found.get(name), int | float) for name in numbers)
        and isinstance(found.get("pinned"), bool)
        and re.fullmatch("[0-9a-f]{64}", found.get("task", "")) is not None
        and "url" in found
    )
