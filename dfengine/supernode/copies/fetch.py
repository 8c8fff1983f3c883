"""The state of one task's copy while a thread fetches it from the origin.

    WAITING   nothing is known yet                       -> RUNNING, SUCCESS (a cached copy is still current), FAILED
    RUNNING   pieces arrive                              -> SUCCESS, FAILED
    SUCCESS   complete and as expected                   -> RUNNING (the origin's file changed, or pieces were damaged), FAILED
    FAILED    for all downloads; `error` has the reason  final

`fetch_thread` has the transitions. A fetch's threads write its fields before the event that reports the change, unless stated otherwise.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Container, Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar

from dfengine._piece import Geometry
from dfengine.copy_states import FAILED, UNENDED, WAITING
from dfengine.errors import DfengineError, OriginUnreachable, StorageError
from dfengine.net.origin_access import OriginAccess
from dfengine.origin.cancel import Cancel
from dfengine.origin.connection_limits import ConnectionLimits
from dfengine.origin.local_root import Roots
from dfengine.origin.origin_settings import OriginPermissions
from dfengine.origin.round_robin import RoundRobin
from dfengine.origin.tree_listing import ListingCache
from dfengine.supernode.copies.announced_content import Claim
from dfengine.supernode.copies.cache import Cache, Description
from dfengine.supernode.copies.copy import Copy
from dfengine.supernode.copies.eviction import DiskSpace
from dfengine.supernode.copies.fetch_request import FetchRequest, RetryLimits
from dfengine.supernode.copies.listing_budget import ListingBudget
from dfengine.supernode.copies.manifests import Manifests
from dfengine.supernode.copies.origin_pauses import OriginPauses, PauseAwareRetry

if TYPE_CHECKING:
    from dfengine._bitset import Bitset
    from dfengine.errors import OriginError
    from dfengine.net.dialer import Dialer
    from dfengine.origin.origin_interface import Origin
    from dfengine.origin.reader import Reader
    from dfengine.supernode.copies.copy_store import CopyStore

    class Cluster(Protocol):
        """See `cluster.membership.Cluster`."""

        @property
        def own(self) -> Named: ...
        @property
        def separate_key(self) -> bool: ...
        def leader(self, task: str) -> str | None: ...
        def has_lead(self, task: str) -> bool: ...
        def addresses(self) -> list[str]: ...
        def fallback_leader(self, task: str, unreachable: Container[str]) -> str | None: ...
        def reserve_probes(self, task: str, seconds: float) -> bool: ...
        def take_lead(self, task: str, leader: str, rate: float, seconds: float) -> bool: ...
        def dialer(self) -> Dialer: ...

    class Named(Protocol):
        """Identity of this supernode. address: its HOST:PORT."""

        @property
        def address(self) -> str: ...

Result = TypeVar("Result")


class Events(Protocol):
    """Events of a fetch; called on the loop's thread."""

    def fetch_head(self, fetch: Fetch) -> None:
        """Length and piece size are known. The pieces that the copy already has are reported next."""

    def fetch_responded(self, fetch: Fetch, seconds: float) -> None:
        """The origin's response began, `seconds` after the request."""

    def fetch_piece(self, fetch: Fetch, n: int, seconds: float) -> None:
        """Piece n is in the copy. seconds: since its first byte arrived from the origin; negative: it arrived from another source."""

    def fetch_pieces(self, fetch: Fetch, pieces: Bitset) -> None:
        """The copy already had these pieces."""

    def fetch_md5(self, fetch: Fetch, n: int) -> None:
        """The md5 of framed piece n is known."""

    def fetch_damaged(self, fetch: Fetch, n: int) -> None:
        """Piece n of the copy was wrong or unreadable, and was dropped."""

    def fetch_ended(self, fetch: Fetch) -> None:
        """SUCCESS: the copy is complete and its length known."""

    def fetch_failed(self, fetch: Fetch) -> None:
        """FAILED: `fetch.error` has the reason; no piece of this task is served any more."""

    def fetch_refused(self, fetch: Fetch, error: OriginError) -> None:
        """The origin no longer has the file of a complete copy; running downloads may end."""

    def fetch_took_lead(self, fetch: Fetch, before: str, rate: float, slower: float) -> None:
        """This supernode takes the lead of the task from the one at `before`: it reads the origin at `rate` bytes per second, the other one
        at `slower`."""

    def fetch_redirects_hosts(self, fetch: Fetch, why: str) -> None:
        """Hosts should switch to other supernodes, which receive the file sooner."""

    def fetch_renewed(self, fetch: Fetch) -> None:
        """The origin's file changed: a new generation begins, and downloads of the old one end."""


class Fetch:
    """The fetch of one task. post: calls an event's method with the fetch and further arguments on the loop's thread, unless forgotten.

    connections: maximum to the origin. connection_limits: how many each origin allows. turns: shared by the files of one origin. disk: for
    copies. own: see `origin_settings.OriginPermissions`; None: none. manifests: of trees, by other fetches. budget: of listings.
    address: of the client that requested it first. store: object store of finished copies; None: none.
    cluster: determines which supernode leads the task; None: this one does. pauses: of origins.
    """

    def __init__(
        self, task: str, request: FetchRequest, cache: Cache, post: Callable[..., object], events: Events, disk: DiskSpace,
        access: OriginAccess | None = None, *, connections: int = 4, connection_limits: ConnectionLimits | None = None,
        turns: RoundRobin | None = None,
        own: OriginPermissions | None = None, manifests: Manifests | None = None, budget: ListingBudget | None = None, address: str = "",
        store: CopyStore | None = None, cluster: Cluster | None = None, pauses: OriginPauses | None = None,
    ) -> None:
        self.task = task
        self.request = request
        self.cache = cache
        self.post = post
        self.events = events
        self.access = access
        self.own = own or OriginPermissions(Roots(()))
        self.connections = connections
        self.connection_limits = connection_limits or ConnectionLimits()
        self.turns = turns or RoundRobin(connections)
        self.manifests = manifests or Manifests()
        self.budget = budget or ListingBudget()
        self.address = address
        self.store = store
        self.cluster = cluster
        self.pauses = pauses if pauses is not None else OriginPauses()
        self.leader = ""
        """HOST:PORT of the supernode that pieces are fetched from; "": they are fetched from the origin. Written before `fetch_head`."""
        self.new_leader, self.new_leader_rate = "", 0.0
        """HOST:PORT of another supernode that has taken the lead since the last look-up of the leader, and the bytes per second at which it
        reads the origin; "": none. Written under `changed`."""
        self.interruptible = False
        """Whether the origin is being read and another supernode may take the lead. Written under `changed` by the fetch's thread."""
        self.registered_again = False
        """Whether a client has registered without being sent on to another one. Written under `changed`; the fetch's thread resets it."""
        self.stored_copy_wrong = False
        """Whether the object store's copy was found to be wrong. Written by the fetch's thread."""
        known = self.manifests  # no reference to this fetch, so that it is freed as soon as it is forgotten
        self.last_listing = ListingCache(lambda identity: known.get(identity, request.url))
        """What a tree's manifest was last made from. Used by the fetch's thread."""
        self.disk = disk
        self.state = WAITING
        self.error: DfengineError | None = None
        self.file: Copy | None = None
        """Written before `fetch_head`; None again, on the loop's thread, right after `fetch_renewed`."""
        self.description = Description(url=request.url, generation="", verified=request.verified, open=request.open)
        self.claim: Claim | None = None
        """The claim of content that hosts share, which has no origin. Used on the loop's thread."""
        self.from_cache = False
        self.reads_origin = False
        """Whether the origin is sending the missing pieces."""
        self.origin_requests = self.past_bytes = 0
        self.reader: Reader | None = None
        self.retry_limits = request.retry_limits
        """The greatest limits of all clients. Written on the loop's thread."""
        self._retry = PauseAwareRetry(None, "")
        self._origin: Origin | None = None
        self.current_url = request.url
        """The URL that is being read; `request` may meanwhile name another one. Written by the fetch's thread."""
        self.retry_reason = ""
        """Error after which the fetch waits before the next request to the origin; "" while it does not wait."""
        self.retry_at = 0.0
        """When that wait ends, unix seconds."""
        self.origin_errors = 0
        """Number of requests to the origin that failed and were retried."""
        self.revalidate_factor = 1
        """Multiple of --revalidate-interval for which a complete copy is used before it is revalidated."""
        self.unbound = False
        """The description on the disk names no version, because pieces arrived of two responses without a common validator."""
        self.own_generation = ""
        """The last generation that no other host can have from elsewhere: its name is random, and its description named no version when it
        began. Written by the fetch's thread."""
        self.mixed_versions = 0
        """Generations in a row that ended because responses of several versions arrived. Written by the fetch's threads."""
        self.wanted_piece = -1
        """The piece that a stream waits for; -1: none. Written on the loop's thread."""
        self.revalidating = False
        """Whether the complete copy is being revalidated. Used on the loop's thread."""
        self.computing_md5 = False
        """Whether a thread computes md5s (`legacy_md5`). Written on the loop's thread."""
        self.failure_reported = False
        """Whether `fetch_failed` was handled. Used on the loop's thread."""
        self.changed = threading.Condition()
        """Notified when pieces have arrived, or the state has changed."""
        self.stopped = False
        """Whether the process is ending, or the task was forgotten. Written under `changed`, as `cancel` is."""
        self.cancel: Cancel | None = None
        """Interrupts waits for the origin."""

    @property
    def geometry(self) -> Geometry:
        """Geometry of the file. Raises StorageError before the origin has responded."""
        if self.file is None:
            raise StorageError("the origin has not answered yet")
        return self.file.geometry

    @property
    def ended(self) -> bool:
        """Whether the fetch failed or was stopped: no further piece arrives."""
        return self.state == FAILED or self.stopped

    @property
    def origin_bytes(self) -> int:
        """Bytes of response bodies from the origin."""
        return self.past_bytes + (self.reader.bytes if self.reader is not None else 0)

    @property
    def md5(self) -> str:
        """md5 of the raw file; "" while unknown."""
        return self.description.md5

    @property
    def missing_bytes(self) -> int:
        """Bytes that the copy lacks; 0 while the length is unknown."""
        return 0 if self.file is None else max(0, self.file.geometry.length - self.file.available.count() * self.file.geometry.content_size)

    def extend_retry_limits(self, tries: RetryLimits) -> None:
        """Apply the limits on retries of a client that joins. On the loop's thread."""
        self.retry_limits |= tries
        self._apply_retry_limits()

    def start_requests(self, origin: Origin) -> PauseAwareRetry:
        """Begin requests to this origin, in the fetch's thread; returns the object that counts failures."""
        self._retry, self._origin = PauseAwareRetry(self.pauses if self.request.public else None, origin.key), origin
        self._apply_retry_limits()
        return self._retry

    def _apply_retry_limits(self) -> None:
        tries, origin = self.retry_limits, self._origin
        self._retry.bound(tries.retries, tries.seconds)
        if origin is not None:
            origin.connect, origin.first = tries.connect, tries.first

    def wants(self, una: int, end: int) -> None:
        """Fetch the first missing piece of [una, end) next, because a stream waits for it. On the loop's thread."""
        missing = self.file.available.first_clear(max(una, 0)) if self.file is not None else -1
        self.wanted_piece = missing if missing < end else -1

    def wants_pieces(self, pieces: Sequence[int]) -> None:
        """Fetch the first missing piece of `pieces` next, because a pull that selects them waits. On the loop's thread."""
        here = self.file.available if self.file is not None else None
        self.wanted_piece = next((n for n in pieces if here is None or n >= len(here) or n not in here), -1)

    def lead_taken(self, leader: str, rate: float) -> None:
        """Stop reading: the supernode at `leader` leads the task from now on, and reads `rate` bytes per second. In any thread."""
        with self.changed:
            if self.state not in UNENDED:
                return
            self.new_leader, self.new_leader_rate = leader, rate
            if self.interruptible and self.cancel is not None:
                self.cancel.set()
            self.changed.notify_all()

    def on_registered_again(self) -> None:
        """Record that a client registers without being sent on. On the loop's thread."""
        with self.changed:
            self.registered_again = True
            self.changed.notify_all()

    def notify(self) -> None:
        """Wake the threads of this fetch that wait for news."""
        with self.changed:
            self.changed.notify_all()

    def piece_stored(self, n: int, seconds: float = -1) -> None:
        """Report that piece n is in the copy; seconds: see `Events.fetch_piece`. In any thread."""
        self.notify()
        self.post(self.events.fetch_piece, self, n, seconds)

    def piece_damaged(self, n: int) -> None:
        """Report that piece n was wrong and is dropped. In any thread."""
        self.post(self.events.fetch_damaged, self, n)

    def describe(self) -> None:
        """Write the description to the disk. Raises StorageError, or as `use_files`."""
        self.disk.write(self.task, lambda: self.use_files(lambda: self.cache.write_description(self.task, self.description)))

    def use_files(self, use: Callable[[], Result]) -> Result:
        """Call `use`, which loads, creates, describes or removes the copy by its task; return its result.

        Raises OriginUnreachable once the fetch is stopped: from then on the files may belong to the task's next fetch.
        """
        with self.cache.lock:
            if self.stopped:
                raise OriginUnreachable("the supernode is going away")
            return use()

    def stop(self) -> None:
        """Stop the fetch because the process ends or the task is forgotten: wake its threads, which then end."""
        with self.changed:
            self.stopped = True
            self.state = FAILED if self.state in UNENDED else self.state
            if self.cancel is not None:
                self.cancel.set()
            self.changed.notify_all()
