"""The protocols that may follow `df::`."""

from __future__ import annotations

from typing import Any

import pytest

from dfengine.errors import BadValue
from dfengine.filesystem.origins import ORIGINS, Origins


def test_a_url_has_the_origin_of_its_protocol() -> None:
    origins = Origins("https", {"headers": {"A": "b"}})
    assert origins.of("https://h/f").settings == {"headers": [("A", "b")]}
    assert origins.of("http://h/f").settings == {}
    assert origins.of("https://h/f") is origins.of("https://other/g")
    assert origins.of("https://h/f").url("https://h/f?a=1#b") == "https://h/f?a=1#b"


@pytest.mark.parametrize(("protocol", "options", "said"), [
    ("ftp", {}, f"df reads {', '.join(ORIGINS)}, not ftp://"),
    ("https", {"cookies": 1}, "cookies: the options of https are headers"),
])  # fmt: skip
def test_what_cannot_follow_is_refused_by_name(protocol: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(BadValue, match=said):
        Origins(protocol, options)


@pytest.mark.parametrize("path", ["", "/local/file", "host/file", "https:/h/f"])
def test_what_is_no_url_is_refused(path: str) -> None:
    with pytest.raises(BadValue, match="df reads URLs"):
        Origins("", {}).of(path)


def test_an_http_server_has_no_listing() -> None:
    origin = Origins("", {}).of("http://h/d/")
    assert origin.info("http://h/d/") is None
    with pytest.raises(NotImplementedError, match="http has no listing, so df cannot list http://h/d/: name each file"):
        origin.ls("http://h/d/")
