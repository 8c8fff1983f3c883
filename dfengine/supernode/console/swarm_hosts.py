"""The rows of one task's swarm: the state of a download, and how it has changed."""

from __future__ import annotations

from binascii import b2a_base64
from typing import TYPE_CHECKING

from dfengine.supernode.console.api_types import HostChange, SwarmHost
from dfengine.supernode.console.hosts import trust
from dfengine.supernode.console.slowest import QUIET, Progress

if TYPE_CHECKING:
    from dfengine._bitset import Bitset
    from dfengine.supernode.registered_downloads import RegisteredDownload
    from dfengine.supernode.swarm._state import Download

MAX_TOGGLED = 16
"""Changed pieces of a download up to which they are sent one by one; beyond, its whole set is sent."""


def bitset_bytes(pieces: Bitset, count: int) -> bytes:
    """Return the set as bytes, without zeros after the last piece. count: pieces of the task, -1 unknown."""
    data = pieces.tobytes()
    return (data[: -(-count // 8)] if count >= 0 else data).rstrip(b"\0")


def to_base64(data: bytes) -> str:
    """Encode as base64."""
    return b2a_base64(data, newline=False).decode()


class HostState:
    """A download in the state that was sent last. n: its number."""

    __slots__ = ("best", "download", "got", "have", "n", "receiving", "sending", "slow", "state")

    def __init__(self, n: int, download: Download) -> None:
        self.n = n
        self.download = download
        self.have = b""
        self.state, self.slow = "", False
        self.got = self.receiving = self.sending = -1
        self.best = 0.0

    def update(self, count: int, now: float) -> HostChange | None:
        """Read the download again; return the change, None if nothing has changed. now: loop seconds."""
        download = self.download
        got, receiving, sending = download.got, len(download.running), len(download.sending)
        state, slow = _state(download, count, receiving, now), download.is_straggler
        have = bitset_bytes(download.have, count) if got != self.got or download.window is not None else self.have
        if have is self.have and (got, receiving, sending, state, slow) == (self.got, self.receiving, self.sending, self.state, self.slow):
            return None
        change = HostChange(n=self.n, state=state, slow=slow, got=got, receiving=receiving, sending=sending,
                            piece_seconds=max(0.0, download.best_piece_time))  # fmt: skip
        if have != self.have:
            toggled = _toggled(self.have, have)
            if toggled is None:
                change.have = to_base64(have)
            else:
                change.toggled = toggled
        self.have, self.state, self.slow, self.got, self.receiving, self.sending = have, state, slow, got, receiving, sending
        return change

    def progress(self, count: int, now: float) -> Progress | None:
        """Return the download's state for `slowest`; None: it has finished."""
        download = self.download
        if download.got == count:
            return None
        return Progress(self.n, download.got, self.receiving, download.pending_want > 0, self.slow, download.best_piece_time,
                        max(0.0, now - download.seen), len(download.source_failures or ()))  # fmt: skip

    def row(self, cid: str, member: RegisteredDownload | None, now: float) -> SwarmHost:
        """Return the whole row, as of the last update. cid: public name of the download."""
        download, peer = self.download, member.peer if member is not None else None
        return SwarmHost(
            n=self.n, cid=cid, host=peer.host if peer else "", address=member.address if member is not None else "",
            ip=peer.ip if peer else "", version=peer.version if peer else "", location=peer.location if peer else "",
            trust=trust(download), state=self.state, slow=self.slow, got=max(0, self.got), receiving=max(0, self.receiving),
            sending=max(0, self.sending), piece_seconds=max(0.0, download.best_piece_time),
            quiet_seconds=max(0.0, now - download.seen), have=to_base64(self.have),
        )  # fmt: skip


def _state(download: Download, count: int, receiving: int, now: float) -> str:
    if download.got == count:
        return "finished"
    if now - download.seen >= QUIET:
        return "quiet"
    return "fetching" if receiving else "waiting"


def _toggled(before: bytes, now: bytes) -> list[int] | None:
    """Return the bits that differ; None for more than MAX_TOGGLED."""
    differ = int.from_bytes(before, "little") ^ int.from_bytes(now, "little")
    if differ.bit_count() > MAX_TOGGLED:
        return None
    found = []
    while differ:
        lowest = differ & -differ
        found.append(lowest.bit_length() - 1)
        differ ^= lowest
    return found
