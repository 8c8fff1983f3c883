"""Spans recorded by OpenTelemetry. Imported only where traces are enabled."""

from __future__ import annotations

import contextlib
import os
import threading
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk import trace as sdk
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    Tracer,
    set_span_in_context,
)

from dfengine import trace_context
from dfengine.about import VERSION
from dfengine.task import redacted
from dfengine.trace_context import Span

_lock = threading.Lock()
_own: sdk.TracerProvider | None = None
"""The provider that this module created; None where the program has one."""


class RecordedSpan(Span):
    """See Span."""

    __slots__ = ("_over", "_span", "_tracer")

    def __init__(self, tracer: Tracer, name: str, context: Context, kind: str, attributes: dict[str, Any]) -> None:
        self._tracer = tracer
        self._over = False
        self._span = tracer.start_span(name, context, SpanKind[kind], _named(attributes))
        self.traceparent = _written(self._span.get_span_context())

    def child(self, name: str, kind: str = "INTERNAL", **attributes: Any) -> Span:
        return RecordedSpan(self._tracer, name, set_span_in_context(self._span), kind, attributes)

    def add_attributes(self, **attributes: Any) -> None:
        self._span.set_attributes(_named(attributes))

    def end(self, error: object = None) -> None:
        if self._over:
            return
        self._over = True
        if error is not None:
            self._span.set_status(Status(StatusCode.ERROR, redacted(str(error))[:500] or type(error).__name__))
        self._span.end()


def begin(name: str, parent: str, kind: str, attributes: dict[str, Any]) -> Span:
    """Begin a recorded span; see tracing.begin. parent: already checked."""
    context = Context()
    if parent:
        trace_id, span_id, flags = trace_context.parse_traceparent(parent)
        remote = SpanContext(trace_id, span_id, is_remote=True, trace_flags=TraceFlags(flags))
        context = set_span_in_context(NonRecordingSpan(remote), context)
    provider = _own or trace.get_tracer_provider()
    return RecordedSpan(provider.get_tracer("dfengine", VERSION), name, context, kind, attributes)


def active() -> str:
    """The traceparent of this thread's current span; "" for none."""
    found = trace.get_current_span().get_span_context()
    return _written(found) if found.is_valid else ""


def flush(seconds: float) -> None:
    """Send the spans recorded by this module's own provider, within `seconds`."""
    if _own is not None:
        # The exporter's own time-out for a collector that does not respond is longer.
        sending = threading.Thread(target=_own.force_flush, daemon=True)
        with contextlib.suppress(RuntimeError):  # too many threads: the spans are lost
            sending.start()
            sending.join(seconds)


def export(service: str, seconds: float) -> None:
    """Export spans to the endpoint in the environment, unless the program has a provider of its own. seconds: for one attempt."""
    global _own
    with _lock:
        if _own is None and not isinstance(trace.get_tracer_provider(), sdk.TracerProvider):
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import SERVICE_NAME, Resource
            from opentelemetry.sdk.trace.export import BatchSpanProcessor

            made = sdk.TracerProvider(resource=Resource.create({} if os.environ.get("OTEL_SERVICE_NAME") else {SERVICE_NAME: service}))
            limit = None if os.environ.get("OTEL_EXPORTER_OTLP_TIMEOUT") else seconds
            made.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(timeout=limit)))
            _own = made


def _written(context: SpanContext) -> str:
    return trace_context.format_traceparent(context.trace_id, context.span_id, context.trace_flags)


def _named(attributes: dict[str, Any]) -> dict[str, Any]:
    """Prefix the names; strip user, password, query and fragment from URLs, as in events."""
    known = {name: value for name, value in attributes.items() if value is not None}
    return {f"dfengine.{name}": redacted(value) if isinstance(value, str) and "://" in value else value for name, value in known.items()}
