"""Path-style S3 requests. Pure.

    GET /                          ListBuckets
    HEAD /BUCKET                   HeadBucket
    GET /BUCKET?location           GetBucketLocation
    GET /BUCKET?list-type=2        ListObjectsV2
    GET /BUCKET                    ListObjects
    GET, HEAD /BUCKET/KEY          GetObject, HeadObject; ?partNumber=N, ?versionId=ID

Source: Amazon's S3 API reference. Requests that write are refused with MethodNotAllowed, unsupported ones with NotImplemented.
A key is the path after the bucket, decoded once; `/` and `.` have no special meaning in it.
"""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

from dfengine.location import MAX_KEY
from dfengine.proxy.s3.error import S3Error
from dfengine.value import Value

BUCKETS, HEAD_BUCKET, BUCKET_LOCATION, LIST, OBJECT = "buckets", "head-bucket", "location", "list", "object"

MAX_PARAMETERS = 64
MAX_PARTS = 10000
"""Maximum number of parts of an object."""

MAX_KEYS = 1000
"""Maximum number of keys in a listing's response."""

OVERRIDES = {
    "response-cache-control": b"Cache-Control", "response-content-disposition": b"Content-Disposition",
    "response-content-encoding": b"Content-Encoding", "response-content-language": b"Content-Language",
    "response-content-type": b"Content-Type", "response-expires": b"Expires",
}  # fmt: skip
"""Parameters of GetObject that replace fields of its response."""

_BUCKET_PARTS = frozenset((
    "accelerate", "acl", "analytics", "cors", "encryption", "intelligent-tiering", "inventory", "lifecycle", "logging", "metrics",
    "notification", "object-lock", "ownershipControls", "policy", "policyStatus", "publicAccessBlock", "replication", "requestPayment",
    "tagging", "uploads", "versioning", "versions", "website", "session", "metadataTable", "abac",
))  # fmt: skip
_OBJECT_PARTS = frozenset((
    "acl", "attributes", "legal-hold", "restore", "retention", "select", "tagging", "torrent", "uploadId", "renameObject",
))
"""Parameters that select another, unsupported operation."""

_NUMBER = re.compile(r"(?a)[+-]?\d{1,19}")
_OVERRIDE = re.compile(r"[\t -~\x80-\xff]*")


class Listed(Value):
    """Parameters of a listing. version: 1 or 2. after: the key or common prefix after which it begins. token: from an earlier response, or
    None. encoded: names in the response are percent-encoded."""

    version: int
    prefix: str
    delimiter: str
    most: int
    after: str
    token: str | None
    encoded: bool


class Request(Value):
    """kind: one of the above. key, version: of OBJECT, else "". listed: of LIST. overrides: fields of the response.

    part: number of the requested part of OBJECT, 0: all of it.
    """

    kind: str
    bucket: str = ""
    key: str = ""
    version: str = ""
    listed: Listed | None = None
    overrides: tuple[tuple[bytes, bytes], ...] = ()
    part: int = 0


def parse(method: str, target: bytes, root: str) -> Request:
    """Parse a request's target in origin form below the path `root`. Raises S3Error."""
    path, _, query = target.partition(b"?")
    if not path.startswith(root.encode()) or path[len(root) : len(root) + 1] not in (b"", b"/"):
        raise S3Error("InvalidURI", f"the paths of buckets begin with {root}/")
    bucket, _, key = path[len(root) + 1 :].partition(b"/")
    place, name = _decoded(bucket), _decoded(key)
    if method not in ("GET", "HEAD"):
        raise S3Error("MethodNotAllowed", "this is a read-only view of a bucket: GET and HEAD are served")
    given = parameters(query)
    if not place:
        if key or method != "GET":
            raise S3Error("MethodNotAllowed" if not key else "InvalidURI", "the request names no bucket")
        return Request(BUCKETS)
    if name:
        return _of_object(place, name, given)
    if method == "HEAD":
        return Request(HEAD_BUCKET, place)
    if "location" in given:
        return Request(BUCKET_LOCATION, place)
    if found := sorted(_BUCKET_PARTS & given.keys()):
        raise S3Error("NotImplemented", f"?{found[0]} of a bucket is not served here")
    return Request(LIST, place, listed=_of_listing(given))


def _of_object(bucket: str, key: str, given: dict[str, str]) -> Request:
    if len(key.encode()) > MAX_KEY:
        raise S3Error("KeyTooLongError", f"the key has more than {MAX_KEY} bytes")
    if found := sorted(_OBJECT_PARTS & given.keys()):
        raise S3Error("NotImplemented", f"?{found[0]} of an object is not served here")
    overrides = []
    for name, field in OVERRIDES.items():
        if name in given:
            if not _OVERRIDE.fullmatch(given[name]):
                raise S3Error("InvalidArgument", f"{name} is not valid in a header")
            overrides.append((field, given[name].encode("latin-1")))
    version, part = given.get("versionId", ""), given.get("partNumber")
    if part is not None and not (_NUMBER.fullmatch(part) and 1 <= int(part) <= MAX_PARTS):
        raise S3Error("InvalidArgument", f"Part number must be an integer between 1 and {MAX_PARTS}, inclusive")
    return Request(OBJECT, bucket, key, version, overrides=tuple(overrides), part=int(part or 0))


def _of_listing(given: dict[str, str]) -> Listed:
    kind = given.get("list-type", "1")
    if kind not in ("1", "2"):
        raise S3Error("InvalidArgument", "list-type is 2, or absent")
    encoding = given.get("encoding-type", "")
    if encoding not in ("", "url"):
        raise S3Error("InvalidArgument", "encoding-type is url, or absent")
    text = given.get("max-keys", "")
    if text and not _NUMBER.fullmatch(text):
        raise S3Error("InvalidArgument", "max-keys is not a number")
    most = int(text or MAX_KEYS)
    if not 0 <= most < 1 << 31:
        raise S3Error("InvalidArgument", "max-keys is a number from 0 to 2147483647")
    token = given.get("continuation-token") if kind == "2" else None
    if token == "":
        raise S3Error("InvalidArgument", "the continuation token is empty")
    after = given.get("start-after" if kind == "2" else "marker", "")
    return Listed(int(kind), given.get("prefix", ""), given.get("delimiter", ""), min(most, MAX_KEYS), after, token, encoding == "url")


def parameters(query: bytes) -> dict[str, str]:
    """Decoded parameters; the first of several with one name counts. Raises S3Error."""
    found: dict[str, str] = {}
    parts = query.split(b"&", MAX_PARAMETERS) if query else []
    if len(parts) > MAX_PARAMETERS:
        raise S3Error("InvalidArgument", f"more than {MAX_PARAMETERS} parameters")
    for part in parts:
        name, _, value = part.partition(b"=")
        if name:
            found.setdefault(_decoded(name.replace(b"+", b" ")), _decoded(value.replace(b"+", b" ")))
    return found


def _decoded(text: bytes) -> str:
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeDecodeError:
        raise S3Error("InvalidURI", "the request's path or query is not UTF-8") from None
