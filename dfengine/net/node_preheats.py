"""Starts, lists and cancels a supernode's preheats over its control port."""

from __future__ import annotations

from dfengine.copy_states import STATES
from dfengine.net.node_control import NodeControl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from dfengine.net.dialer import Dialer
    from dfengine.settings import SupernodeAddress

PATH = "/api/v1/preheats"
NUMBERS = ("length", "here")


class NodePreheats:
    """Preheats of one supernode. token: from its --preheat-token-file, "" for none. All methods raise RemoteError."""

    def __init__(self, dialer: Dialer, node: SupernodeAddress, token: str = "") -> None:
        self._control = NodeControl(dialer, node, {"Authorization": f"Bearer {token}"} if token else None)
        self.node = node

    def begin(self, fields: dict[str, Any]) -> str:
        """Start a preheat and return its id. fields: the request's, see docs/operating.md."""
        made = self._control.request("POST", PATH, fields)
        name = made.get("ID") if isinstance(made, dict) else None
        if not isinstance(name, str) or not name.isalnum():
            raise self._control.invalid_answer()
        return name

    def listed(self) -> list[dict[str, Any]]:
        """Return all preheats, the oldest first: ID, startTime, status; type, url, scope, finishTime, errorMsg if the response has them."""
        found = self._control.request("GET", PATH)
        if not isinstance(found, list) or not all(map(_is_preheat, found)):
            raise self._control.invalid_answer()
        return found

    def find(self, name: str) -> dict[str, Any] | None:
        """Return the preheat with this id, or None.

        It has the `count` of its tasks, how many are `finished`, their bytes (`length`, `here`), and the first of its `tasks`.
        """
        found = self._control.request("GET", f"{PATH}/{name}", missing=True)
        if found is None:
            return None
        if not _is_preheat(found) or not _counts(found):
            raise self._control.invalid_answer()
        return dict(found)

    def cancel(self, name: str) -> bool:
        """Cancel a preheat, or delete it if it has ended. False: no preheat has this id."""
        return self._control.request("DELETE", f"{PATH}/{name}", missing=True) is not None


def _is_preheat(found: Any) -> bool:
    """Whether `found` has the fields that are used, of the right types."""
    return (
        isinstance(found, dict)
        and all(isinstance(found.get(name), str) for name in ("ID", "startTime", "status"))
        and all(isinstance(found.get(name, ""), str) for name in ("type", "url", "scope", "finishTime", "errorMsg"))
        and found["status"] in STATES
    )


def _counts(found: dict[str, Any]) -> bool:
    numbers = all(type(found.get(name)) is int for name in ("count", "finished", *NUMBERS))
    return numbers and isinstance(found.get("tasks"), list) and all(map(_is_task, found["tasks"]))


def _is_task(found: Any) -> bool:
    return isinstance(found, dict) and found.get("status") in STATES and all(type(found.get(name)) is int for name in NUMBERS)
