"""Protocols supported after `df::`."""

from __future__ import annotations

from typing import Any

import pytest

from dfengine.errors import BadValue
from dfengine.filesystem.protocols import ORIGINS, Origins


def test_a_url_uses_the_options_of_its_protocol() -> None:
    origins = Origins("https", {"headers": {"A": "b"}})
    assert origins.of("https://h/f")[0].settings == {"headers": [("A", "b")]}
    assert origins.of("http://h/f")[0].settings == {}
    assert origins.of("https://h/f")[0] is origins.of("https://other/g")[0]
    assert origins.of("https://h/f%20?a=1#b")[1] == "https://h/f%20?a=1#b"


@pytest.mark.parametrize(("protocol", "path", "url"), [
    ("s3", "bucket/a key%.txt", "s3://bucket/a%20key%25.txt"),
    ("", "s3://bucket/a?b#c", "s3://bucket/a%3Fb%23c"),
    ("gs", "bucket/é", "gs://bucket/%C3%A9"),
    ("hf", "datasets/org/name@refs%2Fpr%2F1/a b", "hf://datasets/org/name@refs%2Fpr%2F1/a%20b"),
    ("file", "/srv/models/a b", "file:///srv/models/a%20b"),
    ("", "file:///srv/x", "file:///srv/x"),
])  # fmt: skip
def test_names_are_converted_to_urls(protocol: str, path: str, url: str) -> None:
    assert Origins(protocol, {}).of(path)[1] == url


@pytest.mark.parametrize(("protocol", "options", "said"), [
    ("ftp", {}, f"df reads {', '.join(ORIGINS)}, not ftp://"),
    ("https", {"cookies": 1}, "cookies: the options of https are headers"),
])  # fmt: skip
def test_unsupported_protocols_and_options_are_named_in_the_error(protocol: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(BadValue, match=said):
        Origins(protocol, options)


@pytest.mark.parametrize("path", ["", "/local/file", "host/file", "https:/h/f"])
def test_paths_that_are_not_urls_are_rejected(path: str) -> None:
    with pytest.raises(BadValue, match="df reads URLs"):
        Origins("", {}).of(path)


def test_http_servers_cannot_be_listed() -> None:
    origin, url = Origins("", {}).of("http://h/d/")
    assert not origin.lists
    with pytest.raises(NotImplementedError, match="http has no listing, so df cannot list http://h/d/: name each file"):
        origin.files(url, None)
