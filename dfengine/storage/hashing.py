"""Digests of pieces and files, by the names of `task.ALGORITHMS`."""

from __future__ import annotations

import xxhash

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol

    class Hasher(Protocol):
        """A digest in computation, of hashlib, xxhash or blake3. `update` releases the GIL."""

        def update(self, part: Any, /) -> object: ...
        def digest(self) -> bytes: ...
        def hexdigest(self) -> str: ...

content_digest = xxhash.xxh3_128_digest
"""XXH3-128 of a piece's content, 16 bytes, as stored in a record. Releases the GIL."""


def hasher(algorithm: str) -> Hasher:
    """A new hash of one of `task.ALGORITHMS`."""
    if algorithm == "xxh3":
        return xxhash.xxh3_128()
    if algorithm == "blake3":
        import blake3

        return blake3.blake3()
    import hashlib

    return hashlib.new(algorithm, usedforsecurity=False)
