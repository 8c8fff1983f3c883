"""Where what a host shares is announced."""

from __future__ import annotations

import pytest

from dfengine.peer import keeper
from dfengine.settings import SupernodeAddress
from dfengine.storage.shared_content import Announced

SHARED = Announced("df-1", "df:sha256:" + "0" * 64, "/f", 1, "cid", "10.0.0.9", ["a:1", "b:2"], ["b:2"], 1e12)


def test_as_it_was_shared_where_no_names_were_given() -> None:
    assert keeper._places(SHARED) == [(SupernodeAddress("a", 1), False), (SupernodeAddress("b", 2), True)]
    assert keeper._places(SHARED.replace(nodes=["a b", "c"])) == []
    assert b"names" not in SHARED.encode()  # peer servers of older versions read it


def test_as_names_say_now_and_as_many_keep_it(monkeypatch: pytest.MonkeyPatch) -> None:
    shared = SHARED.replace(names=["dns://sn:7=2"])
    assert Announced.decode(shared.encode()) == shared
    now: list[SupernodeAddress] = []
    monkeypatch.setattr(keeper, "ordered_now", lambda nodes, task: now if list(nodes) == [SupernodeAddress("sn", 7, 2, "dns")] else None)
    assert [(str(node), keep) for node, keep in keeper._places(shared)] == [("a:1", False), ("b:2", True)]
    now += [SupernodeAddress("10.0.0.1", 7), SupernodeAddress("10.0.0.2", 7)]
    assert keeper._places(shared) == [(now[0], True), (now[1], False)]
