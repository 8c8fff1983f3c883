"""Spans of slow operations: a download, its registration, a supernode's fetch. Recorded by OpenTelemetry (extra `otel`) where enabled.

Tracing is enabled where the environment names an endpoint for traces, as in OpenTelemetry's specification. Otherwise no module of
OpenTelemetry is imported, and a span only passes on the `traceparent` that this process received: in its environment (TRACEPARENT), by a
request, or from the span in which a program calls dfengine.
"""

from __future__ import annotations

import os
import sys

from dfengine.trace_context import CLIENT, INTERNAL, NONE, SERVER, Span, checked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["CLIENT", "INTERNAL", "NONE", "SERVER", "Span", "begin", "flush", "inherited"]

ENDPOINTS = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"

FLUSH_SECONDS = 2.0
"""Seconds to send recorded spans before the process ends."""


def begin(service: str, name: str, parent: str, kind: str = INTERNAL, **attributes: Any) -> Span:
    """Begin a span of this process. service: the process's, as `dfengine-supernode`. parent: a traceparent, or ""; not trusted.

    attributes: their names become `dfengine.NAME`; None: unknown, not recorded.
    """
    parent = checked(parent) if parent else ""
    if not _wanted():
        return Span(parent) if parent else NONE
    from dfengine.net import recorded_span

    if _exports():
        recorded_span.export(service, FLUSH_SECONDS)
    return recorded_span.begin(name, parent, kind, attributes)


def inherited() -> str:
    """The traceparent of this thread: of the program's current span, or from the environment; "" for none."""
    if "opentelemetry.sdk.trace" in sys.modules:
        from dfengine.net import recorded_span

        if active := recorded_span.active():
            return active
    return os.environ.get("TRACEPARENT", "")


def flush() -> None:
    """Send recorded spans within FLUSH_SECONDS, before the process ends."""
    module = sys.modules.get("dfengine.net.recorded_span")
    if module is not None:
        module.flush(FLUSH_SECONDS)


_missing = False


def _exports() -> bool:
    return any(map(os.environ.get, ENDPOINTS))


def _wanted() -> bool:
    environment = os.environ
    if not _exports() and "opentelemetry.sdk.trace" not in sys.modules:
        return False
    if environment.get("OTEL_SDK_DISABLED", "").lower() == "true" or environment.get("OTEL_TRACES_EXPORTER") == "none":
        return False
    return _installed()


def _installed() -> bool:
    global _missing
    if _missing:
        return False
    try:
        from dfengine.net import recorded_span  # noqa: F401  (whether it can be imported)
    except ImportError:
        _missing = True
        print("dfengine: tracing is enabled, but OpenTelemetry is not installed: pip install 'dfengine[otel]'", file=sys.stderr)
        return False
    return True
