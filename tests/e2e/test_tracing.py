"""One trace across a download, its supernode and the origin: recorded by OpenTelemetry, or passed on without recording."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.e2e.scene import PATIENCE, Scene, until
from tests.e2e.test_forward import file
from tests.e2e.upstream import Upstream

EXAMPLE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
_, TRACE, PARENT, _ = EXAMPLE.split("-")
DATA = bytes(range(256)) * 4096


class Collector:
    """Receives OTLP over HTTP. spans: (service, name) -> span."""

    def __init__(self) -> None:
        self.spans: dict[tuple[str, str], Any] = {}
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                collector.take(ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *values: Any) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def take(self, sent: Any) -> None:
        for group in sent.resource_spans:
            names = {each.key: each.value.string_value for each in group.resource.attributes}
            for scope in group.scope_spans:
                self.spans |= {(names["service.name"], span.name): span for span in scope.spans}

    def attributes(self, service: str, name: str) -> dict[str, Any]:
        return {each.key: each.value.string_value or each.value.int_value for each in self.spans[service, name].attributes}

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    made = Collector()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{made.server.server_port}")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
    monkeypatch.setenv("TRACEPARENT", EXAMPLE)
    yield made
    made.close()


def test_a_download_its_registration_and_the_fetch_are_one_trace(stage: Scene, collector: Collector) -> None:
    node = stage.supernode()
    with Upstream() as origin:
        origin.scripts["/f"] = file(DATA)
        stage.get(f"{origin.url}/f?token=secret", "out", nodes=(node,))
        chain = [(f"dfengine-{who}", name) for who, name in
                 (("get", "download"), ("get", "register"), ("supernode", "register"), ("supernode", "fetch"))]  # fmt: skip
        until(lambda: collector.spans.keys() >= {*chain}, "the spans of download, registrations and fetch")
        spans = [collector.spans[each] for each in chain]
        assert [span.trace_id.hex() for span in spans] == [TRACE] * 4
        assert [span.parent_span_id.hex() for span in spans] == [PARENT, *(span.span_id.hex() for span in spans[:-1])]
        assert origin.asked[0].fields["traceparent"] == f"00-{TRACE}-{spans[-1].span_id.hex()}-01"
        told = collector.attributes("dfengine-get", "download")
        assert (told["dfengine.from_supernode"], told["dfengine.url"]) == (len(DATA), f"{origin.url}/f?...")
        told = collector.attributes("dfengine-supernode", "fetch")
        assert (told["dfengine.from_origin"], told["dfengine.requests"]) == (len(DATA), 1)
        # A download directly from the origin; its failure is recorded in the span.
        stage.get(f"{origin.url}/none", "none", "--pattern", "source", status=4)
        until(lambda: ("dfengine-get", "read from the origin") in collector.spans, "the span of the failed download")
        failed = collector.spans["dfengine-get", "read from the origin"]
        assert "404" in failed.status.message
        assert origin.asked[-1].fields["traceparent"] == f"00-{TRACE}-{failed.span_id.hex()}-01"


def test_without_a_collector_traceparent_is_passed_on_and_nothing_imported(stage: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACEPARENT", EXAMPLE)
    node = stage.supernode()
    with Upstream() as origin:
        origin.scripts.update({"/f": file(DATA), "/g": file(DATA)})
        stage.get(f"{origin.url}/f", "out", nodes=(node,))
        stage.get(f"{origin.url}/g", "other", "--pattern", "source")
        assert {each.fields["traceparent"] for each in origin.asked} == {EXAMPLE}
        monkeypatch.setenv("TRACEPARENT", EXAMPLE + "\tand more")
        origin.asked.clear()
        stage.get(f"{origin.url}/g", "third", "--pattern", "source", host=3)
        assert "traceparent" not in origin.asked[0].fields
        command = [sys.executable, "-X", "importtime", "-m", "dfengine", "get", f"{origin.url}/g", "-o", str(stage.path / "4th")]
        options = ["-n", node.node, "--home", str(stage.path / "home-2"), "--ip", "127.0.0.2"]
        told = subprocess.run([*command, *options], capture_output=True, check=True, timeout=PATIENCE)
        assert b"dfengine.net.tracing" in told.stderr
        assert b"opentelemetry" not in told.stderr


def test_an_unreachable_collector_fails_no_download(stage: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    digest, url = stage.file("f", 1 << 20), f"{stage.origin()}/f"
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    stage.get(url, "out")
    assert stage.digest("out") == digest


PROGRAM = """
import sys
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
import dfengine

kept = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(kept))
trace.set_tracer_provider(provider)
with trace.get_tracer("program").start_as_current_span("mine") as mine, dfengine.open(sys.argv[1], home=sys.argv[2]) as file:
    assert len(file.read()) == int(sys.argv[3])
found = {span.name: span for span in kept.get_finished_spans()}
assert found["download"].parent.span_id == mine.get_span_context().span_id, found
assert found["read from the origin"].parent.span_id == found["download"].context.span_id
"""


def test_a_programs_span_is_the_parent_of_its_downloads(stage: Scene) -> None:
    with Upstream() as origin:
        origin.scripts["/f"] = file(DATA)
        words = [sys.executable, "-c", PROGRAM, f"{origin.url}/f", str(stage.path / "home-2"), str(len(DATA))]
        told = subprocess.run(words, capture_output=True, text=True, check=False, timeout=PATIENCE)
        assert told.returncode == 0, told.stderr
