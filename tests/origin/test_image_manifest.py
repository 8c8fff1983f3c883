"""Manifests and indexes of images, and platforms."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfengine.errors import BadListing, BadValue
from dfengine.origin.image_manifest import Blob, Child, check_platform, chosen, parse, platform_of

URL = "https://r.example/v2/a/manifests/1"
CONFIG = {"digest": "sha256:" + "c" * 64, "size": 7, "mediaType": "application/vnd.oci.image.config.v1+json"}


def layer(letter: str, **more: Any) -> dict[str, Any]:
    return {"digest": "sha256:" + letter * 64, "size": 5, **more}


def manifest(**fields: Any) -> bytes:
    return json.dumps({"schemaVersion": 2, **fields}).encode()


def test_the_blobs_of_an_image() -> None:
    said = parse(manifest(config=CONFIG, layers=[layer("1"), layer("2", urls=["https://elsewhere/x"]), layer("3")]), URL)
    assert said.blobs == (Blob("sha256:" + "c" * 64, 7), Blob("sha256:" + "1" * 64, 5), Blob("sha256:" + "3" * 64, 5))
    assert not said.children


def test_the_platforms_of_an_index() -> None:
    def child(letter: str, **platform: str) -> dict[str, Any]:
        return layer(letter, mediaType="application/vnd.oci.image.manifest.v1+json", platform=platform)

    said = parse(manifest(manifests=[
        child("1", os="linux", architecture="amd64"), child("2", os="linux", architecture="arm64", variant="v8"),
        child("3", os="linux", architecture="arm", variant="v7"), child("4", os="unknown", architecture="unknown"),
        layer("5", mediaType="application/x-other"),
    ]), URL)  # fmt: skip
    assert [each.platform for each in said.children] == ["linux/amd64", "linux/arm64/v8", "linux/arm/v7", "unknown/unknown"]

    def digits(*platforms: str) -> str:
        return "".join(each.digest[-1] for each in chosen(said.children, platforms, URL))

    assert digits("linux/amd64") == "1"
    assert digits("linux/arm64") == digits("linux/arm64/v8") == "2"
    assert digits("linux/arm/v7", "linux/amd64") == "13"
    assert digits("all") == "123"
    with pytest.raises(BadListing, match="linux/amd64, linux/arm64/v8, linux/arm/v7, and not for linux/s390x"):
        digits("linux/s390x")
    with pytest.raises(BadListing):
        digits("linux/arm/v6")
    assert chosen((Child("sha256:1", ""),), ("linux/amd64",), URL)


@pytest.mark.parametrize("content", [
    b"", b"[]", b"{}", b"<html>", b"{" * 100_000, b'{"schemaVersion": 1}', manifest(), manifest(layers=[]),
    manifest(config=CONFIG, layers=5),
    manifest(config=CONFIG, layers=[5]), manifest(config=CONFIG, layers=[{}]), manifest(config=CONFIG, layers=[layer("1", size=-1)]),
    manifest(config=CONFIG, layers=[layer("1", size=True)]), manifest(config=CONFIG, layers=[layer("1", size=1 << 60)]),
    manifest(config=CONFIG, layers=[layer("1", digest="sha256:../../etc")]), manifest(config=CONFIG, layers=[layer("1", digest=["a"])]),
    manifest(config=CONFIG, layers=[layer("1")] * 1025), manifest(manifests=[5]), manifest(manifests=[layer("g")]),
])  # fmt: skip
def test_invalid_manifests_are_refused(content: bytes) -> None:
    with pytest.raises(BadListing):
        parse(content, URL)


NAMES = ("config", "layers", "manifests", "digest", "size", "platform", "os", "urls", "mediaType")
VALUES = st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=8),
                      lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=5))  # fmt: skip


@given(st.dictionaries(st.sampled_from(NAMES), VALUES))
def test_any_json_is_parsed_or_refused(fields: dict[str, Any]) -> None:
    with contextlib.suppress(BadListing):
        parse(manifest(**fields), URL)


def test_platforms_are_normalized_or_refused() -> None:
    assert check_platform(" Linux/AMD64 ") == "linux/amd64"
    assert check_platform("ALL") == "all"
    assert (platform_of("x86_64"), platform_of("aarch64"), platform_of("riscv64")) == ("linux/amd64", "linux/arm64", "linux/riscv64")
    for wrong in ("", "linux", "linux/", "a/b/c/d", "linux/am d64", "linux/" + "a" * 40):
        with pytest.raises(BadValue):
            check_platform(wrong)
