"""`dfengine get`, told by values: checks them, downloads, and says how it went.

Apart from `cli` because it must not import click: see `options`.
"""

from __future__ import annotations

import os
import signal
import sys

from dfengine import options
from dfengine.errors import BadValue, DfengineError
from dfengine.settings import GetSettings
from dfengine.task import PEER_PORTS, check_url

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from dfengine.client import Result

ENVIRONMENT = "DFENGINE"
"""How the names of environment variables that hold settings begin."""

AGAIN = 5.0
"""Seconds after which a signal that a download has not ended by is raised anew: whoever clears the errors of what it calls swallows it."""

READER_GONE = 23
"""Exit code when the reader of stdout went away, as curl's."""


def plain(words: list[str]) -> None:
    """The whole process of `dfengine get WORDS`, if they are plain and no setting comes from elsewhere; else returns at once."""
    if any(name.startswith(ENVIRONMENT) for name in os.environ) or any(configuration_files()):
        return
    values = options.plain(words)
    if values is not None:
        end(get, values)


def configuration_files() -> list[str]:
    """Paths of the YAML files whose settings count, weakest first."""
    folders = ("/etc/dfengine", os.path.join(os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config"), "dfengine"))
    found = []
    for folder in folders:
        try:
            names = sorted(os.listdir(folder))
        except OSError:
            continue
        found += [os.path.join(folder, name) for name in names if name.endswith((".yml", ".yaml"))]
    return found


def end(run: Any, values: dict[str, Any]) -> NoReturn:
    """Run and leave the process, without taking the interpreter apart: that is a good part of a small `get`, whose threads are
    joined and whose files are closed by now."""
    try:
        run(values)
        code = 0
    except DfengineError as error:
        code = failed(error)
    except BrokenPipeError:
        code = READER_GONE
    except SystemExit as stop:
        if not isinstance(stop.code, int):
            raise
        code = stop.code
    leave(code)


def leave(code: int) -> NoReturn:
    """End the process with what was printed."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        code = READER_GONE
    try:
        sys.stderr.flush()
    finally:
        os._exit(code)


def failed(error: DfengineError) -> int:
    """Say it on stderr in one line; its exit code."""
    print(f"dfengine: {' '.join(str(error).split())}", file=sys.stderr)
    return error.exit_code


def get(values: dict[str, Any]) -> None:
    """`_get`; with `--json` a failure is an object, too, and the process ends here: raises SystemExit."""
    if not values.get("json"):
        return _get(values)
    try:
        _get(values)
    except DfengineError as error:
        code = failed(error)
        _tell(values, _as_error(values, code, type(error).__name__, str(error), getattr(error, "status", 0)))
        sys.exit(code)
    except _Interrupted as stop:
        _tell(values, _as_error(values, int(stop.code or 0), "Interrupted", stop.message))
        raise
    except BrokenPipeError:
        raise
    except Exception as error:
        _tell(values, _as_error(values, 1, type(error).__name__, str(error)))
        raise


def _get(values: dict[str, Any]) -> None:
    """Download as `values` say: those of `options.GET` that were given, and `address`. Raises subclasses of DfengineError, SystemExit."""
    given = dict(values)
    address, url, output, window, cache = (given.pop(name, None) for name in ("address", "url", "output", "window", "cache"))
    stream, as_json, quiet, verbose, bar = (given.pop(name, False) for name in ("stream", "json", "quiet", "verbose", "showbar"))
    url = url or address
    if not url:
        raise BadValue("no URL is given: dfengine get URL -o FILE")
    if address and url != address:
        raise BadValue("two URLs are given: one download takes one")
    check_url(url)
    if given.get("port") and given["port"] not in PEER_PORTS:
        raise BadValue(f"--port {given['port']}: a peer serves on {PEER_PORTS[0]}..{PEER_PORTS[-1]}")
    if stream and output not in (None, "-"):
        raise BadValue("--stream writes to stdout: leave -o out, or say -o -")
    stream = stream or output == "-"
    if not stream and (window or cache is not None):
        raise BadValue("--window and --cache belong to a stream: say -o -")
    pieces, size = window or (0, 0)
    given.update(window=pieces, window_bytes=size, cache=-1 if cache is None else cache)
    given["nodes"] = tuple(dict.fromkeys(given.get("nodes", ())))
    output = "-" if stream else _output(url, output)
    settings = GetSettings(url=url, output=output, verbose=verbose and not quiet, report_digest=as_json, **given)
    result = _download(settings, bar or (sys.stderr.isatty() and not quiet))
    if as_json:
        _tell(values, as_object(result))
    elif settings.nodes and settings.pattern != "source" and not quiet:
        from dfengine.client.meter import summary

        print(f"dfengine: {summary(result)}", file=sys.stderr)
    elif result.back_to_source and not quiet:
        print(f"dfengine: fetched from the origin: {result.back_to_source}", file=sys.stderr)


def _output(url: str, output: str | None) -> str:
    """The path to write: `output`, in it if it is a directory, or the URL's last segment here."""
    if output and not os.path.isdir(output):
        return output
    from urllib.parse import unquote, urlsplit

    name = os.path.basename(unquote(urlsplit(url).path))
    if not name or name in (".", "..") or "\0" in name:
        raise BadValue("the URL names no file: say which with -o FILE")
    return os.path.join(output or "", name)


def _download(settings: GetSettings, bar: bool) -> Result:
    ended_by = 0

    def stop(number: int, _: object) -> None:
        nonlocal ended_by
        ended_by = ended_by or number
        signal.setitimer(signal.ITIMER_REAL, AGAIN)
        raise _Signalled(ended_by)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM):
        signal.signal(number, stop)
    try:
        if not bar:
            return _fetch(settings, None)
        from dfengine.client.progress import Bar

        with Bar(settings.url.partition("?")[0] if settings.output == "-" else settings.output) as progress:
            return _fetch(settings, progress)
    except _Signalled as signalled:
        signal.setitimer(signal.ITIMER_REAL, 0)
        again = "" if settings.output == "-" else f"; run it again to go on from here ({settings.output})"
        print(f"dfengine: stopped{again}", file=sys.stderr)
        raise _Interrupted(128 + signalled.number, f"stopped{again}") from None


def _fetch(settings: GetSettings, progress: Any) -> Result:
    if settings.output == "-":
        from dfengine.stream import to_descriptor

        return to_descriptor(settings, 1, progress)
    from dfengine import client

    return client.get(settings, progress)


class _Signalled(BaseException):
    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class _Interrupted(SystemExit):
    """A signal ended the download, and that was said."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(code)
        self.message = message


def _tell(values: dict[str, Any], told: dict[str, Any]) -> None:
    """`--json`'s object: on stdout, or on stderr where stdout is the file's."""
    import json

    streams = values.get("stream") or values.get("output") == "-"
    print(json.dumps(told), file=sys.stderr if streams else sys.stdout)


def _as_error(values: dict[str, Any], code: int, kind: str, message: str, status: int = 0) -> dict[str, Any]:
    """What `--json` prints of a failure. status: of the origin's answer, 0: none."""
    from dfengine.client.naming import without_password

    url = without_password(values.get("url") or values.get("address") or "")
    return {"error": {"code": code, "kind": kind, "status": status, "message": " ".join(message.split()), "url": url}}


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
        "from": {
            "peers": result.from_peers,
            "supernode": result.from_supernode,
            "origin": result.from_origin,
            "resumed": result.resumed,
        },
        "digest": result.digest,
        "back_to_source": result.back_to_source,
        **serves,
        "hedged": result.hedged,
    }
