"""Shares a file of this host's disk with a swarm: it is read once, and served by the host's peer server from where it lies.

The name of its content, `df:sha256:HEX`, is all that others need to know.
"""

from __future__ import annotations

import contextlib
import time

from dfengine import codes
from dfengine.client import local_peer
from dfengine.client.identity import unique_sign
from dfengine.client.nodes import order
from dfengine.errors import BadValue, RemoteError, SupernodeError
from dfengine.location import content_url
from dfengine.net.announcing import announce
from dfengine.net.dial import local_address
from dfengine.net.dialer import Dialer
from dfengine.storage import content, shared_content
from dfengine.storage.home import Home
from dfengine.task import task_id
from dfengine.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from dfengine.settings import ShareSettings, SupernodeAddress
    from dfengine.wire import Announced

LOOK = 0.5
"""Seconds between two questions whether a supernode's copy is whole."""

PATIENCE = 60.0
"""Seconds for which a supernode that is to keep a copy may not be reached, or may refuse."""


class Sharing(Value):
    """A file that is shared. name: `df:sha256:HEX`. until: unix seconds.

    nodes: supernodes that know it, as HOST:PORT; kept: those that have a copy of it.
    """

    name: str
    path: str
    length: int
    until: float
    nodes: list[str]
    kept: list[str]


class Share:
    """One file. `run`, then `await_copies` if there are to be some. look: called with the bytes that were read, and in waits; may raise."""

    def __init__(self, settings: ShareSettings, look: Callable[[int], None] = lambda done: None) -> None:
        """Raises BadValue."""
        self._settings = settings
        self._look = look
        if not settings.nodes:
            raise BadValue("a file is shared at a supernode: name one (-n HOST)")
        distinct = {str(node) for node in settings.nodes}
        if settings.replicas > len(distinct):
            raise BadValue(f"--replicas {settings.replicas}: {len(distinct)} supernodes are named, each of which keeps one copy")
        self._dialer = Dialer(settings.secret_file, (settings.tls_cert, settings.tls_key, settings.tls_ca))
        if settings.tls_ca and not settings.tls_cert:
            raise BadValue("there is no certificate to serve with: --tls-cert")
        self.home = Home(settings.home)
        self.shared: shared_content.Announced | None = None
        self._nodes: list[SupernodeAddress] = []
        self._port = 0

    def run(self) -> Sharing:
        """Read the file, have it served, and tell the supernodes. Raises BadValue, StorageError, LocalError, SupernodeError."""
        settings = self._settings
        ip = local_peer.address(settings.ip, settings.nodes, local_address)
        if not ip:
            raise SupernodeError("this host has no address towards a supernode: --ip ADDRESS")
        found = content.read(settings.path, ("xxh3", "blake3") if settings.secret_file or settings.tls_cert else ("xxh3",), self._look)
        url, sign = content_url(found.sha256), unique_sign()
        task, name = task_id(url), shared_content.name_of(found.sha256, sign)
        self._nodes = order(settings.nodes, task)
        nodes = list(map(str, self._nodes))
        self.shared = shared_content.Announced(
            name, url, found.path, found.length, f"{ip}-{sign}", ip, nodes, nodes[: settings.replicas], time.time() + settings.ttl,
            settings.location,
        )  # fmt: skip
        shared_content.publish(self.home, self.shared, found, task)
        try:
            peer = local_peer.ensure(self.home, self._dialer, ip, settings.port, name, totallimit=settings.totallimit,
                                     alivetime=settings.alivetime)
            if peer.line is not None:
                peer.line.close()
            self._port = peer.port
            known = self._tell(self._nodes)
        except BaseException:
            self.end()
            raise
        return Sharing(url, found.path, found.length, self.shared.until, known, [])

    def _tell(self, nodes: list[SupernodeAddress]) -> list[str]:
        """Supernodes that know it now; those that were not reached hear of it later. Raises RemoteError when none does."""
        known, failure = [], None
        for node in nodes:
            self._look(-1)
            try:
                self._accepted(node, self._announce(node))
                known.append(str(node))
            except RemoteError as error:
                failure = failure or error
        if not known:
            raise failure or SupernodeError("no supernode is given")
        return known

    def _announce(self, node: SupernodeAddress) -> Announced:
        shared = self.shared
        assert shared is not None
        told = shared_content.announcement(shared, self._port, keep=str(node) in shared.keep)
        return announce(self._dialer, node.host, node.port, told, lambda algorithm: shared_content.digests(self.home, shared, algorithm))

    def _accepted(self, node: SupernodeAddress, answer: Announced) -> None:
        if answer.code not in (codes.SUCCESS, codes.WAIT):
            raise SupernodeError(f"supernode {node} refuses: {' '.join(answer.msg.split())[:300]}", answer.code)

    def await_copies(self, sharing: Sharing) -> Sharing:
        """Until each supernode that is to keep a copy has a whole one. Raises SupernodeError, StorageError."""
        kept: list[str] = []
        for node in self._nodes[: self._settings.replicas]:
            end = time.monotonic() + PATIENCE
            while True:
                self._look(-1)
                if self.shared is None or not shared_content.is_whole(self.home, self.shared):
                    raise SupernodeError(f"{sharing.path} was changed or withdrawn before supernode {node} had a copy")
                try:
                    answer = self._announce(node)
                    self._accepted(node, answer)
                    end = time.monotonic() + PATIENCE
                    if answer.kept:
                        break
                except RemoteError as error:
                    if time.monotonic() > end or isinstance(error, SupernodeError):
                        raise
                time.sleep(LOOK)
            kept.append(str(node))
        return sharing.replace(kept=kept)

    def wait(self) -> None:
        """Until its time is over, or the file was changed or withdrawn."""
        while self.shared is not None and time.time() < self.shared.until and shared_content.is_whole(self.home, self.shared):
            self._look(-1)
            time.sleep(LOOK)

    def end(self) -> None:
        """Share it no longer."""
        shared, self.shared = self.shared, None
        if shared is None:
            return
        self.home.withdraw(shared.name)
        for node in self._nodes:
            # One that is not reached hears it from the peer server, or nothing more of it.
            with contextlib.suppress(RemoteError):
                told = shared_content.announcement(shared, self._port, withdrawn=True)
                announce(self._dialer, node.host, node.port, told, lambda algorithm: b"")


def withdraw(home: Home, url: str) -> bool:
    """Share the content of that name no longer; False: it is not shared here. The peer server tells the supernodes."""
    names = [each.name for each in shared_content.listed(home) if each.url == url]
    for name in names:
        home.withdraw(name)
    return bool(names)
