"""Announces public blobs on this host's disk to the swarm, also after a restart; its peer server announces and serves them.

A blob is announced as shared content (`client.sharing`), with the piece digests of its download, so it is not read again.
Blobs that credentials opened are not announced, because every host that may register could then get them.
"""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING

from dfengine.client import local_peer
from dfengine.client.identity import unique_sign
from dfengine.errors import DfengineError
from dfengine.location import content_url
from dfengine.net.dialer import Dialer
from dfengine.net.http_client import local_address
from dfengine.net.node_names import resolved
from dfengine.net.thread_pool import ThreadPool
from dfengine.nodes import has_dns_names, order
from dfengine.storage import content_digests, shared_content
from dfengine.storage.home import Home
from dfengine.task import task_id

if TYPE_CHECKING:
    from dfengine.proxy.blobs.blob_store import BlobStore
    from dfengine.settings import ProxySettings
    from dfengine.storage.piece_file import PieceFile

MIN_LENGTH = 1 << 20
"""Bytes: serving a smaller blob costs a supernode more than it costs the registry."""

MAX_ANNOUNCED = 16
"""Number of announced blobs, the newest ones. Each costs SUPERNODES a request of 0.1 CPU ms every `content_announcer.SELDOM` seconds."""

SECONDS = 30 * 86400.0
SUPERNODES = 2
"""Number of supernodes that get an announcement: the first ones in the order for its task."""


class BlobAnnouncer:
    """store: of the blobs."""

    def __init__(self, settings: ProxySettings, store: BlobStore) -> None:
        self._settings = settings
        self._store = store
        self._folder = store.path
        self._thread = ThreadPool(1, "announce")
        """Announces one blob after the other. It waits for name servers and the peer server, and no request waits for it."""

    def start(self) -> None:
        """Serve again the blobs that an earlier process announced."""
        if self._settings.nodes:
            self._thread.submit(self._resume)

    def add(self, hex: str, file: PieceFile) -> None:
        """Announce a public blob by its digest; it is in the folder, complete and verified."""
        if self._settings.nodes and file.geometry.length >= MIN_LENGTH:
            digests = bytes(file.record.digests[: content_digests.DIGEST * file.geometry.count])
            self._thread.submit(self._publish, hex, file.geometry.length, digests)

    def close(self) -> None:
        """Announce no more, when the process ends."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    # In the thread. If the home is not writable or no supernode responds, the blob is not announced.

    def _resume(self) -> None:
        with contextlib.suppress(DfengineError, OSError):
            settings, home = self._settings, Home(self._settings.home)
            shared = self._own(home)
            ip = local_peer.address(settings.ip, resolved(settings.nodes), local_address)
            if shared and ip:
                dialer = Dialer(settings.secret_file, (settings.tls_cert, settings.tls_key, settings.tls_ca))
                peer = local_peer.ensure(
                    home, dialer, ip, settings.port, shared[0].name, totallimit=settings.totallimit, alivetime=settings.alivetime
                )
                if peer.sock is not None:
                    peer.sock.close()

    def _publish(self, hex: str, length: int, digests: bytes) -> None:
        with contextlib.suppress(DfengineError, OSError):
            settings, home = self._settings, Home(self._settings.home)
            path, url, sign = os.path.join(os.path.realpath(self._folder), hex), content_url(hex), unique_sign()
            known = resolved(settings.nodes)
            ip = local_peer.address(settings.ip, known, local_address)
            nodes = list(map(str, order(known, task_id(url))))[:SUPERNODES]
            names = [node.text for node in settings.nodes] if has_dns_names(settings.nodes) else []
            found = content_digests.Content(path, length, hex, {"xxh3": digests}, content_digests.state_of(os.lstat(path)))
            if not ip or found.state[2] != length:
                return
            name, until = shared_content.name_of(hex, sign), time.time() + SECONDS
            shared = shared_content.SharedContent(
                name, url, path, length, f"{ip}-{sign}", ip, nodes, [], until, settings.location, names=names
            )
            with self._store.touching(hex):  # adds a link
                shared_content.publish(home, shared, found, task_id(url))
            for each in sorted(self._own(home), key=lambda each: each.until)[:-MAX_ANNOUNCED]:
                home.withdraw(each.name)

    def _own(self, home: Home) -> list[shared_content.SharedContent]:
        folder = os.path.realpath(self._folder)
        return [each for each in shared_content.listed(home) if os.path.dirname(each.path) == folder]
