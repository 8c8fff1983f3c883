"""A request that is passed on, and whose response's JSON is collected, changed, and then sent whole."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from dfengine.proxy.header_fields import UNTIL_CLOSE, Fields, joined, text
from dfengine.proxy.upstream.pass_through import PassThrough

if TYPE_CHECKING:
    from dfengine.proxy.front.client_connection import ClientConnection
    from dfengine.proxy.front.requests import Head
    from dfengine.proxy.registries import Registry
    from dfengine.proxy.upstream.upstreams import Upstreams

MAX_JSON = 16 << 20
"""Maximum number of bytes of a changed response; a page of a tree has 1,000 files. A longer response is passed on as it is."""


MAX_ON_LOOP_BYTES = 256 << 10
"""Bytes that are changed on the loop's thread, which takes some ten milliseconds; longer bodies are changed by another thread."""


class Rewriting(PassThrough):
    """See PassThrough. `rewrites`: whether `rewritten` may have to change the response's JSON."""

    rewrites = False

    def __init__(
        self, client: ClientConnection, request: Head, upstreams: Upstreams, registry: Registry, target: str, more: Fields,
        target_changed: bool = False,
    ) -> None:
        super().__init__(client, request, upstreams, registry, target, more, target_changed)
        self._answer_head: tuple[int, bytes, Fields, int] | None = None
        """The head of a response whose body is being collected."""
        self._parts: list[bytes] = []
        self._size = 0
        self._making: asyncio.Task[None] | None = None

    def rewritten(self, body: bytes) -> bytes:
        """The JSON for the client; `body` itself if nothing is changed. In any thread."""
        raise NotImplementedError

    def answer(self, status: int, reason: bytes, fields: Fields, length: int) -> None:
        collected = self.rewrites and status == 200 and self._request.method != "HEAD" and UNTIL_CLOSE <= length <= MAX_JSON
        if not collected or not text(fields, b"content-type").startswith("application/json") or joined(fields, b"content-encoding"):
            super().answer(status, reason, fields, length)
            return
        self._again = False
        self._answer_head = status, reason, fields, length
        self._client.extend_deadline()

    def body_part(self, data: bytes) -> None:
        if self._answer_head is None:
            super().body_part(data)
            return
        self._client.extend_deadline()
        self._parts.append(data)
        self._size += len(data)
        if self._size > MAX_JSON:
            self._begin()

    def _begin(self) -> None:
        """Pass on the collected part, and the rest, as it is."""
        assert self._answer_head is not None
        answer_head, self._answer_head = self._answer_head, None
        super().answer(*answer_head)
        for part in self._parts:
            super().body_part(part)
        self._parts.clear()

    def end(self) -> None:
        if self._answer_head is None:
            super().end()
            return
        body = b"".join(self._parts)
        if len(body) <= MAX_ON_LOOP_BYTES:
            self._finish(body, self.rewritten(body))
        else:
            self._connection = None  # it may carry other exchanges now
            self._making = asyncio.get_running_loop().create_task(self._made(body))

    async def _made(self, body: bytes) -> None:
        made = await asyncio.to_thread(self.rewritten, body)
        self._making = None
        self._finish(body, made)
        self.flush()

    def _finish(self, body: bytes, made: bytes) -> None:
        assert self._answer_head is not None
        status, reason, fields, _ = self._answer_head
        if made is not body:
            # Its entity-tag is that of the original text.
            fields = [field for field in fields if field[0].lower() not in (b"etag", b"content-md5", b"digest")]
        self._answer_head = status, reason, fields, len(made)
        self._parts = [made] if made else []
        self._begin()
        super().end()

    def gone(self) -> None:
        if self._making is not None:
            self._making.cancel()
        super().gone()
