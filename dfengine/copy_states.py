"""States of a copy at a supernode, of a preheat, of a preheat's parts, and of a download in 1.x's metrics. Pure.

The names are Dragonfly 1.x's.
"""

from __future__ import annotations

WAITING, RUNNING, SUCCESS, FAILED = STATES = ("WAITING", "RUNNING", "SUCCESS", "FAILED")

UNENDED = (WAITING, RUNNING)
"""States of work that goes on."""

ENDED = (SUCCESS, FAILED)
