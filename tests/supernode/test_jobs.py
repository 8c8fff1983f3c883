"""Lists of preheats in the format of Dragonfly 2: bounded, whatever the number of blobs."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from dfengine.copy_states import FAILED, SUCCESS
from dfengine.net.http import Request
from dfengine.supernode import api_jobs, api_preheat
from dfengine.supernode.api_jobs import JobRoutes
from dfengine.supernode.api_preheat import PreheatRoutes
from dfengine.supernode.preheat_job import Part

PARTS = {SUCCESS: 4, FAILED: 2}
"""Parts of each job by their state."""


def job(number: int) -> Any:
    parts = [Part(f"http://r/{number}/{state}/{n}") for state, count in PARTS.items() for n in range(count)]
    for part in parts:
        part.end("refused" if f"/{FAILED}/" in part.url else "")
    return SimpleNamespace(
        id=f"job-{number}", number=number, kind="image", url="http://r/", scope="", platforms=(), state=FAILED, error="", created=0.0,
        updated=0.0, parts=parts, supernode="",
    )  # fmt: skip


def ask(routes: JobRoutes, path: str, name: str) -> Any:
    return json.loads(getattr(routes, name)(SimpleNamespace(), Request("GET", path.encode(), {}, b"", "10.0.0.9")).body)


def listed(fields: Any) -> tuple[int, int]:
    """Numbers of successful and of failed parts."""
    [state] = fields["result"]["job_states"]
    [tasks] = state["results"]
    assert all(each["description"] == "refused" for each in tasks["failure_tasks"])
    return len(tasks["success_tasks"]), len(tasks["failure_tasks"])


def test_a_list_has_the_parts_of_its_first_jobs_and_one_job_all_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_jobs, "MAX_LISTED_TOGETHER", 9)
    jobs = [job(number) for number in range(4)]
    preheats: Any = SimpleNamespace(all=lambda: jobs, find=lambda name: jobs[int(name)])
    routes = JobRoutes(preheats, "10.0.0.1")
    found = ask(routes, "/oapi/v1/jobs", "list_all")
    assert [each["id"] for each in found] == [3, 2, 1, 0]
    assert [listed(each) for each in found] == [(4, 2), (1, 2), (0, 0), (0, 0)], "failed parts are listed first"
    assert [listed(each) for each in ask(routes, "/oapi/v1/jobs?per_page=1&page=3", "list_all")] == [(4, 2)]
    assert listed(ask(routes, "/oapi/v1/jobs/0", "get")) == (4, 2)


def test_one_job_has_a_bounded_number_of_parts_of_each_state(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_jobs, "MAX_LISTED", 3)
    preheats: Any = SimpleNamespace(find=lambda name: job(1))
    assert listed(ask(JobRoutes(preheats, "10.0.0.1"), "/oapi/v1/jobs/1", "get")) == (3, 2)


@pytest.mark.parametrize("path", ["/oapi/v1/jobs", "/api/v1/preheats"])
def test_a_list_has_a_bounded_number_of_characters(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_preheat, "MAX_LIST_CHARACTERS", 50_000, raising=False)
    jobs = [job(number) for number in range(40)]
    for each in jobs:
        each.url, each.error, each.ended = f"http://r/{each.number}/" + "p" * 5000, "e" * 5000, True
        for part in each.parts:
            part.url += "p" * 5000
    preheats: Any = SimpleNamespace(all=lambda: jobs, find=lambda name: jobs[int(name)])
    jobs_of: Any = JobRoutes(preheats, "10.0.0.1") if path == "/oapi/v1/jobs" else PreheatRoutes(preheats)
    found = ask(jobs_of, path, "list_all")
    assert len(found) == 40
    assert len(json.dumps(found)) < 50_000 + 40 * 1000
    newest, oldest = (found[0], found[-1]) if path == "/oapi/v1/jobs" else (found[-1], found[0])
    for fields, complete in ((newest, True), (oldest, False)):
        assert (len(fields.get("url") or fields["args"]["url"]) > 5000) == complete
