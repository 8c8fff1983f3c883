"""Pages of bucket listings, valid and malformed."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfengine.errors import BadListing
from dfengine.origin.listing_s3 import StoreObject, parse

PAGE = (
    b'<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>b</Name>'
    b"<EncodingType>url</EncodingType><IsTruncated>true</IsTruncated><NextContinuationToken>to&lt;ken</NextContinuationToken>"
    b"<Contents><Key>a+b%2Fc%00</Key><LastModified>2026-11-30T06:50:26.000Z</LastModified><ETag>&quot;e-1&quot;</ETag><Size>5</Size>"
    b"<Owner><ID>x</ID><DisplayName>Key</DisplayName></Owner><StorageClass>GLACIER</StorageClass></Contents>\n"
    b"<Contents><Key>z</Key><LastModified>never</LastModified><Size>0</Size></Contents>"
    b"<CommonPrefixes><Prefix>p%2F</Prefix></CommonPrefixes></ListBucketResult>"
)


def test_a_page_is_parsed() -> None:
    found = parse(PAGE, "b")
    assert found.objects == (
        StoreObject("a b/c\0", 5, '"e-1"', 1796021426.0, "GLACIER"), StoreObject("z", 0, "", -1.0, "STANDARD"),
    )  # fmt: skip
    assert (found.prefixes, found.more, found.token) == (("p/",), True, "to<ken")
    assert parse(PAGE.replace(b"<Contents>", b"<StartAfter>\x01&</StartAfter><Contents>", 1), "b") == found
    plain = parse(PAGE.replace(b"<EncodingType>url</EncodingType>", b""), "b")
    assert (plain.objects[0].key, plain.prefixes) == ("a+b%2Fc%00", ("p%2F",))


@pytest.mark.parametrize(
    "body",
    [
        b"", b"<html/>", b"nothing", PAGE[:-1], PAGE.replace(b"<Size>5", b"<Size>-5"), PAGE.replace(b"<Size>5", b"<Size>" + b"9" * 30),
        PAGE.replace(b"<Size>0</Size>", b""), PAGE.replace(b"<Key>z</Key>", b""), b"<a>" * 9 + b"</a>" * 9,
        PAGE.replace(b"\n<ListBucketResult", b'<!DOCTYPE a [<!ENTITY b "cc">]><ListBucketResult'),
    ],
)  # fmt: skip
def test_malformed_pages_are_refused(body: bytes) -> None:
    with pytest.raises(BadListing):
        parse(body, "b")


@pytest.mark.parametrize("encoding", [b"x-none", b"hex", b"idna", b"big5", b"undefined"])
def test_unsupported_encodings_are_refused(encoding: bytes) -> None:
    with pytest.raises(BadListing):
        parse(b'<?xml version="1.0" encoding="%b"?><ListBucketResult/>' % encoding, "b")


@given(st.binary(max_size=60), st.integers(0, len(PAGE)))
def test_any_bytes_are_parsed_or_refused(more: bytes, at: int) -> None:
    with contextlib.suppress(BadListing):
        parse(PAGE[:at] + more + PAGE[at:], "b")
