"""Reads one piece from a source, for a supernode that reads a file from hosts or from another supernode."""

from __future__ import annotations

import time

from dfengine._piece import Geometry
from dfengine.errors import SourceGone
from dfengine.net.http_client import Connection
from dfengine.net.piece_client import PieceBody, request_piece
from dfengine.wire import Source

ANSWER = 5.0
"""Seconds without a byte, also before the first one, after which a source is abandoned."""

MIN_RATE = 64 << 10
"""Bytes per second below which a source is abandoned as well, after the first ANSWER seconds."""


def read_piece(connection: Connection, source: Source, geometry: Geometry, n: int, buffer: memoryview) -> int:
    """Read piece n's content into `buffer`; return its length in bytes. Raises RemoteError."""
    request_piece(connection, source.path, geometry, n)
    head = connection.head(time.monotonic() + ANSWER)
    if head.status != 206:
        raise SourceGone(f"{source.ip}:{source.port} answers {head.status}")
    body = PieceBody(connection, head, geometry, n, time.monotonic() + ANSWER)
    body.into(buffer, 0, body.length, silence=ANSWER, floor=MIN_RATE, grace=ANSWER)
    body.end(connection, time.monotonic() + ANSWER)
    return body.length
