"""Requests and reads one piece from a peer or a supernode: `GET path` with a Range, then a 206 whose body is the framed piece.

    head | frame's head, 4 bytes | content | frame's tail, 1 byte

Each part is checked when it is read; the caller checks the content's digest. docs/protocol.md has the frame.
"""

from __future__ import annotations

from dfengine._piece import FRAME, FRAME_HEAD, FRAME_TAIL, TAIL, Geometry, frame_content, frame_head
from dfengine.errors import BadFrame, ProtocolViolation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dfengine.net._receive import Receiver
    from dfengine.net.chunks import Chunks
    from dfengine.net.http_client import Connection, Head
    from dfengine.net.tls import TlsReceiver


def request_piece(connection: Connection, path: str, geometry: Geometry, n: int) -> None:
    """Send the request for piece n. Raises SourceGone, ProtocolViolation."""
    headers = {"Range": f"bytes={geometry.range_text(n)}", "pieceNum": str(n), "pieceSize": str(geometry.piece_size)}
    connection.send("GET", path, headers)


class PieceBody:
    """Body of piece n: the constructor reads the frame's head, then call `into` for the content and `end` for the tail.

    length: bytes of content. frame: the 4 bytes before the content.
    """

    __slots__ = ("_chunks", "_n", "frame", "into", "length")

    def __init__(self, connection: Connection, head: Head, geometry: Geometry, n: int, deadline: float) -> None:
        """head: of a 206 for piece n. deadline: monotonic seconds, for the frame. Raises BadFrame, ProtocolViolation, SourceGone."""
        length = announced_length(head, geometry, n)
        self._n = n
        self._chunks: Chunks | None = None
        if head.chunked:
            from dfengine.net.chunks import Chunks

            self._chunks = Chunks(connection.receiver)
        source: Receiver | TlsReceiver | Chunks = self._chunks or connection.receiver
        self.frame = source.read(FRAME_HEAD, deadline)
        self.length = framed_length(self.frame, geometry, n) if length < 0 else length
        self.into = source.into
        """Receives content into a buffer; see Receiver.into."""
        if self.frame != frame_head(self.length, geometry.piece_size):
            raise BadFrame(f"piece {n} begins with {self.frame.hex()}")

    def end(self, connection: Connection, deadline: float) -> None:
        """Read the frame's tail, after all content was received. Raises BadFrame, ProtocolViolation, SourceGone, Silent."""
        if (self._chunks or connection.receiver).read(FRAME_TAIL, deadline) != TAIL:
            raise BadFrame(f"piece {self._n} does not end with {TAIL.hex()}")
        if self._chunks is not None:
            self._chunks.end(deadline)


def announced_length(head: Head, geometry: Geometry, n: int) -> int:
    """Bytes of content that a 206 announces for piece n; -1: only the frame does. Raises ProtocolViolation if they are not piece n's.

    dfengine and Dragonfly 1.x send a Content-Length; a proxy in between may send the body in chunks, or until it closes.
    """
    start = geometry.range(n)[0]
    if head.length >= 0:
        _check_length(head.length, geometry, n)
    given = head.headers.get("content-range")
    if given is not None and not given.startswith(f"bytes {start}-"):
        raise ProtocolViolation(f"piece {n} was requested, but {given!r} was sent")
    return max(head.length - FRAME, -1)


def framed_length(frame: bytes, geometry: Geometry, n: int) -> int:
    """Bytes of content that a piece's frame announces. Raises ProtocolViolation when they are not piece n's."""
    length = frame_content(frame)
    _check_length(length + FRAME, geometry, n)
    return length


def _check_length(framed: int, geometry: Geometry, n: int) -> None:
    most = geometry.framed(n)
    # Which piece is the last, and may be shorter, is unknown until the file's length is known.
    least = most if geometry.length >= 0 else FRAME
    if not least <= framed <= most:
        raise ProtocolViolation(f"piece {n} is announced with {framed} bytes, not {most}")
