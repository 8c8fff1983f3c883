"""Signature Version 4: Amazon's published examples, and signatures by botocore."""

from __future__ import annotations

import time
from calendar import timegm

import pytest
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given, settings
from hypothesis import strategies as st

from dfengine.errors import BadValue
from dfengine.proxy.s3.error import S3Error
from dfengine.proxy.s3.signature import EMPTY, SKEW, check, parse_keys

ACCESS, SECRET = "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
KEYS = {"AKIDOTHER": "another secret", ACCESS: SECRET}
THEN = float(timegm((2013, 5, 24, 0, 0, 0)))
SCOPE = f"{ACCESS}/20130524/us-east-1/s3/aws4_request"

Fields = list[tuple[bytes, bytes]]


def example(signature: str, *more: tuple[bytes, bytes]) -> Fields:
    """Return the fields of Amazon's examples, "Signature Calculations for the Authorization Header"."""
    names = ";".join(sorted(name.decode() for name, _ in (*more, (b"host", b""), (b"x-amz-content-sha256", b""), (b"x-amz-date", b""))))
    return [
        (b"Host", b"examplebucket.s3.amazonaws.com"), *more,
        (b"x-amz-content-sha256", EMPTY.encode()), (b"x-amz-date", b"20130524T000000Z"),
        (b"Authorization", f"AWS4-HMAC-SHA256 Credential={SCOPE},SignedHeaders={names},Signature={signature}".encode()),
    ]  # fmt: skip


PUBLISHED = [
    (b"/test.txt", example("f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41", (b"range", b"bytes=0-9"))),
    (b"/?lifecycle", example("fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543")),
    (b"/?max-keys=2&prefix=J", example("34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7")),
]
PRESIGNED = (
    b"/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=" + SCOPE.replace("/", "%2F").encode()
    + b"&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"
    b"&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
)
HOST: Fields = [(b"Host", b"examplebucket.s3.amazonaws.com")]


def refused(method: str, target: bytes, fields: Fields, now: float = THEN) -> str:
    with pytest.raises(S3Error) as error:
        check(method, target, fields, KEYS, now)
    return error.value.code


@pytest.mark.parametrize(("target", "fields"), PUBLISHED)
def test_amazons_published_examples_are_accepted(target: bytes, fields: Fields) -> None:
    assert check("GET", target, fields, KEYS, THEN) == ACCESS
    assert check("GET", target, fields, KEYS, THEN + SKEW) == ACCESS
    assert refused("GET", target, fields, THEN + SKEW + 1) == "RequestTimeTooSkewed"
    assert refused("GET", target, fields, THEN - SKEW - 1) == "RequestTimeTooSkewed"
    assert refused("HEAD", target, fields) == "SignatureDoesNotMatch"
    assert refused("GET", target + b"x", fields) == "SignatureDoesNotMatch"


def test_amazons_published_presigned_url_is_accepted() -> None:
    assert check("GET", PRESIGNED, HOST, KEYS, THEN) == ACCESS
    assert check("GET", PRESIGNED, HOST, KEYS, THEN + 86400) == ACCESS
    assert refused("GET", PRESIGNED, HOST, THEN + 86401) == "AccessDenied"
    assert refused("GET", PRESIGNED, HOST, THEN - SKEW - 1) == "AccessDenied"
    assert refused("GET", PRESIGNED + b"&versionId=1", HOST) == "SignatureDoesNotMatch"
    assert refused("GET", PRESIGNED, [(b"Host", b"other")]) == "SignatureDoesNotMatch"
    assert refused("GET", PRESIGNED, [*HOST, (b"x-amz-meta-a", b"1")]) == "AccessDenied"


@pytest.mark.parametrize(
    ("target", "fields", "code"),
    [
        (b"/a", HOST, "AccessDenied"),
        (b"/a", [*HOST, (b"Authorization", b"AWS key:signature")], "InvalidRequest"),
        (b"/a?AWSAccessKeyId=AKIDOTHER&Signature=x%3D&Expires=1893456000", HOST, "InvalidRequest"),
        (b"/a", [*HOST, (b"Authorization", b"AWS4-HMAC-SHA256 nonsense")], "AuthorizationHeaderMalformed"),
        (b"/a", [*HOST, (b"Authorization", b"AWS4-ECDSA-P256-SHA256 Credential=a")], "InvalidRequest"),
        (PRESIGNED, PUBLISHED[0][1], "InvalidArgument"),
        (PRESIGNED.replace(b"Expires=86400", b"Expires=604801"), HOST, "AuthorizationQueryParametersError"),
        (PRESIGNED.replace(b"Expires=86400", b"Expires=-1"), HOST, "AuthorizationQueryParametersError"),
        (PRESIGNED.replace(b"&X-Amz-Date=20130524T000000Z", b""), HOST, "AuthorizationQueryParametersError"),
        (PRESIGNED.replace(b"20130524T000000Z", b"20130525T000000Z"), HOST, "AccessDenied"),  # it becomes valid tomorrow
        (PRESIGNED.replace(b"20130524T000000Z", b"20139924T000000Z"), HOST, "AccessDenied"),
        (PRESIGNED.replace(b"%2Fs3%2F", b"%2Fec2%2F"), HOST, "AuthorizationQueryParametersError"),
        (PRESIGNED.replace(b"AKIAIOSFODNN7EXAMPLE", b"AKIDOTHER"), HOST, "SignatureDoesNotMatch"),
        (PRESIGNED.replace(b"AKIAIOSFODNN7EXAMPLE", b"AKIDUNKNOWN"), HOST, "InvalidAccessKeyId"),
        (PRESIGNED.replace(b"SignedHeaders=host", b"SignedHeaders=range"), HOST, "AccessDenied"),
        (b"/test.txt", [*PUBLISHED[0][1], (b"x-amz-date", b"20130524T000000Z")], "SignatureDoesNotMatch"),
        (b"/test.txt", [field for field in PUBLISHED[0][1] if field[0] != b"x-amz-date"], "AccessDenied"),
        (b"/test.txt", [*HOST, (b"x-amz-content-sha256", b"0" * 64), *PUBLISHED[0][1][1:2], *PUBLISHED[0][1][3:]],
         "XAmzContentSHA256Mismatch"),
        (b"/test.txt", [*HOST, (b"x-amz-content-sha256", b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD"), *PUBLISHED[0][1][3:]], "NotImplemented"),
    ],
)  # fmt: skip
def test_invalid_signatures_are_refused_with_the_code_of_s3(target: bytes, fields: Fields, code: str) -> None:
    assert refused("GET", target, fields) == code


TEXTS = st.text(st.characters(codec="utf-8"), max_size=20)


@settings(max_examples=60, deadline=None)
@given(TEXTS.filter(bool), st.dictionaries(TEXTS.filter(bool), TEXTS, max_size=3), st.booleans(), st.booleans(),
       st.sampled_from(["GET", "HEAD"]))  # fmt: skip
def test_signatures_by_botocore_are_accepted(key: str, params: dict[str, str], by_query: bool, header: bool, method: str) -> None:
    from urllib.parse import quote, urlsplit

    params = {name: value for name, value in params.items() if not name.startswith("X-Amz-")}
    query = "&".join(f"{quote(name, safe='~')}={quote(value, safe='~')}" for name, value in params.items())
    url = f"http://127.0.0.1:65001/s3/models/{quote(key, safe='/~')}" + (f"?{query}" if query else "")
    request = AWSRequest(method, url, headers={"Range": "bytes=0-1", "x-amz-checksum-mode": "ENABLED"} if header else {})
    made = (S3SigV4QueryAuth if by_query else S3SigV4Auth)(Credentials(ACCESS, SECRET), "s3", "eu-west-1")
    made.add_auth(request)
    there = urlsplit(request.url)
    target = there.path + (f"?{there.query}" if there.query else "")
    fields = [(b"Host", b"127.0.0.1:65001"), *((name.encode(), str(value).encode()) for name, value in request.headers.items())]
    assert check(method, target.encode(), fields, KEYS, time.time()) == ACCESS
    with pytest.raises(S3Error) as error:
        check(method, target.replace("models", "model", 1).encode(), fields, KEYS, time.time())
    assert error.value.code == "SignatureDoesNotMatch"
    with pytest.raises(S3Error):
        check(method, target.encode(), fields, {ACCESS: SECRET[1:]}, time.time())


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200), st.lists(st.tuples(st.sampled_from([b"Authorization", b"x-amz-date", b"Date", b"Host", b"x-amz-a"]),
       st.binary(max_size=80)), max_size=5))  # fmt: skip
def test_arbitrary_requests_are_refused(target: bytes, fields: Fields) -> None:
    with pytest.raises(S3Error):
        check("GET", b"/" + target, fields, KEYS, THEN)


def test_a_file_of_keys_is_parsed() -> None:
    assert parse_keys("# a comment\n\nAKID  secret-1/+=\n  OTHER\tsecret#12\r\n", "f") == {"AKID": "secret-1/+=", "OTHER": "secret#12"}


@pytest.mark.parametrize("text", [
    "", "#", "AKID", "AKID short", "AKID secret-1 more", "A/B secret-1", "AKID secret-1\nAKID secret-2", "A\u00e9D secret-1",
])  # fmt: skip
def test_invalid_files_of_keys_are_rejected_without_quoting_secrets(text: str) -> None:
    with pytest.raises(BadValue) as error:
        parse_keys(text, "f")
    assert "secret-" not in str(error.value)
