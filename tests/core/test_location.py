"""URLs of files outside of HTTP servers, and digests that URLs name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfengine.errors import BadValue
from dfengine.location import OBJECTS, Location, digest_of_blob, digest_of_hub_file, named_file, parse, scheme_of
from dfengine.task import Digest, check_task_url, content_of, expected_of, names_same, task_url

READ = {
    "s3://bucket/key": Location("s3", "bucket", "key"),
    "S3://bucket/a%20b%2Bc+d": Location("s3", "bucket", "a b+c+d"),
    "s3://bucket//lead": Location("s3", "bucket", "/lead"),
    "s3://bucket/a//b/": Location("s3", "bucket", "a//b/"),
    "s3://bucket/%25%3F%23": Location("s3", "bucket", "%?#"),
    "s3://bucket/ü?versionId=a%2Bb": Location("s3", "bucket", "ü", "a+b"),
    "s3://bucket": Location("s3", "bucket", ""),
    "gs://bucket/k?versionId=17": Location("gs", "bucket", "k", "17"),
    "az://container/b": Location("az", "container", "b"),
    "az://acc.blob.core.windows.net/container/b": Location("az", "container", "b", "", "acc.blob.core.windows.net"),
    "hf://org/name/a/b.bin": Location("hf", "org/name", "a/b.bin"),
    "hf://datasets/org/name@refs%2Fpr%2F1/x": Location("hf", "datasets/org/name", "x", "refs/pr/1"),
    "hf://spaces/org/name@v1/": Location("hf", "spaces/org/name", "", "v1"),
    "hf://org/name": Location("hf", "org/name", ""),
    "file:///a/b%20c": Location("file", "", "/a/b c"),
    "file://localhost/a": Location("file", "", "/a"),
    "file:///a/%FF": Location("file", "", "/a/\udcff"),
    "file:///a/": Location("file", "", "/a/"),
    "df:sha256:" + "0a" * 32: Location("df", "sha256", "0a" * 32),
}

REFUSED = [
    "http://h/x", "s3:/b/k", "s3://", "s3:///key", "s3://b/../k", "s3://a..b/k", "s3://user@bucket/k", "s3://bucket/a?b", "s3://bucket/a#b",
    "s3://bucket/a%2", "s3://bucket/%00", "s3://bucket/%FF", "s3://bucket/k?versionId=", "s3://bucket/k?versionId=a&x=b", "s3://bucket/a b",
    "s3://bucket/" + "k" * 1025, "s3://bucket/" + "%C3%BC" * 513, "gs://Bucket/k", "az://evil.example/c/b", "az://a.blob.evil@x/c/b",
    "hf://org", "hf://org/name@/x", "hf://org/name@a%2F..%2Fb/x", "hf://org/name/../x", "hf://org/name/%2e%2e/x", "hf://org/name/a%2Fb",
    "hf://org/name//x", "hf://org/name/x?y", "hf://o..g/name/x", "file://host/x", "file:///a/../b", "file:///a/%2e%2E/b", "file:///a/%2e/b",
    "file:///a%2Fb", "file:///a%00", "file:///a//b", "file:///a?x", "file:///a#x", "file://", "s3://bucket/\x7f", "s3://bucket/\ud800",
    "df:sha256:", "df:sha256:" + "0" * 63, "df:sha256:" + "0" * 65, "df:sha256:" + "0A" * 32, "DF:sha256:" + "0a" * 32,
    "df:md5:" + "0" * 32, "df:sha256:" + "0a" * 31 + "0\n", "df:sha256:" + "0a" * 32 + "/x", "df:sha256:" + "\u0660" * 64,
    "df://sha256/" + "0a" * 32,
]


@pytest.mark.parametrize("url", READ)
def test_urls_are_parsed_and_formatted(url: str) -> None:
    assert parse(url) == READ[url]
    assert parse(parse(url).url) == READ[url]


@pytest.mark.parametrize("url", REFUSED)
def test_ambiguous_and_invalid_urls_are_rejected(url: str) -> None:
    with pytest.raises(BadValue):
        parse(url)


@pytest.mark.parametrize("url", ["s3://bucket", "s3://bucket/", "hf://org/name", "hf://org/name/dir/", "file:///dir/", "file:///"])
def test_urls_of_directories_name_no_file(url: str) -> None:
    with pytest.raises(BadValue, match="names no file"):
        named_file(url)


@given(st.sampled_from(OBJECTS), st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=256))
def test_every_key_has_a_url(scheme: str, key: str) -> None:
    location = Location(scheme, "bucket", key)
    assert parse(location.url) == location


def test_a_filter_does_not_remove_the_version_from_a_task_url() -> None:
    url = "s3://bucket/k?versionId=1"
    assert task_url(url, "versionId") == url
    assert names_same(url, url)
    assert not names_same("s3://bucket/k", url)
    for wrong in ("s3://bucket/", "hf://org/name", "ftp://h/x", "s3://bucket/a?b"):
        with pytest.raises(BadValue):
            check_task_url(wrong)


@given(st.text(max_size=80))
def test_any_text_is_parsed_or_rejected(text: str) -> None:
    for url in (text, f"s3://{text}", f"hf://{text}", f"file://{text}", f"az://{text}", f"gs://b/{text}"):
        try:
            found = parse(url)
        except BadValue:
            continue
        assert scheme_of(url) == found.scheme
        assert "\0" not in found.key
        if found.scheme in ("hf", "file"):
            assert not {"..", "."} & set(found.key.split("/"))


def test_urls_that_may_be_named_by_their_content() -> None:
    hex, commit = "0123456789abcdef" * 4, "0123456789" * 4
    name = f"df:sha256:{hex}"
    for url in (
        f"https://registry/v2/a/blobs/sha256:{hex}?ns=b", f"http://registry/v2/a/manifests/sha256:{hex}#c",
        f"https://hub/org/name/resolve/{commit}/a/b", f"https://hub/datasets/org/name/resolve/{commit}/a?download=true",
    ):  # fmt: skip
        assert content_of(name, url) == hex
        assert content_of(url, url) == ""
    for url in (
        f"https://registry/v2/a/blobs/sha256:{hex[::-1]}", f"https://registry/{hex}", f"https://hub/org/name/resolve/{commit}",
        f"https://hub/org/name/resolve/{commit}/", "https://hub/org/name/resolve/main/a", f"https://hub/resolve?/org/resolve/{commit}/a",
        f"s3://bucket/sha256:{hex}", "",
    ):  # fmt: skip
        assert content_of(name, url) == ""


def test_digests_in_registry_urls() -> None:
    hex = "0123456789abcdef" * 4
    for url in (
        f"https://registry/v2/a/blobs/sha256:{hex}", f"https://registry:5000/mirror/v2/a/b/blobs/sha256:{hex.upper()}?ns=b",
        f"http://registry/v2/a/manifests/sha256:{hex}#c", f"/v2/a/blobs/sha256%3A{hex}", f"/v2/blobs/blobs/sha256%3a{hex}",
    ):  # fmt: skip
        assert digest_of_blob(url) == f"sha256:{hex}"
        assert expected_of(url, [("Accept", "a")]) == Digest("sha256", hex)
        assert expected_of(url, [("range", "bytes=0-")]) is None
    assert digest_of_blob(f"/v2/a/blobs/sha512:{hex}{hex}") == f"sha512:{hex}{hex}"
    assert expected_of(f"/v2/a/blobs/sha384:{hex}{hex[:32]}", ()) is None
    for url in (
        f"https://registry/v2/blobs/sha256:{hex}", f"https://registry/v1/a/blobs/sha256:{hex}", f"https://r/v2/a/blobs/sha256:{hex[1:]}",
        f"https://r/v2/a/blobs/sha256:{hex}0", f"https://r/v2/a/blobs/sha256:{hex}/", f"https://r/v2/a/blobs/md5:{hex[:32]}",
        f"https://r/v2/a/tags/sha256:{hex}", f"https://r/?/v2/a/blobs/sha256:{hex}", "https://r/v2/a/blobs/uploads/", "",
        f"https://r/v2/a/blobs/sha512:{hex}", f"https://r/v2/a/blobs/sha256:{hex}\n",
    ):  # fmt: skip
        assert digest_of_blob(url) == ""


def test_digests_in_a_hubs_entity_tags() -> None:
    hex, url = "0123456789abcdef" * 4, f"https://hub/org/name/resolve/{'0' * 40}/a"
    assert digest_of_hub_file(url, f'"{hex}"') == digest_of_hub_file("hf://org/name/a", f'"{hex}"') == f"sha256:{hex}"
    for place, tag in ((url, hex), (url, f'W/"{hex}"'), (url, f'"{hex[:40]}"'), (url, ""), ("https://hub/a", f'"{hex}"')):
        assert digest_of_hub_file(place, tag) == ""
