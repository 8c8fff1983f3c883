"""The metrics of Dragonfly 1.x: the exposition stays valid and short for any reports of clients."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from dfengine.net.http import Request, Response
from dfengine.supernode.legacy_metrics import EACH, MAX_DOWNLOADERS, LegacyCounts, handler, size_of

NAMES = "ip", "callsystem", "success", "duration", "filelength", "backsourcereason"
VALUES = st.one_of(st.text(max_size=20), st.floats(), st.integers(), st.booleans(), st.none(), st.lists(st.text(), max_size=2))


def exposed(counts: LegacyCounts) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    """Sample -> labels -> value, as Prometheus reads it."""

    class Families:
        def collect(self) -> Any:
            return counts.families()

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Families())
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in text_string_to_metric_families(generate_latest(registry).decode()):
        for sample in family.samples:
            labels = tuple(sorted(sample.labels.items()))
            assert labels not in found.setdefault(sample.name, {}), "each series appears once"
            found[sample.name][labels] = sample.value
    return found


def test_reports_of_downloads_are_counted_by_system_and_peer() -> None:
    counts = LegacyCounts()
    told = {"ip": "10.0.0.7", "callsystem": "ci", "duration": 42.5, "filelength": 1000, "success": True}
    counts.reported(told, "10.0.0.7")
    counts.reported(told | {"success": False, "backsourcereason": "3"}, "10.0.0.7")
    counts.reported(told | {"success": False, "backsourcereason": "words\nof any kind"}, "10.0.0.7")
    found, who = exposed(counts), (("callsystem", "ci"), ("peer", "10.0.0.7"))
    assert found["dragonfly_dfget_download_total"] == {who: 3}
    assert found["dragonfly_dfget_download_size_bytes_total"] == {who: 1000}
    assert found["dragonfly_dfget_download_duration_seconds_sum"] == {who: 42.5}
    assert found["dragonfly_dfget_download_duration_seconds_bucket"][(who[0], ("le", "60.0"), who[1])] == 1
    assert found["dragonfly_dfget_download_failed_total"] == {(*who, ("reason", "3")): 1, (*who, ("reason", "other")): 1}
    assert found["dragonfly_supernode_dfgettasks_failed_total"] == {who[:1]: 2}


@settings(max_examples=30)
@given(st.lists(st.dictionaries(st.sampled_from(NAMES), VALUES), max_size=20))
def test_the_exposition_is_valid_for_arbitrary_reports(reports: list[dict[str, Any]]) -> None:
    counts = LegacyCounts()
    for told in reports:
        counts.reported(told, "10.0.0.1")
        counts.registered(str(told.get("callsystem")), "10.0.0.1")
        counts.scheduled(str(told.get("ip")), 0.001, "10.0.0.1")
    found = exposed(counts)
    assert sum(found.get("dragonfly_dfget_download_total", {}).values()) == len(reports)
    assert sum(found.get("dragonfly_supernode_dfgettasks_registered_total", {}).values()) == len(reports)
    assert all(value >= 0 for samples in found.values() for value in samples.values())


def test_one_client_can_create_only_few_series() -> None:
    counts = LegacyCounts()
    for n in range(1000):
        counts.reported({"ip": f"10.1.{n >> 8}.{n & 255}", "callsystem": str(n)}, "10.0.0.1")
    series = exposed(counts)["dragonfly_dfget_download_total"]
    assert len(series) == MAX_DOWNLOADERS * EACH // 100 + 1
    assert sum(series.values()) == 1000


def test_requests_are_counted_by_route() -> None:
    counts = LegacyCounts()
    request = Request("GET", b"/_ping", {"host": "h"}, b"", "10.0.0.1")
    counts.answered("/_ping", 0.001, size_of(request), Response(200, b"OK"))
    counts.answered("/api/v1/peers/", 2.0, 10**9, None)
    counts.answered("/swarm/pull", 2.0, 1, None)
    found, ping, peer = exposed(counts), (("handler", "/_ping"),), (("handler", "/api/v1/peers/{id}"),)
    assert found["dragonfly_supernode_http_response_size_bytes_sum"] == {ping: 2, peer: 0}
    assert found["dragonfly_supernode_http_request_size_bytes_count"] == {ping: 1, peer: 1}
    assert found["dragonfly_supernode_http_request_duration_seconds_bucket"][(*ping, ("le", "0.1"))] == 1
    assert 20 < found["dragonfly_supernode_http_request_size_bytes_sum"][ping] < 60
    assert [handler(each) for each in ("/", "/api/v1/", "/tasks/", "/_ping")] == ["/", "/api/v1/", "/tasks/{id}", "/_ping"]
