"""Shared content that the supernode has not read: its length and the digests of its pieces, as announced by its sharers.

It is used in place of a copy, so that offers and verdicts are made from it in the same way. A claim is proved when the supernode has read
all of the content and its digest equals the one in its name.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256

from dfengine._bitset import Bitset
from dfengine._piece import Geometry
from dfengine.errors import StorageError
from dfengine.storage.content_digests import DIGEST
from dfengine.storage.descriptors import OpenDescriptor
from dfengine.supernode.copies.copy import Copy


class _Digests:
    """The part of a record that a file without pieces needs."""

    def __init__(self, geometry: Geometry, digests: bytes) -> None:
        self.geometry = geometry
        self.capacity = geometry.count
        self.here = Bitset(geometry.count)
        self.digests = digests

    def digest(self, n: int) -> bytes:
        return self.digests[DIGEST * n : DIGEST * (n + 1)]

    def release(self) -> None:
        """Nothing to do: no descriptor is open."""


class AnnouncedContent(Copy):
    """Copy without data; see the module. It is not on the disk."""

    def __init__(self, geometry: Geometry, digests: bytes) -> None:
        self.path = ""
        self.record = _Digests(geometry, digests)  # type: ignore[assignment]  # the part of a record that a file without pieces needs
        self._data = None
        self._verified = Bitset(geometry.count)
        self.md5s = {}

    def hold(self) -> OpenDescriptor:
        raise StorageError("this supernode has no copy of it")

    def drop_truncated(self) -> list[int]:
        return []

    def release(self) -> None:
        """Nothing to do: no descriptor is open."""

    def detach(self) -> None:
        """Nothing to do: no file exists."""


@dataclass
class Claim:
    """A claim of shared content. Used on the loop's thread. sharers: CID -> loop time of its last announcement of the content.

    keep_until: unix seconds until which a copy must be kept, 0: none. proved: see the module. reading: a thread reads the content to keep
    or prove it. lacking_since: loop time since when no host has some piece, 0: every piece is available. failure: why the last reading
    ended, "" while pieces arrive. retry_at: loop time from which the next reading may begin.
    """

    geometry: Geometry
    digests: bytes = field(repr=False)
    sharers: dict[str, float] = field(default_factory=dict)
    keep_until: float = 0.0
    proved: bool = False
    reading: bool = False
    lacking_since: float = 0.0
    failure: str = ""
    retry_at: float = 0.0

    @property
    def generation(self) -> str:
        """Names these pieces; another claim of the same content name has another generation. 16 characters."""
        return generation(self.geometry, self.digests)

    def digest(self, n: int) -> bytes:
        """Digest of piece n."""
        return self.digests[DIGEST * n : DIGEST * (n + 1)]

    def has_pieces(self, length: int, digests: bytes) -> bool:
        """Whether another claim has the same pieces."""
        return (self.geometry.length, self.digests) == (length, digests)


def generation(geometry: Geometry, digests: bytes) -> str:
    """See Claim.generation."""
    return sha256(b"%d %d " % (geometry.length, geometry.piece_size) + digests).hexdigest()[:16]
