"""Checks with a supernode whether the file of this host's leader is still the present version, before a download joins that leader.

A file may be open for weeks and change meanwhile. So a leader is joined without a check only while its place is fresh and incomplete, as
when several downloads begin together. Otherwise the download registers first, and joins if a supernode names the leader's version. If the
supernode names another version, the leader and its followers continue, and later downloads join a leader of the present version
(`peer.host_leader_election`).
"""

from __future__ import annotations

import time

from dfengine.client.leader_place import Unusable
from dfengine.client.monitor import TICK
from dfengine.client.supernode_session import REGISTRATION_TIMEOUT, join, leave
from dfengine.errors import RemoteError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from dfengine.client.host_leader_client import HostLeaderClient
    from dfengine.client.leader_place import LeaderPlace
    from dfengine.client.messages import Registration
    from dfengine.client.monitor import Monitor
    from dfengine.client.piece_storage import PieceStorage
    from dfengine.net.dialer import Dialer
    from dfengine.settings import GetSettings, SupernodeAddress

FRESH = 3.0
"""Seconds for which a place counts as the present version: a supernode's default of --revalidate-interval."""

LEADERS = 3
"""Consecutive outdated leaders after which the download continues alone."""


class PresentVersion:
    """The check of one download, on its main thread. prepare: composes the registration."""

    def __init__(
        self, settings: GetSettings, dialer: Dialer, nodes: Callable[[], list[SupernodeAddress]], prepare: Callable[[], Registration],
        place: PieceStorage, monitor: Monitor,
    ) -> None:  # fmt: skip
        self._dialer, self._nodes, self._prepare, self._monitor = dialer, nodes, prepare, monitor
        self._patience, self._required_generation, self._has_digest = place.patience, place.required_generation, bool(settings.expected)

    def join(self, joining: HostLeaderClient) -> None:
        """Stay joined to a leader of the present version, or of the version that the place must have, or if no supernode can tell.

        Otherwise the download leads, or is alone. Raises the errors of the monitor and of `prepare`.
        """
        for _ in range(LEADERS):
            place = self._leader_place(joining)
            if place is None or not self._must_check(place):
                return
            if self._required_generation and place.generation == self._required_generation:
                return
            named, length = self._fetch_version()
            same = named == place.generation if named else -1 in (length, known := _length(place)) or length == known
            if same:
                return
            joining.leave_outdated()
            if not joining.joined:
                return
        joining.resign()

    def _leader_place(self, joining: HostLeaderClient) -> LeaderPlace | None:
        """Return the leader's place, if it had one when it was named: a place that is opened later is of the present version."""
        while joining.joined and joining.already_open and not joining.done and joining.place is None:
            self._monitor.check(None)
            joining.receive(TICK)
        return joining.place if joining.joined else None

    def _must_check(self, place: LeaderPlace) -> bool:
        """Whether a supernode must be asked. Always with a digest from the user, which may be another version's."""
        if self._has_digest or place.opened_at < 0 or not 0.0 <= time.monotonic() - place.opened_at < FRESH:
            return True
        try:
            return place.trusted and place.file.available.count() == place.file.geometry.count
        except Unusable:
            return False

    def _fetch_version(self) -> tuple[bytes, int]:
        """Return the version that a supernode names (b"": none), and the file's length (-1: unknown, or no supernode can be asked)."""
        self._monitor.set_state("asks a supernode whether this host has the present version", "asks a supernode")
        registration, found = self._prepare(), (b"", -1)
        for node in self._nodes():
            self._monitor.check(None)
            until = min(self._monitor.deadline, time.monotonic() + REGISTRATION_TIMEOUT)
            try:
                member = join(self._dialer, node, registration, until, self._monitor.pause, self._monitor.note_failure, self._patience)
            except RemoteError as error:
                self._monitor.note_failure(str(error))
                continue
            leave(member)
            member.connection.close()
            found = member.generation, member.geometry.length
            break
        self._monitor.check(None)
        self._monitor.set_state()
        return found


def _length(place: LeaderPlace) -> int:
    """Length in bytes of the leader's file; -1: it is not known, or cannot be read."""
    try:
        return place.file.geometry.length
    except Unusable:
        return -1
