"""A supernode's preheats, as who orders them sees and steers them over its control port."""

from __future__ import annotations

from dfengine.net.node_control import NodeControl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from dfengine.net.dialer import Dialer
    from dfengine.settings import SupernodeAddress

PATH = "/api/v1/preheats"
STATES = frozenset(("WAITING", "RUNNING", "SUCCESS", "FAILED"))
NUMBERS = ("length", "here")


class NodePreheats:
    """Of one supernode. token: that of its --preheat-token-file, "" for none. All raise RemoteError."""

    def __init__(self, dialer: Dialer, node: SupernodeAddress, token: str = "") -> None:
        self._control = NodeControl(dialer, node, {"Authorization": f"Bearer {token}"} if token else None)
        self.node = node

    def begin(self, fields: dict[str, Any]) -> str:
        """Its id. fields: of the request, see docs/operating.md."""
        made = self._control.ask("POST", PATH, fields)
        name = made.get("ID") if isinstance(made, dict) else None
        if not isinstance(name, str) or not name.isalnum():
            raise self._control.nonsense()
        return name

    def listed(self) -> list[dict[str, Any]]:
        """The oldest first: ID, startTime, status, and type, url, scope, finishTime, errorMsg where the supernode sends them."""
        found = self._control.ask("GET", PATH)
        if not isinstance(found, list) or not all(map(_is_preheat, found)):
            raise self._control.nonsense()
        return found

    def find(self, name: str) -> dict[str, Any] | None:
        """The one of this id; None: there is none.

        With the `count` of its tasks, how many are `finished`, their bytes (`length`, `here`), and the first of its `tasks`.
        """
        found = self._control.ask("GET", f"{PATH}/{name}", missing=True)
        if found is None:
            return None
        if not _is_preheat(found) or not _counts(found):
            raise self._control.nonsense()
        return dict(found)

    def cancel(self, name: str) -> bool:
        """End it, or forget it if it has ended. False: there is none."""
        return self._control.ask("DELETE", f"{PATH}/{name}", missing=True) is not None


def _is_preheat(found: Any) -> bool:
    """It has the fields that are used, of the right types."""
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
