"""Notifies supernodes of downloads that are no longer served here. Best effort: an expired lease or a failed piece has the same effect."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from dfengine import fields
from dfengine.net.http_client import parse_head
from dfengine.peer.routes import Deregistration

if TYPE_CHECKING:
    import ssl

TIMEOUT = 0.6
"""Limit in seconds of all requests together: a process that receives SIGTERM ends within a second."""

AT_ONCE = 16


async def deregister(gone: Iterable[Deregistration], secret_files: Sequence[str] = (), tls: ssl.SSLContext | None = None) -> None:
    """Send `service down` for each, several at once; failures of supernodes are ignored."""
    turns = asyncio.Semaphore(AT_ONCE)

    async def leave(node: str, task: str, cid: str) -> None:
        async with turns:
            await _leave(node, task, cid, secret_files, tls)

    leaving = [leave(*one) for one in gone]
    if leaving:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.gather(*leaving, return_exceptions=True), TIMEOUT)


async def _leave(node: str, task: str, cid: str, secret_files: Sequence[str], tls: ssl.SSLContext | None) -> None:
    host, _, port = node.rpartition(":")
    reader, writer = await asyncio.open_connection(host.strip("[]"), int(port), ssl=tls)
    try:
        query = urlencode({fields.TASK_ID: task, fields.CID: cid})
        target, shown = f"/peer/service/down?{query}", ""
        if secret_files:
            from dfengine.net.secret import HEADER, SERVER_NAME, Signer, name_in, read_secret

            writer.write(f"GET {SERVER_NAME} HTTP/1.1\r\nHost: {node}\r\n\r\n".encode())
            head = parse_head(await reader.readuntil(b"\r\n\r\n"))
            name = name_in(head.status, await reader.readexactly(min(max(head.length, 0), 1024)))
            shown = f"{HEADER}: {Signer(read_secret(secret_files[0]), name).sign('GET', target)}\r\n"
        writer.write(f"GET {target} HTTP/1.1\r\nHost: {node}\r\n{shown}Connection: close\r\n\r\n".encode())
        await reader.read(1024)
    finally:
        writer.close()
