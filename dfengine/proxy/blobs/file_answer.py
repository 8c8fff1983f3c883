"""The response to a GET or HEAD for a file of known length and entity-tag: its status, its head and its ranges."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from dfengine.proxy import ranges
from dfengine.proxy.blobs.encrypted_serving import EncryptedServing
from dfengine.proxy.blobs.first_byte import first_byte
from dfengine.proxy.blobs.serving import Serving
from dfengine.proxy.header_fields import Fields, joined

if TYPE_CHECKING:
    from collections.abc import Callable

    from dfengine.proxy.blobs.blob import Reader
    from dfengine.proxy.front.client_connection import ClientConnection
    from dfengine.proxy.front.requests import Head


async def answer_file(
    client: ClientConnection, request: Head, tag: str, fields: Fields, content_type: str, fd: int, owner: object, length: int,
    reader: Callable[[ranges.Span, Callable[[], None]], Reader] | None,
) -> None:
    """Answer `request` with the file, or as its conditions require. No byte of a response is sent before, nor if this raises.

    tag: the entity-tag, quoted. fields: of every response, without those of a body. owner: keeps `fd` open. reader: of a file that is being
    fetched; None: it is complete. Raises BadRequest for ranges that are refused, and errors before the first byte, see `first_byte`.
    """
    given = {name: joined(request.fields, name) for name in (b"if-match", b"if-none-match", b"if-range", b"range")}
    status = ranges.status(tag, given[b"if-match"], given[b"if-none-match"], request.method)
    asked = given[b"range"] if ranges.applies(tag, given[b"if-range"]) else ""
    await send_file(client, request.method, status, asked, fields, content_type, fd, owner, length, reader)


async def send_file(
    client: ClientConnection, method: str, status: int, asked: str, fields: Fields, content_type: str, fd: int, owner: object, length: int,
    reader: Callable[[ranges.Span, Callable[[], None]], Reader] | None,
) -> None:
    """Answer when conditions are evaluated. status: 200, 304 or 412. asked: the Range, "" if it does not apply."""
    if status == 304:
        client.begin(status, b"", fields, length)
        client.end()
        return
    if status != 200:
        client.send_response(status, b"", fields)
        return
    asked = asked if method == "GET" else ""
    spans = ranges.parse(asked, length) if asked else None
    if spans == []:
        client.send_response(416, b"", [*fields, (b"Content-Range", b"bytes */%d" % length)])
        return
    heads, total = [b"", b""], length
    if spans is not None and len(spans) > 1:
        boundary = secrets.token_hex(16)
        heads, total = ranges.multipart(spans, length, content_type, boundary)
        content_type = f"multipart/byteranges; boundary={boundary}"
    elif spans is not None:
        [(start, past)] = spans
        total = past - start
        fields = [*fields, (b"Content-Range", b"bytes %d-%d/%d" % (start, past - 1, length))]
    fields = [*fields, (b"Content-Type", content_type.encode("latin-1"))]
    if method == "HEAD":
        client.begin(200, b"", fields, total)
        client.end()
        return
    wanted = spans if spans is not None else [(0, length)] if length else []
    await _serve(client, 200 if spans is None else 206, fields, total, fd, owner, wanted, heads, reader)


async def send_part(
    client: ClientConnection, fields: Fields, fd: int, owner: object, length: int,
    reader: Callable[[ranges.Span, Callable[[], None]], Reader] | None,
) -> None:
    """Answer with a file of `length` bytes, which is the part of another file that the Content-Range in `fields` states."""
    await _serve(client, 206, fields, length, fd, owner, [(0, length)], [b"", b""], reader)


async def _serve(
    client: ClientConnection, status: int, fields: Fields, total: int, fd: int, owner: object, spans: list[ranges.Span], heads: list[bytes],
    reader: Callable[[ranges.Span, Callable[[], None]], Reader] | None,
) -> None:
    """Send head and body. total: bytes of the body."""
    first = await first_byte(reader, spans[0]) if reader is not None and spans else None
    try:
        client.begin(status, b"", fields, total)
        serving = (EncryptedServing if client.encrypted else Serving)(client, fd, owner, spans, heads if spans else [b""], reader)
        client.hand_over(serving)
        serving.start()
    finally:
        if first is not None:
            first.close()
