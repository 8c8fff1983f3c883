"""Replayed requests of Harbor's two drivers, and the fields that they read: Dragonfly 1.x's API until Harbor 2.11, Dragonfly 2's since.

Source: goharbor/harbor, src/pkg/p2p/preheat/provider/dragonfly.go of both generations. The bodies are those that the drivers send.
"""

from __future__ import annotations

import datetime
import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.images import MISSING, SIZES, Image, Registry
from tests.e2e.scene import Scene, Supernode, until
from tests.e2e.test_preheat import BASIC_USER, ask

BODIES = Path(__file__).parent.parent / "supernode" / "harbor"
TOKEN = "a-token-for-harbor-alone"


@pytest.fixture(autouse=True)
def programs() -> None:
    """Programs that the README installs."""
    assert not MISSING, f"apt-get install docker-registry skopeo containerd: {MISSING} are missing"


class Harbor:
    """A driver of Harbor's. fields: headers by which it authenticates."""

    def __init__(self, node: Supernode, registry: Registry, **fields: str) -> None:
        self.node, self.registry, self.fields = node, registry, fields

    def body(self, name: str, **arguments: Any) -> Any:
        """A recorded body, for app/x:1 of this registry."""
        text = (BODIES / name).read_text()
        said = json.loads(text.replace("https://harbor.example/v2/library/app/manifests/1.0", f"{self.registry.url}/v2/app/x/manifests/1"))
        said.get("args", said).update(arguments)
        return said

    def ask(self, method: str, path: str, message: object = None) -> Any:
        """Send a request. The drivers accept any 2xx, but the older one takes 208 for a success without a task: it must not occur."""
        status, said = ask(self.node, method, path, message, **self.fields)
        assert 200 <= status < 300, said
        assert status != 208
        return said

    def v1(self) -> dict[str, Any]:
        """Run the older driver's preheat to its end."""
        assert self.ask("POST", "/preheats", self.body("preheats.json")).keys() == {"ID"}
        made = self.ask("POST", "/preheats", self.body("preheats.json"))["ID"]
        assert isinstance(made, str)
        assert made

        def checked() -> Any:
            said = self.ask("GET", f"/preheats/{made}")
            assert said["status"] in ("WAITING", "RUNNING", "SUCCESS", "FAILED")
            assert "preheat task already exists" not in said.get("errorMsg", "")
            return said if said["status"] in ("SUCCESS", "FAILED") else None

        return dict(until(checked, "the end of a preheat"))

    def v2(self, **arguments: Any) -> dict[str, Any]:
        """Run the present driver's job to its end."""
        made = self.ask("POST", "/oapi/v1/jobs", self.body("jobs.json", **arguments))
        assert type(made["id"]) is int
        assert made["id"] > 0
        for name in ("created_at", "updated_at"):
            assert datetime.datetime.fromisoformat(made[name]).tzinfo is not None

        def checked() -> Any:
            said = self.ask("GET", f"/oapi/v1/jobs/{made['id']}")
            assert said["state"] in ("PENDING", "SUCCESS", "FAILURE")
            for each in said["result"]["job_states"]:
                assert isinstance(each["error"], str)
                for result in each["results"]:
                    assert type(result["scheduler_cluster_id"]) is int
                    for task in (*result["success_tasks"], *result["failure_tasks"]):
                        assert all(isinstance(task[name], str) for name in ("url", "hostname", "ip"))
            return said if said["state"] in ("SUCCESS", "FAILURE") else None

        return dict(until(checked, "the end of a job"))


def test_preheats_of_both_harbor_drivers_succeed_and_are_listed_in_both_apis(stage: Scene) -> None:
    registry, image = Registry(stage), Image(stage.path / "oci", SIZES)
    registry.push(image, "app/x")
    node = stage.supernode()
    harbor = Harbor(node, registry)
    assert (node.get("/_ping"), node.get("/healthy")) == (b"OK", b"OK")
    assert harbor.v1()["status"] == "SUCCESS"
    job = harbor.v2()
    assert job["state"] == "SUCCESS", job
    [[result]] = [each["results"] for each in job["result"]["job_states"]]
    assert {task["url"].rpartition("/")[2] for task in result["success_tasks"]} == set(image.blobs)
    assert not result["failure_tasks"]
    assert b"Bearer" not in node.get("/oapi/v1/jobs") + node.get("/preheats")
    # Each API lists the jobs of the other.
    assert [each["state"] for each in harbor.ask("GET", "/api/v1/jobs?state=SUCCESS&per_page=2&page=1")] == ["SUCCESS"] * 2
    assert ask(node, "GET", f"/preheats/{job['task_id']}")[1]["status"] == "SUCCESS"
    assert ask(node, "DELETE", f"/oapi/v1/jobs/{job['id']}") == (200, {})
    assert ask(node, "GET", f"/oapi/v1/jobs/{job['id']}")[0] == 404


def test_a_failed_job_is_reported_to_both_drivers(stage: Scene) -> None:
    registry, node = Registry(stage), stage.supernode()
    job = Harbor(node, registry).v2()
    assert (job["state"], "404" in job["result"]["job_states"][0]["error"]) == ("FAILURE", True)
    assert Harbor(node, registry).v1()["status"] == "FAILED"


def test_a_dragonfly_2_job_of_files_reports_each_files_result(stage: Scene) -> None:
    stage.file("a", 1000)
    stage.file("b", 2000)
    base, node = stage.origin(), stage.supernode()
    asked = {"type": "preheat", "args": {"type": "file", "urls": [f"{base}/a?sign=1", f"{base}/b", f"{base}/none"],
                                         "filtered_query_params": "sign"}}  # fmt: skip
    number = ask(node, "POST", "/oapi/v1/jobs", asked)[1]["id"]
    job = until(lambda: (said := ask(node, "GET", f"/oapi/v1/jobs/{number}")[1])["state"] != "PENDING" and said, "the end of a job")
    assert job["state"] == "FAILURE"
    [result] = job["result"]["job_states"][0]["results"]
    assert [task["url"] for task in result["success_tasks"]] == [f"{base}/a?...", f"{base}/b"]
    assert [task["url"] for task in result["failure_tasks"]] == [f"{base}/none"]
    assert "404" in result["failure_tasks"][0]["description"]
    stage.get(f"{base}/a?sign=2", "out", "--filter", "sign", "--notbs", nodes=(node,))
    assert len([each for each in stage.requests("/a") if each["status"] == 200]) == 1


@pytest.mark.parametrize("body", [
    {"type": "sync_peers"}, {"type": "preheat", "args": {"type": "image", "url": "http://h/f"}}, {"type": "preheat", "args": 5}, [],
])  # fmt: skip
def test_invalid_jobs_are_refused(stage: Scene, body: Any) -> None:
    node = stage.supernode()
    assert ask(node, "POST", "/oapi/v1/jobs", body)[0] == 400
    assert ask(node, "GET", "/oapi/v1/jobs") == (200, [])
    assert ask(node, "GET", "/oapi/v1/jobs/1")[0] == 404
    assert ask(node, "PUT", "/oapi/v1/jobs/1", {})[0] == 405


@pytest.mark.parametrize("secret", [False, True])
def test_preheats_need_the_preheat_token_which_grants_nothing_else(stage: Scene, secret: bool) -> None:
    """Harbor's token permits preheats, and no other requests of a swarm with a secret."""
    token, own = stage.path / "token", stage.path / "secret"
    for path, content in ((token, TOKEN), (own, "a secret of the swarm's own")):
        path.write_text(content)
        os.chmod(path, 0o600)
    registry, image = Registry(stage), Image(stage.path / "oci", (1000,))
    registry.push(image, "app/x")
    options = ("--secret-file", str(own)) if secret else ()
    node = stage.supernode("--preheat-token-file", str(token), *options)
    assert node.get("/healthy") == b"OK"
    shown = {"Authorization": f"Bearer {TOKEN}"}
    assert Harbor(node, registry, **shown).v2(scope="single_seed_peer")["state"] == "SUCCESS"
    harbor = Harbor(node, registry, **shown)
    assert harbor.v1()["status"] == "SUCCESS"
    for fields in ({}, {"Authorization": f"Basic {BASIC_USER}"}):
        for place in ("/preheats", "/api/v1/preheats", "/oapi/v1/jobs", "/api/v1/jobs", "/jobs"):
            for method, message, below in (("POST", {}, ""), ("GET", None, ""), ("GET", None, "/1"), ("DELETE", None, "/1")):
                assert ask(node, method, place + below, message, **fields)[0] == 401, place
    assert ask(node, "GET", "/tasks/" + "a" * 64, **shown)[0] == (401 if secret else 404)
