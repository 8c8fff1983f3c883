"""Shared content of which the supernode has no byte: its length and the digests of its pieces, as who shares it has told them.

It stands where a copy would, so that offers and verdicts are made of it as of a copy. A claim is proved when the supernode has read all of
the content and its digest is the one in its name.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256

from dfengine._bitset import Bitset
from dfengine._piece import Geometry
from dfengine.errors import StorageError
from dfengine.storage.descriptors import Held
from dfengine.supernode.copies.copy import Copy

DIGEST = 16
"""Bytes of a piece's digest."""


class _Digests:
    """What a record tells of a file without a piece."""

    def __init__(self, geometry: Geometry, digests: bytes) -> None:
        self.geometry = geometry
        self.capacity = geometry.count
        self.here = Bitset(geometry.count)
        self.digests = digests

    def digest(self, n: int) -> bytes:
        return self.digests[DIGEST * n : DIGEST * (n + 1)]

    def release(self) -> None:
        """There is no descriptor."""


class Claimed(Copy):
    """See the module. It is on no disk."""

    def __init__(self, geometry: Geometry, digests: bytes) -> None:
        self.path = ""
        self.record = _Digests(geometry, digests)  # type: ignore[assignment]  # the part of a record that a file without pieces needs
        self._data = None
        self._proved = Bitset(geometry.count)
        self.md5s = {}

    def hold(self) -> Held:
        raise StorageError("this supernode has no copy of it")

    def cut_off(self) -> list[int]:
        return []

    def release(self) -> None:
        """There is no descriptor."""

    def detach(self) -> None:
        """There is no path."""


@dataclass
class Claim:
    """Used on the loop's thread. sharers: CID -> when it announced the content last (loop time), for those who do.

    keep: unix seconds until which a copy is to be kept, 0: none. proved: see the module. reading: a thread reads the content to keep or
    prove it. lacking: since when some piece is nowhere (loop time), 0: none is. failure: why the last reading ended, "" if pieces come;
    again: when the next one may begin (loop time).
    """

    geometry: Geometry
    digests: bytes = field(repr=False)
    sharers: dict[str, float] = field(default_factory=dict)
    keep: float = 0.0
    proved: bool = False
    reading: bool = False
    lacking: float = 0.0
    failure: str = ""
    again: float = 0.0

    @property
    def generation(self) -> str:
        """Names these pieces: those of another claim of the same name are other ones. 16 characters."""
        return generation(self.geometry, self.digests)

    def digest(self, n: int) -> bytes:
        """Of piece n."""
        return self.digests[DIGEST * n : DIGEST * (n + 1)]

    def same(self, length: int, digests: bytes) -> bool:
        """Another claim is this one."""
        return (self.geometry.length, self.digests) == (length, digests)


def generation(geometry: Geometry, digests: bytes) -> str:
    """See Claim.generation."""
    return sha256(b"%d %d " % (geometry.length, geometry.piece_size) + digests).hexdigest()[:16]
