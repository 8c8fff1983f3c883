"""Parsing of S3 requests."""

from __future__ import annotations

import contextlib
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfengine.proxy.s3.error import S3Error
from dfengine.proxy.s3.request import BUCKET_LOCATION, BUCKETS, HEAD_BUCKET, LIST, OBJECT, Listed, Request, parse

KEYS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=40)


@pytest.mark.parametrize("root", ["", "/s3"])
@given(key=KEYS)
def test_object_requests_with_any_key(root: str, key: str) -> None:
    target = f"{root}/b/{quote(key, safe='/')}".encode()
    assert parse("GET", target, root) == parse("HEAD", target + b"?x-id=GetObject", root) == Request(OBJECT, "b", key)


@given(prefix=KEYS, delimiter=KEYS, after=KEYS)
def test_listing_requests_with_any_parameters(prefix: str, delimiter: str, after: str) -> None:
    query = f"list-type=2&prefix={quote(prefix)}&delimiter={quote(delimiter)}&start-after={quote(after)}&encoding-type=url&max-keys=7"
    assert parse("GET", f"/b?{query}".encode(), "") == Request(LIST, "b", listed=Listed(2, prefix, delimiter, 7, after, None, True))
    query = f"prefix={quote(prefix)}&delimiter={quote(delimiter)}&marker={quote(after)}"
    assert parse("GET", f"/b/?{query}".encode(), "") == Request(LIST, "b", listed=Listed(1, prefix, delimiter, 1000, after, None, False))


def test_requests_for_buckets_locations_versions_and_parts() -> None:
    assert parse("GET", b"/s3", "/s3") == parse("GET", b"/s3/?x-id=ListBuckets", "/s3") == Request(BUCKETS)
    assert parse("HEAD", b"/s3/b", "/s3") == parse("HEAD", b"/s3/b/", "/s3") == Request(HEAD_BUCKET, "b")
    assert parse("GET", b"/b?location", "") == Request(BUCKET_LOCATION, "b")
    found = parse("GET", b"/b/k?versionId=3&response-content-type=a%2Fb&response-expires=0", "")
    assert (found.version, found.overrides) == ("3", ((b"Content-Type", b"a/b"), (b"Expires", b"0")))
    assert parse("GET", b"/b/k?versionId=null", "").version == "null"
    assert parse("HEAD", b"/b/k?partNumber=10000", "") == Request(OBJECT, "b", "k", part=10000)
    assert parse("GET", b"/b?prefix=a+b%2Bc", "") == Request(LIST, "b", listed=Listed(1, "a b+c", "", 1000, "", None, False))


@pytest.mark.parametrize(
    ("method", "target", "code"),
    [
        ("PUT", b"/b/k", "MethodNotAllowed"), ("DELETE", b"/b", "MethodNotAllowed"), ("POST", b"/b?delete", "MethodNotAllowed"),
        ("OPTIONS", b"/b", "MethodNotAllowed"), ("HEAD", b"/", "MethodNotAllowed"),
        ("GET", b"/b?acl", "NotImplemented"), ("GET", b"/b?versions", "NotImplemented"), ("GET", b"/b?uploads", "NotImplemented"),
        ("GET", b"/b/k?partNumber=0", "InvalidArgument"), ("GET", b"/b/k?partNumber=10001", "InvalidArgument"),
        ("GET", b"/b/k?partNumber=", "InvalidArgument"), ("HEAD", b"/b/k?partNumber=1x", "InvalidArgument"),
        ("GET", b"/b/k?partNumber=-1", "InvalidArgument"), ("GET", b"/b/k?partNumber=" + b"9" * 19, "InvalidArgument"),
        ("GET", b"/b/k?partNumber=1&uploadId=a", "NotImplemented"), ("GET", b"/b/k?tagging", "NotImplemented"),
        ("GET", b"/b?list-type=3", "InvalidArgument"), ("GET", b"/b?max-keys=-1", "InvalidArgument"),
        ("GET", b"/b?max-keys=x", "InvalidArgument"), ("GET", b"/b?max-keys=" + b"9" * 30, "InvalidArgument"),
        ("GET", b"/b?max-keys=2147483648", "InvalidArgument"), ("GET", b"/b?max-keys=\xd9\xa1", "InvalidArgument"),
        ("GET", b"/b?encoding-type=xml", "InvalidArgument"), ("GET", b"/b?list-type=2&continuation-token=", "InvalidArgument"),
        ("GET", b"/b?" + b"&".join(b"a%d=1" % n for n in range(100)), "InvalidArgument"),
        ("GET", b"/b/%ff", "InvalidURI"), ("GET", b"/b?prefix=%ff", "InvalidURI"), ("GET", b"//k", "InvalidURI"),
        ("GET", b"/b/" + b"k" * 1025, "KeyTooLongError"), ("GET", b"/b/k?response-expires=%0d%0aX", "InvalidArgument"),
        ("GET", b"/b/k?response-expires=%E2%82%AC", "InvalidArgument"),
    ],
)  # fmt: skip
def test_unsupported_and_invalid_requests_are_refused(method: str, target: bytes, code: str) -> None:
    with pytest.raises(S3Error) as error:
        parse(method, target, "")
    assert error.value.code == code


def test_targets_outside_of_the_facades_path_are_refused() -> None:
    for target in (b"/s3x/b", b"/", b"/s/3"):
        with pytest.raises(S3Error):
            parse("GET", target, "/s3")


@given(st.binary(max_size=200))
def test_any_target_is_parsed_or_refused(target: bytes) -> None:
    with contextlib.suppress(S3Error):
        assert parse("GET", b"/" + target, "").kind
