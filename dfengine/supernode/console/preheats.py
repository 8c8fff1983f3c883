"""The preheats of /api/v1, as values of /api/v2."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dfengine.supernode.api_preheat import MAX_LISTED, ORDER, ListTexts, fetched_bytes, totals
from dfengine.supernode.console.api_types import Preheat, PreheatPart, PreheatRow
from dfengine.task import redacted, redacted_url

if TYPE_CHECKING:
    from dfengine.supernode.preheat_job import Job, Part
    from dfengine.supernode.remote_preheats import RemoteJob
    from dfengine.supernode.supernode_state import SupernodeState


def _fields(state: SupernodeState, job: Job | RemoteJob) -> dict[str, Any]:
    whole = totals(state, job)
    return {
        "id": job.id, "type": job.kind, "url": redacted_url(job.url), "scope": job.scope, "state": job.state, "error": redacted(job.error),
        "started": job.created, "ended": job.updated if job.ended else 0.0, "supernode": job.supernode,
        "parts": whole.count, "finished": whole.finished, "length": whole.length, "here": whole.fetched,
    }  # fmt: skip


def row(state: SupernodeState, job: Job | RemoteJob, texts: ListTexts) -> PreheatRow:
    """Return a preheat's row of the list. texts: of the list."""
    fields = _fields(state, job)
    return PreheatRow(**fields | {name: texts.fitted(fields[name]) for name in ("url", "error")})


def preheat(state: SupernodeState, job: Job | RemoteJob) -> Preheat:
    """Return a preheat with its parts."""
    parts = sorted(job.parts, key=lambda part: ORDER[part.state])[:MAX_LISTED]
    return Preheat(items=[_part(state, part) for part in parts], **_fields(state, job))


def _part(state: SupernodeState, part: Part) -> PreheatPart:
    return PreheatPart(url=redacted_url(part.url), task=part.name, state=part.state, length=part.length, here=fetched_bytes(state, part),
                       digest=part.digest, host=part.host, error=redacted(part.error))
