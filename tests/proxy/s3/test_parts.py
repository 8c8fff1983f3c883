"""The part of an object that a store's response holds."""

from __future__ import annotations

import pytest

from dfengine.errors import OriginChanged, OriginError
from dfengine.origin.head import Head
from dfengine.proxy.s3.error import S3Error
from dfengine.proxy.s3.object_head import ObjectHead
from dfengine.proxy.s3.parts import Part, count_of, found

TAG = f'"{"a" * 32}-3"'
TOLD = ObjectHead(25, TAG, 0.0, "v", "a/b")


def head(span: str = "bytes 10-19/25", tag: str = TAG, count: str = "3") -> Head:
    fields = {"etag": [tag], "x-amz-mp-parts-count": [count]} | ({"content-range": [span]} if span else {})
    return Head(206, "", fields)


@pytest.mark.parametrize(
    ("tag", "count"),
    [(TAG, 3), (f'"{"A" * 32}-10000"', 10000), (f'"{"a" * 32}"', 0), ('"a-3"', 0), (f'"{"a" * 32}-0"', 0), (f'"{"a" * 32}-{"1" * 6}"', 0)],
)  # fmt: skip
def test_the_number_of_parts_is_read_from_the_entity_tag(tag: str, count: int) -> None:
    assert count_of(TOLD.replace(tag=tag)) == count


def test_the_range_of_a_part_is_read_from_the_stores_response() -> None:
    assert found(206, head(), TOLD, 2) == Part(10, 20, 3)
    assert found(206, head(count="x"), TOLD, 2) == Part(10, 20, 3)


@pytest.mark.parametrize(
    ("status", "answer", "error", "said"),
    [
        (206, head(tag='"other"'), OriginChanged, "another version"), (206, head("bytes 10-19/26"), OriginChanged, "another version"),
        (206, head("bytes 10-19/*"), OriginChanged, "another version"), (206, head(""), S3Error, "does not say where"),
        (206, head("bytes 19-10/25"), S3Error, "does not say where"), (200, head(""), S3Error, "does not say where"),
        (416, head(), S3Error, "not satisfiable"), (403, head(), OriginError, "answers 403"), (302, head(), OriginError, "answers 302"),
    ],
)  # fmt: skip
def test_other_responses_are_not_accepted_as_a_part(status: int, answer: Head, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        found(status, answer, TOLD, 2)
