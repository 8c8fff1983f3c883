"""Pieces of ended downloads and streams that this host's peer server keeps in memory for the next download of the same version.

They are requested after a supernode has named the version. The pieces were verified by the process that fetched them. Its whole-file
digests are trusted like those of a leader.
"""

from __future__ import annotations

from dfengine.client.leader_place import LeaderPlace
from dfengine.errors import LocalError, StorageError
from dfengine.net import fd_passing, fork_safety
from dfengine.storage.memory_file import adopt
from dfengine.storage.signal_page import SignalPage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from dfengine._piece import Geometry
    from dfengine.client.monitor import Monitor
    from dfengine.client.transfer import Transfer
    from dfengine.storage.piece_file import PieceFile

ANSWER = 1.0
"""Seconds to wait for the peer server's answer; after that the pieces are fetched."""


class KeptCopy:
    """Kept pieces. file: closed by this value unless detached. digests: algorithm -> hex digest of the whole file, if it is complete."""

    def __init__(self, file: PieceFile, digests: dict[str, str]) -> None:
        self.file = file
        self.whole = file.available.count() == file.geometry.count
        self.digests = digests if self.whole else {}
        self._page: SignalPage | None = None
        self._detached = False
        fork_safety.register(self)

    @property
    def descriptors(self) -> list[int]:
        """Descriptors that `close` closes."""
        return [*([] if self._detached else self.file.descriptors), *(self._page.descriptors if self._page is not None else [])]

    def known_digests(self, algorithms: Sequence[str]) -> dict[str, str]:
        """Return these whole-file digests if all of them are known, else an empty dict."""
        return {name: self.digests[name] for name in algorithms} if {*algorithms} <= {*self.digests} else {}

    def detach_file(self) -> PieceFile:
        """Return the file, which the caller owns from now on."""
        self._detached = True
        return self.file

    def place(self) -> LeaderPlace:
        """Return a place to copy from. Raises StorageError."""
        self._page = self._page or SignalPage.create()
        found = LeaderPlace(self.file, self._page, "", [])
        found.detached = True
        return found

    def close(self) -> None:
        """Close the file, unless detached, and the page. A second call has no effect."""
        if not self._detached:
            self._detached = True
            self.file.close()
        if self._page is not None:
            self._page.close()


def request_copy(sockets: str, task: str, geometry: Geometry, generation: bytes, write: bool) -> KeptCopy | None:
    """Request a copy from the peer server that listens in the folder `sockets`. None if it has none. write: see peer.served_downloads."""
    message = {"take": task, "generation": generation.decode("ascii", "replace"), "piece": geometry.piece_size, "write": write}
    descriptors: list[int] = []
    try:
        with fd_passing.connect(sockets, ANSWER) as sock:
            fd_passing.send_message(sock, message)
            answer, descriptors = (fd_passing.receive_messages(sock) or [({}, [])])[0]
        if not descriptors:
            return None
        file, descriptors, digests = adopt(descriptors), [], answer.get("digests")
        if file.geometry == geometry and file.record.generation == generation:
            return KeptCopy(file, digests if type(digests) is dict else {})
        file.close()
    except (LocalError, StorageError, OSError):
        fd_passing.discard(descriptors)
    return None


def copy_into(kept: KeptCopy, transfer: Transfer, monitor: Monitor) -> bool:
    """Copy the pieces that `transfer` lacks, each compared with its digest. Return whether all pieces of the file now equal the kept ones.

    Raises StorageError, and the errors of `monitor`.
    """
    from dfengine.client.file_from_leader import FileCopier
    from dfengine.client.monitor import TICK

    place = kept.place()
    copier = FileCopier(place, transfer, transfer.wake)
    copier.finishing = True
    transfer.start(copier.run, "kept", fetches=False)
    while not copier.over.wait(TICK):
        monitor.check(transfer)
    monitor.check(transfer)
    return transfer.finished and place.same_digests(transfer.file.record)
