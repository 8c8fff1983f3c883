"""Shares a file or directory of this host's disk with a swarm: it is read once, and the host's peer server serves it from its path.

Downloads need only the name of its content, `df:sha256:HEX`.
"""

from __future__ import annotations

import contextlib
import os
import time

from dfengine import codes
from dfengine.client import local_peer, withdrawal
from dfengine.client.identity import unique_sign
from dfengine.errors import BadValue, LocalError, RemoteError, SupernodeError
from dfengine.location import content_url
from dfengine.net.content_announcement import announce
from dfengine.net.dialer import Dialer
from dfengine.net.http_client import local_address
from dfengine.net.node_names import resolved
from dfengine.nodes import has_dns_names, order
from dfengine.storage import content_digests, shared_content
from dfengine.storage.home import Home
from dfengine.task import task_id
from dfengine.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from dfengine.settings import ShareSettings, SupernodeAddress
    from dfengine.wire import Announced

POLL = 0.5
"""Seconds between two requests whether a supernode's copy is complete."""

PATIENCE = 60.0
"""Seconds for which a supernode that is to keep a copy may be unreachable, or may refuse."""


class Sharing(Value):
    """A shared file. name: `df:sha256:HEX`. until: unix seconds.

    nodes: supernodes that list it, as HOST:PORT; kept: those that have a copy of it.
    """

    name: str
    path: str
    length: int
    until: float
    nodes: list[str]
    kept: list[str]


class Share:
    """Shares one file: `run`, then `await_copies` if any are wanted. progress: called with the bytes read, -1 in waits; may raise."""

    def __init__(self, settings: ShareSettings, progress: Callable[[int], None] = lambda done: None) -> None:
        """Raises BadValue for unusable settings."""
        self._settings = settings
        self._progress = progress
        if not settings.nodes:
            raise BadValue("a file is shared at a supernode: name one (-n HOST)")
        self._nodes: dict[str, SupernodeAddress] = {}
        """Supernodes by their text."""
        if not has_dns_names(settings.nodes):
            self._set_nodes(settings.nodes)
        self._dialer = Dialer(settings.secret_file, (settings.tls_cert, settings.tls_key, settings.tls_ca))
        if settings.tls_ca and not settings.tls_cert:
            raise BadValue("there is no certificate to serve with: --tls-cert")
        self.home = Home(settings.home)
        self.shared: list[shared_content.SharedContent] = []
        """The file; for a directory, its data and its manifest."""
        self._port = 0

    def _set_nodes(self, nodes: Iterable[SupernodeAddress]) -> None:
        """Set the supernodes to announce to. Raises BadValue if they are fewer than the wanted copies."""
        self._nodes = {str(node): node for node in nodes}
        if self._settings.replicas > len(self._nodes):
            raise BadValue(f"--replicas {self._settings.replicas}: {len(self._nodes)} supernodes are named, each of which keeps one copy")

    def run(self) -> Sharing:
        """Read the file, let the peer server serve it, and announce it. Raises BadValue, StorageError, LocalError, SupernodeError."""
        settings = self._settings
        if not self._nodes:
            self._set_nodes(resolved(settings.nodes, lambda: self._progress(-1)))
        ip = local_peer.address(settings.ip, self._nodes.values(), local_address)
        if not ip:
            raise SupernodeError("this host has no address towards a supernode: --ip ADDRESS")
        ip = local_peer.serving_address(self.home, "" if settings.ip in local_peer.EVERY_ADDRESS else settings.ip, ip)
        algorithms = ("xxh3", "blake3") if settings.secret_file or settings.tls_cert else ("xxh3",)
        until = time.time() + settings.ttl
        try:
            if os.path.isdir(settings.path):
                path, name, length = self._directory(algorithms, ip, until)
            else:
                found = content_digests.read(settings.path, algorithms, self._progress)
                path, name, length = found.path, self._file(found, ip, until), found.length
            peer = local_peer.ensure(self.home, self._dialer, ip, settings.port, self.shared[-1].name, totallimit=settings.totallimit,
                                     alivetime=settings.alivetime)
            if peer.sock is not None:
                peer.sock.close()
            if peer.ip != ip:
                raise LocalError(f"the peer server of {self.home.path} has just started to serve at {peer.ip}: run it again")
            self._port = peer.port
            known = self._announce_all()
        except BaseException:
            self.end()
            raise
        return Sharing(name, path, length, until, known, [])

    def _file(self, found: content_digests.Content, ip: str, until: float) -> str:
        """Let the peer server serve a file; return its name."""
        shared = self._described(found.sha256, found.path, found.length, ip, until)
        shared_content.publish(self.home, shared, found, task_id(shared.url))
        self.shared.append(shared)
        return shared.url

    def _directory(self, algorithms: tuple[str, ...], ip: str, until: float) -> tuple[str, str, int]:
        """Let the peer server serve a directory; return its path, its name and the bytes of its files."""
        from dfengine.storage import tree_digests

        found = tree_digests.read(self._settings.path, algorithms, self._progress)
        shared = self._described(found.sha256, found.path, found.manifest.length, ip, until, of=content_url(found.manifest.identity))
        shared_content.publish_tree(self.home, shared, found, task_id(shared.url))
        self.shared.append(shared)
        manifest = content_digests.read(shared_content.keep_manifest(self.home, found), algorithms)
        return found.path, self._file(manifest, ip, until), found.manifest.length

    def _described(self, sha256: str, path: str, length: int, ip: str, until: float, of: str = "") -> shared_content.SharedContent:
        url, sign = content_url(sha256), unique_sign()
        nodes = list(map(str, order(self._nodes.values(), task_id(url))))
        names = [node.text for node in self._settings.nodes] if has_dns_names(self._settings.nodes) else []
        return shared_content.SharedContent(
            shared_content.name_of(sha256, sign), url, path, length, f"{ip}-{sign}", ip, nodes, nodes[: self._settings.replicas], until,
            self._settings.location, of, names,
        )  # fmt: skip

    def _announce_all(self) -> list[str]:
        """Announce the share. Return the supernodes that accepted it; others get it later. Raises RemoteError if none accepts."""
        known, failure = [], None
        for node in self.shared[0].nodes:
            self._progress(-1)
            try:
                for shared in self.shared:
                    self._accepted(node, self._announce(shared, node))
                known.append(node)
            except RemoteError as error:
                failure = failure or error
        if not known:
            raise failure or SupernodeError("no supernode is given")
        return known

    def _announce(self, shared: shared_content.SharedContent, node: str, withdrawn: bool = False) -> Announced:
        announced = shared_content.announcement(shared, self._port, keep=node in shared.keep, withdrawn=withdrawn)
        return announce(self._dialer, self._nodes[node], announced, lambda algorithm: shared_content.digests(self.home, shared, algorithm))

    def _accepted(self, node: str, answer: Announced) -> None:
        if answer.code not in (codes.SUCCESS, codes.WAIT):
            raise SupernodeError(f"supernode {node} refuses: {' '.join(answer.msg.split())[:300]}", answer.code)

    def await_copies(self, sharing: Sharing) -> Sharing:
        """Wait until each supernode that is to keep a copy has a complete one. Raises SupernodeError, StorageError."""
        kept = [self._await_copy(shared, node) for shared in list(self.shared) for node in shared.keep]
        return sharing.replace(kept=list(dict.fromkeys(kept)))

    def _await_copy(self, shared: shared_content.SharedContent, node: str) -> str:
        end = time.monotonic() + PATIENCE
        while True:
            self._progress(-1)
            if not shared_content.is_whole(self.home, shared):
                raise SupernodeError(f"{shared.path} was changed or withdrawn before supernode {node} had a copy")
            try:
                answer = self._announce(shared, node)
                self._accepted(node, answer)
                if answer.kept:
                    return node
                if not answer.msg:
                    end = time.monotonic() + PATIENCE
                elif time.monotonic() > end:
                    raise SupernodeError(f"supernode {node} cannot keep a copy: {' '.join(answer.msg.split())[:300]}")
            except SupernodeError:
                raise
            except RemoteError:
                if time.monotonic() > end:
                    raise
            time.sleep(POLL)

    @property
    def is_valid(self) -> bool:
        """Whether the share has not expired, and was neither changed nor withdrawn."""
        now = time.time()
        return bool(self.shared) and all(now < each.until and shared_content.is_whole(self.home, each) for each in self.shared)

    def wait(self) -> None:
        """Wait for the end of the share."""
        while self.is_valid:
            self._progress(-1)
            time.sleep(POLL)

    def end(self) -> None:
        """Withdraw the share."""
        ended, self.shared = self.shared, []
        withdrawal.withdraw(self.home, [shared.name for shared in ended])
        for shared in ended if self._port else ():
            for node in shared.nodes:
                # A supernode that is not reached is notified by the peer server, or the announcement expires there.
                with contextlib.suppress(RemoteError):
                    self._announce(shared, node, withdrawn=True)
