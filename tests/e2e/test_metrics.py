"""Metrics of a supernode and a proxy: valid, documented, and complete for the dashboard and the alerts."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
import urllib.request
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from tests.deploy.test_monitoring import rules, shown
from tests.e2e.scene import MIB, PATIENCE, Scene, Supernode, until
from tests.e2e.test_forward import asked
from tests.supernode.redis_server import RedisServer

ROOT = Path(__file__).resolve().parent.parent.parent
OURS = re.compile(r"\b(?:dragonfly_supernode|dragonfly_dfget|dfengine|process)_\w+")
SIZE = 5 * MIB + 7
OF_OPTIONS = "dfengine_cluster_", "dfengine_store_"
"""Prefixes of the metrics that exist only with --cluster and --store."""

MILLISECONDS = "dragonfly_supernode_schedule_duration_milliseconds"
"""1.x's name; promtool demands seconds."""


def text_of(url: str) -> str:
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"{url}/metrics", timeout=PATIENCE) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        return str(answer.read().decode())


def check(text: str) -> None:
    told = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False, timeout=PATIENCE)
    complaints = [line for line in (told.stdout + told.stderr).splitlines() if MILLISECONDS not in line]
    assert not complaints, complaints


def series(text: str) -> set[str]:
    """Names of samples; for a family without samples, the names that they will have."""
    found = set()
    for family in text_string_to_metric_families(text):
        found |= {sample.name for sample in family.samples}
        ends = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}.get(family.type, ("",))
        found |= {family.name + end for end in ends}
    return found


def values(text: str) -> dict[str, float]:
    """Values of samples by name and labels as written, without the label `peer`."""
    found: dict[str, float] = {}
    for line in re.sub(r'\{peer="[^"]*"\}', "", text).splitlines():
        if not line.startswith("#"):
            name, _, value = line.rpartition(" ")
            found[name] = float(value)
    return found


def pull_as_dragonfly(node: Supernode, url: str) -> None:
    """Register as a 1.x client and pull once."""
    told = {"rawURL": url, "taskURL": url, "IP": "127.0.0.9", "port": 15001, "path": "/peer/file/x", "cID": "old", "version": "1.0.6",
            "superNodeIp": "127.0.0.1", "hostName": "h"}  # fmt: skip
    ask = urllib.request.Request(f"http://{node.node}/peer/registry", json.dumps(told).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(ask, timeout=PATIENCE) as answer:
        task = json.load(answer)["data"]["taskId"]
    node.get(f"/peer/task?srcCid=old&dstCid=&range=&result=500&status=700&taskId={task}")


def test_metrics_are_valid_documented_and_cover_dashboard_and_alerts(stage: Scene) -> None:
    stage.file("f", SIZE)
    os.utime(stage.path / "www" / "f", (time.time() - 3600,) * 2)
    node, url = stage.supernode(), stage.origin() + "/f"
    proxy = stage.proxy(nodes=(node,))[1]
    assert len(asked(proxy, url)[1]) == SIZE
    # Until the file is stored under its name, it is served as it arrives.
    until(lambda: len(asked(proxy, url)[1]) == SIZE and values(text_of(proxy))["dfengine_proxy_cache_hits_total"], "a cache hit")
    assert asked(proxy, f"{proxy}/nothing")[0].status == 404
    stage.get(url, "out", host=3, nodes=(node,))
    pull_as_dragonfly(node, url)
    until(lambda: node.metric("dfengine_downloads_finished_total") >= 2, "the reports of both downloads")
    supernode, proxies = text_of(f"http://{node.node}"), text_of(proxy)
    check(supernode)
    check(proxies)

    found = values(supernode)
    assert sum(found[f'dfengine_piece_duration_seconds_count{{source="{source}"}}'] for source in ("peer", "supernode")) == 4
    assert found['dfengine_piece_duration_seconds_count{source="origin"}'] == 4, "the proxy's download is another task"
    assert found["dfengine_pull_duration_seconds_count"] == found["dfengine_pulls_total"] >= 3
    assert found["dfengine_origin_first_byte_seconds_count"] == 2
    assert found['dfengine_download_duration_seconds_count{size="16MiB"}'] == 2
    assert found["dragonfly_supernode_schedule_duration_milliseconds_count"] == 1
    found = values(proxies)
    assert found['dfengine_proxy_responses_total{code="200"}'] >= 3
    assert found['dfengine_proxy_responses_total{code="404"}'] == 1
    assert sum(found[f'dfengine_proxy_received_bytes_total{{source="{kind}"}}'] for kind in ("peers", "supernode", "origin")) == SIZE
    assert found["dfengine_proxy_fetches_started_total"] == found["dfengine_proxy_fetch_duration_seconds_count"] == 1

    # docs/operating.md names all metrics, and the dashboard and the alerts name no others.
    page = (ROOT / "docs" / "operating.md").read_text()
    documented = set(re.findall(rf"`({OURS.pattern})", page))
    exposed = {family.name for text in (supernode, proxies) for family in text_string_to_metric_families(text)}
    assert exposed == {name.removesuffix("_total") for name in documented if not name.startswith(OF_OPTIONS)}
    # Metrics that a cluster and a store add.
    key = stage.path / "key"
    key.write_text("a key of the cluster and the store")
    key.chmod(0o600)
    (stage.path / "store").mkdir()
    with RedisServer(stage.path / "redis") as server:
        sharing = stage.supernode("--cluster", server.url, "--cluster-key-file", str(key), "--store", f"file://{stage.path}/store",
                                  "--store-key-file", str(key))  # fmt: skip
        shared = text_of(f"http://{sharing.node}")
    check(shared)
    added = {family.name for family in text_string_to_metric_families(shared)} - exposed
    assert added == {name.removesuffix("_total") for name in documented if name.startswith(OF_OPTIONS)}
    known = series(supernode) | series(proxies) | series(shared)
    assert set(OURS.findall(" ".join(shown()))) <= known
    assert set(OURS.findall(" ".join(rule["expr"] for rule in rules()))) <= known
