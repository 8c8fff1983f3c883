"""A supernode's responses about its preheats, valid and invalid ones."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dfengine.errors import ProtocolViolation, SupernodeError
from dfengine.net.dialer import Dialer
from dfengine.net.node_preheats import NodePreheats
from dfengine.settings import SupernodeAddress

WHOLE = {"ID": "a1", "startTime": "2026-01-01T00:00:00Z", "status": "SUCCESS"}
COUNTS = {"count": 1, "finished": 1, "length": 5, "here": 5}
TASK = {"status": "SUCCESS", "length": 5, "here": 5}


class Line:
    """A connection that returns this response."""

    def __init__(self, status: int, body: bytes, asked: list[Any]) -> None:
        self._answer: tuple[int, dict[str, str], bytes] = (status, {}, body)
        self._asked = asked

    def request(self, *words: Any, timeout: float) -> Any:
        self._asked.append(words)
        return self._answer

    def close(self) -> None: ...


class Answers(Dialer):
    def __init__(self, status: int, said: object) -> None:
        super().__init__()
        self.status, self.said, self.asked = status, said if isinstance(said, bytes) else json.dumps(said).encode(), list[Any]()

    def connect(self, *words: Any, **named: Any) -> Any:
        return Line(self.status, self.said, self.asked)


def node(status: int, said: object) -> NodePreheats:
    return NodePreheats(Answers(status, said), SupernodeAddress("n"))


def test_responses_are_parsed() -> None:
    assert node(200, {"ID": "a1"}).begin({}) == "a1"
    assert node(200, [WHOLE]).listed() == [WHOLE]
    told = {**WHOLE, **COUNTS, "tasks": [TASK]}
    assert node(200, told).find("a1") == told
    assert node(404, {"message": "not found"}).find("a1") is None
    assert node(200, True).cancel("a1") is True
    assert node(404, {}).cancel("a1") is False


def test_the_token_is_sent() -> None:
    dialer = Answers(200, [])
    NodePreheats(dialer, SupernodeAddress("n"), "token").listed()
    assert dialer.asked[0][2] == {"Authorization": "Bearer token"}


@pytest.mark.parametrize("said", [{}, {"ID": 5}, {"ID": "../x"}, {"ID": ""}, [], "x"])
def test_a_missing_or_invalid_id_is_rejected(said: object) -> None:
    with pytest.raises(ProtocolViolation):
        node(200, said).begin({})


@pytest.mark.parametrize("said", [
    {}, [], WHOLE, {**WHOLE, "tasks": []}, {**WHOLE, **COUNTS}, {**WHOLE, **COUNTS, "tasks": {}}, {**WHOLE, **COUNTS, "tasks": [5]},
    {**WHOLE, **COUNTS, "tasks": [], "here": None}, {**WHOLE, **COUNTS, "tasks": [{**TASK, "length": "5"}]},
    {**WHOLE, **COUNTS, "tasks": [], "status": "DONE"}, {**WHOLE, **COUNTS, "tasks": [], "errorMsg": 5},
    {**WHOLE, **COUNTS, "tasks": [{**TASK, "here": True}]},
])  # fmt: skip
def test_an_invalid_preheat_is_rejected(said: object) -> None:
    with pytest.raises(ProtocolViolation):
        node(200, said).find("a1")


def test_an_invalid_list_of_preheats_is_rejected() -> None:
    nonsense: tuple[Any, ...] = (5, {}, [5], [{}], [{**WHOLE, "status": "DONE"}], [{**WHOLE, "ID": 5}])
    for said in nonsense:
        with pytest.raises(ProtocolViolation):
            node(200, said).listed()


@pytest.mark.parametrize(("status", "body"), [(500, b'{"message": "why"}'), (200, b"<html>"), (401, b"why"), (200, b"[" * 100_000)])
def test_refusals_raise_supernode_error(status: int, body: bytes) -> None:
    with pytest.raises(SupernodeError):
        node(status, body).listed()
