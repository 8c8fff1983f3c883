"""The file being put together: part file, the transfer that fills it, its whole digests, and the rename at the end."""

from __future__ import annotations

import contextlib

from dfengine._window import Window
from dfengine.client import fetch
from dfengine.client.byte_counts import ByteCounts
from dfengine.client.digest import Follower, compare, hasher
from dfengine.client.finished import find, note
from dfengine.client.plan import Plan
from dfengine.client.throttle import Throttle
from dfengine.client.transfer import Transfer
from dfengine.client.watch import TICK
from dfengine.errors import DigestMismatch, StorageError
from dfengine.storage.target import Target

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from dfengine._piece import Geometry
    from dfengine.client.finished import Finished
    from dfengine.client.watch import Watch
    from dfengine.origin.version import Version
    from dfengine.settings import GetSettings
    from dfengine.storage.home import Home
    from dfengine.storage.piece_file import PieceFile

    class Place(Protocol):
        """Where pieces come together: a file's `Assembly`, or a stream's."""

        transfer: Transfer | None
        finished: Finished | None
        version: Version | None
        mixed: bool

        def open(self, geometry: Geometry, generation: bytes) -> Transfer: ...
        def go_on(self, geometry: Geometry) -> Transfer: ...
        def holds(self, length: int, generation: str) -> bool: ...
        def forget(self) -> None: ...
        def close(self) -> None: ...

SPARE = 16 << 20
"""Bytes of buffers beyond the fetch threads' own, that digests may hold on to."""


class Assembly:
    """Of one output path. `transfer` is None until `open`.

    Law: pieces of different generations never mix. What cannot be told apart by generation is `doubtful`, and is
    compared as a whole with the digest that the supernode tells at the end.
    """

    def __init__(self, settings: GetSettings, task: str) -> None:
        """Raises BadValue when the output path cannot be replaced."""
        self._settings = settings
        self._target = Target(settings.output, task)
        self._shared: tuple[Home, str] | None = None
        self.byte_counts = ByteCounts()
        self.hedged = 0
        self.transfer: Transfer | None = None
        self.doubtful = self.mixed = False
        self.finished = None if settings.force else find(self._target.path, task)
        """What the output is that lies there already."""
        self.kept = False
        """It is what was asked for: nothing is fetched."""
        self.version: Version | None = None
        """What the origin said of its file, None if it was not asked."""
        self._task = task
        self.expected = settings.expected
        self.digests: dict[str, str] = {}

    @property
    def path(self) -> str:
        """Of the output, absolute."""
        return self._target.path

    def holds(self, length: int, generation: str) -> bool:
        """The output that lies there is this version of the file: then it is kept as it is."""
        here = self.finished
        self.kept = here is not None and not self.expected and bool(generation) and (here.length, here.generation) == (length, generation)
        return self.kept

    def open(self, geometry: Geometry, generation: bytes) -> Transfer:
        """The transfer that fills the file; a running one goes on if it is of the same file, else everything starts over.

        Raises StorageError.
        """
        transfer = self.transfer
        if transfer is not None:
            before = transfer.file
            lengths = {before.geometry.length, geometry.length} - {-1}
            same = len(lengths) < 2 and before.geometry.piece_size == geometry.piece_size
            known = before.record.generation
            if same and (not known or not generation or known == generation):
                self.doubtful = self.doubtful or known != generation or not generation
                if geometry.length >= 0:
                    transfer.learn_length(geometry.length)
                return transfer
            self.close()
        file = self._target.open(geometry, generation)
        held = [n for n in file.here if geometry.count < 0 or n < geometry.count]
        self.doubtful = bool(held) and not generation
        follower = self._follower(file)
        # What is hashed in order is best fetched in order.
        plan = Plan(Window(-1, file.geometry.count), fetch.workers(geometry), order=int if follower is not None else None)
        plan.hold(held)
        resumed = sum(geometry.content(n)[1] for n in held)
        self.byte_counts.reset(resumed)
        rate = self._settings.locallimit
        self.transfer = Transfer(
            file, plan, self.byte_counts, follower=follower, throttle=Throttle(rate) if rate else None
        )
        if self.transfer.follower is not None:
            self.transfer.start(self.transfer.follower.run, "digest", fetches=False)
        return self.transfer

    def go_on(self, geometry: Geometry) -> Transfer:
        """The transfer that is there, whatever generation its pieces are of: who goes on compares them. Raises ProtocolViolation."""
        assert self.transfer is not None
        if geometry.length >= 0:
            self.transfer.learn_length(geometry.length)
        return self.transfer

    def _follower(self, file: PieceFile) -> Follower | None:
        algorithms = list(dict.fromkeys([digest.algorithm for digest in self.expected]))
        if self._settings.report_digest and "xxh3" not in algorithms:
            algorithms.append("xxh3")
        if not algorithms:
            return None
        geometry = file.geometry
        spares = max(1, min(2, SPARE // fetch.room(geometry)))
        return Follower(file, algorithms, [fetch.piece_buffer(geometry) for _ in range(spares)])

    def share(self, home: Home, name: str, cid: str, node: str, task: str) -> None:
        """Let this host's peer server serve the pieces that are here, now and from now on. Raises StorageError."""
        if self.transfer is None:
            return
        self._shared = home, name
        home.withdraw(name)
        home.share(name, self.transfer.file, self._target, task=task, cid=cid, node=node, expire=self._settings.expiretime)

    def verify(self, watch: Watch, told_md5: str = "") -> None:
        """Every piece is here: compare whole digests with what the user gave, and with what the supernode told if that matters.

        Raises DigestMismatch; then nothing is left to resume from.
        """
        transfer = self.transfer
        if transfer is None:
            raise StorageError("nothing was downloaded")
        if transfer.follower is not None:
            while True:
                watch.look(transfer)
                found = transfer.follower.result(TICK)
                if found is not None:
                    self.digests = found
                    break
        try:
            compare(self.expected, self.digests)
        except DigestMismatch:
            self.discard()
            raise
        if self.doubtful and told_md5 and not any(digest.algorithm == "md5" for digest in self.expected):
            md5 = self._whole_md5(transfer, watch)
            if md5 != told_md5.lower():
                self.discard()
                raise DigestMismatch(f"the file's md5 is {md5}, not {told_md5}: pieces of two versions were mixed; run it again")

    def _whole_md5(self, transfer: Transfer, watch: Watch) -> str:
        """A second pass over the file; only for what a supernode without generations made us resume."""
        hash_, buffer = hasher("md5"), fetch.piece_buffer(transfer.file.geometry)
        for n in range(transfer.file.geometry.count):
            watch.look(transfer)
            hash_.update(buffer[: transfer.file.read_into(n, buffer)])
        return str(hash_.hexdigest())

    def finish(self) -> None:
        """Verified: give the file the output's name. Raises StorageError."""
        if self.transfer is None:
            raise StorageError("nothing was downloaded")
        file = self.transfer.file
        named = self.version.name if self.version is not None else file.record.generation.decode("ascii", "replace")
        note(file.fd, self._task, named, self.version, self.digests.get("xxh3", ""))
        self._target.finish(file, keep=self._keep)

    def _keep(self) -> None:
        """The output matters more than that it is served on."""
        if self._shared is not None and self.transfer is not None:
            home, name = self._shared
            with contextlib.suppress(StorageError):
                home.keep(name, self.transfer.file)

    def discard(self) -> None:
        """What is here is wrong: nothing of it must be served or resumed."""
        if self._shared is not None:
            self._shared[0].withdraw(self._shared[1])
        self._target.discard()

    def forget(self) -> None:
        """Start over: what is here belongs to a file that the origin no longer has."""
        self.discard()
        self.close()

    def close(self) -> None:
        """Stop all threads; part and record stay where they are. Again: nothing."""
        transfer, self.transfer = self.transfer, None
        if transfer is not None:
            self.hedged += transfer.plan.hedged
            if transfer.close():
                transfer.file.close()
