"""Near sources are preferred to far ones, but rare pieces come first, and a far source is better than none."""

from __future__ import annotations

from ipaddress import ip_address

from hypothesis import given
from hypothesis import strategies as st

from dfengine.supernode.swarm._state import PeerState
from dfengine.supernode.swarm.swarm import Limits
from tests.swarm.cluster import TASK, Cluster
from tests.swarm.structures import structures
from tests.swarm.virtual import SUPERNODE, Simulation

ips = st.sampled_from(["10.0.0.1", "10.0.0.2", "10.0.1.1", "fd00::1", "fd00::2", "fd00:0:0:1::1", "name", "other", ""])
labels = st.lists(st.sampled_from(["a", "b", "", "ä"]), max_size=6).map("|".join) | st.text(max_size=300)


def nearness(ip: str, location: str, other_ip: str, other_location: str) -> int:
    one, other = PeerState((ip, 1, ""), 1, 0.0), PeerState((other_ip, 1, ""), 1, 0.0)
    one.locate(location)
    other.locate(other_location)
    return int(structures.nearness(one, other))


def model(ip: str, location: str, other_ip: str, other_location: str) -> int:
    def levels(label: str) -> list[str]:
        parts = label[:256].split("|")[:4] if label else []
        return parts[: parts.index("")] if "" in parts else parts

    def subnet(text: str) -> object:
        try:
            address = ip_address(text)
        except ValueError:
            return object()
        return address.version, int(address) >> (8 if address.version == 4 else 64)

    if ip == other_ip:
        return 6
    one, other = levels(location), levels(other_location)
    if not (one and other):
        return int(subnet(ip) == subnet(other_ip))
    shared = 0
    while shared < min(len(one), len(other)) and one[shared] == other[shared]:
        shared += 1
    return shared + 1 if shared else 0


@given(ips, labels, ips, labels)
def test_nearness_counts_shared_levels_and_is_symmetric(ip: str, location: str, other_ip: str, other_location: str) -> None:
    found = nearness(ip, location, other_ip, other_location)
    assert found == model(ip, location, other_ip, other_location)
    assert found == nearness(other_ip, other_location, ip, location)


def test_levels_are_compared_from_the_left() -> None:
    assert nearness("h1", "x|rack", "h2", "y|rack") == 0
    assert nearness("h1", "x|y|1", "h2", "x|y|2") == 3


def swarm_of(**limits: int) -> Cluster:
    swarm = Cluster(4, supernode=0, **limits)
    swarm.join("far", host="10.0.0.1", location="x|1", holds=[(0, 4)])
    swarm.join("near", host="10.9.0.1", location="x|2", holds=[(0, 3)])
    swarm.join("me", host="10.0.0.2", location="x|2")
    return swarm


def test_the_nearest_source_is_used_while_it_has_slots_and_rare_pieces_come_from_afar() -> None:
    swarm = swarm_of(up=2)
    taken = swarm.take("me")
    assert taken[3] == "far"
    assert sorted(str(source) for n, source in taken.items() if n != 3) == ["far", "near", "near"]


def test_a_source_that_registers_again_has_its_new_location() -> None:
    swarm = swarm_of(up=5)
    assert swarm.take("me", 2)  # the rare piece, and one from the same rack
    swarm.swarm.leave(TASK, "near", swarm.now)
    swarm.join("moved", host="10.9.0.1", location="x|1", holds=[(0, 3)])
    swarm.join("second", host="10.5.0.1", location="x|2", holds=[(0, 3)])
    assert set(swarm.take("me").values()) == {"second"}


def two_sites(label: bool, seed: int) -> tuple[float, int, int]:
    """Time of the last finish, pieces sent between the sites, and all pieces sent."""
    swarm = Simulation(64, seed=seed, limits=Limits(up=5, supernode=5, slow_slots=5))
    site = {SUPERNODE: 0}
    for i in range(24):
        name = f"c{i}"
        site[name] = i % 2
        swarm.join(name, room=2, location=f"site{i % 2}" if label else "")
    swarm.run()
    crossed = sum(count for (source, receiver), count in swarm.carried.items() if site[source] != site[receiver])
    return max(swarm.times), crossed, sum(swarm.carried.values())


def test_location_labels_keep_pieces_within_a_site_at_no_cost_in_time() -> None:
    """This needs free slots to choose from; when all are taken, the first that becomes free is the only choice."""
    for seed in range(3):
        blind, crossed, total = two_sites(False, seed)
        seeing, fewer, _ = two_sites(True, seed)
        assert crossed > 0.4 * total
        assert fewer < 0.6 * crossed
        assert seeing <= 1.05 * blind
