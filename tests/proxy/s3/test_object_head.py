"""Fields of an origin's response that are passed on for an object."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dfengine.origin.head import Head
from dfengine.origin.version import Version
from dfengine.proxy.s3.object_head import MAX_FIELDS, TYPE, object_head

DATE = "Mon, 30 Nov 2026 06:50:26 GMT"


def said(fields: dict[str, list[str]], version: Version) -> dict[bytes, bytes]:
    return dict(object_head(Head(200, "OK", fields), version, 1e9, 0.0).fields)


def test_user_metadata_gets_the_s3_prefix_and_unlisted_fields_are_dropped() -> None:
    fields = {
        "x-amz-meta-a": ["1"], "x-goog-meta-b": ["2", "3"], "x-ms-meta-c": ["4"], "cache-control": ["no-store"], "set-cookie": ["s"],
        "x-amz-request-id": ["r"], "server": ["s"], "content-length": ["5"], "x-amz-storage-class": ["GLACIER"],
    }  # fmt: skip
    assert said(fields, Version('"e"', "", 5)) == {
        b"x-amz-meta-a": b"1", b"x-amz-meta-b": b"2, 3", b"x-amz-meta-c": b"4", b"cache-control": b"no-store",
        b"x-amz-storage-class": b"GLACIER",
    }  # fmt: skip
    assert said({"x-amz-meta-a": ["1" * MAX_FIELDS]}, Version('"e"', "", 5)) == {}


def test_entity_tags_are_strong() -> None:
    strong = object_head(Head(200, "", {"content-type": ["a/b"]}), Version('"e"', DATE, 5), 1e9, 0.0)
    assert (strong.tag, strong.length, strong.content_type, strong.last_modified) == ('"e"', 5, "a/b", "Sun, 09 Sep 2001 01:46:40 GMT")
    dated, weak = Version("", DATE, 5), Version('W/"e"', DATE, 5)
    tags = {object_head(Head(200), version, None, 0.0).tag for version in (dated, weak, dated.replace(length=6))}
    assert len(tags) == 3
    assert all(tag[0] == tag[-1] == '"' and len(tag) == 18 for tag in tags)
    assert object_head(Head(200), dated, None, 0.0).content_type == TYPE


@given(st.dictionaries(st.sampled_from(["x-amz-meta-a", "cache-control", "content-type"]), st.lists(st.text(max_size=9), max_size=2)),
       st.text(max_size=9))  # fmt: skip
def test_fields_of_a_response_contain_no_line_breaks(fields: dict[str, list[str]], etag: str) -> None:
    found = object_head(Head(200, "", fields), Version(etag or '"e"', DATE, 5), 0.0, 0.0)
    for text in (found.tag, found.content_type, *(value.decode("latin-1") for _, value in found.fields)):
        assert not {"\r", "\n", "\0"} & set(text)
        text.encode("latin-1")
