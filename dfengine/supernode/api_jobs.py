"""Endpoints for preheats as in Dragonfly 2's manager: /oapi/v1/jobs and /api/v1/jobs. `preheats` runs the jobs.

Source: its models.Job and internal job states; Harbor's driver reads `id`, `created_at`, `updated_at`, `state` and, below `result`, the
`error` of each job state and the tasks of each result.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice, takewhile
from typing import Any

from dfengine.copy_states import FAILED, RUNNING, SUCCESS, WAITING
from dfengine.errors import RemoteError
from dfengine.net.http import BadRequest, Request, Response
from dfengine.supernode.admin import page
from dfengine.supernode.api_preheat import MAX_LISTED, ListTexts, as_json, rfc3339, start_job
from dfengine.supernode.preheat_job import Job, Part
from dfengine.supernode.preheat_request import parse_v2
from dfengine.supernode.preheats import Preheats
from dfengine.supernode.remote_preheats import RemoteJob
from dfengine.supernode.supernode_state import SupernodeState
from dfengine.task import redacted_url

STATES = {WAITING: "PENDING", RUNNING: "PENDING", SUCCESS: "SUCCESS", FAILED: "FAILURE"}
PAGE = 100
"""Jobs in one response."""

MAX_LISTED_TOGETHER = 10_000
"""Parts of all jobs in one list: it is made at once, while the loop does nothing else."""

CLUSTER = 1
"""The only cluster id: a supernode reports itself as one cluster."""


class JobRoutes:
    """The job endpoints of one supernode. host: its own address, reported as the location of blobs that name no peer."""

    def __init__(self, preheats: Preheats, host: str) -> None:
        self._preheats = preheats
        self._host = host

    def create(self, state: SupernodeState, request: Request) -> Response:
        """POST {"type": "preheat", "args": {...}}: start a job and return it; its `id` is a number."""
        job = start_job(self._preheats, request, parse_v2)
        return job if isinstance(job, Response) else as_json(self._job(job)[0])

    def list_all(self, state: SupernodeState, request: Request) -> Response:
        """GET: jobs, the newest first; `per_page` (at most PAGE), `page` (1 is the first), filter `state`.

        The first jobs have their parts, up to MAX_LISTED_TOGETHER, and their whole texts, up to MAX_LIST_CHARACTERS; the request for one
        job returns the others.
        """
        number, size = max(1, page(request, "page", 1)), min(page(request, "per_page", PAGE), PAGE)
        wanted = request.query.get("state", "")
        jobs = [job for job in reversed(self._preheats.all()) if wanted in ("", STATES[job.state])]
        left, texts, found = MAX_LISTED_TOGETHER, ListTexts(), []
        for job in islice(jobs, (number - 1) * size, number * size):
            fields, listed = self._job(job, left, texts)
            found.append(fields)
            left -= listed
        return as_json(found)

    def get(self, state: SupernodeState, request: Request) -> Response:
        """GET .../{id}."""
        return as_json(self._job(self._find(request))[0])

    def delete(self, state: SupernodeState, request: Request) -> Response:
        """DELETE .../{id}: cancel a running job, remove an ended one."""
        job = self._find(request)
        try:
            self._preheats.cancel(job)
        except RemoteError as error:
            raise BadRequest(503, str(error)) from None
        state.wake()
        return Response(200, b"{}\n")

    def _find(self, request: Request) -> Job | RemoteJob:
        """Return the job whose id is in the path. Raises BadRequest."""
        name = request.path.rpartition("/")[2]
        job = self._preheats.find(name)
        if job is None:
            raise BadRequest(404, f"job {name[:64]}: not found")
        return job

    def _job(self, job: Job | RemoteJob, most: int = 2 * MAX_LISTED, texts: ListTexts | None = None) -> tuple[dict[str, Any], int]:
        """Return the job with `most` parts at most, and the number of these. texts: of a list of jobs."""
        url, error = redacted_url(job.url), job.error
        if texts is not None:
            url, error = texts.fitted(url), texts.fitted(error)
        state, created, updated = STATES[job.state], rfc3339(job.created), rfc3339(job.updated)
        failed = self._tasks(job, FAILED, min(most, MAX_LISTED), texts)
        finished = self._tasks(job, SUCCESS, min(most - len(failed), MAX_LISTED), texts)
        tasks = {"success_tasks": finished, "failure_tasks": failed, "scheduler_cluster_id": CLUSTER}
        results = [tasks] if job.parts else []
        state_fields = {"task_name": "preheat", "state": state, "error": error, "created_at": created, "results": results}
        return {
            "id": job.number, "created_at": created, "updated_at": updated, "is_del": 0, "task_id": job.id, "type": "preheat",
            "state": state,
            "args": {"type": job.kind, "url": url, "scope": job.scope, "platform": ",".join(job.platforms)},
            "result": {"group_uuid": job.id, "state": state, "created_at": created, "updated_at": updated, "job_states": [state_fields]},
            "scheduler_clusters": [],
        }, len(failed) + len(finished)  # fmt: skip

    def _tasks(self, job: Job | RemoteJob, state: str, most: int, texts: ListTexts | None) -> list[dict[str, Any]]:
        """Return the first `most` parts in this state, as far as their texts fit."""
        chosen: Iterable[Part] = islice((part for part in job.parts if part.state == state), most)
        if texts is not None:
            chosen = takewhile(lambda part: texts.fits(part.characters), chosen)
        return [self._task(job, part) | ({"description": part.error} if state == FAILED else {}) for part in chosen]

    def _task(self, job: Job | RemoteJob, part: Part) -> dict[str, Any]:
        host = job.supernode.rpartition(":")[0] or self._host
        return {"url": redacted_url(part.url), "hostname": part.host or host, "ip": part.ip or host}
