"""W3C Trace Context (level 2): the field `traceparent`, and a span that only propagates it.

The field is `VERSION-TRACE-PARENT-FLAGS`, all in lower-case hex (section 3.2).
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

NAME = "traceparent"

CLIENT, SERVER, INTERNAL = "CLIENT", "SERVER", "INTERNAL"
"""Kinds of spans, as OpenTelemetry names them."""

_PARTS = 2, 32, 16, 2
"""Hex digits of each part."""

_HEX = frozenset("0123456789abcdef")


def checked(text: str) -> str:
    """`text` if it is valid and may be propagated, else "": a receiver treats an invalid field as absent (section 3.2)."""
    parts = text.split("-")
    if len(text) != sum(_PARTS) + 3 or tuple(map(len, parts)) != _PARTS or not all(_HEX.issuperset(part) for part in parts):
        return ""
    version, trace, parent, _ = parts
    return "" if version == "ff" or not trace.strip("0") or not parent.strip("0") else text


def format_traceparent(trace: int, parent: int, flags: int) -> str:
    """A field of version 00."""
    return f"00-{trace:032x}-{parent:016x}-{flags:02x}"


def parse_traceparent(text: str) -> tuple[int, int, int]:
    """(trace, parent, flags) of a field that `checked` has accepted and that is not empty."""
    _, trace, parent, flags = text.split("-")
    return int(trace, 16), int(parent, 16), int(flags, 16)


class Span:
    """A span that is not recorded. traceparent: sent by requests of this span, "" for none."""

    __slots__ = ("traceparent",)

    def __init__(self, traceparent: str = "") -> None:
        self.traceparent = traceparent

    def child(self, name: str, kind: str = INTERNAL, **attributes: Any) -> Span:
        """Start a child span."""
        return self

    def add_attributes(self, **attributes: Any) -> None:
        """Add attributes, as they become known. None: not known."""

    def end(self, error: object = None) -> None:
        """End the span. error: the cause, if it failed. Repeated calls have no effect."""

    def __enter__(self) -> Span:
        return self

    def __exit__(self, kind: object, error: BaseException | None, stack: object) -> None:
        self.end(error)


NONE = Span()
"""A span without a trace."""
