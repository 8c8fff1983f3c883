"""Writes dfengine.json, the dashboard of supernodes and proxies for Grafana 9 and later: `python deploy/grafana/dashboard.py`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("dfengine.json")
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
WIDTH, HEIGHT = 8, 8
"""Size of a panel; a row is 24 wide."""

BY = "sum by (instance)"


def quantile(q: float, metric: str, by: str = "") -> str:
    """Quantile of a histogram over the selected instances. by: label to group by."""
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({q}, sum by ({labels}) (rate({metric}_bucket{{$shown}}[$__rate_interval])))"


def rate(metric: str, labels: str = "") -> str:
    """Rate per second by instance. labels: further labels to group by, as `, code`."""
    return f"sum by (instance{labels}) (rate({metric}{{$shown}}[$__rate_interval]))"


def total(metric: str) -> str:
    return f"sum(increase({metric}{{$shown}}[$__range]))"


PIECES = "dfengine_piece_duration_seconds"
SUPERNODE: list[tuple[str, str, str, dict[str, str]]] = [
    ("Saved", "percentunit", "Share of the bytes of finished downloads that no origin had to send, in the displayed time range", {
        "saved": f"1 - {total('dfengine_origin_bytes_total')} / {total('dragonfly_dfget_download_size_bytes_total')}",
    }),
    ("Downloads", "none", "Registered downloads, by state", {
        "{{status}}": "sum by (status) (dragonfly_supernode_dfgettasks{$shown})",
    }),
    ("Files", "none", "Files in memory, by the state of the supernode's copy", {
        "{{cdnstatus}}": "sum by (cdnstatus) (dragonfly_supernode_tasks{$shown})",
    }),
    ("Bytes per second", "Bps", "Delivered: of downloads that reported success", {
        "delivered": "sum(rate(dragonfly_dfget_download_size_bytes_total{$shown}[$__rate_interval]))",
        "sent by supernodes": "sum(rate(dfengine_sent_bytes_total{$shown}[$__rate_interval]))",
        "read from origins": "sum(rate(dfengine_origin_bytes_total{$shown}[$__rate_interval]))",
    }),
    ("Pieces per second", "none", "Pieces that downloads received, by kind of source", {
        "from peers": "sum(rate(dfengine_pieces_from_peers_total{$shown}[$__rate_interval]))",
        "from supernodes": "sum(rate(dfengine_pieces_from_supernode_total{$shown}[$__rate_interval]))",
    }),
    ("Downloads per second", "none", "Registrations, and results of downloads", {
        "registered": "sum(rate(dragonfly_supernode_tasks_registered_total{$shown}[$__rate_interval]))",
        "finished": "sum(rate(dfengine_downloads_finished_total{$shown}[$__rate_interval]))",
        "failed": "sum(rate(dragonfly_supernode_dfgettasks_failed_total{$shown}[$__rate_interval]))",
        "read the origin": "sum(rate(dfengine_back_to_source_total{$shown}[$__rate_interval]))",
    }),
    ("Time of a download, by size", "s", "Median of successful downloads", {
        "up to {{size}}": quantile(0.5, "dfengine_download_duration_seconds", "size"),
    }),
    ("Time of a piece, by source", "s", "From its assignment until its receiver reports it; from an origin: until the supernode has it", {
        "median, {{source}}": quantile(0.5, PIECES, "source"),
        "95th percentile, {{source}}": quantile(0.95, PIECES, "source"),
    }),
    ("Pulls", "s", "Seconds until the response to a pull, which is parked while no piece can be offered", {
        "median, {{instance}}": quantile(0.5, "dfengine_pull_duration_seconds", "instance"),
        "95th percentile, {{instance}}": quantile(0.95, "dfengine_pull_duration_seconds", "instance"),
    }),
    ("Pulls per second", "none", "", {
        "{{instance}}": rate("dfengine_pulls_total"),
    }),
    ("Wait for origins", "s", "Seconds until the head of an origin's response", {
        "median, {{instance}}": quantile(0.5, "dfengine_origin_first_byte_seconds", "instance"),
        "90th percentile, {{instance}}": quantile(0.9, "dfengine_origin_first_byte_seconds", "instance"),
    }),
    ("Fetches from origins", "none", "Per second", {
        "started, {{instance}}": rate("dragonfly_supernode_cdn_trigger_total"),
        "failed, {{instance}}": rate("dragonfly_supernode_cdn_trigger_failed_total"),
    }),
    ("Pieces in flight and parked pulls", "none", "", {
        "in flight, {{instance}}": f"{BY} (dfengine_pieces_in_flight{{$shown}})",
        "parked, {{instance}}": f"{BY} (dfengine_parked_pulls{{$shown}})",
    }),
    ("Hosts that are not used as sources", "none", "Isolated: sent wrong bytes, or none. Unproved: the peer server has not responded yet", {
        "isolated, {{instance}}": f"{BY} (dfengine_isolated_peers{{$shown}})",
        "unproved, {{instance}}": f"{BY} (dfengine_unproved_peers{{$shown}})",
    }),
    ("Free disk space", "bytes", "", {
        "{{instance}}": f"{BY} (dfengine_disk_free_bytes{{$shown}})",
    }),
    ("Defects", "none", "In the displayed time range: requests that failed by an internal error, and pieces that were wrong on the disk", {
        "internal errors": total("dfengine_internal_errors_total"),
        "damaged pieces": total("dfengine_damaged_pieces_total"),
    }),
    ("Cluster", "none", "For each supernode: other members that it sees, tasks that it leads, and 1 if Redis does not respond to it", {
        "others, {{instance}}": f"{BY} (dfengine_cluster_members{{$shown}})",
        "leads, {{instance}}": f"{BY} (dfengine_cluster_tasks_led{{$shown}})",
        "Redis down, {{instance}}": f"{BY} (1 - dfengine_cluster_redis_up{{$shown}})",
    }),
    ("Cluster, per second", "none", "Requests without a response from Redis, and refused notices", {
        "failed, {{instance}}": rate("dfengine_cluster_redis_failures_total"),
        "refused, {{instance}}": rate("dfengine_cluster_notices_refused_total"),
    }),
    ("Object store", "Bps", "Bytes per second", {
        "read, {{instance}}": rate("dfengine_store_read_bytes_total"),
        "written, {{instance}}": rate("dfengine_store_written_bytes_total"),
    }),
    ("Object store failures", "none", "Failures per second, and copies that wait to be written", {
        "failures, {{instance}}": rate("dfengine_store_failures_total"),
        "waiting, {{instance}}": f"{BY} (dfengine_store_writes_pending{{$shown}})",
    }),
    ("Paused origins", "none", "They asked for a pause, or cannot be connected to", {
        "{{instance}}": f"{BY} (dfengine_origins_paused{{$shown}})",
    }),
    ("Processor", "percentunit", "Cores in use, and the share of time in which the event loop did not poll its sockets", {
        "cores, {{instance}}": rate("process_cpu_seconds_total"),
        "loop blocked, {{instance}}": rate("dfengine_loop_blocked_seconds_sum"),
    }),
    ("Memory", "bytes", "", {
        "{{instance}}": f"{BY} (process_resident_memory_bytes{{$shown}})",
    }),
]
PROXY: list[tuple[str, str, str, dict[str, str]]] = [
    ("Bytes per second, by source", "Bps", "Of complete, verified files", {
        "{{source}}": "sum by (source) (rate(dfengine_proxy_received_bytes_total{$shown}[$__rate_interval]))",
    }),
    ("Responses per second", "none", "", {
        "{{code}}": "sum by (code) (rate(dfengine_proxy_responses_total{$shown}[$__rate_interval]))",
    }),
    ("Files per second", "none", "", {
        "cache hits": "sum(rate(dfengine_proxy_cache_hits_total{$shown}[$__rate_interval]))",
        "fetches started": "sum(rate(dfengine_proxy_fetches_started_total{$shown}[$__rate_interval]))",
        "fetches failed": "sum(rate(dfengine_proxy_fetches_failed_total{$shown}[$__rate_interval]))",
        "passed through, past the swarm": "sum(rate(dfengine_proxy_passed_through_total{$shown}[$__rate_interval]))",
    }),
    ("Time of a fetch", "s", "Until the file is complete and verified", {
        "median": quantile(0.5, "dfengine_proxy_fetch_duration_seconds"),
        "95th percentile": quantile(0.95, "dfengine_proxy_fetch_duration_seconds"),
    }),
    ("Connections", "none", "", {
        "of clients": "sum(dfengine_proxy_connections{$shown})",
        "files being fetched": "sum(dfengine_proxy_fetches_in_progress{$shown})",
    }),
    ("Least free space", "bytes", "Of the ten proxies with the least; full: number of proxies that fetch nothing", {
        "{{instance}}": "bottomk(10, dfengine_proxy_disk_free_bytes{$shown})",
        "full": "sum(dfengine_proxy_disk_full{$shown})",
    }),
]  # fmt: skip
STATS = {"Saved", "Defects"}
"""Panels with a single number."""


def panel(number: int, at: tuple[int, int], title: str, unit: str, text: str, targets: dict[str, str]) -> dict[str, Any]:
    """A panel. at: column and line."""
    made: dict[str, Any] = {
        "id": number, "title": title, "description": text, "type": "stat" if title in STATS else "timeseries", "datasource": SOURCE,
        "gridPos": {"x": at[0], "y": at[1], "w": WIDTH, "h": HEIGHT},
        "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + n), "datasource": SOURCE, "legendFormat": legend,
             "expr": expr.replace("$shown", 'instance=~"$instance"')}
            for n, (legend, expr) in enumerate(targets.items())
        ],
    }  # fmt: skip
    if title in STATS:
        for target in made["targets"]:
            target["instant"] = True
    return made


def dashboard() -> dict[str, Any]:
    panels: list[dict[str, Any]] = []
    line = 0
    for title, rows in (("Supernodes", SUPERNODE), ("Proxies", PROXY)):
        panels.append({"id": len(panels) + 1, "type": "row", "title": title, "collapsed": False, "panels": [],
                       "gridPos": {"x": 0, "y": line, "w": 24, "h": 1}})  # fmt: skip
        line += 1
        for n, each in enumerate(rows):
            panels.append(panel(len(panels) + 1, (n % 3 * WIDTH, line + n // 3 * HEIGHT), *each))
        line += -(-len(rows) // 3) * HEIGHT
    query = "label_values({__name__=~\"dragonfly_supernode_build_info|dfengine_proxy_build_info\"}, instance)"
    return {
        "uid": "dfengine", "title": "dfengine", "tags": ["dfengine"], "schemaVersion": 38, "version": 1, "editable": True, "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"}, "timezone": "browser", "graphTooltip": 1, "annotations": {"list": []}, "links": [],
        "templating": {"list": [
            {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"},
            {"name": "instance", "label": "Instance", "type": "query", "datasource": SOURCE, "query": {"query": query, "refId": "instance"},
             "refresh": 2, "includeAll": True, "multi": True, "allValue": ".*", "sort": 1, "current": {"text": "All", "value": "$__all"}},
        ]},
        "panels": panels,
    }  # fmt: skip


def written() -> str:
    return json.dumps(dashboard(), indent=1) + "\n"


if __name__ == "__main__":
    FILE.write_text(written())
