"""The head of a copy in an object store: the file's version, and the digest of each of its pieces. Pure.

    TT/TASK/head        the head, sealed: HMAC-SHA256 in hex, a line break, JSON
    TT/TASK/data-NAME   the file, NAME for its generation

Both are below the store's prefix and `df1/`; TT are the first two digits of the task's id. The seal's key is not in the store, so a writer
of the store cannot forge content: a piece is accepted only with the BLAKE3 in a sealed head.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64decode, b64encode
from collections.abc import Iterable

import msgspec

from dfengine._piece import Geometry
from dfengine.errors import BadValue
from dfengine.origin.version import Version

DIGEST = 32
"""Size of a piece's digest in bytes: its full BLAKE3."""

MAX_LENGTH = 512 << 30
"""Longest file that is stored, in bytes: its parts, of which a store accepts 10,000, must be small enough to be held in memory."""

MAX_HEAD = 16 << 20
"""Longest head in bytes."""


class StoredHead(msgspec.Struct, kw_only=True, frozen=True):
    """The head's content. task: its id. length: bytes. digests: base64, DIGEST bytes for each piece. The rest as in `cache.Description`."""

    task: str
    length: int
    generation: str
    digests: str
    etag: str = ""
    last_modified: str = ""
    dated: bool = True
    coding: str = ""
    vary: dict[str, str] = {}
    tree: str = ""

    @property
    def version(self) -> Version:
        """Version of the origin's file."""
        return Version(self.etag, self.last_modified, self.length, self.dated, self.coding)

    @property
    def name(self) -> str:
        """Name of its data object: the same wherever the same version is stored."""
        name = hashlib.sha256(f"{self.generation} {self.length}".encode()).hexdigest()
        return f"{folder(self.task)}/data-{name[:32]}"

    def same_version(self, other: StoredHead) -> bool:
        """Whether `other` is the same version."""
        return (self.task, self.name, self.version) == (other.task, other.name, other.version)

    def digest_list(self) -> list[bytes]:
        """Digests by piece. Raises BadValue if their number is not the number of pieces."""
        try:
            found = b64decode(self.digests, validate=True)
        except ValueError:
            raise BadValue("the digests of a stored copy are not base64") from None
        if len(found) != DIGEST * Geometry(self.length).count:
            raise BadValue("a stored copy has another number of digests than of pieces")
        return [found[at : at + DIGEST] for at in range(0, len(found), DIGEST)]


def encode_digests(digests: Iterable[bytes]) -> str:
    """Encode digests for `StoredHead.digests`."""
    return b64encode(b"".join(digests)).decode()


def folder(task: str) -> str:
    """Folder of a task's objects."""
    return f"df1/{task[:2]}/{task}"


def head_name(task: str) -> str:
    """Name of the object that `seal` makes."""
    return f"{folder(task)}/head"


def seal_key(secret: bytes) -> bytes:
    """Derive the key for seals, which differs from all other uses of the secret."""
    return hmac.digest(secret, b"dfengine store 1", "sha256")


def seal(stored: StoredHead, key: bytes) -> bytes:
    """Encode and sign the head."""
    body = msgspec.json.encode(stored)
    return hmac.digest(key, body, "sha256").hex().encode() + b"\n" + body


def unseal(head: bytes, keys: Iterable[bytes], task: str) -> StoredHead:
    """Decode a head of `task`. Raises BadValue if none of the keys has sealed it, or it is invalid or of another task."""
    seal, _, body = head.partition(b"\n")
    if not any(hmac.compare_digest(hmac.digest(key, body, "sha256").hex().encode(), seal) for key in keys):
        raise BadValue("the head of a stored copy has another seal than this supernode's")
    try:
        found = msgspec.json.decode(body, type=StoredHead)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BadValue("the head of a stored copy is invalid") from None
    if found.task != task or not 0 <= found.length <= MAX_LENGTH:
        raise BadValue("the head of a stored copy belongs to another task")
    found.digest_list()
    return found


def is_worth_storing(length: int, version: Version, tree_data: bool) -> bool:
    """Whether a copy is worth storing: the origin, or its name, can later show whether the copy is current."""
    return 0 < length <= MAX_LENGTH and (version.binds or tree_data)


