"""Runs `dfengine status`, `tasks` and `hosts`: reports of supernodes from `/api/v2`, as lines or as JSON."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any

from dfengine.app.api_client import NodeView
from dfengine.app.output import print_error, print_flushed, table
from dfengine.client.progress_text import amount, clock
from dfengine.errors import BadValue, RemoteError
from dfengine.net.dialer import Dialer
from dfengine.net.node_names import resolved
from dfengine.net.secret import read_secret
from dfengine.settings import SupernodeAddress

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from msgspec import Struct

    from dfengine.supernode.console.api_types import HostRow, Overview, TaskRow

DEFAULT_NODE = "127.0.0.1"
"""The default supernode."""

DEFAULT_ROWS = 50
"""Default number of rows."""

MIN_DIGITS = 8
"""Minimum number of hex digits that select a task by the beginning of its id."""

_REDIS = {"reached": "answers", "lost": "does not answer: its last state is used"}

SAMPLE_SECONDS = 1.0
"""Seconds between two samples. A supernode that was not queried recently has no rates in the first one."""

MAX_SHOWN = 40
"""Maximum number of characters shown of a text that a host reports of itself, such as a name, which may have a thousand."""

TASK_HEAD = ("task", "state", "length", "cached", "hosts", "rate", "saved", "url")
HOST_HEAD = ("host", "address", "trust", "files", "in", "out", "down", "up", "version", "location")


def status(values: dict[str, Any]) -> None:
    """Print the totals of each supernode. Raises subclasses of DfengineError, after all supernodes were queried."""

    def report(node: NodeView) -> None:
        found = node.overview()
        print_flushed(json.dumps(as_object(node, found)) if values.get("json") else "\n".join(overview_lines(str(node), found)))

    _each(nodes(values), report, values)


def tasks(values: dict[str, Any]) -> None:
    """Print the tasks of each supernode, or one task with its downloads. Raises as `status`."""
    text = values.pop("text", "")
    named = MIN_DIGITS <= len(text) <= 64 and all(each in "0123456789abcdef" for each in text)
    active = {"active": "true"} if values.get("active") else {}
    sort = values.get("sort", "rate")

    asked = nodes(values)
    known = False

    def report(node: NodeView) -> None:
        nonlocal known

        def sample() -> tuple[list[TaskRow], int]:
            return node.tasks(values.get("limit", DEFAULT_ROWS), {"q": text, "sort": sort, "order": _order(sort, "url"), **active})

        found, total = with_rates(sample, "rate")
        known = known or total > 0
        if named and total == 1 and (len(text) == 64 or found[0].task.startswith(text)):
            _one(node, found[0], values)
        elif total or not named:
            _list(node, found, total, TASK_HEAD, task_cells, values)

    _each(asked, report, values)
    if named and not known:
        raise BadValue(f"{text} is not a task of {', '.join(map(str, asked))}, nor in a URL there: `dfengine tasks` lists them")


def hosts(values: dict[str, Any]) -> None:
    """Print the hosts of each supernode. Raises as `status`."""
    text, sort = values.pop("text", ""), values.get("sort", "down_rate")

    def report(node: NodeView) -> None:
        order = _order(sort, "host", "address", "version", "location")
        query = {"q": text, "sort": sort, "order": order}
        found, total = with_rates(lambda: node.hosts(values.get("limit", DEFAULT_ROWS), query), "down_rate")
        _list(node, found, total, HOST_HEAD, host_cells, values)

    _each(nodes(values), report, values)


def nodes(values: dict[str, Any]) -> list[NodeView]:
    """The supernodes to query. Raises BadValue, or SupernodeError if a name has no addresses."""
    token = read_secret(values["token_file"], "token").decode("ascii", "replace") if values.get("token_file") else ""
    dialer = Dialer(values.get("secret_file", ()), (values.get("tls_cert", ""), values.get("tls_key", ""), values.get("tls_ca", "")))
    given = tuple(dict.fromkeys(values.get("nodes", ()))) or (SupernodeAddress.parse(DEFAULT_NODE),)
    return [NodeView(dialer, node, token) for node in resolved(given)]


def with_rates(sample: Callable[[], tuple[list[Any], int]], field: str) -> tuple[list[Any], int]:
    """The result of `sample`, or of a second call if the first one has no rates."""
    found = sample()
    if any(getattr(each, field) is None for each in found[0]):
        time.sleep(SAMPLE_SECONDS)
        found = sample()
    return found


def as_object(node: NodeView, found: Struct) -> dict[str, Any]:
    """A report as an object of `--json`."""
    return {"node": str(node), **{name: _plain(getattr(found, name)) for name in found.__struct_fields__}}


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    fields = getattr(value, "__struct_fields__", None)
    return value if fields is None else {name: _plain(getattr(value, name)) for name in fields}


def _order(sort: str, *names: str) -> str:
    """Sort order: descending for numbers, ascending for names."""
    return "asc" if sort in names else "desc"


def _each(asked: list[NodeView], report: Callable[[NodeView], None], values: dict[str, Any]) -> None:
    """Query all supernodes, even if some fail. Raises the last failure at the end."""
    failure: RemoteError | None = None
    for node in asked:
        try:
            report(node)
        except RemoteError as error:
            if failure is not None:
                print(f"dfengine: {failure}", file=sys.stderr)
                if values.get("json"):
                    print_error(failure.exit_code, type(failure).__name__, str(failure))
            failure = error
    if failure is not None:
        raise failure


def _one(node: NodeView, found: TaskRow, values: dict[str, Any]) -> None:
    swarm = node.swarm(found.task)
    if values.get("json"):
        print_flushed(json.dumps({**as_object(node, found), "swarm": _plain(swarm)}))
        return
    for name in found.__struct_fields__:
        print_flushed(f"{name.removesuffix('_bytes').replace('_', ' ') + ':':22} {printable(_shown(name, getattr(found, name)))}".rstrip())
    names = {each.n: f"{brief(each.host)} {each.ip}".lstrip() for each in swarm.hosts}
    for each in swarm.hosts:
        feeders = [names.get(source, "the supernode") for source, receiver, _ in swarm.feeds if receiver == each.n]
        from_whom = f", from {', '.join(feeders[:4])}{' and others' if len(feeders) > 4 else ''}" if feeders else ""
        pieces = f"{each.got}/{swarm.pieces if swarm.pieces >= 0 else '?'}"
        print_flushed(printable(f"  {names[each.n]}: {pieces} pieces, {each.state}{from_whom}"))
    if swarm.slowest is not None:
        print_flushed(printable(f"slowest: {names.get(swarm.slowest.n, '?')}: {swarm.slowest.text}"))


def _shown(name: str, value: Any) -> str:
    """One field of a task, with its unit."""
    if name.endswith("rate"):
        return rate(value)
    if name.endswith("_bytes") or name in ("length", "piece_size"):
        return f"{amount(value)} ({value} bytes)" if value >= 1000 else amount(value) if value >= 0 else "?"
    if name == "idle":
        return clock(value)
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else "?" if value == -1 else str(value)


def _list(
    node: NodeView, found: Sequence[Any], total: int, head: tuple[str, ...], cells: Callable[[Any], tuple[str, ...]], values: dict[str, Any]
) -> None:  # fmt: skip
    if values.get("json"):
        for each in found:
            print_flushed(json.dumps(as_object(node, each)))
        return
    for line in table(head, [cells(each) for each in found]):
        print_flushed(line)
    if total > len(found):
        print_flushed(f"({len(found)} of {total} of supernode {node}: --limit shows more)")


def overview_lines(name: str, found: Overview) -> list[str]:
    """Totals as lines of text."""
    moved = found.pieces_from_peers + found.pieces_from_supernode
    peers = f", {100 * found.pieces_from_peers / moved:.0f}% of pieces from peers" if moved else ""
    saved = f" ({100 * found.saved_bytes / found.delivered_bytes:.0f}% saved)" if found.delivered_bytes else ""
    redis = _REDIS.get(found.cluster, "?")
    others = f"{found.cluster_members} other supernode{'s' * (found.cluster_members != 1)}"
    state = printable(found.hindrance) if found.hindrance else "ready"
    return [
        f"supernode {name}: {state}; version {printable(found.version)}, up {clock(found.time - found.started)}",
        f"  downloads  {found.downloads} registered, {found.unfinished} unfinished; since the start {found.finished} finished, "
        f"{found.failed} failed, {found.back_to_source} read the origin",
        f"  now        {rate(found.rate)} to downloads, {rate(found.origin_rate)} from origins; {found.leases} pieces in flight, "
        f"{found.parked_pulls} parked pulls",
        f"  delivered  {amount(found.delivered_bytes)}, of which origins sent {amount(found.origin_bytes)}{saved}{peers}",
        f"  hosts      {found.peers} known, {found.isolated_peers} isolated, {found.unproved_peers} unproved",
        f"  files      {found.tasks} in memory; {amount(found.free_bytes)} free for copies",
        *([f"  cluster    {others}; its Redis {redis}"] if found.cluster != "none" else []),
        *([f"  defects    {found.internal_errors}: see its stderr"] if found.internal_errors else []),
    ]


def task_cells(found: TaskRow) -> tuple[str, ...]:
    """A row below TASK_HEAD."""
    here = f"{found.cached}/{found.pieces if found.pieces >= 0 else '?'}"
    waits = found.error or found.waits
    return _cells(
        found.task[:12], "pinned" if found.pinned and found.state == "SUCCESS" else found.state.lower(),
        amount(found.length) if found.length >= 0 else "?", here, f"{found.downloads - found.unfinished}/{found.downloads}",
        rate(found.rate), amount(found.saved_bytes), f"{found.url} ({waits})" if waits else found.url,
    )  # fmt: skip


def host_cells(found: HostRow) -> tuple[str, ...]:
    """A row below HOST_HEAD."""
    where = found.ip if found.address in ("", found.ip) else f"{found.ip} (seen at {found.address})"
    return _cells(
        brief(found.host), where, found.trust, f"{found.downloads - found.unfinished}/{found.downloads}", str(found.receiving),
        str(found.sending), rate(found.down_rate), rate(found.up_rate), brief(found.version), brief(found.location),
    )  # fmt: skip


def _cells(*texts: str) -> tuple[str, ...]:
    return tuple(map(printable, texts))


def brief(text: str) -> str:
    """A text that a host reports of itself, truncated to MAX_SHOWN characters."""
    return text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN - 3]}..."


def rate(value: float | None) -> str:
    """Bytes per second; None: not known yet."""
    return "-" if value is None else f"{amount(int(value))}/s"


def printable(value: object) -> str:
    """Text without characters that control a terminal, since hosts may report any text of themselves."""
    return "".join(each if each.isprintable() else "?" for each in str(value))
