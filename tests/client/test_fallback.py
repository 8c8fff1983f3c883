"""When a download may fall back to the origin."""

from __future__ import annotations

import pytest

from dfengine.client.fallback import check
from dfengine.errors import BadValue, SupernodeError
from dfengine.settings import GetSettings, SupernodeAddress

NODES = (SupernodeAddress("h"),)
NAME = "df:sha256:" + "0a" * 32


@pytest.mark.parametrize("settings", [
    GetSettings("http://h/x", "x"), GetSettings("http://h/x", "x", nodes=NODES), GetSettings("file:///x", "x"),
    GetSettings("file:///x", "x", nodes=NODES, pattern="source"), GetSettings("http://h/x", "x", nodes=NODES, pattern="source", notbs=True),
])
def test_fallback_is_allowed(settings: GetSettings) -> None:
    check(settings, "why")


@pytest.mark.parametrize(("settings", "said"), [
    (GetSettings("http://h/x", "x", nodes=NODES, notbs=True), "--notbs"), (GetSettings("http://h/x", "x", notbs=True), "--notbs"),
    (GetSettings("file:///x", "x", nodes=NODES), "supernode's disk"), (GetSettings("FILE:///x", "x", nodes=NODES), "supernode's disk"),
    (GetSettings(NAME, "x", nodes=NODES), "reason"),
])
def test_fallback_is_refused_with_the_reason(settings: GetSettings, said: str) -> None:
    with pytest.raises(SupernodeError, match=said) as error:
        check(settings, "the reason")
    assert "the reason" in str(error.value)


@pytest.mark.parametrize("settings", [GetSettings(NAME, "x"), GetSettings(NAME, "x", nodes=NODES, pattern="source")])
def test_content_has_no_origin(settings: GetSettings) -> None:
    with pytest.raises(BadValue, match="has no origin"):
        check(settings, "no supernode is given")
