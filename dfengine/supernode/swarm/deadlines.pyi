from collections.abc import Hashable
from types import GenericAlias
from typing import Any, Final, Generic, TypeVar, final

_Item = TypeVar("_Item", bound=Hashable)

GRAIN: Final[float]

@final
class Deadlines(Generic[_Item]):
    def __class_getitem__(cls, item: Any, /) -> GenericAlias: ...
    def __len__(self) -> int: ...
    def add(self, item: _Item, when: float) -> int:
        """Remember `item` until `when` (seconds, not negative); returns the bucket that `discard` wants."""
    def discard(self, item: _Item, number: int) -> int:
        """Forget `item` of that bucket; unknown: nothing happens."""
    def waits(self, item: _Item, number: int) -> bool:
        """`item` is in that bucket."""
    def due(self, now: float, most: int) -> list[_Item]:
        """Take out what is due at `now`, up to `most` items; the rest stays due."""
    def soonest(self) -> float:
        """When something is due next, seconds; infinity for never."""
