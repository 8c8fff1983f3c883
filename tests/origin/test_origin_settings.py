"""Credentials that a supernode uses, and their scope."""

from __future__ import annotations

import pytest

from dfengine.errors import BadValue
from dfengine.location import parse
from dfengine.origin.origin_settings import OriginPermissions


def test_credentials_are_used_for_named_places_and_everything_below() -> None:
    own = OriginPermissions.parse((), ["s3://models/llama", "gs://bucket", "hf://org/name", "s3://other/dir/"])
    for url, signed in (
        ("s3://models/llama/w", True), ("s3://models/llama", True), ("s3://models/llama2/w", False), ("s3://models/x", False),
        ("s3://models2/llama/w", False), ("gs://bucket/any", True), ("s3://bucket/any", False), ("hf://org/name/w", True),
        ("hf://org/name@v2/w", True), ("hf://org/name2/w", False), ("hf://datasets/org/name/w", False), ("s3://other/dir/w", True),
        ("s3://other/dirt", False), ("s3://models/llama/w?versionId=1", True), ("s3://models/llama%2Fw", True),
    ):
        assert own.may_sign(parse(url)) == signed, url
    assert not OriginPermissions.parse((), ()).may_sign(parse("s3://models/llama/w"))


@pytest.mark.parametrize("url", ["file:///x", "http://h/x", "s3://b12/k?versionId=1", "hf://org/name@v1/", "models"])
def test_invalid_places_are_refused(url: str) -> None:
    with pytest.raises(BadValue):
        OriginPermissions.parse((), [url])
