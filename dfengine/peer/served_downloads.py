"""Downloads and streams that this host serves: those in its home directory, and streams whose memory a process has passed to the server.

Downloads that want to join each other are passed on to `host_leader_server`. Other messages of this user's processes are settings and
withdrawals.

A stream is served while its process holds the connection that it was passed over, and `expire` seconds after its last use once that has
closed; then the memory is freed with its last descriptor, or earlier where `memory_eviction` selects it. Over that connection its process
sends `{"digests": {ALGORITHM: HEX}}` of the whole file, and `{"discard": true}` where its bytes are wrong.

A download requests ended memory by `{"take": TASK, "generation": TEXT, "piece": BYTES, "write": BOOL}`, and receives
`{"digests": {...}}` with the descriptors, or `{}`. write: it continues in that memory, as the only process that does.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import Callable

from dfengine.errors import BadValue, StorageError
from dfengine.net import fd_passing
from dfengine.peer import memory_eviction
from dfengine.peer.host_leader_server import HostLeaderServer
from dfengine.peer.memory_eviction import Stream
from dfengine.storage.available_memory import available
from dfengine.storage.home import Entry, Home, valid_name
from dfengine.storage.memory_file import adopt
from dfengine.storage.os_errors import EXHAUSTED
from dfengine.storage.served_file import ServedFile
from dfengine.storage.shared_content import listed
from dfengine.storage.stream_memory import MEMORIES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

DESCRIPTORS = MEMORIES + 1
"""Descriptors of one stream: its data and its record; a file that is open on demand has two."""

STREAMS = 1024
"""Limit of streams; further ones are refused."""

SILENCE = 10.0
"""Seconds within which a process that connected must have passed its stream."""


class ServedDownloads:
    """See routes.Shares. `now`: unix seconds; `listener`: see fd_passing.listen, None when no stream is accepted.

    settings: called with a message without descriptors from a process of this user; returns whether the message was accepted. Besides
    settings, these are withdrawals (`withdrawals`).
    """

    def __init__(
        self,
        home: Home,
        listener: socket.socket | None,
        loop: asyncio.AbstractEventLoop | None,
        now: Callable[[], float],
        settings: Callable[[bytes], bool] = lambda message: False,
    ) -> None:
        self._settings = settings
        self._rendezvous = HostLeaderServer(loop)
        self._home = home
        self._listener = listener
        self._loop = loop
        self._now = now
        self._streams: dict[str, Stream] = {}
        self._fresh: list[Stream] = []
        self._released: list[Entry] = []
        """Entries of memory that is released or is about to be, and that supernodes are not notified of yet."""
        self._eviction_scheduled = False
        self._watched = False
        self._watch(True)

    def _watch(self, wanted: bool) -> None:
        """Set whether `accept` is called for new connections."""
        if self._loop is not None and self._listener is not None and wanted != self._watched:
            self._watched = wanted
            (self._loop.add_reader(self._listener, self.accept) if wanted else self._loop.remove_reader(self._listener))

    def accept(self) -> None:
        """Accept the connections and messages that have arrived; never blocks."""
        while self._listener is not None:
            try:
                sock, _ = self._listener.accept()
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno in EXHAUSTED:
                    # The listener stays readable: the next turn tries again.
                    self._watch(False)
                break
            self.accept_connection(sock)
        for stream in list(self._fresh):
            self._readable(stream)

    def accept_connection(self, sock: socket.socket) -> None:
        """Take over a connection of a download, from which nothing was read yet."""
        sock.setblocking(False)
        if not fd_passing.is_same_user(sock) or len(self._streams) + len(self._fresh) + len(self._rendezvous) >= STREAMS:
            sock.close()
            return
        stream = Stream(sock, self._now())
        self._fresh.append(stream)
        if self._loop is not None:
            self._loop.add_reader(sock, self._readable, stream)

    def _readable(self, stream: Stream) -> None:
        if stream.sock is None:
            return
        try:
            message, descriptors = fd_passing.receive(stream.sock, DESCRIPTORS)
        except BlockingIOError:
            return
        except OSError:
            message, descriptors = b"", []
        given = message and stream.shared is None and descriptors
        if given and self._adopt(stream, message, descriptors):
            self._readable(stream)  # if its end has arrived as well, a loop of libuv may not call again
            return
        if given and self._join(stream, message, descriptors):
            return
        if message and not descriptors and stream.shared is not None and self._handle_messages(stream, message):
            self._readable(stream)
            return
        if message and not descriptors and stream.shared is None and self._handle_reuse(stream, message):
            self._hang_up(stream)
            return
        if message and not descriptors and self._settings(message):
            with contextlib.suppress(OSError):
                stream.sock.send(fd_passing.ACCEPTED)
        fd_passing.discard(descriptors if message else [])
        self._hang_up(stream)

    def _adopt(self, stream: Stream, message: bytes, descriptors: list[int]) -> bool:
        try:
            entry = Entry.decode(message)
            if not valid_name(entry.name) or entry.name in self._streams:
                return False
            file = adopt(descriptors)
        except (BadValue, StorageError):
            return False
        stream.shared = ServedFile(entry, file)
        stream.used = self._now()
        self._fresh.remove(stream)
        self._streams[entry.name] = stream
        return True

    def _join(self, stream: Stream, message: bytes, descriptors: list[int]) -> bool:
        """Pass the connection to the rendezvous of downloads that share a task; False: the message is another one."""
        try:
            words = json.loads(message.decode())
        except (ValueError, RecursionError):
            return False
        if type(words) is not dict or "join" not in words or stream.sock is None:
            return False
        if self._loop is not None:
            self._loop.remove_reader(stream.sock)
        if not self._rendezvous.accept(stream.sock, words, descriptors):
            return False
        stream.sock = None
        self._fresh.remove(stream)
        return True

    def _handle_messages(self, stream: Stream, message: bytes) -> bool:
        """Handle messages of a stream's process; False: they are malformed, or the stream is withdrawn."""
        messages = _objects(message)
        for words in messages:
            digests = words.get("digests")
            if type(digests) is not dict or not all(type(each) is str for pair in digests.items() for each in pair):
                if words.get("discard") is True and stream.file is not None:
                    self._remove([stream, *memory_eviction.ended_in(self._streams.values(), stream.file)])
                return False
            stream.digests = digests
        return bool(messages)

    def _handle_reuse(self, stream: Stream, message: bytes) -> bool:
        """Handle a download's request for memory that it can reuse; False: the message is another one."""
        words = next(iter(_objects(message)), {})
        task, generation, piece, write = (words.get(name) for name in ("take", "generation", "piece", "write"))
        if not (type(task) is type(generation) is str and type(piece) is int and type(write) is bool) or stream.sock is None:
            return False
        busy = self._rendezvous.inodes() if write else None
        found = memory_eviction.copy_for(self._streams.values(), task, generation.encode(), piece, busy)
        file = found.file if found is not None else None
        with contextlib.suppress(OSError):
            if found is None or file is None:
                fd_passing.send_message(stream.sock, {})
            else:
                fd_passing.send_message(stream.sock, {"digests": found.digests}, file.descriptors)
                found.reused, found.used = found.reused or write, self._now()
        return True

    def _hang_up(self, stream: Stream) -> None:
        """Close the connection of a stream that has ended; its memory stays until it expires."""
        sock, stream.sock = stream.sock, None
        if sock is not None:
            if self._loop is not None:
                self._loop.remove_reader(sock)
            sock.close()
        if stream in self._fresh:
            self._fresh.remove(stream)
        stream.used = self._now()
        if stream.shared is not None and self._loop is not None and not self._eviction_scheduled:
            self._eviction_scheduled = True  # once for all that end together
            self._loop.call_soon(self._evict)

    def _evict(self) -> None:
        """Limit the memory of ended streams to its share."""
        self._eviction_scheduled = False
        if any(stream.sock is None for stream in self._streams.values()):
            self._remove(memory_eviction.over_share(self._streams.values(), available()))

    def _remove(self, streams: list[Stream]) -> None:
        for stream in streams:
            if stream.shared is not None:
                del self._streams[stream.shared.entry.name]
                self._released.append(stream.shared.entry)

    def _remove_second_copies(self) -> None:
        """Remove second copies one turn after supernodes were notified: until then these may still name them to peers."""
        for name, stream in list(self._streams.items()):
            if stream.leaving:
                del self._streams[name]
        for stream in memory_eviction.second_copies(self._streams.values()):
            if stream.shared is not None:
                stream.leaving = True
                self._released.append(stream.shared.entry)

    def find(self, name: str) -> ServedFile | None:
        """See routes.Shares. Finds streams that were just passed, too."""
        if name not in self._streams and self._listener is not None:
            self.accept()
        stream = self._streams.get(name)
        return stream.shared if stream is not None else self._home.find(name)

    def touch(self, name: str, now: float) -> None:
        """See routes.Shares."""
        if name in self._streams:
            self._streams[name].used = now
        else:
            self._home.touch(name, now)

    def sweep(self, now: float) -> list[Entry]:
        """See routes.Shares."""
        gone = self._home.sweep(now)
        for stream in [stream for stream in self._fresh if now - stream.used > SILENCE]:
            self._hang_up(stream)
        for name, stream in list(self._streams.items()):
            if stream.shared is not None and stream.sock is None and now - stream.used > stream.shared.entry.expire:
                del self._streams[name]
                gone.append(stream.shared.entry)
        return gone

    def withdraw_deleted(self) -> list[Entry]:
        """See routes.Shares; also returns released memory."""
        self._watch(True)
        self._remove_second_copies()
        self._evict()
        gone, self._released = self._released, []
        return [*gone, *self._home.withdraw_deleted()]

    def names(self) -> list[str]:
        """See routes.Shares."""
        return [*self._home.names(), *self._streams]

    def entry(self, name: str) -> Entry | None:
        """See routes.Shares."""
        stream = self._streams.get(name)
        return stream.shared.entry if stream is not None and stream.shared is not None else self._home.entry(name)

    def has(self, name: str) -> bool:
        """See routes.Shares."""
        return name in self._streams or self._home.has(name)

    def withdraw(self, name: str) -> None:
        """See routes.Shares. A stream is withdrawn by its process only."""
        self._home.withdraw(name)

    @property
    def running(self) -> bool:
        """Whether contents are shared here, or a download or stream has not ended: other hosts may be assigned its pieces."""
        if listed(self._home) or len(self._rendezvous) or any(stream.sock is not None for stream in self._streams.values()):
            return True
        return any(self._home.running(name) for name in self._home.names())

    def close(self) -> None:
        """Release every stream."""
        self._watch(False)
        for stream in [*self._fresh, *self._streams.values()]:
            self._hang_up(stream)
        self._streams.clear()
        self._rendezvous.close()
        if self._listener is not None:
            self._listener.close()


def _objects(message: bytes) -> list[dict[str, Any]]:
    """JSON objects on lines of their own; empty for any other message."""
    try:
        found = [json.loads(line) for line in message.decode().splitlines()]
    except (ValueError, RecursionError):
        return []
    return found if all(type(each) is dict for each in found) else []
