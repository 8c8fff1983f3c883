"""The request of a client to fetch a file from an origin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from dfengine.origin.body import SILENCE, STEP
from dfengine.origin.request import is_private
from dfengine.origin.tls_verification import verification
from dfengine.task import Digest, expected_of, redacted_url
from dfengine.tree import TreeTask

MIN_RATE = 16 << 10
"""Minimum bytes per second; a slower connection to the origin is closed, because the number of threads is bounded."""


PLACED = "placed"
"""Marks the tasks of content that an origin has. Content that hosts share among themselves has tasks of its own."""


@dataclass(frozen=True, slots=True)
class RetryLimits:
    """Limits on retries at an origin. retries: in a row without progress. seconds: after the first failure, until the last retry, 0: any.

    connect, first: seconds to connect, and to the response's head in all.
    """

    retries: int = 5
    seconds: float = 0.0
    connect: float = SILENCE
    first: float = SILENCE + STEP / MIN_RATE

    @classmethod
    def of_client(cls, tries: int, seconds: float, connect: float, first: float) -> RetryLimits:
        """Return a client's own limits, at most the defaults; 0: no own limit. tries: the first attempt counts."""
        own = cls()
        retries = min(tries - 1, own.retries) if tries else own.retries
        return cls(retries, seconds, min(connect or own.connect, own.connect), min(first or own.first, own.first))

    def __or__(self, other: RetryLimits) -> RetryLimits:
        """Return the greater limit of each kind."""
        seconds = max(self.seconds, other.seconds) if self.seconds and other.seconds else 0.0
        return RetryLimits(max(self.retries, other.retries), seconds, max(self.connect, other.connect), max(self.first, other.first))


@dataclass(frozen=True, slots=True)
class FetchRequest:
    """The request to the origin, and the md5 that the file must have ("": any). headers: (name, value) pairs."""

    url: str
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    insecure: bool = False
    cacerts: Sequence[bytes] = ()
    md5: str = ""
    signed: str = field(default="", repr=False)
    """The client's own signed URL of an object, or of a file by http."""
    task_url: str = field(default="", compare=False)
    """The URL that names the task, without the parameters that its filter removes; "": `url` does."""
    retry_limits: RetryLimits = RetryLimits()
    content: str = ""
    """The sha256 in hex that the file must have, which names its task; "": the URL names the task."""
    split: bool = False
    """Whether the task is shared only by requests with the same credentials."""
    tree: TreeTask | None = None
    """`url` is a directory's, and this is the requested one of its two tasks."""
    identifier: str = ""
    """Names the task in addition to its URL, where no md5 is given."""
    cluster_name: str = field(default="", compare=False)
    """The task's name at all supernodes of the cluster (`cluster_names`); "": it has none."""
    credentials_proved: bool = field(default=False, compare=False)
    """Whether each client first proves that its own credentials open the URL (`access_proofs`)."""
    wrong_fetches: int = 0
    """How many fetches of that content, from any URL, had another sha256."""
    traceparent: str = field(default="", compare=False, repr=False)
    """The traceparent that requests carry; "": none."""
    verified: str = field(init=False, default="")
    """How the origin's certificate is verified; see `origin.tls_verification`."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "verified", verification(self.insecure, self.cacerts))

    @property
    def public(self) -> bool:
        """Whether the file needs no credentials of a client, and the system's authorities verify its origin."""
        return not (self.has_credentials or self.verified)

    @property
    def has_credentials(self) -> bool:
        """Whether the registration contains credentials besides the URL."""
        return bool(self.signed) or any(is_private(name) for name, _ in self.headers)

    @property
    def open(self) -> bool:
        """Whether a client that knows the URL without user, password and query may register: the task's id then discloses nothing more."""
        url = self.url if self.content else self.task_url or self.url
        return not self.has_credentials and redacted_url(url) == url

    @property
    def same_for_all(self) -> bool:
        """Whether every client of the task sends this same request, so that the origin's response applies to all of them."""
        return not (self.content or self.signed or self.credentials_proved) and self.task_url in ("", self.url)

    def expected_digest(self, etag: str) -> Digest | None:
        """The digest that the whole file must have: `content`, or the one in its URL, or from a model hub by this entity-tag; None: any."""
        if self.content:
            return Digest("sha256", self.content)
        return expected_of(self.url, self.headers, etag) if self.tree is None else None
