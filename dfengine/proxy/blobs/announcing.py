"""Tells the swarm which public blobs lie on this host's disk, also after a restart: its peer server announces and serves them.

A blob is announced as content that is shared (`client.sharing`), with the digests of its pieces from its download: it is not read again.
What credentials opened is not announced, because every host that may register could get it then.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from typing import TYPE_CHECKING

from dfengine.client import local_peer
from dfengine.client.identity import unique_sign
from dfengine.errors import DfengineError
from dfengine.location import content_url
from dfengine.net.dial import local_address
from dfengine.net.dialer import Dialer
from dfengine.net.node_names import expanded
from dfengine.nodes import named, order
from dfengine.storage import content, shared_content
from dfengine.storage.home import Home
from dfengine.task import task_id

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from dfengine.proxy.blobs.store import Store
    from dfengine.settings import ProxySettings
    from dfengine.storage.piece_file import PieceFile

LEAST = 1 << 20
"""Bytes: a smaller blob costs a supernode more than its registry."""

MOST = 16
"""Blobs that are announced, the newest: each costs SUPERNODES a request of 0.1 CPU ms every `peer.keeper.SELDOM` seconds."""

SECONDS = 30 * 86400.0
SUPERNODES = 2
"""Of those that may have its task, the first ones."""


class Announcing:
    """store: of the blobs. threads: what waits for a disk or a supernode runs there."""

    def __init__(self, settings: ProxySettings, store: Store, threads: Executor) -> None:
        self._settings = settings
        self._store = store
        self._folder = store.path
        self._threads = threads
        self._turn = threading.Lock()

    def start(self) -> None:
        """Have what an earlier process announced served again."""
        if self._settings.nodes:
            self._threads.submit(self._resume)

    def add(self, hex: str, file: PieceFile) -> None:
        """The public blob of that digest is in the folder, whole and right."""
        if self._settings.nodes and file.geometry.length >= LEAST:
            digests = bytes(file.record.digests[: content.DIGEST * file.geometry.count])
            self._threads.submit(self._publish, hex, file.geometry.length, digests)

    # In threads. A home that cannot be written to, or a supernode that is not there, leaves this host a peer less.

    def _resume(self) -> None:
        with contextlib.suppress(DfengineError, OSError):
            settings, home = self._settings, Home(self._settings.home)
            shared = self._own(home)
            ip = local_peer.address(settings.ip, expanded(settings.nodes), local_address)
            if shared and ip:
                dialer = Dialer(settings.secret_file, (settings.tls_cert, settings.tls_key, settings.tls_ca))
                peer = local_peer.ensure(
                    home, dialer, ip, settings.port, shared[0].name, totallimit=settings.totallimit, alivetime=settings.alivetime
                )
                if peer.sock is not None:
                    peer.sock.close()

    def _publish(self, hex: str, length: int, digests: bytes) -> None:
        with self._turn, contextlib.suppress(DfengineError, OSError):
            settings, home = self._settings, Home(self._settings.home)
            path, url, sign = os.path.join(os.path.realpath(self._folder), hex), content_url(hex), unique_sign()
            known = expanded(settings.nodes)
            ip = local_peer.address(settings.ip, known, local_address)
            nodes = list(map(str, order(known, task_id(url))))[:SUPERNODES]
            names = [node.text for node in settings.nodes] if named(settings.nodes) else []
            found = content.Content(path, length, hex, {"xxh3": digests}, content.state_of(os.lstat(path)))
            if not ip or found.state[2] != length:
                return
            name, until = shared_content.name_of(hex, sign), time.time() + SECONDS
            shared = shared_content.Announced(name, url, path, length, f"{ip}-{sign}", ip, nodes, [], until, settings.location, names=names)
            with self._store.touching(hex):  # a link more
                shared_content.publish(home, shared, found, task_id(url))
            for each in sorted(self._own(home), key=lambda each: each.until)[:-MOST]:
                home.withdraw(each.name)

    def _own(self, home: Home) -> list[shared_content.Announced]:
        folder = os.path.realpath(self._folder)
        return [each for each in shared_content.listed(home) if os.path.dirname(each.path) == folder]
