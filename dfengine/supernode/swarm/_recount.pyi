from dfengine._bitset import Bitset
from dfengine.supernode.swarm._rarity import Rarity

def recount(rarity: Rarity, haves: list[Bitset]) -> None:
    """Forget what was counted, and count the copies in these bitsets. Raises BadValue for 65,536 of them.

    What a bitset has beyond the rarity's size does not count.
    """
