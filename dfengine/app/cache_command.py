"""Runs `dfengine cache ACTION` from the values of its options: on this host's home directory, or with --node on supernodes."""

from __future__ import annotations

import json
import os
import time
from typing import Any

from dfengine.app import get_command, home, share_command
from dfengine.app.output import print_flushed, table
from dfengine.client import host_cache
from dfengine.client.host_cache import Cached
from dfengine.client.node_cache import NodeCache
from dfengine.errors import BadValue
from dfengine.net.dialer import Dialer
from dfengine.net.node_names import resolved
from dfengine.net.secret import read_secret
from dfengine.proxy.blobs import pins
from dfengine.settings import HOME
from dfengine.storage.home import Home
from dfengine.tree import DATA, MANIFEST

ACTIONS = {"ls": (0, 0), "stat": (1, 1), "pin": (1, 64), "unpin": (1, 64), "rm": (1, 64), "import": (1, 1), "export": (2, 2)}
"""Action -> minimum and maximum number of words after it."""

COLUMNS = ("name", "bytes", "pieces", "used", "kept", "content")

FORMS = {"ls": "", "stat": " NAME", "pin": " NAME...", "unpin": " NAME...", "rm": " NAME...", "import": " FILE", "export": " NAME FILE"}


def cache(values: dict[str, Any]) -> None:
    """Run the action. Raises subclasses of DfengineError."""
    action, words = values.pop("action"), values.pop("words", ())
    if action not in ACTIONS:
        raise BadValue(f"{action[:40]!r} is not one of {', '.join(ACTIONS)}")
    least, most = ACTIONS[action]
    if not least <= len(words) <= most:
        raise BadValue(f"dfengine cache {action}{FORMS[action]}: {len(words)} words are given")
    nodes = tuple(dict.fromkeys(values.get("nodes", ())))
    if action == "import":
        if not nodes:
            raise BadValue("cache import gives a supernode a copy: name it (-n HOST); `dfengine share` serves the file from this host")
        share_command.hand_over(values | {"path": words[0], "nodes": tuple(resolved(nodes)), "replicas": len(resolved(nodes))})
        return
    if len(nodes) > 1:
        raise BadValue("one supernode at a time: give one -n")
    if nodes:
        found = resolved(nodes)
        if len(found) > 1:
            raise BadValue(f"one supernode at a time: {nodes[0]} stands for {', '.join(map(str, found[:9]))}")
        token = read_secret(values["token_file"], "token").decode("ascii", "replace") if values.get("token_file") else ""
        _of_node(action, words, values, NodeCache(_dialer(values), found[0], token))
    else:
        _of_host(action, words, values, Home(home.found(values.get("home", HOME), "--home DIR")))


def _dialer(values: dict[str, Any]) -> Dialer:
    return Dialer(values.get("secret_file", ()), (values.get("tls_cert", ""), values.get("tls_key", ""), values.get("tls_ca", "")))


def _of_host(action: str, words: tuple[str, ...], values: dict[str, Any], home: Home) -> None:
    blobs = pins.listed(home.path)
    if action == "ls":
        held = {blob.inode for blob in blobs}
        downloads = [each for each in host_cache.listed(home) if _inode(each.path) not in held]
        _list([*(each.as_object() for each in downloads), *map(_blob_as_object, blobs)], "path", values)
        return
    found: list[Cached] = []
    chosen: dict[str, pins.Blob] = {}
    for word in words[: 1 if action == "export" else None]:
        named = [blob for blob in blobs if word in (blob.name, blob.content, blob.content.rpartition(":")[2], blob.path)]
        found += [each for each in host_cache.listed(home) if host_cache.is_called(each, word)] if named else host_cache.find(home, word)
        chosen |= {blob.name: blob for blob in named}
    # A blob may also be listed as the download that fetched it: both are one file.
    held = {_inode(each.path) for each in found}
    chosen |= {blob.name: blob for blob in blobs if blob.inode in held}
    if chosen and action == "export":
        raise BadValue(f"{words[0]} is stored as one file: copy {next(iter(chosen.values())).path}")
    for blob in chosen.values() if action in ("pin", "unpin", "rm") else ():
        if action == "rm":
            pins.drop(home.path, blob)
        else:
            pins.pin(home.path, blob.name, action == "pin")
    if action == "stat":
        _tell([*(each.as_object() for each in found), *map(_blob_as_object, chosen.values())], values)
    elif action == "export":
        host_cache.export(home, _whole(found), words[1])
    else:
        for each in found:
            if action == "rm":
                host_cache.withdraw(home, each)
            else:
                host_cache.pin(home, each, action == "pin")


def _inode(path: str) -> int:
    try:
        return os.stat(path, follow_symlinks=False).st_ino
    except OSError:
        return -1


def _blob_as_object(blob: pins.Blob) -> dict[str, Any]:
    """The blob as an object with the fields of `Cached`."""
    return {
        "name": blob.name, "task": "", "url": blob.content, "path": blob.path, "length": blob.length, "pieces": 1, "here": 1,
        "used": blob.used, "until": 0.0, "pinned": blob.pinned, "tree": False, "node": "",
    }  # fmt: skip


def _whole(found: list[Cached]) -> Cached:
    """The most complete of several downloads of one file."""
    return max(found, key=lambda each: (each.here == each.pieces, each.here))


def _of_node(action: str, words: tuple[str, ...], values: dict[str, Any], node: NodeCache) -> None:
    if action == "ls":
        _list(node.listed(), "url", values)
        return
    found = [each for word in words[: 1 if action == "export" else None] for each in node.find(word)]
    if action == "stat":
        _tell(found, values)
    elif action == "export":
        if any(each.get("tree") or each.get("base") for each in found):
            raise BadValue(f"{words[0]} is a directory: dfengine get --recursive downloads it")
        url = words[0] if "://" in words[0] or words[0].startswith("df:") else str(found[0]["url"])
        if url.endswith("?..."):
            raise BadValue(f"{words[0]} has a URL with a query, which the supernode does not report: give the URL")
        taken = "nodes", "secret_file", "tls_cert", "tls_key", "tls_ca", "home", "quiet", "json"
        own: dict[str, Any] = {name: values[name] for name in taken if name in values}
        get_command.get({"address": (url,), "output": words[1], "pattern": "cdn", "notbs": True, **own})
    else:
        for each in found:
            if action == "rm":
                node.remove(each["task"])
            else:
                node.pin(each["task"], action == "pin")


def _list(found: list[dict[str, Any]], last: str, values: dict[str, Any]) -> None:
    """Print a header and one line for each entry, or one JSON object."""
    if values.get("json"):
        print_flushed(json.dumps({"cached": found}))
        return
    rows: list[tuple[str, ...]] = []
    shared = {each["base"]: each["url"] for each in found if each.get("base")}
    data = {each.get("url") for each in found}
    for each in found:
        if each.get("manifest") or each.get("tree") == MANIFEST or each.get("base") in data:
            continue  # the line of its directory stands for it
        if name := shared.get(each.get("url", "")):
            each = {**each, "of": name, "tree": DATA}
        marks = "pinned" if each["pinned"] else _until(each["until"])
        size = str(each["length"]) if each["length"] >= 0 else "?"
        whole = f"{each['here']}/{each['pieces'] if each['pieces'] >= 0 else '?'}"
        name = each.get("name") or each["task"]
        where = each.get("of") or each.get("url") or each[last]
        where = f"{where}  (directory)" if each.get("tree") else where
        rows.append((name, size.rjust(12), whole.rjust(9), _when(each["used"]), marks, where))
    print_flushed("\n".join(table(COLUMNS, rows)))


def _tell(found: list[dict[str, Any]], values: dict[str, Any]) -> None:
    """Print all fields of each entry."""
    for each in found:
        if values.get("json"):
            print_flushed(json.dumps(each))
            continue
        for name, value in each.items():
            print_flushed(f"{name + ':':9} {_when(value) if name in ('used', 'until') and value else value}")


def _when(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(min(max(0.0, seconds), 1e11)))


def _until(seconds: float) -> str:
    if not seconds:
        return ""
    left = max(0.0, seconds - time.time())
    return f"{left / 3600:.0f}h" if left > 7200 else f"{left / 60:.0f}m"
