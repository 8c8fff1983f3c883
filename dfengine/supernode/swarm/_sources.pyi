from dfengine.supernode.swarm._state import Download

def serves_now(asker: Download) -> bool:
    """The supernode has a slot for the asker. 1.x's sends as many pieces at once as one of its clients receives: they are used to that."""

__pyx_capi__: dict[str, object]
