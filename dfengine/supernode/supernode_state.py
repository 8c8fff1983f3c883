"""Puts a supernode's parts together: the engine, the copies, the registered downloads, the parked pulls.

All parts run on the loop's thread. Routes call in, fetches report in, and after each event `wake` answers the pulls that became answerable.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from dfengine import wire
from dfengine.copy_states import FAILED
from dfengine.errors import RemoteError, UnknownDownload, UnknownTask
from dfengine.net.dialer import Dialer
from dfengine.net.event_log import NO_EVENTS, EventLog
from dfengine.net.http import ConnectionState
from dfengine.net.origin_access import OriginAccess
from dfengine.settings import SupernodeAddress, SupernodeSettings
from dfengine.supernode.access_proofs import AccessProofs
from dfengine.supernode.cluster_leases import ClusterLeases
from dfengine.supernode.complaint_verifier import ComplaintVerifier
from dfengine.supernode.copies.cache import Cache
from dfengine.supernode.copies.origin_queue import OriginQueue
from dfengine.supernode.copies.scrubber import Scrubber
from dfengine.supernode.copy_lookups import CopyLookups
from dfengine.supernode.download_registry import DownloadRegistry
from dfengine.supernode.legacy_metrics import LegacyCounts
from dfengine.supernode.origin_fetches import OriginFetches
from dfengine.supernode.parked_pulls import ParkedPulls
from dfengine.supernode.posted_peers import PostedPeers
from dfengine.supernode.proxy_workers import Workers
from dfengine.supernode.pull_answers import PullAnswers
from dfengine.supernode.reachability import Reachability
from dfengine.supernode.registered_downloads import RegisteredDownload
from dfengine.supernode.shares import Shares
from dfengine.supernode.swarm.limits import Limits
from dfengine.supernode.swarm.swarm import Swarm
from dfengine.supernode.swarm_driver import SwarmDriver
from dfengine.supernode.task_ids import TaskIds
from dfengine.supernode.task_names import TaskNames
from dfengine.supernode.timings import Timings
from dfengine.task import client_of

if TYPE_CHECKING:
    from dfengine.supernode.cluster.membership import Cluster


class SupernodeState:
    """The parts of one supernode, for its routes. `loop` must be the running one; `settings.download_port` is the bound port.

    dialer: connects to peers; replaced when secrets and certificates are read again. limits: of the swarm, instead of those of `settings`.
    """

    def __init__(
        self, settings: SupernodeSettings, home: str, loop: asyncio.AbstractEventLoop,
        dialer: Dialer | None = None, limits: Limits | None = None, events: EventLog = NO_EVENTS,
    ) -> None:
        self.settings = settings
        self.events = events
        self.loop = loop
        self.now = loop.time
        self.dialer = dialer or Dialer()
        self.advertise_ip = settings.advertise_ip or "127.0.0.1"
        self.counts = dict.fromkeys(
            ("registered", "pulls", "triggered", "cdn_failed", "cache_hits", "failed_downloads", "finished_downloads", "back_to_source",
             "damaged_pieces", "internal_errors", "cdn_downloads", "cdn_downloads_failed", "idle_tasks"), 0,
        )
        self.legacy_counts = LegacyCounts()
        self.timings = Timings()
        self.posted_peers = PostedPeers()
        self.draining = False
        """The process is about to end: no download may join."""
        self.swarm = Swarm(limits or Limits(up=settings.up_limit, down=settings.down_limit, supernode=settings.supernode_limit,
                                            client_share=settings.client_share,
                                            peer_gc=settings.peer_gc_delay), seed=int(time.time()))
        self.cache = Cache(home, "blake3" if settings.secret_file or settings.tls_cert else "xxh3", settings.max_length)
        self.credentials = TaskIds(home)
        self.names = TaskNames(self.credentials)
        self.copy_lookups = CopyLookups(self.cache, self.names, settings.client_share)
        events.mask = self.names.mask
        self.parked = ParkedPulls(loop, self.swarm, self.timings.parked)
        self.registry = DownloadRegistry(loop, self.swarm, self.parked, settings.client_share)
        self.fetches = OriginFetches(settings, home, self.cache, loop, self.swarm, self.registry, self.wake, self.counts,
                                     self.timings, self.names, events)
        self.members, self.fetch_pool, self.quota = self.registry.members, self.fetches.fetch_pool, self.fetches.quota
        self.answers = PullAnswers(self.fetch_pool.fetches, self.members, self.advertise_ip, settings.download_port)
        # Peers are no origins: --origin-allow does not apply to them, --origin-deny does.
        peers = OriginAccess((), settings.origin_deny)
        self.reachability = Reachability(loop, self.swarm, self.wake, peers, settings.client_share, lambda: self.dialer)
        self._verifier = ComplaintVerifier(
            loop, self.swarm, self.fetch_pool.fetches, self.cache.piece_digest, peers, lambda: self.dialer, self.wake
        )
        self.driver = SwarmDriver(loop, self.swarm, self.registry, self.parked, self.answers, self._verifier, events)
        self.workers = Workers(loop, settings.client_share, bool(settings.secret_file or settings.tls_ca))
        self.shares = Shares(loop, self.swarm, self.registry, self.fetches, self.cache, peers, lambda: self.dialer, self.wake)
        self.scrubber = Scrubber(loop, settings.client_share)
        self.access_proofs = AccessProofs(loop, OriginAccess(settings.origin_allow, settings.origin_deny), settings.client_share)
        self.origins = OriginQueue(loop, settings.origin_limit, settings.client_share)
        self._leases: ClusterLeases | None = None

    def join(self, cluster: Cluster) -> None:
        """Apply the limit of leases of an origin to the whole cluster. Call before the cluster starts."""
        if self.settings.origin_limit:
            self._leases = ClusterLeases(self.origins, cluster, self.loop)

    def other_supernodes(self) -> list[str]:
        """Return HOST:PORT of the cluster's other supernodes, those that lead the fewest tasks first."""
        cluster = self.fetches.cluster
        return [each.address for each in sorted(cluster.others, key=lambda each: each.leads)] if cluster is not None else []

    def is_supernode(self, address: str) -> bool:
        """Whether another supernode of the cluster has this address."""
        cluster = self.fetches.cluster
        return cluster is not None and any(SupernodeAddress.parse(each.address).host == address for each in cluster.others)

    def wake(self) -> None:
        """Call after each event; see SwarmDriver."""
        self.driver.wake()

    def connection_lost(self, connection: ConnectionState) -> None:
        """Handle the end of a native download's connection."""
        self.registry.connection_lost(connection)
        self.wake()

    def requested(self, task: str, n: int, address: str, taken: Callable[[], int]) -> None:
        """Note that the download port starts to send piece n; see Parts.started."""
        self.swarm.requested(task, n, client_of(address), taken, self.now())
        self.wake()

    def member(self, task: str, cid: str, address: str) -> RegisteredDownload:
        """Return a registered download. address: the sender's, which must be the one that the download registered from.

        Raises UnknownTask, UnknownDownload, or the failure of its task (RemoteError).
        """
        member = self.members.get((task, cid))
        if member is None or task not in self.swarm.tasks or not member.is_of(address):
            fetch = self.fetch_pool.fetches.get(task)
            if fetch is not None and fetch.state == FAILED and fetch.error is not None:
                raise RemoteError(str(fetch.error)) from None
            missing = f"{cid}@{task}"
            message = (
                f"failed to get dfgetTask with taskID ({task}) clientID ({cid}): failed to get key {missing} from map: "
                '{"Code":0,"Msg":"data not found"}'
            )
            raise (UnknownDownload if task in self.swarm.tasks else UnknownTask)(message)
        self.registry.used[task] = self.now()
        return member

    def close(self) -> None:
        self.driver.close()
        if self._leases is not None:
            self._leases.close()
        for key in list(self.parked):
            self.parked.answer(key, wire.Pulled(wire.SYSTEM_ERROR, msg="the supernode is going away"))
        self.shares.close()
        self.fetches.close()
        self.reachability.close()
        self._verifier.close()
        self.scrubber.close()
        self.access_proofs.close()
