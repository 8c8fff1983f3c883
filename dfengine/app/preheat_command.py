"""Runs `dfengine preheat` from the values of its options: starts preheats of files and images, lists them, or cancels them."""

from __future__ import annotations

import contextlib
import json
import secrets
import sys
import time
from base64 import b64encode
from typing import Any

from dfengine.app.output import print_error, print_flushed, table
from dfengine.app.signals import Stopped, ignore_signals, raise_on_signals
from dfengine.client.identity import identify, read_certificates
from dfengine.client.progress_text import amount
from dfengine.copy_states import ENDED, SUCCESS, UNENDED
from dfengine.errors import BadValue, OriginError, ProtocolViolation, RemoteError, SourceGone, SupernodeError, SupernodeFull, TimedOut
from dfengine.net.dialer import Dialer
from dfengine.net.node_names import resolved
from dfengine.net.node_preheats import NodePreheats
from dfengine.nodes import order
from dfengine.origin import credentials, image_name
from dfengine.settings import GetSettings
from dfengine.task import is_url, redacted_url, typed_url
from dfengine.value import Value

COLUMNS = ("id", "state", "begun", "supernode", "url")

ACTIONS = ("ls", "stat", "cancel")

POLL = 0.1, 2.0
"""Seconds between two queries of a preheat's state: at first, and at most."""

LOST = 30.0
"""Seconds for which queries to a supernode that stopped answering are repeated."""


REASON = 200
"""Maximum number of characters of a reason in a list."""


class Started(Value):
    """A preheat of one file or image: its id at each of these supernodes. others: supernodes that may have it as well."""

    what: str
    id: str
    nodes: tuple[NodePreheats, ...]
    others: tuple[NodePreheats, ...] = ()


def preheat(values: dict[str, Any]) -> None:
    """Run the command. Raises subclasses of DfengineError, and SystemExit if a signal ends it."""
    action, *names = values.pop("words", ()) or ("",)
    nodes = _nodes(values)
    if action not in ACTIONS:
        _order([action, *names], nodes, values)
        return
    if bool(names) == (action == "ls"):
        raise BadValue("dfengine preheat ls, stat ID... or cancel ID...")
    if action == "ls":
        listed: dict[tuple[str, str], dict[str, Any]] = {}
        for node in nodes:
            for each in node.listed():
                # Supernodes of a cluster also list each other's preheats.
                place = str(each.get("supernode") or node.node)
                listed.setdefault((place, each["ID"]), {"node": place, **each})
        _list(list(listed.values()), values)
        return
    for name in names:
        if not name.isalnum():
            raise BadValue(f"{name[:80]!r} is not an ID of a preheat: `dfengine preheat ls` lists them")
        found = [node for node in nodes if (node.cancel(name) if action == "cancel" else _print_one(node, name, values))]
        if not found:
            raise BadValue(f"{name} is not a preheat of {', '.join(str(node.node) for node in nodes)}: `dfengine preheat ls` lists them")


def _nodes(values: dict[str, Any]) -> list[NodePreheats]:
    """The supernodes of the options. Raises BadValue, or SupernodeError if names have no addresses."""
    given = tuple(dict.fromkeys(values.get("nodes", ())))
    if not given:
        raise BadValue("a preheat needs a supernode: name it (-n HOST)")
    token = ""
    if values.get("token_file"):
        from dfengine.net.secret import read_secret

        token = read_secret(values["token_file"], "token").decode("ascii", "replace")
    tls = values.get("tls_cert", ""), values.get("tls_key", ""), values.get("tls_ca", "")
    dialer = Dialer(values.get("secret_file", ()), tls)
    return [NodePreheats(dialer, node, token) for node in resolved(given)]


def _order(whats: list[str], nodes: list[NodePreheats], values: dict[str, Any]) -> None:
    """Start the preheat of each file and image; with --wait, wait for all of them."""
    messages = [_message(what, values) for what in whats]
    if not values.get("wait"):
        for what, message in zip(whats, messages, strict=True):
            _print_started(_begin(what, message, nodes, values), values)
        return
    raise_on_signals()
    started: list[Started] = []
    try:
        for what, message in zip(whats, messages, strict=True):
            started.append(_begin(what, message, nodes, values))
        _wait(started, values)
    except (Stopped, TimedOut) as stopped:
        cancelled = _cancel(started)
        if isinstance(stopped, TimedOut):
            raise
        reason = f"stopped{': the preheats are cancelled' if cancelled else ''}"
        print(f"dfengine: {reason}", file=sys.stderr)
        if values.get("json"):
            print_error(128 + stopped.number, "Interrupted", reason)
        sys.exit(128 + stopped.number)


def _cancel(started: list[Started]) -> bool:
    """Cancel the unfinished preheats, and return whether there were any. Further signals are ignored."""
    ignore_signals()
    done = False
    for each in started:
        for node in (*each.nodes, *each.others):
            with contextlib.suppress(RemoteError):
                found = node.find(each.id)
                done |= found is not None and found["status"] in UNENDED and node.cancel(each.id)
    return done


def _message(what: str, values: dict[str, Any]) -> dict[str, Any]:
    """The body of the request to a supernode. Raises BadValue."""
    named = {name: values[name] for name in ("scope", "count", "percentage") if values.get(name)}
    named |= {"ips": list(values["ips"])} if values.get("ips") else {}
    named |= {"pin": True} if values.get("pin") else {}
    image = what.startswith(image_name.SCHEME) or image_name.is_manifest(what)
    if image:
        found = image_name.of_url(what) if "/manifests/" in what else image_name.of_name(what, bool(values.get("plain_http")))
        url = found.manifest()
        named |= {"type": "image", "platforms": list(values.get("platforms", ()))}
    elif is_url(what):
        url = typed_url(what)
        named |= {"type": "file", **{name: values[name] for name in ("filter", "md5", "identifier") if values.get(name)}}
        if values.get("platforms"):
            raise BadValue(f"--platform is for images, and {redacted_url(what)} is a file")
    else:
        raise BadValue(f"{redacted_url(what)[:200]!r} is neither a URL nor {image_name.SCHEME}[HOST/]NAME[:TAG]")
    own = {name: values[name] for name in ("headers", "user", "netrc", "netrc_file") if values.get(name)}
    headers = credentials.headers(GetSettings(url=url, output="", **own))
    if len({name.lower() for name, _ in headers}) < len(headers):
        raise BadValue("--header: a header is given twice")
    if values.get("insecure") or values.get("cacerts"):
        named |= {"insecure": bool(values.get("insecure"))}
        named |= {"rootCAs": [b64encode(read_certificates(path)).decode() for path in values.get("cacerts", ())]}
    return {**named, "url": url, "headers": dict(headers)}


def _begin(what: str, message: dict[str, Any], nodes: list[NodePreheats], values: dict[str, Any]) -> Started:
    """Start a preheat: of a file at the first supernode in download order that answers; of an image at all, each for a part of it."""
    if message["type"] == "image":
        best = min(node.node.priority for node in nodes)  # downloads use the others only when these fail
        nodes = [node for node in nodes if node.node.priority == best]
        name, places = secrets.token_hex(32), [f"{node.node}={max(1, node.node.weight)}" for node in nodes]
        more = {"id": name, **({"nodes": places} if len(nodes) > 1 and "scope" not in message else {})}
        started: list[NodePreheats] = []
        try:
            for n, node in enumerate(nodes):
                node.begin({**message, **more, "node": n if "nodes" in more else 0})
                started.append(node)
        except BaseException:
            _cancel([Started(what, name, tuple(started))])
            raise
        return Started(what, name, tuple(started))
    own = {name: values[name] for name in ("filter", "md5", "identifier", "headers") if values.get(name)}
    task = identify(GetSettings(url=message["url"], output="", **own)).task
    by_address = {node.node: node for node in nodes}
    failure: RemoteError | None = None
    for address in order(by_address, task):
        try:
            node = by_address[address]
            return Started(what, node.begin(message), (node,), tuple(each for each in nodes if each is not node))
        except (SourceGone, ProtocolViolation, SupernodeFull) as error:
            failure = failure or error
    raise SupernodeError(f"no supernode accepted the preheat: {failure}: name one that runs (-n)") from failure


def _wait(started: list[Started], values: dict[str, Any]) -> None:
    """Wait until all preheats have ended. Raises OriginError if one failed, TimedOut."""
    deadline = time.monotonic() + values["timeout"] if values.get("timeout") else 0.0
    shows = not values.get("quiet") and sys.stderr.isatty()
    failed = ""
    for each in started:
        results = _ended(each, deadline, shows)
        bad = next((one for one in results if one["status"] != SUCCESS), None)
        if values.get("json"):
            print_flushed(json.dumps({"url": redacted_url(each.what), "id": each.id, "nodes": results}))
        elif bad is None and not values.get("quiet"):
            count, length = (sum(one[name] for one in results) for name in ("count", "length"))
            print_flushed(f"{each.id}  {redacted_url(each.what)}  {count} files, {length} bytes")
        if bad is not None:
            reason = str(bad.get("errorMsg", "it failed"))
            message = f"{redacted_url(each.what)}: supernode {bad['node']}: {reason}"
            if each.what.startswith(image_name.SCHEME) and "wrong version number" in reason and not values.get("plain_http"):
                message += ": a registry that speaks http takes --plain-http"
            if failed:
                print(f"dfengine: {failed}", file=sys.stderr)
            failed = message
    if failed:
        raise OriginError(failed)


def _ended(each: Started, deadline: float, shows: bool) -> list[dict[str, Any]]:
    """Wait for the end of a preheat, and return the final state at each supernode. Raises TimedOut, SupernodeError."""
    results: dict[str, dict[str, Any]] = {}
    pause = POLL[0]
    answered = time.monotonic()
    while True:
        for node in each.nodes:
            if results.get(str(node.node), {}).get("status") in ENDED:
                continue
            try:
                found = node.find(each.id)
            except SourceGone as error:
                if (other := _elsewhere(each)) is not None:
                    answered, results[str(node.node)] = time.monotonic(), other
                elif time.monotonic() - answered > LOST:
                    raise SupernodeError(f"supernode {node.node} was lost: {error}: preheat again when it runs") from error
                continue
            answered = time.monotonic()
            if found is None:
                raise SupernodeError(f"supernode {node.node} no longer has the preheat: it was cancelled, or the supernode restarted")
            results[str(node.node)] = {"node": str(node.node), **found}
        over = sum(one["status"] in ENDED for one in results.values())
        if shows:
            _show(each, list(results.values()), over == len(each.nodes))
        if over == len(each.nodes):
            return list(results.values())
        if deadline and time.monotonic() > deadline:
            raise TimedOut(f"{redacted_url(each.what)} is not fetched ahead in time: it is cancelled; give it longer")
        time.sleep(pause)
        pause = min(POLL[1], pause * 1.3)


def _elsewhere(each: Started) -> dict[str, Any] | None:
    """The state at another supernode of the cluster, which may have taken over the preheat of a lost supernode; None if there is none."""
    for node in each.others:
        with contextlib.suppress(SourceGone):
            found = node.find(each.id)
            if found is not None:
                return {"node": str(node.node), **found}
    return None


def _show(each: Started, results: list[dict[str, Any]], over: bool) -> None:
    """Show the progress in one line on a terminal."""
    finished, count, here, length = (sum(one[name] for one in results) for name in ("finished", "count", "here", "length"))
    line = f"{redacted_url(each.what)[:60]}: {finished}/{count} files, {amount(here)} of {amount(length)}"
    print(f"\r\x1b[K{'' if over else line}", end="", file=sys.stderr, flush=True)


def _print_started(started: Started, values: dict[str, Any]) -> None:
    if values.get("json"):
        nodes = [str(node.node) for node in started.nodes]
        print_flushed(json.dumps({"url": redacted_url(started.what), "id": started.id, "nodes": nodes}))
    else:
        print_flushed(started.id)


def _list(found: list[dict[str, Any]], values: dict[str, Any]) -> None:
    """Print a header and one line for each preheat, or one JSON object."""
    if values.get("json"):
        print_flushed(json.dumps({"preheats": found}))
        return
    rows = [
        (*(str(each.get(name, "")) for name in ("ID", "status", "startTime", "node")), "  ".join((each.get("url", ""), *_reason(each))))
        for each in found
    ]  # fmt: skip
    print_flushed("\n".join(table(COLUMNS, rows)))


def _reason(found: dict[str, Any]) -> list[str]:
    from dfengine.app.reports import printable

    reason = printable(found.get("errorMsg", ""))
    return [f"({reason if len(reason) <= REASON else reason[:REASON] + '...'})"] if reason else []


def _print_one(node: NodePreheats, name: str, values: dict[str, Any]) -> bool:
    """Print all fields of a preheat. False: the supernode has none with this id."""
    found = node.find(name)
    if found is None:
        return False
    if values.get("json"):
        print_flushed(json.dumps({"node": str(node.node), **found}))
        return True
    tasks = found.pop("tasks")
    for key, value in {"node": str(node.node), **found}.items():
        print_flushed(f"{key + ':':11} {value}")
    for task in tasks:
        cells = (task["status"].ljust(7), f"{task['here']}/{task['length']}", task.get("host", ""), str(task.get("url", "")),
                 str(task.get("errorMsg", "")))  # fmt: skip
        print_flushed("  ".join(cells).rstrip())
    return True
