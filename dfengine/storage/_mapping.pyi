from typing import final

@final
class Mapping:
    """The first `length` bytes of a file, as memory that is shared with it. Unmapped when the last reference or view is dropped.

    keep: it has a descriptor of its own, so that a lock on the open file stays as long as the memory. Raises BadValue, OSError.
    """

    def __new__(cls, fd: int, length: int, writable: bool = False, keep: bool = False) -> Mapping: ...
    def memory(self) -> memoryview:
        """A view of its bytes."""
    @property
    def descriptors(self) -> list[int]:
        """See net.fork_safety.Open: the mapping's own, -1 = none."""
