"""Addresses of objects in object stores, and signatures for them."""

from __future__ import annotations

import calendar
import hashlib
import json
import os
import sys
import time
from urllib.parse import parse_qs, parse_qsl, quote, unquote, urlsplit

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from hypothesis import given
from hypothesis import strategies as st

from dfengine.errors import BadValue, LocalError
from dfengine.location import Location, parse
from dfengine.origin import object_store
from dfengine.origin.object_address import address
from dfengine.origin.object_store import NoCredentials, is_plain, signed_url
from dfengine.origin.signature import CLOCK_SKEW, azure_signed, signed, without_signature

NAMES = ("AWS_", "GOOGLE_", "AZURE_", "AZURITE_", "STORAGE_EMULATOR_HOST", "HF_")

KEYS = {"AWS_ACCESS_KEY_ID": "AK", "AWS_SECRET_ACCESS_KEY": "secret-key"}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(NAMES):
            monkeypatch.delenv(name)
    object_store._kept.cache_clear()
    object_store._missing.clear()


PLACES = [
    ("s3://bucket/a b+c", {}, "https://s3.us-east-1.amazonaws.com/bucket/a%20b%2Bc"),
    ("s3://bucket/k", {"AWS_REGION": "eu-west-1"}, "https://s3.eu-west-1.amazonaws.com/bucket/k"),
    ("s3://bucket/k", {"AWS_VIRTUAL_HOSTED_STYLE_REQUEST": "true", "AWS_REGION": "eu-west-1"}, "https://bucket.s3.eu-west-1.amazonaws.com/k"),
    ("s3://bucket/k", {"AWS_ENDPOINT_URL": "https://h:9000/"}, "https://h:9000/bucket/k"),
    ("s3://bucket/k", {"AWS_ENDPOINT_URL": "http://127.0.0.1:9000", "AWS_ALLOW_HTTP": "true"}, "http://127.0.0.1:9000/bucket/k"),
    ("gs://bucket/a#b", {}, "https://storage.googleapis.com/bucket/a%23b"),
    ("az://container/a b", {"AZURE_STORAGE_ACCOUNT_NAME": "acc"}, "https://acc.blob.core.windows.net/container/a%20b"),
    ("az://container/b", {"AZURE_STORAGE_USE_EMULATOR": "true"}, "http://127.0.0.1:10000/devstoreaccount1/container/b"),
    ("az://acc.blob.core.windows.net/container/b", {}, "https://acc.blob.core.windows.net/container/b"),
]


def read(url: str) -> Location:
    return parse(url.replace(" ", "%20").replace("#", "%23"))


@pytest.mark.parametrize(("url", "given", "found"), PLACES)
def test_an_objects_address_follows_from_the_environment(url: str, given: dict[str, str], found: str) -> None:
    assert address(read(url), given) == found


@pytest.mark.parametrize(("url", "given", "found"), [each for each in PLACES if each[0][:2] in ("s3", "az")])
def test_obstore_signs_for_the_same_address(url: str, given: dict[str, str], found: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**KEYS, "AZURE_STORAGE_ACCOUNT_KEY": "a2V5", **given}.items():
        monkeypatch.setenv(name, value)
    told = signed_url(read(url))
    assert unquote(told.partition("?")[0]) == unquote(found)
    assert {"X-Amz-Signature", "sig"} & set(parse_qs(urlsplit(told).query))
    assert without_signature(told) == told.partition("?")[0]


def test_invalid_addresses_and_variables_are_refused() -> None:
    for url, told, said in (
        ("az://container/b", {}, "AZURE_STORAGE_ACCOUNT_NAME"),
        ("s3://b12/k", {"AWS_ENDPOINT_URL": "http://h"}, "AWS_ALLOW_HTTP=true"),
        ("s3://b12/k", {"AWS_ENDPOINT_URL": "ftp://h"}, "AWS_ENDPOINT_URL is not"),
        ("s3://b12/k", {"AWS_ENDPOINT_URL": "https://user:secret@h"}, "AWS_ENDPOINT_URL is not"),
        ("s3://b12/k", {"AWS_REGION": "x/../y"}, "AWS_REGION is no region"),
        ("s3://b12/a/../k", {}, "segment"),
        ("s3://b12/./k", {}, "segment"),
    ):
        with pytest.raises(BadValue, match=said) as error:
            address(read(url), told)
        assert "secret" not in str(error.value)


def test_a_version_is_part_of_the_query() -> None:
    assert address(parse("s3://bucket/k?versionId=a%2Bb"), {}).endswith("/bucket/k?versionId=a%2Bb")
    assert address(parse("gs://bucket/k?versionId=17"), {}).endswith("/bucket/k?generation=17")


def test_a_signature_matches_the_published_example() -> None:
    url = signed("https://examplebucket.s3.amazonaws.com/test.txt", "us-east-1", "AKIAIOSFODNN7EXAMPLE",
                 "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "", 1369353600, 86400)
    assert url.endswith("&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404")


@pytest.mark.parametrize("key", ["/lead", "a//b", "dir/", "a\nb", "a\tb"])
def test_keys_that_obstore_would_change_are_signed_by_us(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    location = Location("s3", "bucket", key)
    assert not is_plain(location)
    with pytest.raises(NoCredentials, match="AWS_ACCESS_KEY_ID"):
        signed_url(location)
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    path = urlsplit(signed_url(location)).path
    assert unquote(path) == f"/bucket/{key}"


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=40))
def test_a_signed_url_has_exactly_the_objects_key(key: str) -> None:
    if any(part in (".", "..") for part in key.split("/")):
        return
    location = Location("s3", "bucket", key)
    os.environ.update(KEYS)
    try:
        assert unquote(urlsplit(signed_url(location)).path, errors="strict") == f"/bucket/{key}"
    finally:
        for name in KEYS:
            del os.environ[name]


def test_without_credentials_the_reason_is_reported_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:1")
    for _ in range(2):
        with pytest.raises(NoCredentials, match="no credentials were found"):
            signed_url(parse("s3://bucket/k"))
    monkeypatch.setenv("AWS_SKIP_SIGNATURE", "true")
    with pytest.raises(NoCredentials, match="AWS_SKIP_SIGNATURE"):
        signed_url(parse("s3://bucket/k"))


SPECIAL = ["plain", "a b", "a%20b", "a+b", "a?b", "a#b", "ü/é", "a~b'()*!", "a=b&c", '"q"', "a:b@c;d,e$f", "[x]", "{y}|^`\\", "<>"]


@pytest.mark.parametrize("key", SPECIAL)
def test_our_and_obstores_signatures_for_s3_agree(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    location = Location("s3", "bucket", key)
    told = parse_qs(urlsplit(signed_url(location)).query)
    now = calendar.timegm(time.strptime(told["X-Amz-Date"][0], "%Y%m%dT%H%M%SZ"))
    own = signed(address(location, {}), "us-east-1", "AK", "secret-key", "", now, 3600)
    assert parse_qs(urlsplit(own).query)["X-Amz-Signature"] == told["X-Amz-Signature"]


@pytest.mark.parametrize("key", SPECIAL)
def test_a_google_signature_is_of_the_keys_own_path(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the rules of "V4 signing process" of Google's documentation."""
    secret = rsa.generate_private_key(65537, 2048)
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    account = {"private_key": secret.private_bytes(*form).decode(), "private_key_id": "1", "client_email": "a@b.c", "disable_oauth": False}
    monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT_KEY", json.dumps(account))
    location = Location("gs", "bucket", key)
    told = urlsplit(signed_url(location))
    assert f"https://storage.googleapis.com{told.path}" == address(location, {})
    query = dict(parse_qsl(told.query))
    signature = bytes.fromhex(query.pop("X-Goog-Signature"))
    text = "&".join(sorted(f"{quote(name, safe='~')}={quote(value, safe='~')}" for name, value in query.items()))
    asked = f"GET\n/bucket/{quote(key, safe='/~')}\n{text}\nhost:storage.googleapis.com\n\nhost\nUNSIGNED-PAYLOAD"
    scope = query["X-Goog-Credential"].partition("/")[2]
    said = f"GOOG4-RSA-SHA256\n{query['X-Goog-Date']}\n{scope}\n{hashlib.sha256(asked.encode()).hexdigest()}"
    secret.public_key().verify(signature, said.encode(), padding.PKCS1v15(), hashes.SHA256())


def test_our_and_obstores_signatures_for_azure_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "acc")
    with pytest.raises(NoCredentials, match="AZURE_STORAGE_ACCOUNT_KEY"):
        signed_url(Location("az", "container", "a b"))
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "a2V5")
    told = parse_qs(urlsplit(signed_url(Location("az", "container", "dir/b"))).query)
    begin, end = (calendar.timegm(time.strptime(told[name][0], "%Y-%m-%dT%H:%M:%SZ")) for name in ("st", "se"))
    own = azure_signed("https://h/x", "acc", "container", "dir/b", b"key", begin + CLOCK_SKEW, end - begin - CLOCK_SKEW)
    assert parse_qs(urlsplit(own).query)["sig"] == told["sig"]
    assert "sig=" in signed_url(Location("az", "container", "a b?#//x"))


def test_a_missing_extra_is_named_in_the_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(LocalError, match=r"dfengine\[objects\]"):
        signed_url(parse("s3://bucket/k"))


def test_an_azure_shared_access_signature_is_used_unchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "acc")
    monkeypatch.setenv("AZURE_STORAGE_SAS_TOKEN", "?sv=2023&sig=x%3D")
    assert signed_url(parse("az://container/b")) == "https://acc.blob.core.windows.net/container/b?sv=2023&sig=x%3D"
    with pytest.raises(NoCredentials, match="more than this object"):
        signed_url(parse("az://container/b"), for_other_host=True)


def test_without_signature_keeps_parameters_that_select_bytes() -> None:
    assert without_signature("https://h/b/k?versionId=1&X-Amz-Signature=x&partNumber=2#f") == "https://h/b/k?versionId=1&partNumber=2"
    assert without_signature("https://h/b/k?sig=x&SE=y") == "https://h/b/k"


def test_changed_variables_change_the_signature(monkeypatch: pytest.MonkeyPatch) -> None:
    location = parse("s3://bucket/key")
    for name, value in {**KEYS, "AWS_ENDPOINT_URL": "https://one:9000"}.items():
        monkeypatch.setenv(name, value)
    assert signed_url(location).startswith("https://one:9000/bucket/key?")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "https://other:9000")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "OTHER")
    told = signed_url(location)
    assert told.startswith("https://other:9000/bucket/key?")
    assert parse_qs(urlsplit(told).query)["X-Amz-Credential"][0].startswith("OTHER/")
