"""Files, modules, functions, commands and metrics that the docs and the docstrings name exist."""

from __future__ import annotations

import ast
import errno
import os
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
SUFFIXES = (".py", ".pyx", ".pxd", ".pyi")
SOURCES = sorted(path for folder in ("dfengine", "bench", "tests") for path in (ROOT / folder).rglob("*") if path.suffix in SUFFIXES)
PACKAGE = [path for path in SOURCES if path.is_relative_to(ROOT / "dfengine")]

FILE = re.compile(r"[\w./-]+\.(?:py|pyx|pxd|pyi|md|svg|png|json|toml|c)")
PATH = re.compile(r"(?:docs|tests|bench|net|origin|storage|peer|client|streaming|supernode|app)(?:/\w+)+")
RUN = re.compile(r"python -m ((?:bench|tests)[.\w]*\w)")
REFERENCE = re.compile(r"\b[Ss]ee `?((?:\w+\.)+[A-Za-z_]\w*)")
URL = re.compile(r"https?://\S+")

CONCEPTS = {"credit", "network"}
"""Concepts that a package's docstring explains beside its modules."""

GC = {f"dragonfly_supernode_{name}" for name in ("gc_peers_total", "gc_tasks_total", "gc_disks_total", "last_gc_disks_timestamp_seconds")}
ELSEWHERE = {"protected_symlinks", "protected_regular", "protected_fifos", "hijack_https", "http_headers",
             "dragonfly_dfdaemon_build_info", *GC}  # fmt: skip
"""Names of other programs that pages mention."""


def quoted(text: str) -> list[str]:
    """Text between backticks, outside of code blocks."""
    return re.findall(r"`([^`\n]+)`", re.sub(r"(?ms)^ *```.*?^ *```$", "", text))


@cache
def words() -> frozenset[str]:
    """Every identifier in the sources, except this file's."""
    return frozenset(word for path in SOURCES if path != Path(__file__) for word in re.findall(r"\w+", path.read_text()))


@cache
def modules() -> dict[str, str]:
    """Dotted name -> source text, of every module and package; of a Cython module with its `.pxd` and `.pyi`."""
    found: dict[str, str] = {}
    for path in SOURCES:
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = found.get(name, "") + path.read_text()
    return found


def exists(name: str) -> bool:
    """Whether this is a file or directory below the root, the package or docs/; a module may lack its suffix."""
    return any((base / f"{name}{suffix}").exists() for base in (ROOT, ROOT / "dfengine", ROOT / "docs") for suffix in ("", *SUFFIXES))


def defines(text: str, name: str) -> bool:
    """Whether the source defines a class, function, attribute or constant of that name, or lists it in `__all__`."""
    definition = rf"^\s*(?:async\s+)?(?:class|c?p?def)\b[^=\n(]*\b{name}\b|^\s*(?:self\.)?{name}\s*[:=]|^__all__ = .*\"{name}\""
    return bool(re.search(definition, text, re.MULTILINE))


def resolves(dotted: str) -> bool:
    """`module`, `module.Name`, `package.module.Name.method` or `Class.method`; the first part is the end of a module's dotted name."""
    parts = dotted.split(".")
    if parts[0] == "dfengine" and re.search(rf"(?m)import {parts[1]} as {parts[1]}$", modules()["dfengine"]):
        return resolves(".".join(parts[1:]))
    for cut in range(len(parts), 0 if parts[0].islower() else -1, -1):
        end = "." + ".".join(parts[:cut]) if cut else ""
        for module, text in modules().items():
            if f".{module}".endswith(end) and all(defines(text, part) for part in parts[cut:]):
                return True
    return False


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_names_in_the_docs_exist(page: Path) -> None:
    text = page.read_text()
    missing = [name for name in RUN.findall(text) if name not in modules()]
    missing += [target for target in re.findall(r"\]\(([^):#]+)\)", text) if not (page.parent / target).exists()]
    for name in quoted(text):
        bare = name.split("(")[0]
        found = True
        if FILE.fullmatch(name) or PATH.fullmatch(name):
            found = exists(name)
        elif re.fullmatch(r"dfengine(?:\.\w+)+|[A-Z]\w*[a-z]\w*\.[a-z_]\w*", bare):
            found = resolves(bare)
        elif re.fullmatch(r"(?:dfengine|dragonfly_supernode)_\w+", bare):
            plain = re.sub(r"^(dfengine_proxy|dfengine|dragonfly_supernode)_|_total$", "", bare)
            found = bare in ELSEWHERE or bool({bare, plain} & words())
        elif re.fullmatch(r"process_\w+(?:_bytes|_seconds|_total|_fds)", bare):
            found = True  # names of prometheus_client: the test of a running supernode's metrics compares them
        elif re.fullmatch(r"[a-z]*_\w+", bare):
            found = bare in ELSEWHERE or bare in words()
        if not found:
            missing.append(name)
    assert not missing


@cache
def said() -> str:
    """All texts of the package, with a NUL for each value in an f-string."""
    found = []
    for path in PACKAGE:
        for node in ast.walk(ast.parse(path.read_text())) if path.suffix == ".py" else ():
            if isinstance(node, ast.JoinedStr):
                found.append("".join(str(each.value) if isinstance(each, ast.Constant) else "\0" for each in node.values))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return "\n".join([*found, os.strerror(errno.ENOSPC), "answers 401", "answers 403"])


ROWS = re.findall(r"(?m)^\| (`.*`) \|(?=.*\|.*\|)", (ROOT / "docs" / "troubleshooting.md").read_text())


@pytest.mark.parametrize("row", ROWS)
def test_explained_messages_occur_in_the_code(row: str) -> None:
    """Each part of a message between its values must occur in the code."""
    parts = [part.strip(" :") for message in re.findall(r"`([^`]+)`", row) for part in message.split("...")]
    assert any(len(part) > 6 for part in parts)
    assert not [part for part in parts if part not in said() and not part.startswith("dfengine_")]


@pytest.mark.parametrize("path", PACKAGE, ids=lambda path: str(path.relative_to(ROOT)))
def test_references_in_docstrings_exist(path: Path) -> None:
    text = URL.sub("", path.read_text())
    missing = [name for name in REFERENCE.findall(text) if not FILE.fullmatch(name) and not resolves(name)]
    missing += [name for name in re.findall(r"\b(?:docs|tests|bench)/[\w/.-]*\w", text) if not exists(name)]
    assert not missing


@pytest.mark.parametrize("path", [path for path in PACKAGE if path.name == "__init__.py"], ids=lambda path: str(path.relative_to(ROOT)))
def test_modules_listed_by_a_package_exist(path: Path) -> None:
    listed = re.findall(r"(?m)^    (\w+(?:, \w+)*)/?  +\w", path.read_text().split('"""')[1])
    names = [name for names in listed for name in names.split(", ") if name not in CONCEPTS]
    assert names, "the docstring lists no module"
    assert not [name for name in names if not exists(str(path.parent.relative_to(ROOT) / name))]
