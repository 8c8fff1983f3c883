"""Manifests stored for times when their registry does not answer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfengine.proxy.registry.manifests import Manifest, accepted, digest

INDEX = "application/vnd.oci.image.index.v1+json"


def test_encoded_manifests_decode_to_the_same() -> None:
    found = Manifest(digest(b"{}\n\n"), INDEX, b"{}\n\n", True)
    assert Manifest.decode(found.encode()) == found
    named = found.replace(body=b"", named=True)
    assert Manifest.decode(named.encode()) == named
    assert Manifest.decode(named.replace(body=b"x").encode()) is None


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\n", b"[]\n", b"{}\n{}", b"null\nx", b'{"digest": 1, "type": "t", "public": true}\n', b"\xff\n",
        Manifest(digest(b"a"), INDEX, b"b", True).encode(), Manifest(digest(b"ab"), INDEX, b"ab", True).encode()[:-1],
        Manifest(digest(b"a"), "", b"a", True).encode(),
        Manifest(digest(b"a"), "t\r\nX: y", b"a", True).encode(), Manifest(digest(b"a"), "\u00e9", b"a", True).encode(),
    ],
)  # fmt: skip
def test_invalid_stored_manifests_are_ignored(data: bytes) -> None:
    assert Manifest.decode(data) is None


@given(st.binary(max_size=200))
def test_any_bytes_decode_to_a_matching_manifest_or_none(data: bytes) -> None:
    found = Manifest.decode(data)
    assert found is None or found.named or found.digest == digest(found.body)


def test_media_types_are_matched_against_the_accept_field() -> None:
    assert accepted(INDEX, "")
    assert accepted(INDEX, "*/*")
    assert accepted(f"{INDEX}; charset=utf-8", f"text/plain, {INDEX.upper()};q=0.5")
    assert not accepted(INDEX, "application/vnd.docker.distribution.manifest.v2+json")
