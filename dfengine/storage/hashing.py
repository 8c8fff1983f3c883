"""Digests of pieces and files, by the names of `task.ALGORITHMS`."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def hasher(algorithm: str) -> Any:
    """A hash object of one of `task.ALGORITHMS`; its update releases the GIL."""
    if algorithm in ("md5", "sha1", "sha256", "sha512"):
        import hashlib

        return hashlib.new(algorithm, usedforsecurity=False)
    if algorithm == "xxh3":
        import xxhash

        return xxhash.xxh3_128()
    import blake3

    return blake3.blake3()
