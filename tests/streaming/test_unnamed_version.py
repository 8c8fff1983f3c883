"""A stream that continues at a source which names no version, before it has a piece."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from dfengine.streaming.stream_buffer import StreamBuffer


@pytest.mark.parametrize(("known", "generation", "forgets"), [(b"g", b"", True), (b"", b"g", True), (b"g", b"g", False)])
def test_its_pieces_do_not_count_as_the_registered_versions(known: bytes, generation: bytes, forgets: bool) -> None:
    """Else a later download of that version copies them from the peer server, and takes others from the swarm."""
    forgotten: list[bool] = []
    record = SimpleNamespace(forget_generation=lambda: forgotten.append(True))
    buffer: Any = StreamBuffer.__new__(StreamBuffer)
    buffer.transfer = SimpleNamespace(drop_offers=lambda: True, file=SimpleNamespace(record=record))
    buffer._on_continue(known, generation)
    assert forgotten == [True] * forgets
