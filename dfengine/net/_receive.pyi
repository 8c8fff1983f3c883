from typing import Final, final

from typing_extensions import Buffer

HEAD_LIMIT: Final = 16384

@final
class Receiver:
    def __new__(cls, fd: int, send_timeout: float = 10.0) -> Receiver: ...
    @property
    def fd(self) -> int: ...
    @property
    def total(self) -> int: ...
    @property
    def buffered(self) -> int: ...
    def stop(self) -> None: ...
    def head(self, deadline: float) -> bytes: ...
    def line(self, deadline: float) -> bytes: ...
    def read(self, length: int, deadline: float) -> bytes: ...
    def into(
        self,
        buffer: Buffer,
        offset: int,
        length: int,
        *,
        silence: float = 10.0,
        floor: float = 0.0,
        grace: float = 10.0,
        started: float = 0.0,
        before: int = 0,
        after: int = 0,
    ) -> float: ...
