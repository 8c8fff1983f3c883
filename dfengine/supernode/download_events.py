"""Reports of downloads that have ended (`POST /task/metrics`), as events. They are logged as received and have no other effect."""

from __future__ import annotations

from collections.abc import Container
from typing import TYPE_CHECKING, Any

from dfengine.events import Value
from dfengine.net.event_log import EventLog

if TYPE_CHECKING:
    from dfengine.supernode.task_names import TaskNames

FIELDS = {
    "taskid": "task", "cid": "cid", "duration": "seconds", "filelength": "length", "callsystem": "system", "firstpiece": "first_piece",
    "frompeers": "from_peers", "fromsupernode": "from_supernode", "fromorigin": "from_origin", "fromhost": "from_host",
    "resumed": "resumed", "hedged": "hedged",
}  # fmt: skip
"""Fields of the message, in lower case -> fields of the event."""


def log_download(events: EventLog, fields: dict[str, Any], client: str, names: TaskNames, in_memory: Container[str]) -> None:
    """Log a report. fields: of the message, names in lower case, unchecked. client: the sender's address. in_memory: tasks."""
    known: dict[str, Value] = {name: plain(fields[key]) for key, name in FIELDS.items() if key in fields}
    task = known.get("task")
    if isinstance(task, str) and task not in in_memory:  # the id may be a private one of an earlier process
        known |= {"task": names.alias(task), "cid": names.alias(str(known.get("cid", "")))}
    reason = fields.get("backsourcereason")
    if reason not in (None, "", "0", 0):
        events.warning("back_to_source", task=known.get("task"), cid=known.get("cid"), client=client, reason=plain(reason))
    if fields.get("success") is True:
        events.info("finished", client=client, **known)
    else:
        events.warning("failed", client=client, reason=plain(fields.get("failure")), **known)


def plain(value: object) -> Value:
    """Return a value that an event can contain; None for anything else."""
    return value if isinstance(value, str | int | float | bool) else None
