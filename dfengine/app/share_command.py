"""Runs `dfengine share` from the values of its options."""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
import time
from typing import Any

from dfengine.app import home
from dfengine.app.output import print_flushed
from dfengine.app.signals import Stopped, raise_on_signals
from dfengine.client.sharing import Share, Sharing
from dfengine.errors import BadValue, SupernodeError
from dfengine.settings import HOME, ShareSettings
from dfengine.task import check_peer_port


def settings_of(values: dict[str, Any]) -> ShareSettings:
    """Settings from the options of the command. Raises BadValue, StorageError."""
    given = {name: value for name, value in values.items() if name not in ("json", "quiet", "foreground")}
    check_peer_port("--port", given.get("port") or 0)
    given["home"] = home.found(given.get("home", HOME), "--home DIR")
    given["nodes"] = tuple(dict.fromkeys(given.get("nodes", ())))
    if given.get("ttl") == 0:
        raise BadValue("--ttl 0: the time must be greater than 0")
    return ShareSettings(**given)


def share(values: dict[str, Any]) -> None:
    """Share `path`. Raises subclasses of DfengineError, and SystemExit if a signal ends it."""
    raise_on_signals()
    made: Share | None = None
    quiet, as_json, foreground = (bool(values.get(name)) for name in ("quiet", "json", "foreground"))
    progress = _Progress(values["path"], quiet)
    try:
        made = Share(settings_of(values), progress)
        shared = made.run()
        if not as_json:
            print_flushed(shared.name)
        if not quiet:
            _print_shared(shared)
        if values.get("replicas"):
            shared = made.await_copies(shared)
        if as_json:
            print_flushed(json.dumps(as_object(shared)))
        if foreground:
            made.wait()
            if time.time() < shared.until:
                raise SupernodeError(f"{shared.path} is shared no longer: it was changed, removed or withdrawn")
            made.end()
    except Stopped as stopped:
        started = made is not None and bool(made.shared)
        if made is not None and foreground:
            made.end()
        print("dfengine: stopped", file=sys.stderr)
        sys.exit(0 if foreground and started and stopped.number != signal.SIGHUP else 128 + stopped.number)


def hand_over(values: dict[str, Any]) -> None:
    """Have supernodes keep copies of `path`, then end the share of this host, and print its name. Raises as `share`."""
    made = Share(settings_of(values), _Progress(values["path"], bool(values.get("quiet"))))
    try:
        shared = made.await_copies(made.run())
    finally:
        made.end()
    print_flushed(json.dumps(as_object(shared)) if values.get("json") else shared.name)


def _print_shared(shared: Sharing) -> None:
    print(f"dfengine: shared for {_period(shared.until - time.time())} at {', '.join(shared.nodes)}: {_how(shared)}", file=sys.stderr)


def _how(shared: Sharing) -> str:
    """A command that downloads the shared file or directory."""
    path = shlex.quote(os.path.basename(shared.path))
    kind, place = ("--recursive ", path) if os.path.isdir(shared.path) else ("", f"-o {path}")
    return f"dfengine get {kind}{shared.name} {place} -n {shared.nodes[0]}"


def _period(seconds: float) -> str:
    """The time in the largest unit in which it is at least about 2."""
    for unit, size in (("h", 3600), ("m", 60)):
        if seconds >= 2 * size - 1:
            return f"{seconds / size:.3g} {unit}"
    return f"{max(0.0, seconds):.0f} s"


def as_object(shared: Sharing) -> dict[str, Any]:
    """The object of `--json`; length in bytes, time in unix seconds."""
    return {
        "name": shared.name, "path": shared.path, "length": shared.length, "until": round(shared.until, 3), "nodes": shared.nodes,
        "kept": shared.kept,
    }  # fmt: skip


class _Progress:
    """Shows the progress; called with the bytes so far while the file is read."""

    def __init__(self, path: str, quiet: bool) -> None:
        self._shown = not quiet and sys.stderr.isatty()
        self._length = os.stat(path).st_size if self._shown and os.path.exists(path) else 0
        self._next = time.monotonic() + 1.0

    def __call__(self, done: int) -> None:
        if self._shown and done >= 0 and self._length and time.monotonic() >= self._next:
            self._next = time.monotonic() + 0.2
            print(f"\rreads {100 * done // self._length} %", end="", file=sys.stderr)
