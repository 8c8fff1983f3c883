"""Client of a supernode's `/api/v2` for `dfengine status`, `tasks`, `hosts` and `top`. Each answer is checked against its type."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlencode

import msgspec

from dfengine.net.node_control import NodeControl
from dfengine.supernode.console.api_types import HostPage, HostRow, Overview, Swarm, TaskPage, TaskRow

if TYPE_CHECKING:
    from dfengine.net.dialer import Dialer
    from dfengine.settings import SupernodeAddress

Answer = TypeVar("Answer")

PAGE = 500
"""Maximum number of rows of one answer."""


class NodeView:
    """The view of one supernode. token: of its console, "" for none. All methods raise RemoteError."""

    def __init__(self, dialer: Dialer, node: SupernodeAddress, token: str = "") -> None:
        self._node = node
        self._control = NodeControl(dialer, node, {"Authorization": f"Bearer {token}"} if token else None)

    def __str__(self) -> str:
        return str(self._node)

    def overview(self) -> Overview:
        """Totals of the supernode."""
        return self._ask("/overview", Overview)

    def tasks(self, most: int, query: dict[str, str]) -> tuple[list[TaskRow], int]:
        """(at most `most` tasks, total number of tasks). query: parameters of /tasks except offset and limit."""
        return self._pages("/tasks", TaskPage, most, query)

    def hosts(self, most: int, query: dict[str, str]) -> tuple[list[HostRow], int]:
        """As `tasks`, for hosts."""
        return self._pages("/hosts", HostPage, most, query)

    def swarm(self, task: str) -> Swarm:
        """The downloads of one task."""
        return self._ask(f"/tasks/{task}/swarm", Swarm)

    def _pages(self, path: str, kind: Any, most: int, query: dict[str, str]) -> tuple[list[Any], int]:
        found: list[Any] = []
        while True:
            given = {**query, "offset": str(len(found)), "limit": str(min(PAGE, most - len(found)))}
            page = self._ask(f"{path}?{urlencode({name: value for name, value in given.items() if value})}", kind)
            found += page.items
            if not page.items or len(found) >= min(most, page.total):
                return found[:most], page.total

    def _ask(self, path: str, kind: type[Answer]) -> Answer:
        return self._read(self._control.request("GET", f"/api/v2{path}"), kind)

    def _read(self, found: Any, kind: type[Answer]) -> Answer:
        try:
            return msgspec.convert(found, kind)
        except msgspec.ValidationError:
            raise self._control.invalid_answer() from None
