"""Endpoints for preheats as in Dragonfly 1.x: /api/v1/preheats. `preheats` runs the jobs."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec

from dfengine.copy_states import FAILED, RUNNING, SUCCESS, WAITING
from dfengine.errors import BadValue, DfengineError, ProtocolViolation, RemoteError
from dfengine.net.http import Request, Response
from dfengine.supernode.api_v1 import refusal, refusal_with_supernodes
from dfengine.supernode.preheat_job import Job, Part, Totals
from dfengine.supernode.preheat_request import FILE, PreheatRequest, parse_v1
from dfengine.supernode.preheats import Preheats
from dfengine.supernode.remote_preheats import RemoteJob
from dfengine.supernode.supernode_state import SupernodeState
from dfengine.task import redacted_url


def as_json(value: Any, status: int = 200) -> Response:
    return Response(status, msgspec.json.encode(value) + b"\n")


def rfc3339(seconds: float) -> str:
    """Format Unix seconds as in RFC 3339."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def fetched_bytes(state: SupernodeState, part: Part) -> int:
    """Return the bytes of a part that are in the copy, as far as known."""
    if part.fetched >= 0:
        return part.fetched
    if part.ended:
        return max(0, part.length) if not part.error else 0
    fetch = state.fetch_pool.fetches.get(part.task)
    return fetch.file.geometry.length - fetch.missing_bytes if fetch is not None and fetch.file is not None else 0


def totals(state: SupernodeState, job: Job | RemoteJob) -> Totals:
    """Return the sums over all parts of a job."""
    return job.remote_totals or Totals(
        len(job.parts), sum(part.state == SUCCESS for part in job.parts), sum(max(0, part.length) for part in job.parts),
        sum(fetched_bytes(state, part) for part in job.parts),
    )  # fmt: skip


MAX_START = 20.0
"""Seconds for which a response waits for the origin of its preheat, and for the preheat's turn."""

MAX_LISTED = 1000
"""Parts of one job in a response."""

MAX_LIST_CHARACTERS = 2 << 20
"""Characters of URLs and errors in a list of preheats: it is made at once, while the loop does nothing else."""

SHORT = 100
"""Characters of each URL and error in a list beyond MAX_LIST_CHARACTERS."""

ORDER = {FAILED: 0, RUNNING: 1, WAITING: 2, SUCCESS: 3}

CROWDED = "too many preheats are under way: try again when some have ended"



class ListTexts:
    """The characters that are left for one list."""

    def __init__(self) -> None:
        self._left = MAX_LIST_CHARACTERS

    def fits(self, characters: int) -> bool:
        """Count so many characters if they are left."""
        if characters > self._left:
            self._left = 0
            return False
        self._left -= characters
        return True

    def fitted(self, text: str) -> str:
        """Return the text, shortened if it does not fit."""
        return text if self.fits(len(text)) else text[:SHORT]


def start_job(preheats: Preheats, request: Request, read: Callable[[bytes], PreheatRequest]) -> Job | Response:
    """Start the preheat that `read` decodes from the request's body. Return the job, or the response that refuses it."""
    try:
        asked = read(request.body)
        request.body = b""
        return preheats.begin(asked, request.client) or refusal_with_supernodes(preheats.state, CROWDED, 429)
    except (ProtocolViolation, BadValue) as error:
        return refusal(str(error), 400, 400)
    except DfengineError as error:
        return refusal(str(error))


class PreheatRoutes:
    """The preheat endpoints of one supernode."""

    def __init__(self, preheats: Preheats) -> None:
        self._preheats = preheats

    def create(self, state: SupernodeState, request: Request) -> Response | Coroutine[Any, Any, Response]:
        """POST /api/v1/preheats {type, url, filter, headers, scope, platform...}: fetch a file or an image before any client requests it.

        md5 and identifier, which 1.x does not have, name the task of a file as in a registration. For a file the response waits up to
        MAX_START seconds for the origin; for an image it does not wait.
        """
        job = start_job(self._preheats, request, parse_v1)
        if isinstance(job, Response):
            return job
        return _wait_started(job) if job.kind == FILE else _created(job)

    def list_all(self, state: SupernodeState, request: Request) -> Response:
        """GET /api/v1/preheats: all preheats, without their parts; beyond MAX_LIST_CHARACTERS the older ones with SHORT texts."""
        texts, found = ListTexts(), []
        for job in reversed(self._preheats.all()):
            fields = _job(job)
            for name in ("url", "errorMsg"):
                if name in fields:
                    fields[name] = texts.fitted(fields[name])
            found.append(fields)
        return as_json(found[::-1])

    def get(self, state: SupernodeState, request: Request) -> Response:
        """GET /api/v1/preheats/{id}."""
        job = self._find(request)
        return _missing(request) if job is None else as_json(_job(job) | _parts(state, job))

    def delete(self, state: SupernodeState, request: Request) -> Response:
        """DELETE /api/v1/preheats/{id}: cancel a running preheat, remove an ended one."""
        job = self._find(request)
        if job is None:
            return _missing(request)
        try:
            self._preheats.cancel(job)
        except RemoteError as error:
            return refusal(str(error), 503, 503)
        state.wake()
        return Response(200, b"true\n")

    def _find(self, request: Request) -> Job | RemoteJob | None:
        return self._preheats.find(request.path.rpartition("/")[2])


async def _wait_started(job: Job) -> Response:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(asyncio.shield(job.started), MAX_START)
    return refusal(job.error) if job.state == FAILED else _created(job)


def _created(job: Job) -> Response:
    return as_json({"ID": job.id}, 201)


def _missing(request: Request) -> Response:
    return refusal(f"preheat {request.path.rpartition('/')[2][:64]}: not found", 404, 404)


def _job(job: Job | RemoteJob) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "ID": job.id, "startTime": rfc3339(job.created), "status": job.state, "type": job.kind, "url": redacted_url(job.url),
        "scope": job.scope,
    }  # fmt: skip
    if job.supernode:
        fields["supernode"] = job.supernode
    if job.ended:
        fields["finishTime"] = rfc3339(job.updated)
    return fields | {"errorMsg": job.error} if job.error else fields


def _parts(state: SupernodeState, job: Job | RemoteJob) -> dict[str, Any]:
    """Return the sums over all parts and the first MAX_LISTED parts, failed and running ones first if there are more."""
    first = sorted(job.parts, key=lambda part: ORDER[part.state])[:MAX_LISTED] if len(job.parts) > MAX_LISTED else job.parts
    whole = totals(state, job)
    return {
        "count": whole.count, "finished": whole.finished, "length": whole.length, "here": whole.fetched,
        "tasks": [_part(state, part) for part in first],
    }  # fmt: skip


def _part(state: SupernodeState, part: Part) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "url": redacted_url(part.url), "taskId": part.name, "status": part.state, "length": part.length, "here": fetched_bytes(state, part),
    }  # fmt: skip
    for name, value in (("digest", part.digest), ("host", part.host), ("ip", part.ip), ("errorMsg", part.error)):
        if value:
            fields[name] = value
    return fields
