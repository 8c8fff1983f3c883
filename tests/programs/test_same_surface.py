"""`dfengine.aio` offers the same as `dfengine`: names and signatures of functions, the client, files, streams and handles."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

import dfengine
from dfengine import aio

KINDS = {
    "functions": (dfengine, aio),
    "Client": (dfengine.Client, aio.Client),
    "File": (dfengine.File, aio.File),
    "Reader": (dfengine.Reader, aio.Reader),
    "Download": (dfengine.Download, aio.Download),
    "TreeDownload": (dfengine.TreeDownload, aio.TreeDownload),
    "Preheat": (dfengine.Preheat, aio.Preheat),
}

BLOCKS = "io's own way to read lines and single bytes: each would cost a thread's turn; read a part, and split that"
OWN = "of the package itself, not of docs/python.md"
WRITES = "it is only read"

NOT_IN_AIO = {
    "functions": {},
    "Client": dict.fromkeys(("file", "settings", "sharing"), OWN),
    "File": {
        **dict.fromkeys(("at_position", "forked"), OWN), **dict.fromkeys(("readline", "readlines"), BLOCKS),
        **dict.fromkeys(("write", "writelines", "truncate", "flush"), WRITES),
        **dict.fromkeys(("fileno", "isatty"), "it has no descriptor"),
    },
    "Reader": {
        "stop": OWN, **dict.fromkeys(("readline", "readlines"), BLOCKS), **dict.fromkeys(("seek", "seekable", "tell"), "it does not seek"),
        **dict.fromkeys(("write", "writelines", "writable", "truncate", "flush"), WRITES),
        **dict.fromkeys(("fileno", "isatty"), "it has no descriptor"),
    },
    **dict.fromkeys(
        ("Download", "TreeDownload", "Preheat"),
        dict.fromkeys(("check", "ended", "on_done", "run", "start", "stop", "waiting_reason"), OWN),
    ),
}  # fmt: skip
"""Name -> the reason why aio lacks it."""

ONLY_IN_AIO = {"wait_or_cancel": OWN}

DIFFERENT = {
    ("functions", "open"): "no `buffering`: io.BufferedReader cannot be awaited",
    ("Client", "open"): "no `buffering`: io.BufferedReader cannot be awaited",
    ("File", "size"): "a method, because it may wait",
    ("File", "opened"): "the file itself",
}
"""Names whose parameters differ, with the reason."""


def public(kind: type | Any) -> set[str]:
    names = kind.__all__ if inspect.ismodule(kind) else dir(kind)
    return {name for name in names if not name.startswith("_")}


def functions(kind: Any) -> set[str]:
    """Of a module, its functions; its values and classes are the same for coroutines, or have a line in KINDS."""
    return {name for name in public(kind) if not inspect.ismodule(kind) or inspect.isfunction(getattr(kind, name))}


def parameters(found: Any) -> list[tuple[str, Any, Any]]:
    """Parameters without `self`."""
    signature = inspect.signature(found)
    return [(each.name, each.kind, each.default) for each in signature.parameters.values() if each.name not in ("self", "cls")]


@pytest.mark.parametrize("kind", KINDS)
def test_aio_has_the_same_names_except_documented_ones(kind: str) -> None:
    plain, coroutines = KINDS[kind]
    assert functions(plain) - functions(coroutines) == set(NOT_IN_AIO[kind])
    assert functions(coroutines) - functions(plain) <= set(ONLY_IN_AIO)


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, pair in KINDS.items() for name in sorted(functions(pair[1]))])
def test_signatures_agree(kind: str, name: str) -> None:
    plain, coroutines = (inspect.getattr_static(each, name, None) for each in KINDS[kind])
    if (kind, name) in DIFFERENT or name in ONLY_IN_AIO:
        return
    if not callable(getattr(plain, "__func__", plain)):  # a property, or a value
        assert isinstance(coroutines, property)
        return
    if isinstance(plain, classmethod):
        assert isinstance(coroutines, classmethod)
        plain, coroutines = plain.__func__, coroutines.__func__
    assert parameters(plain) == parameters(coroutines)


@pytest.mark.parametrize(("kind", "name"), DIFFERENT)
def test_documented_differences_exist(kind: str, name: str) -> None:
    plain, coroutines = (inspect.getattr_static(each, name) for each in KINDS[kind])
    if isinstance(plain, property) or isinstance(coroutines, property):
        assert isinstance(plain, property) != isinstance(coroutines, property)
    else:
        assert parameters(plain) != parameters(coroutines) or "Opened" in str(inspect.signature(plain))


def test_every_class_of_aio_is_compared() -> None:
    assert {name for name in aio.__all__ if inspect.isclass(getattr(aio, name))} == set(KINDS) - {"functions"}
    assert set(aio.__all__) <= set(dfengine.__all__)


def test_functions_have_the_signatures_of_the_clients_methods() -> None:
    module: Any
    for module in KINDS["functions"]:
        for name in functions(module):
            assert parameters(getattr(module.Client, name)) == parameters(getattr(module, name))
