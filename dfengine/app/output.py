"""Output of `get`: results and failures, as objects of `--json` and as lines on stderr."""

from __future__ import annotations

import contextlib
import sys

from dfengine.errors import DfengineError, StorageError
from dfengine.task import is_url, redacted, redacted_url

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from dfengine.client import Result


def print_flushed(text: str, end: str = "\n") -> None:
    """Print a line, or a part of one, on stdout and flush it. Raises BrokenPipeError if the reader has closed it, StorageError for other
    errors."""
    try:
        print(text, end=end, flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise StorageError(f"cannot write to stdout: {error.strerror}") from None


def failed(error: DfengineError) -> int:
    """Print the error on stderr in one line, and return its exit code."""
    print(f"dfengine: {redacted(' '.join(str(error).split()))}", file=sys.stderr)
    return error.exit_code


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    """Lines of a table, with each column as wide as its longest cell."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in (head, *rows)]


def print_error(code: int, kind: str, message: str, **more: str) -> None:
    """Print the `--json` object of a failure of a command other than `get`. Raises as `print_flushed`."""
    import json

    print_flushed(json.dumps({"error": {"code": code, "kind": kind, "message": redacted(" ".join(message.split())), **more}}))


def print_failure(words: list[str], code: int, kind: str, message: str) -> None:
    """As `print_error`, if the command line `words` has --json and is not of `get`, which prints its own. Failed writes are ignored."""
    from dfengine.app import options

    role = words[0] if words else ""
    if role != "get" and "--json" in words and any(option.name == "json" for option in options.COMMANDS.get(role, ())):
        with contextlib.suppress(StorageError, BrokenPipeError):
            print_error(code, kind, message)


def as_error(values: dict[str, Any], code: int, kind: str, message: str, status: int = 0) -> dict[str, Any]:
    """The `--json` object of a failure. status: HTTP status of the origin's response, 0 = none."""
    given = (*values.get("u", ()), values.get("url") or "", *values.get("address", ()))
    url = next(filter(is_url, given), given[-1])
    message = redacted(" ".join(message.split()))
    return {"error": {"code": code, "kind": kind, "status": status, "message": message, "url": redacted_url(url)}}


def as_object(result: Result) -> dict[str, Any]:
    """The `--json` object of a result; lengths in bytes, times in seconds."""
    serves = {"serves": True} if result.serves else {"serves": False, "not_serving_reason": result.why_not}
    return {
        "url": redacted_url(result.url),
        "output": result.output,
        "task_id": result.task_id,
        "length": result.length,
        "seconds": round(result.seconds, 3),
        "from": sources(result),
        "digest": result.digest,
        "back_to_source": redacted(result.back_to_source or "") or None,
        **serves,
        "hedged": result.hedged,
    }


def sources(result: Any) -> dict[str, int]:
    """Bytes by source, of the result of a file, a tree, or one file of a tree."""
    return {
        "peers": result.from_peers,
        "supernode": result.from_supernode,
        "origin": result.from_origin,
        "host": getattr(result, "from_host", 0),
        "resumed": result.resumed,
    }
