"""Sends the cluster notices of hosts whose peer servers sent this supernode wrong bytes, and applies those of other supernodes."""

from __future__ import annotations

from functools import partial
from hashlib import sha256
from ipaddress import ip_address
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dfengine.supernode.cluster.membership import Cluster
    from dfengine.supernode.cluster.notices import Notice
    from dfengine.supernode.supernode_state import SupernodeState

KIND = "block"


def share(state: SupernodeState, cluster: Cluster) -> None:
    """Share from now on. Call before the cluster starts."""

    def report(ip: str, port: int) -> None:
        name = sha256(f"{ip} {port}".encode()).hexdigest()[:32]
        cluster.notices.send(f"{KIND}:{name}", {"ip": ip, "port": port}, state.swarm.peers.limits.isolation)

    def receive(notice: Notice) -> None:
        ip, port = notice.fields.get("ip"), notice.fields.get("port")
        if isinstance(ip, str) and isinstance(port, int) and 0 < port < 1 << 16 and str(ip_address(ip)) == ip:
            state.loop.call_soon_threadsafe(partial(accuse, ip, port))

    def accuse(ip: str, port: int) -> None:
        if state.swarm.peers.isolate_reported((ip, port, ""), state.now()):
            state.wake()

    state.driver.on_wrong_source = report
    cluster.notices.subscribe(KIND, receive)
