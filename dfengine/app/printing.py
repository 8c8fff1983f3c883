"""What `get` prints: results and failures, as objects of `--json` and as lines on stderr."""

from __future__ import annotations

import sys

from dfengine.errors import DfengineError, StorageError
from dfengine.task import is_url, shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from dfengine.client import Result


def put(text: str, end: str = "\n") -> None:
    """A line on stdout, or a part of one, at once. Raises BrokenPipeError when nobody reads it, StorageError when it cannot be written."""
    try:
        print(text, end=end, flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise StorageError(f"cannot write to stdout: {error.strerror}") from None


def failed(error: DfengineError) -> int:
    """Say it on stderr in one line; its exit code."""
    print(f"dfengine: {shown(' '.join(str(error).split()))}", file=sys.stderr)
    return error.exit_code


def as_error(values: dict[str, Any], code: int, kind: str, message: str, status: int = 0) -> dict[str, Any]:
    """What `--json` prints of a failure. status: of the origin's answer, 0: none."""
    from dfengine.client.naming import without_password

    given = (*values.get("u", ()), values.get("url") or "", *values.get("address", ()))
    url = next(filter(is_url, given), given[-1])
    return {"error": {"code": code, "kind": kind, "status": status, "message": " ".join(message.split()), "url": without_password(url)}}


def as_object(result: Result) -> dict[str, Any]:
    """What `--json` prints; lengths in bytes, times in seconds."""
    from dfengine.client.naming import without_password

    serves = {"serves": True} if result.serves else {"serves": False, "serves_nobody_because": result.why_not}
    return {
        "url": without_password(result.url),
        "output": result.output,
        "task_id": result.task_id,
        "length": result.length,
        "seconds": round(result.seconds, 3),
        "from": sources(result),
        "digest": result.digest,
        "back_to_source": result.back_to_source,
        **serves,
        "hedged": result.hedged,
    }


def sources(result: Any) -> dict[str, int]:
    """Bytes by where they came from, of a result of a file, a tree, or one of its files."""
    return {
        "peers": result.from_peers,
        "supernode": result.from_supernode,
        "origin": result.from_origin,
        "host": getattr(result, "from_host", 0),
        "resumed": result.resumed,
    }
