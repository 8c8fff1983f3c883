"""Runs `dfengine top`: the busiest tasks and hosts of a supernode, sampled repeatedly."""

from __future__ import annotations

import contextlib
import json
import os
import select
import sys
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from dfengine.app import reports
from dfengine.app.output import print_flushed, table
from dfengine.app.signals import Stopped, raise_on_signals
from dfengine.errors import BadValue, LocalError, RemoteError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Group

    from dfengine.app.api_client import NodeView
    from dfengine.supernode.console.api_types import HostRow, Overview, TaskRow

INTERVAL = 2.0
"""Seconds between two samples, by default."""

MIN_INTERVAL = 0.2
ROWS = 500
"""Maximum number of tasks, and of hosts, in a request."""

WIDE = 130
"""Minimum width, in cells, of a terminal that shows all columns; on a narrower one LEFT_OUT are left out."""

HIDDEN_COLUMNS = {"saved", "version", "location"}
TRUNCATED_COLUMNS = {"url", "host", "address", "location"}
"""Columns that are truncated if there is no room; figures are not."""

LOST = 60.0
"""Seconds for which requests to a supernode that does not answer are repeated."""


def top(values: dict[str, Any]) -> None:
    """Show samples until `q`, a signal, or --count of them. Raises subclasses of DfengineError."""
    found = reports.nodes(values)
    if len(found) > 1:
        raise BadValue(f"one supernode at a time: give one -n ({', '.join(map(str, found[:9]))})")
    endless = sys.stdout.isatty()
    terminal = endless and not values.get("json")
    samples = _Samples(found[0], max(MIN_INTERVAL, values.get("interval", INTERVAL)), values.get("count", 0 if endless else 1))
    raise_on_signals()
    try:
        if terminal:
            _show(samples)
            return
        for overview, tasks, hosts in samples:
            if values.get("json"):
                as_object = partial(reports.as_object, found[0])
                lists = {"task_rows": [*map(as_object, tasks)], "host_rows": [*map(as_object, hosts)]}
                print_flushed(json.dumps({**as_object(overview), **lists}))
                continue
            for line in reports.overview_lines(str(found[0]), overview):
                print_flushed(line)
            for head, rows in _tables(tasks, hosts):
                print_flushed("\n".join(["", *table(head, rows)]))
    except Stopped as stopped:
        if stopped.number != 2:
            sys.exit(128 + stopped.number)  # SIGINT is a normal way to quit


class _Samples:
    """Iterator over samples. count: number of samples, 0 = without end. room: rows for tasks, and for hosts."""

    def __init__(self, node: NodeView, interval: float, count: int) -> None:
        self.node, self._interval, self._count = node, interval, count
        self.room = 20
        self.trouble = ""

    def __iter__(self) -> Iterator[tuple[Overview, list[TaskRow], list[HostRow]]]:
        number, lost = 0, 0.0
        while True:
            started = time.monotonic()
            try:
                found = self._sample()
                lost, self.trouble = 0.0, ""
            except RemoteError as error:
                lost = lost or started
                if not number or started - lost > LOST:
                    raise
                self.trouble = str(error)
            number += 1
            yield found
            if number == self._count or _waited(self._interval - (time.monotonic() - started)):
                return

    def _sample(self) -> tuple[Overview, list[TaskRow], list[HostRow]]:
        most = min(ROWS, self.room)
        if self._count == 1:  # rates need two samples
            reports.with_rates(lambda: self.node.hosts(most, {"sort": "down_rate"}), "down_rate")
        tasks, _ = self.node.tasks(most, {"sort": "rate", "order": "desc"})
        hosts, _ = self.node.hosts(most, {"sort": "down_rate", "order": "desc"})
        return self.node.overview(), tasks, hosts


def _waited(seconds: float) -> bool:
    """Wait for `seconds`, or until a key is pressed. Return whether it is `q`, or stdin has ended."""
    if not sys.stdin.isatty():
        time.sleep(max(0.0, seconds))
        return False
    ready, _, _ = select.select([sys.stdin], [], [], max(0.0, seconds))
    return bool(ready) and os.read(sys.stdin.fileno(), 64)[:1] in (b"q", b"Q", b"")


def _tables(tasks: list[TaskRow], hosts: list[HostRow]) -> list[tuple[tuple[str, ...], list[tuple[str, ...]]]]:
    return [(reports.TASK_HEAD, list(map(reports.task_cells, tasks))), (reports.HOST_HEAD, list(map(reports.host_cells, hosts)))]


def _show(samples: _Samples) -> None:
    try:
        from rich.console import Console
        from rich.live import Live
    except ImportError:
        raise LocalError("the terminal is drawn by `rich`: pip install 'dfengine[top]', or use --json or `dfengine status`") from None
    console = Console()
    samples.room = _room(console.height)
    with _keys(), Live(console=console, screen=True, auto_refresh=False) as live:
        for overview, tasks, hosts in samples:
            samples.room = _room(console.height)
            live.update(_drawn(samples, overview, tasks[: samples.room], hosts[: samples.room], console.width), refresh=True)


def _room(height: int) -> int:
    """Number of rows of each table."""
    return max(3, (height - 14) // 2)


def _narrow(name: str, text: str, width: int) -> str:
    """A cell of the column `name`, shortened for a terminal of `width` cells."""
    if width >= WIDE:
        return text
    # The address of the peer server is enough, without the one at which the host was seen; of a URL, the end identifies the file.
    if name == "address":
        return text.partition(" (seen at ")[0]
    url, behind, why = text.partition(" (")
    return f"{url.rpartition('/')[2] or url}{behind}{why}" if name == "url" else text


def _drawn(samples: _Samples, overview: Overview, tasks: list[TaskRow], hosts: list[HostRow], width: int) -> Group:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    head = reports.overview_lines(str(samples.node), overview)
    parts: list[Any] = [Text(head[0], style="bold"), *map(Text, head[1:])]
    if samples.trouble:
        parts.append(Text(f"  {reports.printable(samples.trouble)}", style="bold red"))
    for names, rows in _tables(tasks, hosts):
        kept = [at for at, name in enumerate(names) if width >= WIDE or name not in HIDDEN_COLUMNS]
        drawn = Table(box=None, header_style="bold reverse", expand=True, padding=(0, 1, 0, 0))
        for at in kept:
            truncated = names[at] in TRUNCATED_COLUMNS
            drawn.add_column(names[at], no_wrap=True, overflow="ellipsis", ratio=1 if truncated else None,
                             min_width=None if truncated else max(map(len, (names[at], *(row[at] for row in rows)))))  # fmt: skip
        for row in rows:
            drawn.add_row(*(Text(_narrow(names[at], row[at], width)) for at in kept))  # as plain text, not as markup
        parts += [Text(""), drawn]
    return Group(*parts, Text("q leaves", style="dim"))


@contextlib.contextmanager
def _keys() -> Iterator[None]:
    """Read keys one by one, without echo. The terminal's mode is restored afterwards."""
    if not sys.stdin.isatty():
        yield
        return
    import termios
    import tty

    fd = sys.stdin.fileno()
    before = termios.tcgetattr(fd)
    tty.setcbreak(fd)
    try:
        yield
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)
