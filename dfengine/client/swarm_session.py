"""The swarm phase: finds a supernode, pulls from the swarm until all pieces are stored, changes the supernode when one is lost.

After a supernode is lost, restarted, or has expired the download, it registers again, under the same CID: at the same supernode
first, or at the next one if the last registration brought no new piece. Meanwhile the fetch threads continue with offered pieces.
Stored pieces are announced, so none is fetched twice.
"""

from __future__ import annotations

import contextlib
import time

from dfengine import codes
from dfengine.client import fallback, fetch, thread_start
from dfengine.client.monitor import PARKED, TICK, Monitor
from dfengine.client.native import NativeSession
from dfengine.client.progress_timeout import ProgressTimeout
from dfengine.client.pull_timing import Backoff
from dfengine.client.supernode_answer import Patience, silent_nodes
from dfengine.client.supernode_session import Membership, chance, join, leave, report
from dfengine.client.supernodes import Candidates
from dfengine.errors import LocalError, NoProgress, RemoteError, Silent, SupernodeError, SupernodeFull, TooLarge
from dfengine.net.tracing import CLIENT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from dfengine.client.messages import Registration
    from dfengine.client.piece_storage import PieceStorage
    from dfengine.client.supernode_session import SupernodeSession
    from dfengine.client.transfer import Transfer
    from dfengine.net.dialer import Dialer
    from dfengine.settings import GetSettings, SupernodeAddress

RETRY = 20.0
"""Most seconds to search for a supernode after a loss, before the download falls back to the origin (see Patience)."""

RETRY_NOTBS = 120.0
"""The same with --notbs, when it must not fall back."""

PARKED_PAUSE = 15.0
"""Longest pause in seconds between two tries of a parked download to find a supernode again, at random up to twice as long."""

STRIKES = 3
"""Consecutive registrations without a new piece, per supernode, after which the swarm has failed."""


def _session(member: Membership, held: list[tuple[int, int]], patience: Patience) -> SupernodeSession:
    if member.native:
        return NativeSession(member, held, patience)
    from dfengine.client.legacy import LegacySession

    return LegacySession(member)


def _silent_last(nodes: list[SupernodeAddress]) -> list[SupernodeAddress]:
    return sorted(nodes, key=lambda node: silent_nodes.is_silent(str(node)))


class SwarmSession:
    """The swarm phase of one download. nodes: returns the presently known supernodes, best first.

    opened: called for each new transfer, once its file can be served. log_verbose: called with messages for verbose output.
    """

    def __init__(
        self,
        settings: GetSettings,
        dialer: Dialer,
        nodes: Callable[[], list[SupernodeAddress]],
        registration: Registration,
        assembly: PieceStorage,
        monitor: Monitor,
        opened: Callable[[Membership], None],
        log_verbose: Callable[[str], None],
    ) -> None:
        self._settings = settings
        self._dialer = dialer
        self._nodes = nodes
        self._registration = registration
        self._assembly = assembly
        self._monitor = monitor
        self._opened = opened
        self._log_verbose = log_verbose
        self._may_fall_back = fallback.allows(settings)
        self._patience = assembly.patience if self._may_fall_back else assembly.patience.replace(insists=True)
        self._served: Transfer | None = None
        self._threads = 0
        self._session: SupernodeSession | None = None
        self._ended_cleanly = False
        """Whether the connection to the supernode is at the end of an answer."""
        self.member: Membership | None = None
        self.supernode_md5 = ""
        self.refused = False
        """Whether the last failed supernode answered that it could not fetch the file, or refused to."""
        self._stop_on_refusal = False

    @property
    def nodes(self) -> list[SupernodeAddress]:
        """The presently known supernodes, best first."""
        return self._nodes()

    @property
    def last_node(self) -> SupernodeAddress:
        """The supernode of the last membership, or else the best one."""
        return self.member.node if self.member is not None else self.nodes[0]

    def run(self, stop_on_refusal: bool = False) -> str | None:
        """Pull until every piece is stored: return None; or until the swarm has failed: return why. Raises local errors.

        stop_on_refusal: after a supernode could not fetch the file, do not ask another, since the manifest may be outdated.
        """
        self._stop_on_refusal = stop_on_refusal
        return self._run(self._join_first)

    def resume(self, member: Membership) -> str | None:
        """Like `run`, after reading from the origin, with a membership that was found meanwhile."""
        self._served = None
        return self._run(lambda: member)

    def _run(self, begin: Callable[[], Membership]) -> str | None:
        try:
            self.member = begin()
            failed = self._drive_memberships()
            self._ended_cleanly = failed is None and self.member is not None and self.member.native
        except RemoteError as error:
            self.refused = isinstance(error, SupernodeError) and error.code != 0
            failed = str(error)
        finally:
            self._monitor.set_state()
        # The fetch threads continue while supernodes are asked: the last piece may have arrived meanwhile.
        transfer = self._assembly.transfer
        return None if transfer is not None and transfer.finished else failed

    def _join_first(self) -> Membership:
        failure: RemoteError | None = None
        candidates = Candidates(_silent_last(self.nodes))
        for node in candidates:
            self._monitor.check(None)
            self._monitor.set_state(f"asks supernode {node}, which may wait for the origin", "asks a supernode")
            try:
                return self._join(node, self._monitor.deadline)
            except RemoteError as error:
                if str(error).startswith(f"{node} "):
                    error.args = (f"supernode {error}", *error.args[1:])
                self._monitor.note_failure(str(error))
                failure = failure or error
                candidates.failed(error)
                if candidates.has_more:
                    self._log_verbose(f"{error}; asks the next supernode")
                if self._stop_on_refusal and isinstance(error, SupernodeError) and error.code and not isinstance(error, SupernodeFull):
                    failure = error
                    break
        raise failure or SupernodeError("no supernode is given")

    def _join(self, node: SupernodeAddress, deadline: float) -> Membership:
        with self._monitor.span.child("register", CLIENT, supernode=str(node)) as span:
            return join(self._dialer, node, self._registration, deadline, self._monitor.pause, self._monitor.note_failure, self._patience,
                        span.traceparent)

    def _drive_memberships(self) -> str | None:
        """Drive one membership after the other."""
        strikes, most, backoff = 0, 0, Backoff(0.1, 1.0)
        while True:
            member = self.member
            assert member is not None
            self._monitor.set_state()
            if member.cdn_source == "source":
                return f"supernode {member.node} keeps no copy and names the origin as the source"
            if self._registration.stream_mode and not member.native:
                return f"supernode {member.node} speaks only 1.x, which has no windows"
            self._assembly.drop_unprovable(member.generation)
            generation = member.generation.decode("ascii", "replace")
            if self._assembly.transfer is None and self._assembly.is_output_current(member.geometry.length, generation):
                return None
            self._assembly.find_kept(member.task, member.geometry, member.generation)
            try:
                transfer = self._assembly.open(member.geometry, member.generation)
            except TooLarge as error:
                if self._settings.notbs or self._assembly.knows_length:
                    raise
                # The supernode may be wrong: the origin's answer states the file's length.
                return f"supernode {member.node} names a length of {member.geometry.length} bytes: {error}"
            before = transfer.plan.stored
            try:
                self._pull(member, transfer)
                return None
            except RemoteError as error:
                failure = error
                self._monitor.note_failure(str(error))
                if isinstance(error, Silent):
                    silent_nodes.silent(str(member.node), time.monotonic())
            seeks = f"lost, seeking {'another' if len(self.nodes) > 1 else 'it again'}"
            self._monitor.set_state(f"supernode {member.node} {seeks}", f"supernode {seeks}")
            # A file that starts over gets pieces each time: only a new maximum counts as progress.
            stored = transfer.plan.stored
            # A supernode that could not fetch the file has retried by itself: its second failure is final.
            weight = STRIKES - 1 if isinstance(failure, SupernodeError) and failure.code == codes.CDN_FAILED else 1
            if isinstance(failure, NoProgress):
                weight = STRIKES
            gained = stored != before and stored > most and not isinstance(failure, NoProgress)
            strikes = 0 if gained else strikes if transfer.parked else strikes + weight
            most = max(most, stored)
            if strikes >= STRIKES * len(self.nodes) or (weight == STRIKES - 1 and self._stop_on_refusal):
                self.refused = weight == STRIKES - 1
                return str(failure)
            if gained:
                backoff.reset()
            else:
                self._pause(transfer, backoff.next(chance()))
            if transfer.finished:
                return None
            self._log_verbose(str(failure))
            self.member = self._rejoin(transfer, member.node, not strikes, weight == STRIKES - 1)
            if self.member is None or transfer.finished:  # the last piece may arrive while the supernode answers
                return None
            self._log_verbose(f"registered again at {self.member.node}")

    def _pull(self, member: Membership, transfer: Transfer) -> None:
        """Pull until all pieces are stored. Raises RemoteError when this membership cannot be used any more."""
        if transfer is not self._served:
            self._opened(member)
            self._served = transfer
            self._assembly.copy_kept(self._monitor)
            thread_start.start_some(transfer.plan.workers, lambda _: self._start_thread(transfer))
        self._session = session = _session(member, transfer.rejoin(member.native), self._patience)
        try:
            self._drive(session, transfer)
            # When the file is complete, an error of the supernode does not matter.
            session.conclude(transfer)
            self._await_md5(session, transfer)
        except RemoteError:
            session.close()
            if not transfer.finished:
                raise
        finally:
            self.supernode_md5 = session.finished_md5 or self.supernode_md5

    def _await_md5(self, session: SupernodeSession, transfer: Transfer) -> None:
        """If only the supernode's md5 can prove that all pieces are of one version, report the pieces stored before, until it sends it."""
        if not self._assembly.doubtful or self._assembly.expected:
            return
        self._monitor.set_state("waits for the supernode's md5 of the file", "waits for the file's md5")
        timeout = self._timeout(transfer)  # of a supernode that refills its copy: its next piece is awaited as long as in `_drive`
        while session.awaits_md5 and not timeout.expired(session.reported, 0, False, time.monotonic()):
            self._monitor.check(transfer)
            session.step(transfer, TICK)

    def _start_thread(self, transfer: Transfer) -> None:
        self._threads += 1
        transfer.start(fetch.Fetcher(transfer, self._dialer, self._floor(transfer)).run, f"fetch-{self._threads}")

    def _floor(self, transfer: Transfer) -> float:
        """Minimum rate of one source in bytes per second: all sources share this host's link and the user's limit, so it is divided."""
        limit = self._settings.locallimit
        return min(self._settings.minrate, limit // 2 or self._settings.minrate) / max(1, transfer.plan.workers)

    def _timeout(self, transfer: Transfer) -> ProgressTimeout:
        settings = self._settings
        return ProgressTimeout(transfer.file.geometry.piece_size, settings.minrate, settings.locallimit, time.monotonic())

    def _drive(self, session: SupernodeSession, transfer: Transfer) -> None:
        checked, timeout = time.monotonic(), self._timeout(transfer)
        parked = False
        while not transfer.finished:
            self._monitor.check(transfer)
            now = time.monotonic()
            if now - checked >= TICK:  # each piece that is stored wakes this thread
                checked = now
                stored, satisfied = transfer.progress()
                if timeout.expired(stored, transfer.in_flight().total, satisfied or parked, now):
                    raise NoProgress(f"no progress in the swarm for {timeout.seconds:.0f} s{transfer.fault and f': {transfer.fault}'}")
                if transfer.check_sources(self._floor(transfer)):
                    with contextlib.suppress(LocalError):  # those that run fetch on
                        self._start_thread(transfer)
            parked = transfer.parked
            session.step(transfer, PARKED if parked else TICK)

    def _pause(self, transfer: Transfer, seconds: float) -> None:
        """Wait `seconds`, or until the transfer is finished, or is parked or resumed."""
        until, parked = time.monotonic() + seconds, transfer.parked
        while (left := until - time.monotonic()) > 0 and not transfer.finished and parked == transfer.parked:
            self._monitor.check(transfer)
            transfer.sleep(left if parked else min(TICK, left))

    def _order_after(self, last: SupernodeAddress, stay: bool) -> list[SupernodeAddress]:
        """Supernodes in the order of registration: from `last` on, around the list; with `stay` false, `last` is the last one."""
        nodes = self.nodes
        at = next((n + (not stay) for n, node in enumerate(nodes) if str(node) == str(last)), 0)
        return [*nodes[at:], *nodes[:at]]

    def _rejoin(self, transfer: Transfer, last: SupernodeAddress, stay: bool, failed: bool) -> Membership | None:
        """Register at the first supernode that accepts; None if all pieces are stored. Raises the first RemoteError of the last round.

        last, stay: see `_order_after`.
        failed: the supernode could not fetch the file: if every supernode refuses now, that is final, and none is asked again.
        """
        patience = min(RETRY, self._patience.retry) if self._may_fall_back else RETRY_NOTBS if self._settings.notbs else RETRY
        until, backoff, parked = min(self._monitor.deadline, time.monotonic() + patience), Backoff(0.1, 1.0), False
        while True:
            failure: RemoteError | None = None
            refused = failed
            if parked != transfer.parked:  # parked, or a reader waits again: the time of the search restarts
                parked = transfer.parked
                until = min(self._monitor.deadline, time.monotonic() + patience)
                backoff = Backoff(0.1, PARKED_PAUSE if parked else 1.0)
            nodes = _silent_last(self._order_after(last, stay))
            candidates = Candidates(nodes)
            for node in candidates:
                self._monitor.check(transfer)
                if transfer.finished:
                    return None
                try:
                    return self._join(node, max(until, time.monotonic() + 1.0) if parked else until)
                except RemoteError as error:
                    self._monitor.note_failure(str(error))
                    failure = failure or error
                    candidates.failed(error)
                    refused = refused and isinstance(error, SupernodeError)
            awaited = self._may_fall_back and transfer.wanted_pieces() is not None  # by a reader, which need not wait for silent supernodes
            silent = awaited and all(silent_nodes.is_silent(str(node)) for node in nodes)
            if (refused or silent or time.monotonic() >= until) and not transfer.parked:
                raise failure or SupernodeError("no supernode is given")
            self._pause(transfer, backoff.next(chance()))

    def report(self, message: bytes) -> None:
        """Report the result, for the supernode's counters; best effort."""
        if self.member is not None:
            report(self.member, message)

    def leave(self) -> None:
        """Deregister, so that the pieces offered to this download are offered to others at once; best effort."""
        if self.member is not None:
            leave(self.member)

    def close(self) -> None:
        if self._ended_cleanly and self.member is not None:
            self._dialer.release(self.member.connection, named=True)
            return
        if self._session is not None:
            self._session.close()
        if self.member is not None:
            self.member.connection.close()
