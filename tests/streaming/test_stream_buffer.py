"""Errors that the consumer of a stopped stream gets."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from dfengine.errors import Cancelled
from dfengine.settings import GetSettings
from dfengine.streaming.stream_buffer import StreamBuffer


def test_a_stream_stopped_before_its_digest_is_computed_raises_the_stops_error() -> None:
    memory = StreamBuffer(GetSettings(url="http://o/f", output="-"))
    stopped: Any = SimpleNamespace(error=Cancelled("by the program"), file=None, digester=SimpleNamespace(await_hashed=lambda n: False))
    memory.transfer = stopped
    with pytest.raises(Cancelled, match="by the program"):
        memory.consumed(0)
