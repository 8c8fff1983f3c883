"""The swarm phase: finds a supernode, pulls from the swarm until all pieces are here, changes the supernode when one is lost.

A supernode that is lost, restarted, or forgets us is registered with again, under the same CID, or the next one is: it comes
first when the last registration brought no piece. Meanwhile the threads go on with what was offered. What is here is
announced, so nothing is fetched twice.
"""

from __future__ import annotations

import time

from dfengine import codes
from dfengine.client import fallback, fetch
from dfengine.client.native import NativeSession
from dfengine.client.node_answer import Patience, silent_nodes
from dfengine.client.progress_timeout import ProgressTimeout
from dfengine.client.pull_timing import Backoff
from dfengine.client.supernode_session import Membership, chance, join, leave, report
from dfengine.client.supernodes import Trying
from dfengine.client.watch import TICK, Watch
from dfengine.errors import NoProgress, RemoteError, Silent, SupernodeError, SupernodeFull, TooLarge
from dfengine.net.tracing import CLIENT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from dfengine.client.messages import Registration
    from dfengine.client.place import Place
    from dfengine.client.supernode_session import SupernodeSession
    from dfengine.client.transfer import Transfer
    from dfengine.net.dialer import Dialer
    from dfengine.settings import GetSettings, SupernodeAddress

RETRY = 20.0
"""Seconds that a supernode lost in the middle is looked for at most before the download goes back to the origin (see Patience)."""

RETRY_NOTBS = 120.0
"""The same when it must not."""

PARKED = 30.0
"""Seconds between two checks of a download that is parked until a reader asks for something."""

PARKED_PAUSE = 15.0
"""Seconds, and up to twice as many by chance, between two tries of such a download to find a supernode again."""

STRIKES = 3
"""Registrations in a row that brought no piece, times the number of nodes: then the swarm has failed."""


def _session(member: Membership, held: list[tuple[int, int]], patience: Patience) -> SupernodeSession:
    if member.native:
        return NativeSession(member, held, patience)
    from dfengine.client.legacy import LegacySession

    return LegacySession(member)


def _silent_last(nodes: list[SupernodeAddress]) -> list[SupernodeAddress]:
    return sorted(nodes, key=lambda node: silent_nodes.left(str(node)))


class SwarmSession:
    """Of one download. `nodes` gives supernodes, best first, as they are known then.

    `opened` is called with each new transfer, once its file can be served; `say` with what a user may want to know.
    """

    def __init__(
        self,
        settings: GetSettings,
        dialer: Dialer,
        nodes: Callable[[], list[SupernodeAddress]],
        registration: Registration,
        assembly: Place,
        watch: Watch,
        opened: Callable[[Membership], None],
        say: Callable[[str], None],
    ) -> None:
        self._settings = settings
        self._dialer = dialer
        self._nodes = nodes
        self._registration = registration
        self._assembly = assembly
        self._watch = watch
        self._opened = opened
        self._say = say
        self._may_leave = fallback.allows(settings)
        self._patience = assembly.patience if self._may_leave else assembly.patience.replace(insists=True)
        self._served: Transfer | None = None
        self._threads = 0
        self._session: SupernodeSession | None = None
        self._in_step = False
        """The connection to the supernode stands at the end of an answer."""
        self.member: Membership | None = None
        self.supernode_md5 = ""
        self.refused = False
        """The last supernode that failed answered that it could not fetch the file, or would not."""
        self._questions = False

    @property
    def nodes(self) -> list[SupernodeAddress]:
        """Best first, as they are known now."""
        return self._nodes()

    def run(self, questions: bool = False) -> str | None:
        """Until every piece is here: None; or until the swarm has failed: why. Errors of this machine are raised.

        questions: after a supernode that could not fetch the file none is asked, since what is known of the file may be wrong.
        """
        self._questions = questions
        return self._driven(self._first)

    def resume(self, member: Membership) -> str | None:
        """The same after the origin, by a membership that was found meanwhile."""
        self._served = None
        return self._driven(lambda: member)

    def _driven(self, begin: Callable[[], Membership]) -> str | None:
        try:
            self.member = begin()
            failed = self._drive_memberships()
            self._in_step = failed is None and self.member is not None and self.member.native
            return failed
        except RemoteError as error:
            self.refused = isinstance(error, SupernodeError) and error.code != 0
            return str(error)
        finally:
            self._watch.waits()

    def _first(self) -> Membership:
        failure: RemoteError | None = None
        trying = Trying(_silent_last(self.nodes))
        for node in trying:
            self._watch.check(None)
            self._watch.waits(f"asks supernode {node}, which may wait for the origin", "asks a supernode")
            try:
                return self._join(node, self._watch.deadline)
            except RemoteError as error:
                if str(error).startswith(f"{node} "):
                    error.args = (f"supernode {error}", *error.args[1:])
                self._watch.trouble(str(error))
                failure = failure or error
                trying.failed(error)
                if trying.left:
                    self._say(f"{error}; asks the next supernode")
                if self._questions and isinstance(error, SupernodeError) and error.code and not isinstance(error, SupernodeFull):
                    failure = error
                    break
        raise failure or SupernodeError("no supernode is given")

    def _join(self, node: SupernodeAddress, deadline: float) -> Membership:
        with self._watch.span.child("register", CLIENT, supernode=str(node)) as span:
            return join(self._dialer, node, self._registration, deadline, self._watch.pause, self._watch.trouble, self._patience,
                        span.traceparent)

    def _drive_memberships(self) -> str | None:
        """Drive one membership after the other."""
        strikes, most, backoff = 0, 0, Backoff(0.1, 1.0)
        while True:
            member = self.member
            assert member is not None
            self._watch.waits()
            if member.cdn_source == "source":
                return f"supernode {member.node} keeps no copy and names the origin as the source"
            if self._registration.stream_mode and not member.native:
                return f"supernode {member.node} speaks only 1.x, which has no windows"
            generation = member.generation.decode("ascii", "replace")
            if self._assembly.transfer is None and self._assembly.holds(member.geometry.length, generation):
                return None
            self._assembly.find_kept(member.task, member.geometry, member.generation)
            try:
                transfer = self._assembly.open(member.geometry, member.generation)
            except TooLarge as error:
                if self._settings.notbs or self._assembly.knows_length:
                    raise
                # The supernode may be wrong: the origin says how long the file is.
                return f"supernode {member.node} names a length of {member.geometry.length} bytes: {error}"
            before = transfer.plan.here
            try:
                self._pull(member, transfer)
                return None
            except RemoteError as error:
                failure = error
                self._watch.trouble(str(error))
                if isinstance(error, Silent):
                    silent_nodes.silent(str(member.node), time.monotonic())
            seeks = f"lost, seeking {'another' if len(self.nodes) > 1 else 'it again'}"
            self._watch.waits(f"supernode {member.node} {seeks}", f"supernode {seeks}")
            # A file that begins anew brings pieces each time: only more than ever before is progress.
            here = transfer.plan.here
            # A supernode that could not fetch the file has tried again by itself: the second time it says so is the last.
            weight = STRIKES - 1 if isinstance(failure, SupernodeError) and failure.code == codes.CDN_FAILED else 1
            if isinstance(failure, NoProgress):
                weight = STRIKES
            gained = here != before and here > most and not isinstance(failure, NoProgress)
            strikes = 0 if gained else strikes if transfer.parked else strikes + weight
            most = max(most, here)
            if strikes >= STRIKES * len(self.nodes) or (weight == STRIKES - 1 and self._questions):
                self.refused = weight == STRIKES - 1
                return str(failure)
            if gained:
                backoff.reset()
            else:
                self._pause(transfer, backoff.next(chance()))
            if transfer.finished:
                return None
            self._say(str(failure))
            self.member = self._rejoin(transfer, member.node, not strikes, weight == STRIKES - 1)
            if self.member is None:
                return None
            self._say(f"registered again at {self.member.node}")

    def _pull(self, member: Membership, transfer: Transfer) -> None:
        """Until all pieces are here. Raises RemoteError when this membership is of no more use."""
        if transfer is not self._served:
            self._opened(member)
            self._served = transfer
            self._assembly.copy_kept(self._watch)
            for _ in range(transfer.plan.workers):
                self._start_thread(transfer)
        self._session = session = _session(member, transfer.rejoin(member.native), self._patience)
        try:
            self._drive(session, transfer)
            # Nobody waits for what a supernode thinks of a file that is here.
            session.conclude(transfer)
        except RemoteError:
            session.close()
            if not transfer.finished:
                raise
        finally:
            self.supernode_md5 = session.finished_md5 or self.supernode_md5

    def _start_thread(self, transfer: Transfer) -> None:
        self._threads += 1
        transfer.start(fetch.Fetcher(transfer, self._dialer, self._floor(transfer)).run, f"fetch-{self._threads}")

    def _floor(self, transfer: Transfer) -> float:
        """Least bytes per second of one source: all share this host's link and the user's limit, which must not look like slowness."""
        limit = self._settings.locallimit
        return min(self._settings.minrate, limit // 2 or self._settings.minrate) / max(1, transfer.plan.workers)

    def _drive(self, session: SupernodeSession, transfer: Transfer) -> None:
        settings = self._settings
        checked = time.monotonic()
        timeout = ProgressTimeout(transfer.file.geometry.piece_size, settings.minrate, settings.locallimit, checked)
        parked = False
        while not transfer.finished:
            self._watch.check(transfer)
            now = time.monotonic()
            if now - checked >= TICK:  # each piece that lands wakes this thread
                checked = now
                here, satisfied = transfer.progress()
                if timeout.expired(here, transfer.moving().total, satisfied or parked, now):
                    raise NoProgress(f"the swarm brought nothing for {timeout.seconds:.0f} s{transfer.fault and f': {transfer.fault}'}")
                if transfer.listen(self._floor(transfer)):
                    self._start_thread(transfer)
            parked = transfer.parked
            session.step(transfer, PARKED if parked else TICK)

    def _pause(self, transfer: Transfer, seconds: float) -> None:
        """Unless all is here before."""
        until, parked = time.monotonic() + seconds, transfer.parked
        while (left := until - time.monotonic()) > 0 and not transfer.finished and parked == transfer.parked:
            self._watch.check(transfer)
            transfer.sleep(left if parked else min(TICK, left))

    def _order_after(self, last: SupernodeAddress, stay: bool) -> list[SupernodeAddress]:
        """Where to register now: `last` and then those behind it, around the list; or, not to `stay`, `last` at the end."""
        nodes = self.nodes
        at = next((n + (not stay) for n, node in enumerate(nodes) if str(node) == str(last)), 0)
        return [*nodes[at:], *nodes[:at]]

    def _rejoin(self, transfer: Transfer, last: SupernodeAddress, stay: bool, failed: bool) -> Membership | None:
        """Another membership, of the first node that gives one; None when all is here meanwhile. Raises the last RemoteError in the end.

        last, stay: see `_order_after`.
        failed: the supernode could not fetch the file: if every node refuses now, that is the answer, and none is asked again.
        """
        patience = min(RETRY, self._patience.retry) if self._may_leave else RETRY_NOTBS if self._settings.notbs else RETRY
        until, backoff, parked = min(self._watch.deadline, time.monotonic() + patience), Backoff(0.1, 1.0), False
        while True:
            failure: RemoteError | None = None
            refused = failed
            if parked != transfer.parked:  # nobody waits, or somebody does again: the time for which is looked begins anew
                parked = transfer.parked
                until = min(self._watch.deadline, time.monotonic() + patience)
                backoff = Backoff(0.1, PARKED_PAUSE if parked else 1.0)
            nodes = _silent_last(self._order_after(last, stay))
            trying = Trying(nodes)
            for node in trying:
                self._watch.check(transfer)
                if transfer.finished:
                    return None
                try:
                    return self._join(node, max(until, time.monotonic() + 1.0) if parked else until)
                except RemoteError as error:
                    self._watch.trouble(str(error))
                    failure = failure or error
                    trying.failed(error)
                    refused = refused and isinstance(error, SupernodeError)
            awaited = self._may_leave and transfer.wanted_pieces() is not None  # by a reader, who need not wait until they run again
            silent = awaited and all(silent_nodes.left(str(node)) for node in nodes)
            if (refused or silent or time.monotonic() >= until) and not transfer.parked:
                raise failure or SupernodeError("no supernode is given")
            self._pause(transfer, backoff.next(chance()))

    def report(self, message: bytes) -> None:
        """How it went, for the supernode's counters; best effort."""
        if self.member is not None:
            report(self.member, message)

    def leave(self) -> None:
        """This download leaves: the pieces that it was offered go to others at once; best effort."""
        if self.member is not None:
            leave(self.member)

    def close(self) -> None:
        if self._in_step and self.member is not None:
            self._dialer.release(self.member.connection, named=True)
            return
        if self._session is not None:
            self._session.close()
        if self.member is not None:
            self.member.connection.close()
