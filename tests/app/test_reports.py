"""Output of `status`, `tasks`, `hosts` and `top` for any responses of a supernode."""

from __future__ import annotations

import json
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfengine.app import option_kinds, output, reports
from dfengine.app.api_client import NodeView
from dfengine.errors import ProtocolViolation
from dfengine.net.dialer import Dialer
from dfengine.settings import SupernodeAddress
from dfengine.supernode.console.api_types import HostRow, Overview, TaskRow
from dfengine.supernode.console.queries import HostQuery, TaskQuery

JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
                    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3))  # fmt: skip


def made(of: type[msgspec.Struct], **own: Any) -> Any:
    """Return an object with all fields set; texts contain terminal control sequences."""
    values: dict[str, Any] = {}
    for field in msgspec.structs.fields(of):
        text = str(field.type)
        plain = False if field.type is bool else 3 if "int" in text else 2.5 if "float" in text else "a\x1b[2Jb\n"
        values[field.name] = own.get(field.name, plain)
    return of(**values)


class Answers:
    """Replaces the control port: returns one response after the other."""

    def __init__(self, *answers: Any) -> None:
        self.answers, self.asked = list(answers), list[str]()

    def request(self, method: str, path: str, fields: Any = None, missing: bool = False) -> Any:
        self.asked.append(path)
        return self.answers.pop(0)

    def invalid_answer(self) -> ProtocolViolation:
        return ProtocolViolation("nonsense")


def view(*answers: Any) -> tuple[NodeView, Answers]:
    node, control = NodeView(Dialer(), SupernodeAddress.parse("n")), Answers(*answers)
    node._control = control  # type: ignore[assignment]
    return node, control


@given(JSON)
def test_invalid_responses_are_refused(answer: Any) -> None:
    asks: list[Any] = [NodeView.overview, lambda node: node.swarm("0" * 64), lambda node: node.tasks(5, {}), lambda node: node.hosts(5, {})]
    for ask in asks:
        with pytest.raises(ProtocolViolation):
            ask(view(answer)[0])


def test_pages_are_requested_until_the_last() -> None:
    row = msgspec.to_builtins(made(TaskRow, kind="file", state="SUCCESS"))
    page = {"total": 7, "offset": 0, "at": 0.0}
    node, control = view({**page, "items": [row] * 3}, {**page, "items": [row] * 4})
    found, total = node.tasks(1000, {"q": "", "sort": "rate"})
    assert (len(found), total) == (7, 7)
    assert control.asked == ["/api/v2/tasks?sort=rate&offset=0&limit=500", "/api/v2/tasks?sort=rate&offset=3&limit=500"]
    # A supernode that announces more items but returns none is not asked forever.
    node, control = view({**page, "items": [row]}, {**page, "items": []})
    assert len(node.tasks(5, {})[0]) == 1
    assert len(view({**page, "items": [row] * 9})[0].tasks(2, {})[0]) == 2


def test_output_contains_no_terminal_control_sequences() -> None:
    overview = made(Overview, hindrance="x\x1b[31m\r\nsupernode: ready")
    lines = [*reports.overview_lines("n:8002", overview),
             *output.table(reports.TASK_HEAD, [reports.task_cells(made(TaskRow, kind="file", state="SUCCESS", url="http://o/\x1b]0;x\x07"))]),
             *output.table(reports.HOST_HEAD, [reports.host_cells(made(HostRow, trust="trusted"))])]  # fmt: skip
    assert all(line.isprintable() for line in lines)
    node, _ = view()
    assert json.loads(json.dumps(reports.as_object(node, overview)))["node"] == "n:8002"


def test_sort_orders_agree_with_the_api() -> None:
    for kind, query in (("task order", TaskQuery), ("host order", HostQuery)):
        [sort] = [field for field in msgspec.structs.fields(query) if field.name == "sort"]
        assert set(option_kinds.words(kind)) == set(get_args(sort.type))
