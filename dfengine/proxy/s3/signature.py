"""Verifies AWS Signature Version 4 of read requests: in the header Authorization, or in the query of a presigned URL. Pure.

Sources: "Authenticating Requests (AWS Signature Version 4)" of Amazon's S3 API reference, "Create a signed AWS API request" of the IAM user
guide. The path is signed as S3 does: decoded once and encoded again, without normalization of its segments.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from calendar import timegm
from datetime import UTC, datetime
from urllib.parse import quote, unquote_to_bytes

from dfengine.errors import BadValue
from dfengine.proxy.s3.error import S3Error
from dfengine.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Fields = Sequence[tuple[bytes, bytes]]

ALGORITHM = "AWS4-HMAC-SHA256"
SKEW = 900.0
"""Maximum difference in seconds between a signature's time and this host's."""

MAX_VALIDITY = 7 * 86400
"""Maximum validity in seconds of a presigned URL."""

MAX_KEYS = 10_000
MAX_FILE = 4 << 20
"""Maximum number of bytes of a file with keys."""

UNSIGNED = "UNSIGNED-PAYLOAD"
EMPTY = hashlib.sha256().hexdigest()

_OTHER = f"the signature {{}} is not supported here: use {ALGORITHM}, as by boto3's Config(signature_version='s3v4')"

_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256\s+Credential=([^,\s]{1,512})\s*,\s*SignedHeaders=([a-z0-9;._!#$%&'*+^`|~-]{1,4096})\s*,"
    r"\s*Signature=([0-9a-f]{64})\s*"
)
_TIME = re.compile(r"(?a)\d{8}T\d{6}Z")
_NAMES = re.compile(r"[a-z0-9._!#$%&'*+^`|~-]+(?:;[a-z0-9._!#$%&'*+^`|~-]+)*")
_KEY = re.compile(r"[!-.0-9:-~]{3,128}")


class _Signed(Value):
    """The signature fields of a request. moment: `YYYYMMDDTHHMMSSZ`. scope: of the credential, after the access key."""

    access: str
    scope: str
    moment: str
    names: tuple[str, ...]
    signature: str


def parse_keys(text: str, where: str) -> dict[str, str]:
    """Access key -> secret, from lines with both, separated by blanks; `#` begins a comment. Raises BadValue, without any secret."""
    found: dict[str, str] = {}
    for n, line in enumerate(text.splitlines(), 1):
        parts = line.partition("#")[0].split() if line.lstrip().startswith("#") else line.split()
        if not parts:
            continue
        if len(parts) != 2 or not _KEY.fullmatch(parts[0]) or not re.fullmatch(r"[!-~]{8,256}", parts[1]):
            raise BadValue(f"{where}: line {n} is not an access key and a secret of 8 characters or more, with a blank between them")
        if parts[0] in found:
            raise BadValue(f"{where}: line {n} repeats an access key of another line")
        found[parts[0]] = parts[1]
    if not found or len(found) > MAX_KEYS:
        raise BadValue(f"{where} has {len(found) or 'no'} keys: it needs 1 to {MAX_KEYS}, each as a line ACCESSKEY SECRET")
    return found


def check(
    method: str, target: bytes, fields: Fields, keys: Mapping[str, str], now: float, service: str = "s3"
) -> str:  # fmt: skip
    """The access key whose secret signed this request without a body. now: unix seconds. Raises S3Error."""
    path, _, query = target.partition(b"?")
    pairs = _pairs(query)
    given = dict(reversed(pairs))
    authorization = _field(fields, b"authorization")
    by_query = "X-Amz-Algorithm" in given or "X-Amz-Signature" in given
    if authorization and by_query:
        raise S3Error("InvalidArgument", "a request is signed in its header or in its query, not in both")
    if by_query:
        signed, payload = _of_query(given, now), _field(fields, b"x-amz-content-sha256") or UNSIGNED
        pairs = [pair for pair in pairs if pair[0] != "X-Amz-Signature"]
    elif {"AWSAccessKeyId", "Signature"} & given.keys():
        raise S3Error("InvalidRequest", _OTHER.format("of the presigned URL is of version 2, which"))
    elif authorization:
        signed, payload = _of_header(authorization, fields, now), _field(fields, b"x-amz-content-sha256") or EMPTY
    else:
        raise S3Error("AccessDenied", "the request is not signed, but signatures are required")
    scope = signed.scope.split("/")
    if len(scope) != 4 or scope[0] != signed.moment[:8] or scope[2:] != [service, "aws4_request"]:
        raise _malformed(by_query, f"the credential's scope is not DATE/REGION/{service}/aws4_request, with the date of the request")
    if payload not in (UNSIGNED, EMPTY):
        if payload.startswith("STREAMING-"):
            raise S3Error("NotImplemented", "uploads are not supported: a read request has no streaming payload")
        raise S3Error("XAmzContentSHA256Mismatch", "x-amz-content-sha256 is not that of an empty body")
    unsigned = sorted({name.lower() for name, _ in fields if name.lower().startswith(b"x-amz-")} - {name.encode() for name in signed.names})
    if by_query:  # clients may add the empty body's hash unsigned
        unsigned = [name for name in unsigned if name != b"x-amz-content-sha256"]
    if "host" not in signed.names or unsigned:
        raise S3Error("AccessDenied", f"the header {unsigned[0].decode('latin-1') if unsigned else 'host'} is not signed")
    secret = keys.get(signed.access)
    if secret is None:
        raise S3Error("InvalidAccessKeyId", "the access key is not known here")
    request = canonical(method, path, pairs, fields, signed.names, payload)
    if not hmac.compare_digest(signature(secret, signed.moment, signed.scope, request), signed.signature):
        raise S3Error("SignatureDoesNotMatch", "the signature is not that of this request with the key's secret")
    return signed.access


def signature(secret: str, moment: str, scope: str, request: bytes) -> str:
    """The signature of a canonical request, in hex."""
    string_to_sign = f"{ALGORITHM}\n{moment}\n{scope}\n{hashlib.sha256(request).hexdigest()}"
    key = f"AWS4{secret}".encode()
    for part in (*scope.split("/"), string_to_sign):
        key = hmac.digest(key, part.encode(), "sha256")
    return key.hex()


def canonical(
    method: str, path: bytes, pairs: list[tuple[str, str]], fields: Fields, names: tuple[str, ...], payload: str
) -> bytes:  # fmt: skip
    """The canonical request. pairs: parameters, decoded, without the signature."""
    query = "&".join(f"{name}={value}" for name, value in sorted((_quoted(name), _quoted(value)) for name, value in pairs))
    values = dict.fromkeys((name.encode() for name in names), b"")
    seen: set[bytes] = set()
    for name, value in fields:
        lower = name.lower()
        if lower in values:
            text = b" ".join(value.split())
            values[lower] = values[lower] + b"," + text if lower in seen else text
            seen.add(lower)
    lines = b"".join(b"%b:%b\n" % each for each in values.items())
    there = quote(unquote_to_bytes(path), safe="/~") or "/"
    return b"\n".join((method.encode(), there.encode(), query.encode(), lines, ";".join(names).encode(), payload.encode()))


def _of_header(authorization: str, fields: Fields, now: float) -> _Signed:
    if not authorization.startswith("AWS4-HMAC-SHA256"):
        raise S3Error("InvalidRequest", _OTHER.format("is of another version, which"))
    match = _AUTHORIZATION.fullmatch(authorization)
    if match is None:
        raise _malformed(False, "the header Authorization is not Credential=..., SignedHeaders=..., Signature=...")
    moment = _field(fields, b"x-amz-date") or _dated(_field(fields, b"date"))
    if abs(_seconds(moment) - now) > SKEW:
        raise S3Error("RequestTimeTooSkewed", "the request's time and this host's differ by more than 15 minutes", (
            ("RequestTime", moment), ("ServerTime", datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")),
            ("MaxAllowedSkewMilliseconds", "900000"),
        ))  # fmt: skip
    access, _, scope = match[1].partition("/")
    return _Signed(access, scope, moment, tuple(match[2].split(";")), match[3])


def _of_query(given: dict[str, str], now: float) -> _Signed:
    wanted = ("X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires", "X-Amz-SignedHeaders", "X-Amz-Signature")
    if missing := [name for name in wanted if name not in given]:
        raise _malformed(True, f"a presigned URL needs {missing[0]}")
    algorithm, credential, moment, expires, names, signature = (given[name] for name in wanted)
    if algorithm != ALGORITHM:
        raise _malformed(True, f"X-Amz-Algorithm is not {ALGORITHM}")
    if not re.fullmatch(r"(?a)\d{1,7}", expires) or not 0 < int(expires) <= MAX_VALIDITY:
        raise _malformed(True, f"X-Amz-Expires is not a number of seconds from 1 to {MAX_VALIDITY}")
    if not _NAMES.fullmatch(names) or not re.fullmatch("[0-9a-f]{64}", signature):
        raise _malformed(True, "X-Amz-SignedHeaders or X-Amz-Signature is malformed")
    begins = _seconds(moment)
    if begins - now > SKEW:
        raise S3Error("AccessDenied", "Request is not valid yet")
    if now > begins + int(expires):
        raise S3Error("AccessDenied", "Request has expired")
    access, _, scope = credential.partition("/")
    return _Signed(access, scope, moment, tuple(names.split(";")), signature)


def _malformed(by_query: bool, why: str) -> S3Error:
    return S3Error("AuthorizationQueryParametersError" if by_query else "AuthorizationHeaderMalformed", why)


def _seconds(moment: str) -> float:
    if not _TIME.fullmatch(moment):
        raise S3Error("AccessDenied", "the request does not state when it was signed, as YYYYMMDDTHHMMSSZ in X-Amz-Date")
    parts = (moment[:4], moment[4:6], moment[6:8], moment[9:11], moment[11:13], moment[13:15])
    year, month, day, hour, minute, second = map(int, parts)
    if not (1 <= month <= 12 and 1 <= day <= 31 and hour < 24 and minute < 60 and second <= 60 and year >= 1970):
        raise S3Error("AccessDenied", "X-Amz-Date is not a date")
    return float(timegm((year, month, day, hour, minute, second)))


def _dated(date: str) -> str:
    """A Date field in the form of X-Amz-Date, "" if it is invalid."""
    from dfengine.origin.head import seconds

    found = seconds(date)
    return datetime.fromtimestamp(found, UTC).strftime("%Y%m%dT%H%M%SZ") if found is not None and 0 <= found < 1e11 else ""


def _field(fields: Fields, name: bytes) -> str:
    return next((value.decode("latin-1").strip() for each, value in fields if each.lower() == name), "")


def _pairs(query: bytes) -> list[tuple[str, str]]:
    """Decoded parameters; bytes that are not UTF-8 are escaped as in PEP 383."""
    parts = [part.partition(b"=") for part in query.split(b"&") if part]
    return [(_decoded(name), _decoded(value)) for name, _, value in parts]


def _decoded(text: bytes) -> str:
    return unquote_to_bytes(text.replace(b"+", b" ")).decode("utf-8", "surrogateescape")


def _quoted(text: str) -> str:
    return quote(text, safe="~", errors="surrogateescape")
