"""Figures of tasks: rows of the list, and one task."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dfengine.copy_states import UNENDED
from dfengine.location import is_content
from dfengine.supernode.console.api_types import TaskRow
from dfengine.supernode.negative_cache import reason_alone
from dfengine.task import redacted, redacted_url
from dfengine.tree import MANIFEST

if TYPE_CHECKING:
    from dfengine.supernode.console.queries import TaskQuery
    from dfengine.supernode.console.rates import Rates
    from dfengine.supernode.copies.fetch import Fetch
    from dfengine.supernode.supernode_state import SupernodeState

MAX_TEXT = 1000
"""Characters of a URL or a reason, at most."""


def row(state: SupernodeState, fetch: Fetch, rates: Rates, now: float) -> TaskRow:
    """Return the row of a task. now: loop seconds."""
    swarm = state.swarm.tasks.get(fetch.task)
    file, claimed = fetch.file, fetch.claim is not None
    length = file.geometry.length if file is not None else -1
    count = file.geometry.count if file is not None and length >= 0 else -1
    # The last piece is shorter than the others.
    size = length / count if count > 0 else float(file.geometry.content_size) if file is not None else 0.0
    by_supernode, by_peers = (int(swarm.from_supernode * size), int(swarm.from_peers * size)) if swarm is not None else (0, 0)
    from_origin = fetch.origin_bytes
    pinned = state.fetches.kept.get(fetch.task)
    return TaskRow(
        task=state.names.public_name(fetch.task), url=redacted_url(fetch.request.url)[:MAX_TEXT], kind=_kind(fetch), state=fetch.state,
        error=_public_text(state, str(fetch.error)) if fetch.error is not None else "", waits=_public_text(state, fetch.retry_reason),
        leader=fetch.leader,
        length=length, piece_size=file.geometry.piece_size if file is not None else 0, pieces=count,
        cached=0 if file is None or claimed else file.available.count(),
        downloads=len(swarm.downloads) if swarm is not None else 0, unfinished=swarm.unfinished if swarm is not None else 0,
        rate=rates.rate((fetch.task, "rate"), by_supernode + by_peers, now),
        origin_rate=rates.rate((fetch.task, "origin"), from_origin, now), delivered_bytes=by_supernode + by_peers,
        from_supernode_bytes=by_supernode, from_peers_bytes=by_peers, origin_bytes=from_origin, origin_requests=fetch.origin_requests,
        saved_bytes=max(0, by_supernode + by_peers - from_origin), supernode_slots=swarm.supernode_used if swarm is not None else 0,
        pinned=pinned is not None and pinned.pinned, idle=max(0.0, now - state.registry.used.get(fetch.task, now)),
    )  # fmt: skip


def _public_text(state: SupernodeState, text: str) -> str:
    return state.names.mask_text(redacted(reason_alone(text)))[:MAX_TEXT]


def _kind(fetch: Fetch) -> str:
    tree = fetch.request.tree
    if tree is not None:
        return "manifest" if tree.part == MANIFEST else "data"
    return "content" if is_content(fetch.request.url) else "file"


def matches(query: TaskQuery, text: str, found: TaskRow) -> bool:
    """Whether a task matches the query. text: the search text in lower case, compared with the task's name and URL."""
    if query.state and found.state != query.state:
        return False
    if query.active and not (found.unfinished or found.state in UNENDED):
        return False
    return not text or text in found.url.lower() or text in found.task
