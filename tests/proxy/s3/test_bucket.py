"""Locations that buckets stand for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfengine.errors import BadValue
from dfengine.location import parse
from dfengine.proxy.s3.bucket import Bucket
from dfengine.proxy.s3.error import S3Error
from dfengine.task import check_task_url


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("all=s3://models", "s3://models/a%20b/c"), ("all=s3://models/", "s3://models/a%20b/c"),
        ("all=s3://models/x/y", "s3://models/x/y/a%20b/c"), ("all=gs://models/x/", "gs://models/x/a%20b/c"),
        ("all=az://box/x", "az://box/x/a%20b/c"), ("all=/srv/x", "file:///srv/x/a%20b/c"),
        ("all=/a b/", "file:///a%20b/a%20b/c"), ("all=file:///srv", "file:///srv/a%20b/c"),
        ("all=https://h/d", "https://h/d/a%20b/c"), ("all=http://h:8/d/", "http://h:8/d/a%20b/c"),
    ],
)  # fmt: skip
def test_keys_map_to_object_urls(text: str, url: str) -> None:
    bucket = Bucket.parse(text)
    assert bucket.object_url("a b/c") == url == check_task_url(url)


@pytest.mark.parametrize(
    "text",
    ["", "all", "all=", "=s3://models", "ALL=s3://models", "a=s3://models", "a..b=s3://models", "all=hf://a/b", "all=df:sha256:" + "0" * 64,
     "all=s3://models/x?versionId=1", "all=https://h/d?a", "all=relative", "all=ftp://h/d", "all=/srv/../x", "all=s3://", "all=/", "all=file:///"],
)  # fmt: skip
def test_invalid_bucket_settings_are_rejected(text: str) -> None:
    with pytest.raises(BadValue):
        Bucket.parse(text)


def refused(bucket: Bucket, key: str, version: str = "") -> str:
    with pytest.raises(S3Error) as error:
        bucket.object_url(key, version)
    return error.value.code


KEYS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=40)


@given(KEYS, st.sampled_from(["s3://models", "s3://models/x", "gs://models/x", "az://box/x"]))
def test_any_key_of_a_store_maps_to_a_url_and_back_or_is_rejected(key: str, root: str) -> None:
    bucket = Bucket.parse(f"all={root}")
    if "\0" in key or any(part in (".", "..") for part in key.split("/")):
        assert refused(bucket, key) == "InvalidURI"
        return
    url = bucket.object_url(key)
    assert bucket.key_of(url) == key
    assert parse(url).key == bucket.prefix + key


@given(st.text("a./\0%?#\\\u00e9", min_size=1, max_size=12), st.sampled_from(["/srv/x", "https://h/d/"]))
def test_keys_cannot_escape_a_directory(key: str, root: str) -> None:
    bucket = Bucket.parse(f"all={root}")
    if "\0" in key or any(part in ("", ".", "..") for part in key.split("/")):
        assert refused(bucket, key) == "NoSuchKey"
        return
    url = bucket.object_url(key)
    assert url.startswith(bucket.url)
    assert url.count("/") == bucket.url.rstrip("/").count("/") + 1 + key.count("/")


def test_versions_are_supported_for_stores_only() -> None:
    assert Bucket.parse("all=s3://models").object_url("k", "v1") == "s3://models/k?versionId=v1"
    for root in ("/srv", "https://h/d/"):
        assert refused(Bucket.parse(f"all={root}"), "k", "v1") == "NotImplemented"


def test_the_null_version_is_one_of_the_stores_and_the_only_one_elsewhere() -> None:
    """In a bucket whose versioning was enabled later, the current version is another one."""
    assert Bucket.parse("all=s3://models/x").object_url("k", "null") == "s3://models/x/k?versionId=null"
    for root in ("gs://models", "az://box"):
        assert refused(Bucket.parse(f"all={root}"), "k", "null") == "NoSuchVersion"
    for root in ("/srv", "https://h/d/"):
        bucket = Bucket.parse(f"all={root}")
        assert bucket.object_url("k", "null") == bucket.object_url("k")
