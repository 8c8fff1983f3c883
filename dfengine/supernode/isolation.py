"""Whom not to ask: what failures cost a source. Pure rules over PeerState and Download; the swarm acts on what they return.

* A failure counts against the pair (this client, this source); at Limits.blacklist the client does not get that source for
  Limits.isolation seconds. Wrong bytes reach that at once. A success of the pair forgets it.
* It also counts against the source, as long as failures follow one another: at Limits.fail_isolate it is isolated, a source for nobody.
  One client ip is counted for at most one less than that, so no client alone gets a peer isolated, by lying or by being broken itself.
* Wrong bytes isolate sooner, but take Limits.accusers clients of different ips: the first complaint is only the client's own word.
* A success ends the row of failures, and an isolation that failures brought. One that wrong bytes brought ends only with its time.
"""

from __future__ import annotations

from dfengine.supernode._state import Download, PeerState
from dfengine.supernode.limits import Limits


def shun(client: Download, source: PeerState, why: str, limits: Limits) -> bool:
    """Count a failure of the pair; True if from now on the client does not get this source."""
    if client.charged is None:
        client.charged = {}
    before = client.charged.get(source, 0)
    count = client.charged[source] = max(before + 1, limits.blacklist) if why == "digest" else before + 1
    if source.shunned_by is None:
        source.shunned_by = {}
    source.shunned_by[client] = None
    return before < limits.blacklist <= count


def forgive(client: Download, source: PeerState) -> None:
    """Forget the failures of the pair."""
    if client.charged is not None:
        client.charged.pop(source, None)
    if source.shunned_by is not None:
        source.shunned_by.pop(client, None)


def shuns(client: Download, source: PeerState, limits: Limits) -> bool:
    """True if the client does not get this source now."""
    return client.charged is not None and client.charged.get(source, 0) >= limits.blacklist


def charge(source: PeerState, client_ip: str, why: str, limits: Limits) -> bool:
    """Count a failure against the source; True if it has to be isolated now."""
    if source.failures is None:
        source.failures = {}
    source.failures[client_ip] = source.failures.get(client_ip, 0) + 1
    if why == "digest":
        if source.accusers is None:
            source.accusers = {}
        source.accusers[client_ip] = None
        if len(source.accusers) >= limits.accusers:
            source.proven = True
            return True
    most = max(1, limits.fail_isolate - 1)
    return sum(min(count, most) for count in source.failures.values()) >= limits.fail_isolate


def credit(source: PeerState, client_ip: str) -> bool:
    """A piece came whole; True if that ends an isolation."""
    source.failures = None
    if source.accusers is not None:
        source.accusers.pop(client_ip, None)
    return source.isolated and not source.proven
