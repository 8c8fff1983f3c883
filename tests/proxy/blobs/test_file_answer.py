"""Conditions of a request for a file."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from dfengine.proxy.blobs.file_answer import answer_file
from dfengine.proxy.front.requests import Head
from dfengine.proxy.header_fields import Fields


class Client:
    """The client's connection. begun: status and length of the response."""

    begun = 0, 0

    def begin(self, status: int, reason: bytes, fields: Fields, length: int) -> None:
        self.begun = status, length

    def end(self) -> None: ...

    def send_response(self, status: int, body: bytes, fields: Fields) -> None:
        self.begun = status, len(body)


@pytest.mark.parametrize(("name", "begun"), [(b"If-None-Match", (304, 7)), (b"If-Match", (200, 7))])
def test_entity_tags_may_be_given_in_several_fields(name: bytes, begun: tuple[int, int]) -> None:
    client: Any = Client()
    head = Head("HEAD", b"/", [(b"Host", b"a"), (name, b'"one"'), (name, b'"two"')], "1.1", True)
    asyncio.run(answer_file(client, head, '"two"', [], "a/b", -1, None, 7, None))
    assert client.begun == begun
