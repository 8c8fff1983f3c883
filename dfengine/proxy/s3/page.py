"""One page of a listing: its keys and common prefixes, selected from all keys in order. Pure.

Source: ListObjectsV2 and ListObjects of Amazon's S3 API reference. Keys are ordered by their UTF-8 bytes, which is by code points.
"""

from __future__ import annotations

import base64
import binascii
from bisect import bisect_left, bisect_right

from dfengine.proxy.s3.error import S3Error
from dfengine.proxy.s3.request import Listed
from dfengine.proxy.s3.xml import document, encoded, timestamp
from dfengine.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


KEY, STORES = "k", "s"
"""Kinds of tokens."""


class Object(Value):
    """size: bytes. etag: quoted, "" unknown. modified: unix seconds, negative: unknown."""

    key: str
    size: int
    etag: str = ""
    modified: float = -1.0
    storage: str = "STANDARD"


class Page(Value):
    """after: where the next page begins, "" for none. token: of the next page, if the store issued one."""

    objects: tuple[Object, ...]
    prefixes: tuple[str, ...]
    after: str = ""
    token: str = ""

    @property
    def truncated(self) -> bool:
        return bool(self.after or self.token)


def page(keys: Sequence[str], objects: Sequence[Object], asked: Listed) -> Page:
    """A page of all objects, in order; keys: theirs. Raises S3Error."""
    after = _key_of(asked.token) if asked.token is not None else asked.after
    at = max(bisect_left(keys, asked.prefix), bisect_right(keys, after))
    found: list[Object] = []
    prefixes: list[str] = []
    last = ""
    while at < len(keys) and keys[at].startswith(asked.prefix):
        key = keys[at]
        end = key.find(asked.delimiter, len(asked.prefix)) if asked.delimiter else -1
        common = key[: end + len(asked.delimiter)] if end >= 0 else ""
        if not common or common != after:
            # The page is full, and at least one entry remains.
            if len(found) + len(prefixes) >= asked.most:
                return Page(tuple(found), tuple(prefixes), last if asked.most else "")
            (prefixes.append(common) if common else found.append(objects[at]))
            last = common or key
        at = bisect_right(keys, common, lo=at, key=lambda each: each[: len(common)]) if common else at + 1
    return Page(tuple(found), tuple(prefixes))


def token_of(key: str, kind: str = KEY) -> str:
    """A continuation token: the next page begins after this key, or at the store's own token."""
    return base64.urlsafe_b64encode(f"{kind}{key}".encode()).decode()


def read_token(token: str) -> tuple[str, str]:
    """Kind and content of a token. Raises S3Error for a token that `token_of` has not made."""
    try:
        text = base64.b64decode(token.encode("ascii"), b"-_", validate=True).decode()
        if text[:1] not in (KEY, STORES) or len(text) < 2:
            raise ValueError
        return text[0], text[1:]
    except (ValueError, binascii.Error):
        raise S3Error("InvalidArgument", "the continuation token was not issued here") from None


def _key_of(token: str) -> str:
    kind, key = read_token(token)
    if kind != KEY:
        raise S3Error("InvalidArgument", "the continuation token was not issued for this bucket")
    return key


def xml(bucket: str, asked: Listed, page: Page) -> bytes:
    """The response's body."""
    name = encoded if asked.encoded else str
    two = asked.version == 2
    tree: list[tuple[str, object]] = [("Name", bucket), ("Prefix", name(asked.prefix))]
    if two:
        tree += [("StartAfter", name(asked.after))] if asked.after else []
        tree += [("ContinuationToken", asked.token)] if asked.token is not None else []
        tree.append(("KeyCount", str(len(page.objects) + len(page.prefixes))))
    else:
        tree.append(("Marker", name(asked.after)))
    tree.append(("MaxKeys", str(asked.most)))
    tree += [("Delimiter", name(asked.delimiter))] if asked.delimiter else []
    tree += [("EncodingType", "url")] if asked.encoded else []
    tree.append(("IsTruncated", "true" if page.truncated else "false"))
    if page.truncated and two:
        tree.append(("NextContinuationToken", token_of(page.token, STORES) if page.token else token_of(page.after)))
    elif page.after:
        tree.append(("NextMarker", name(page.after)))
    for each in page.objects:
        parts = [("Key", name(each.key)), ("LastModified", timestamp(each.modified))]
        parts += [("ETag", each.etag)] if each.etag else []
        tree.append(("Contents", [*parts, ("Size", str(each.size)), ("StorageClass", each.storage)]))
    tree += [("CommonPrefixes", [("Prefix", name(each))]) for each in page.prefixes]
    return document("ListBucketResult", tree)  # type: ignore[arg-type]  # a tree of texts and lists, made above
