"""The order of supernodes that a search tries, when some are full and name others."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfengine.client.messages import decode_registered
from dfengine.client.supernodes import MAX_NAMED, Candidates
from dfengine.errors import ProtocolViolation, SupernodeError, SupernodeFull
from dfengine.settings import SupernodeAddress

GIVEN = [SupernodeAddress.parse(text) for text in ("a:1", "b:1")]


def full(*names: str) -> SupernodeFull:
    error = SupernodeFull("it is full", 500)
    error.alternatives = names
    return error


def tried(answers: dict[str, Exception]) -> list[str]:
    candidates, found = Candidates(GIVEN), []
    for node in candidates:
        found.append(str(node))
        candidates.failed(answers.get(str(node), SupernodeError("no")))  # type: ignore[arg-type]
    return found


def test_supernodes_named_by_a_full_one_are_tried_next() -> None:
    assert tried({}) == ["a:1", "b:1"]
    assert tried({"a:1": full("c:1", "d:1"), "d:1": full("e:1")}) == ["a:1", "c:1", "d:1", "e:1", "b:1"]


def test_each_supernode_is_tried_once_and_invalid_addresses_are_skipped() -> None:
    assert tried({"a:1": full("b:1", "a:1", "c:1", "c:1", "dns://names", "srv://names", "h h", "", "x" * 9999)}) == ["a:1", "c:1", "b:1"]


@given(st.dictionaries(st.sampled_from([f"{name}:1" for name in "abcdefghijklmnopqrs"]),
                       st.lists(st.sampled_from([f"{name}:1" for name in "abcdefghijklmnopqrs"]), max_size=12)))  # fmt: skip
def test_the_search_ends_for_any_named_supernodes(named: dict[str, list[str]]) -> None:
    found = tried({name: full(*others) for name, others in named.items()})
    assert len(found) == len(set(found)) <= len(GIVEN) + MAX_NAMED
    assert {"a:1", "b:1"} <= set(found)


def answer(**fields: Any) -> bytes:
    return json.dumps({"code": 500, "message": "full", **fields}).encode()


def test_a_refusal_may_name_alternatives() -> None:
    assert decode_registered(answer()).alternatives == ()
    assert decode_registered(answer(alternatives=["h:1"])).alternatives == ("h:1",)
    assert len(decode_registered(answer(alternatives=["h:1"] * 1000)).alternatives) == 8


@pytest.mark.parametrize("wrong", ["h:1", [1], {"h": 1}, [["h:1"]]])
def test_malformed_alternatives_are_refused(wrong: Any) -> None:
    with pytest.raises(ProtocolViolation):
        decode_registered(answer(alternatives=wrong))
