"""What a client wants fetched from an origin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from dfengine.origin.verification import verification


@dataclass(frozen=True, slots=True)
class Wanted:
    """The request to the origin, and the md5 that the file must have ("": any). headers: (name, value) pairs."""

    url: str
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    insecure: bool = False
    cacerts: Sequence[bytes] = ()
    md5: str = ""
    signed: str = field(default="", repr=False)
    """The URL by which the client itself opens an object."""
    verified: str = field(init=False, default="")
    """How the origin's certificate is verified; see `origin.verification`."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "verified", verification(self.insecure, self.cacerts))
