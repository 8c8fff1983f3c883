"""What downloads tell of themselves when they end (`POST /task/metrics`), as events. It is told as it was said: nothing is done by it."""

from __future__ import annotations

from typing import Any

from dfengine.events import Value
from dfengine.net.event_log import EventLog

FIELDS = {
    "taskid": "task", "cid": "cid", "duration": "seconds", "filelength": "length", "callsystem": "system", "firstpiece": "first_piece",
    "frompeers": "from_peers", "fromsupernode": "from_supernode", "fromorigin": "from_origin", "fromhost": "from_host",
    "resumed": "resumed", "hedged": "hedged",
}  # fmt: skip
"""Fields of the message, in lower case -> of the event."""


def download_told(events: EventLog, told: dict[str, Any], client: str) -> None:
    """told: the message's fields, names in lower case, whatever they are. client: the address that it came from."""
    known: dict[str, Value] = {name: plain(told[key]) for key, name in FIELDS.items() if key in told}
    reason = told.get("backsourcereason")
    if reason not in (None, "", "0", 0):
        events.warning("back_to_source", task=known.get("task"), cid=known.get("cid"), client=client, reason=plain(reason))
    if told.get("success") is True:
        events.info("finished", client=client, **known)
    else:
        events.warning("failed", client=client, reason=plain(told.get("failure")), **known)


def plain(value: object) -> Value:
    """What an event can tell; None for anything else."""
    return value if isinstance(value, str | int | float | bool) else None
