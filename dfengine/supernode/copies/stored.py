"""What an object store says of a copy that lies there: the file's version, and the digest of each of its pieces. Pure.

    TT/TASK/head        this, sealed: HMAC-SHA256 in hex, a line break, JSON
    TT/TASK/data-NAME   the file, NAME for its generation

below the store's prefix and `df1/`; TT are the first two digits of the task's id. The seal is made with a key that the store does not have,
so a writer of the store cannot make a byte of it count: a piece is taken only with the BLAKE3 that a sealed head says.
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
"""Bytes of a piece's digest: all of its BLAKE3."""

LONGEST = 512 << 30
"""Bytes of the longest file that is stored: its parts, of which a store takes 10,000, must be small enough to be held in memory."""

MOST_HEAD = 16 << 20
"""Bytes of the longest head."""


class Stored(msgspec.Struct, kw_only=True, frozen=True):
    """task: its id. length: bytes. digests: base64, DIGEST bytes for each piece. The rest as in `cache.Description`."""

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
        """Of the origin's file."""
        return Version(self.etag, self.last_modified, self.length, self.dated, self.coding)

    @property
    def name(self) -> str:
        """Of its data: the same wherever the same version is stored."""
        name = hashlib.sha256(f"{self.generation} {self.length}".encode()).hexdigest()
        return f"{folder(self.task)}/data-{name[:32]}"

    def same(self, other: Stored) -> bool:
        """It is the same version."""
        return (self.task, self.name, self.version) == (other.task, other.name, other.version)

    def digest_list(self) -> list[bytes]:
        """By piece. Raises BadValue where they are not as many as there are pieces."""
        try:
            found = b64decode(self.digests, validate=True)
        except ValueError:
            raise BadValue("the digests of a stored copy are no base64") from None
        if len(found) != DIGEST * Geometry(self.length).count:
            raise BadValue("a stored copy has not as many digests as pieces")
        return [found[at : at + DIGEST] for at in range(0, len(found), DIGEST)]


def encode_digests(digests: Iterable[bytes]) -> str:
    """Those of `Stored.digests`."""
    return b64encode(b"".join(digests)).decode()


def folder(task: str) -> str:
    """Where what belongs to a task lies."""
    return f"df1/{task[:2]}/{task}"


def head_name(task: str) -> str:
    """Of the object that `seal` makes."""
    return f"{folder(task)}/head"


def key_of(secret: bytes) -> bytes:
    """For seals: another one than any that the secret is used for elsewhere."""
    return hmac.digest(secret, b"dfengine store 1", "sha256")


def seal(stored: Stored, key: bytes) -> bytes:
    """The head."""
    body = msgspec.json.encode(stored)
    return hmac.digest(key, body, "sha256").hex().encode() + b"\n" + body


def unseal(head: bytes, keys: Iterable[bytes], task: str) -> Stored:
    """What a head says of `task`. Raises BadValue for one that none of the keys has sealed, or of something else."""
    seal, _, body = head.partition(b"\n")
    if not any(hmac.compare_digest(hmac.digest(key, body, "sha256").hex().encode(), seal) for key in keys):
        raise BadValue("the head of a stored copy has another seal than this supernode's")
    try:
        found = msgspec.json.decode(body, type=Stored)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BadValue("the head of a stored copy is none") from None
    if found.task != task or not 0 <= found.length <= LONGEST:
        raise BadValue("the head of a stored copy is of another one")
    found.digest_list()
    return found


def is_stored(length: int, version: Version, tree_data: bool) -> bool:
    """A copy of such a file is worth storing: its origin, or its name, can say later whether it still holds."""
    return 0 < length <= LONGEST and (version.binds or tree_data)


