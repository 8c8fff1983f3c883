from dfengine.supernode.swarm._state import Download

URGENT: int

def supernode_has_slot(asker: Download) -> bool:
    """Whether the supernode has a slot for the asker; for a 1.x client at most as many as such a client receives at once, as in 1.x."""

__pyx_capi__: dict[str, object]
