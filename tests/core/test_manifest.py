"""Manifests: encoding, segments of files in the data, and rejection of invalid manifests."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfengine.errors import BadListing, BadValue
from dfengine.location import Location
from dfengine.manifest import File, Manifest, decode
from dfengine.paths import LARGEST

BASE = "http://origin.example:8080/models/"
SHA = "sha256:" + "0a" * 32


def of(*files: tuple[str, int]) -> Manifest:
    return Manifest(BASE, [File(path, BASE + path, size) for path, size in files])


NAME = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=8)
NAME = NAME.filter(lambda name: name not in (".", ".."))


@st.composite
def manifests(draw: st.DrawFn) -> Manifest:
    paths = draw(st.lists(st.tuples(NAME, NAME).map("/".join), unique=True, max_size=6))
    location = Location("file", "", "/top/")
    return Manifest(location.url, [
        File(path, location.replace(key="/top/" + path).url, draw(st.integers(0, 50)), draw(st.sampled_from(["", '"e"', 'W/"x"'])),
             draw(st.sampled_from([-1, 0, 1.0, 17.25])), draw(st.sampled_from(["", SHA])), draw(st.sampled_from([-1, 0o644, 0o755])),
             draw(st.sampled_from([-1, 0, 1_750_000_020])))
        for path in paths
    ], draw(st.dictionaries(NAME.map("refused-".__add__), st.integers(400, 599), max_size=3)))  # fmt: skip


@given(manifests())
def test_an_encoded_manifest_decodes_to_the_same(manifest: Manifest) -> None:
    again = decode(manifest.encode())
    assert again == manifest
    assert again.identity == manifest.identity
    assert again.encode() == manifest.encode()
    assert [*again] == [*manifest]
    assert again.length == sum(file.size for file in manifest)
    assert again.refused == manifest.refused
    assert Manifest(manifest.base, reversed([*manifest]), manifest.refused).identity == manifest.identity


@given(manifests(), st.data())
def test_segments_are_the_bytes_of_the_files_in_order(manifest: Manifest, data: st.DataObject) -> None:
    owners = [(n, at) for n, file in enumerate(manifest) for at in range(file.size)]
    offset = data.draw(st.integers(0, manifest.length))
    length = data.draw(st.integers(0, manifest.length - offset))
    found = manifest.segments(offset, length)
    assert [(n, at + i) for n, at, count in found for i in range(count)] == owners[offset : offset + length]
    assert len({n for n, _, _ in found}) == len(found)
    for n, file in enumerate(manifest):
        at, size = manifest.range(n)
        assert size == file.size
        assert owners[at : at + size] == [(n, i) for i in range(size)]


@pytest.mark.parametrize(("offset", "length"), [(-1, 1), (0, 4), (3, 1), (0, -1), (9, 0)])
def test_segments_beyond_the_data_are_rejected(offset: int, length: int) -> None:
    with pytest.raises(BadValue):
        of(("a", 1), ("b", 0), ("c", 2)).segments(offset, length)


def test_links_are_stored_as_the_origin_wrote_them() -> None:
    manifest = Manifest(BASE, [File("a b+c", BASE + "a%20b%2Bc", 1), File("d/e", BASE + "d/e", 1), File("\udcff", BASE + "%ff", 1)])
    assert [file.url for file in decode(manifest.encode())] == [BASE + "a%20b%2Bc", BASE + "d/e", BASE + "%ff"]


LIES: dict[str, tuple[dict[str, Any], str]] = {
    "parent directory": ({"paths": ["../a"]}, "empty"),
    "absolute": ({"paths": ["/a"]}, "absolute"),
    "NUL": ({"paths": ["a\0"]}, "NUL"),
    "empty": ({"paths": [""]}, "empty"),
    "duplicate": ({"paths": ["a", "a"], "sizes": [1, 1]}, "'a' twice"),
    "file and directory": ({"paths": ["a", "a/b"], "sizes": [1, 1]}, "'a' as a file and"),
    "unsorted": ({"paths": ["b", "a"], "sizes": [1, 1]}, "'a' behind 'b'"),
    "long name": ({"paths": ["x" * 256]}, "longer"),
    "negative": ({"sizes": [-1]}, "'a' with -1 bytes"),
    "huge": ({"sizes": [LARGEST + 1]}, "'a' with"),
    "digits": ({"sizes": [10**4000]}, "'a' with|not JSON"),
    "huge in total": ({"paths": ["a", "b"], "sizes": [LARGEST, 1]}, "together"),
    "fraction": ({"sizes": [1.5]}, "sizes"),
    "boolean": ({"sizes": [True]}, "sizes"),
    "text": ({"sizes": "1"}, "sizes"),
    "too few sizes": ({"paths": ["a", "b"]}, "1 sizes"),
    "no paths": ({"paths": None}, "paths"),
    "paths of numbers": ({"paths": [1]}, "paths"),
    "no base": ({"base": 1}, "base"),
    "base is a file": ({"base": BASE[:-1]}, "slash"),
    "base with a query": ({"base": BASE + "?/"}, "query"),
    "base of an unknown scheme": ({"base": "gopher://x/"}, "base"),
    "link elsewhere": ({"links": ["b"]}, "'a' with the link 'b'"),
    "link to the parent directory": ({"links": ["../a"]}, "link"),
    "link with a query": ({"links": ["a?"]}, "link"),
    "link with a space": ({"paths": ["a b"], "links": ["a b"]}, "link"),
    "link in one segment": ({"paths": ["a/b"], "links": ["a%2Fb"]}, "link"),
    "redundant link": ({"links": ["a"]}, "other fields"),
    "etag": ({"etags": ["a\r\nb"]}, "'a' with an invalid entity-tag"),
    "digest": ({"digests": ["sha256:0"]}, "'a' with the digest"),
    "time": ({"modified": [-2]}, "'a' with the time"),
    "infinite time": ({"modified": [float("inf")]}, "'a' with the time"),
    "not a number": ({"modified": [float("nan")]}, "'a' with the time"),
    "whole time as a float": ({"modified": [5.0]}, "other fields"),
    "mode": ({"modes": [0o4755]}, "'a' with the mode"),
    "refused and listed": ({"refused": {"a": 404}}, "'a' twice"),
    "refused with a status of success": ({"refused": {"b": 200}}, "'b' as refused"),
    "refused outside": ({"refused": {"../b": 404}}, "'../b'"),
    "refused with a text": ({"refused": {"b": "404"}}, "refused files"),
    "refused list": ({"refused": ["b"]}, "refused files"),
    "refused out of order": ({"refused": {"c": 404, "b": 404}}, "out of order"),
    "no file refused": ({"refused": {}}, "other fields"),
    "another format": ({"dfengine": 2}, "later version"),
    "unknown field": ({"more": 1}, "other fields"),
    "column without values": ({"etags": [""]}, "other fields"),
}


@pytest.mark.parametrize("lie", LIES)
def test_invalid_fields_are_rejected(lie: str) -> None:
    changed, why = LIES[lie]
    told = {"dfengine": 1, "base": BASE, "paths": ["a"], "sizes": [1]}
    decode(json.dumps(told, separators=(",", ":")).encode())
    sent = json.dumps({**told, **changed}, separators=(",", ":")).encode()
    with pytest.raises(BadListing, match=why):
        decode(sent)


@pytest.mark.parametrize("sent", [
    b"", b"[]", b"{", b"\xff", b"[" * 100_000, b'{"dfengine":1}', b"null", b'{"dfengine": 1,"base":"http://h/","paths":[]}',
    b'{"dfengine":1,"base":"http://h/","paths":[],"paths":[]}',
    b'{"dfengine":1,"base":"http://h/","paths":["a"],"sizes":[1%s]}' % (b"0" * 5000),
    b'{"base":"http://h/","dfengine":1,"paths":[]}',
])  # fmt: skip
def test_other_data_and_encodings_are_rejected(sent: bytes) -> None:
    with pytest.raises(BadListing):
        decode(sent)


@given(manifests(), st.integers(0, 1 << 20), st.binary(max_size=3))
def test_a_damaged_encoding_is_rejected_or_another_valid_manifest(manifest: Manifest, at: int, put: bytes) -> None:
    sent = bytearray(manifest.encode())
    at %= len(sent)
    sent[at : at + len(put)] = put
    with suppress(BadListing):
        assert decode(bytes(sent)).encode() == sent


def test_a_file_outside_of_the_base_is_rejected() -> None:
    for url in ("http://other.example/a", BASE + "../a", BASE + "b", BASE):
        with pytest.raises(BadListing, match="'a'"):
            Manifest(BASE, [File("a", url, 1)])


def test_paths_that_differ_only_in_case_are_reported() -> None:
    assert of(("a/x", 1), ("a/y", 1), ("B", 1)).case_clashes() == []
    assert of(("a/x", 1), ("A/y", 1)).case_clashes() == []
    assert of(("a/x", 1), ("A/X", 1)).case_clashes() == [("A/X", "a/x")]
    assert of(("a/x", 1), ("A", 1)).case_clashes() == [("A", "a/x")]
    composed = Manifest("file:///", [File(path, Location("file", "", "/" + path).url, 1) for path in ("\u00fc", "u\u0308")])
    assert len(composed.case_clashes()) == 1
