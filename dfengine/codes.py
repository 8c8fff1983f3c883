"""Numeric codes of the protocol; `docs/protocol.md` is the reference."""

from __future__ import annotations

NATIVE = 1
"""Supported version of the native pull: a registration offers it, the response confirms it."""

MAX_WANTED = 64
"""Maximum number of pieces that a native pull may list: the supernode looks for a source for each."""

# Codes of 1.x responses (`code`).
SUCCESS, FINISHED, CONTINUE, WAIT, LIMITED = 200, 600, 601, 602, 603
CDN_FAILED, UNREACHABLE, NEED_AUTH, WAIT_AUTH = 604, 607, 608, 609
REPORTED, LEFT = 611, 612
SYSTEM_ERROR, BAD_PARAMETER, NOT_FOUND = 500, 501, 502

# `status` of a 1.x pull, and `result` of the piece it reports.
START, RUNNING, DONE = 700, 701, 702
FAILED, WRITTEN, NO_RESULT, ARRIVED = 500, 501, 502, 503

INVALID = '{"Code":2,"Msg":"invalid value"}'
"""Text with which 1.x ends its message about a value that it refuses."""

__all__ = [
    "ARRIVED", "BAD_PARAMETER", "CDN_FAILED", "CONTINUE", "DONE", "FAILED", "FINISHED", "INVALID", "LEFT", "LIMITED", "MAX_WANTED",
    "NATIVE", "NEED_AUTH", "NOT_FOUND", "NO_RESULT", "REPORTED", "RUNNING", "START", "SUCCESS", "SYSTEM_ERROR", "UNREACHABLE",
    "WAIT", "WAIT_AUTH", "WRITTEN",
]  # fmt: skip
