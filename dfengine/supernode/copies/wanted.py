"""What a client wants fetched from an origin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from dfengine.origin.body import SILENCE, STEP
from dfengine.origin.request import is_private
from dfengine.origin.verification import verification
from dfengine.task import Digest, bare, expected_of
from dfengine.tree import TreeTask

LEAST_RATE = 16 << 10
"""Bytes per second below which a connection to the origin is closed, because the number of threads is bounded."""


PLACED = "placed"
"""Sign of the tasks of content that an origin has. Content that hosts share among themselves has tasks of its own."""


@dataclass(frozen=True, slots=True)
class Tries:
    """How long an origin is tried. retries: in a row without progress. seconds: none begins later after the first failure, 0: any. connect,
    first: seconds to connect, and to the head in all.
    """

    retries: int = 5
    seconds: float = 0.0
    connect: float = SILENCE
    first: float = SILENCE + STEP / LEAST_RATE

    @classmethod
    def within(cls, tries: int, seconds: float, connect: float, first: float) -> Tries:
        """A client's own limits, at most these; 0 of each: it has none. tries: the first one counts."""
        own = cls()
        retries = min(tries - 1, own.retries) if tries else own.retries
        return cls(retries, seconds, min(connect or own.connect, own.connect), min(first or own.first, own.first))

    def __or__(self, other: Tries) -> Tries:
        """The greater of two limits."""
        seconds = max(self.seconds, other.seconds) if self.seconds and other.seconds else 0.0
        return Tries(max(self.retries, other.retries), seconds, max(self.connect, other.connect), max(self.first, other.first))


@dataclass(frozen=True, slots=True)
class Wanted:
    """The request to the origin, and the md5 that the file must have ("": any). headers: (name, value) pairs."""

    url: str
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    insecure: bool = False
    cacerts: Sequence[bytes] = ()
    md5: str = ""
    signed: str = field(default="", repr=False)
    """The URL by which the client itself opens an object, or a file of http."""
    named: str = field(default="", compare=False)
    """The URL by which the task is named, less what its filter leaves out; "": by `url`."""
    tries: Tries = Tries()
    content: str = ""
    """The sha256 in hex that the file must have, by which its task is named; "": the task is named by the URL."""
    split: bool = False
    """Its task is for those who send the same credentials."""
    tree: TreeTask | None = None
    """`url` is a directory's, and this one of its two tasks is wanted."""
    identifier: str = ""
    """By which the task is named beside its URL, where no md5 is given."""
    cluster_name: str = field(default="", compare=False)
    """The task's name at all supernodes of the cluster (`cluster_names`); "": it has none."""
    proved: bool = field(default=False, compare=False)
    """Each client shows first that its own credentials open it (`signatures`)."""
    wrong: int = 0
    """How often that content was fetched before, from somewhere, and had another sha256."""
    traceparent: str = field(default="", compare=False, repr=False)
    """What requests for it carry; "": none."""
    verified: str = field(init=False, default="")
    """How the origin's certificate is verified; see `origin.verification`."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "verified", verification(self.insecure, self.cacerts))

    @property
    def public(self) -> bool:
        """No credentials of a client's open it, and its origin is known to the system's authorities."""
        return not (self.closed or self.verified)

    @property
    def closed(self) -> bool:
        """Its registration shows what opens it, beside the URL."""
        return bool(self.signed) or any(is_private(name) for name, _ in self.headers)

    @property
    def open(self) -> bool:
        """A client that knows its URL, without user, password and query, may register for it: its task's id opens nothing more."""
        url = self.url if self.content else self.named or self.url
        return not self.closed and bare(url) == url

    @property
    def alike(self) -> bool:
        """Every client of its task sends this request, so what its origin answers holds for all of them."""
        return not (self.content or self.signed or self.proved) and self.named in ("", self.url)

    def expected(self, etag: str) -> Digest | None:
        """What the whole file must have by its names: `content`, or how its URL, or a model hub by this entity-tag, names it; None: any."""
        if self.content:
            return Digest("sha256", self.content)
        return expected_of(self.url, self.headers, etag) if self.tree is None else None
