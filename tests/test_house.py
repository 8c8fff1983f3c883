"""The house rules: allowed imports, purity of the core, names, sizes, stubs, lint and types."""

from __future__ import annotations

import ast
import io
import re
import subprocess
import sys
import tokenize
import tomllib
from collections import deque
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "dfengine"
MODULES = sorted(path for path in PACKAGE.rglob("*") if path.suffix in (".py", ".pyx"))
CYTHON = sorted(PACKAGE.rglob("*.pyx"))

CORE = [
    "about", "value", "codes", "copy_states", "errors", "_memory", "_bitset", "_piece", "_window",
    "location", "task", "events", "paths", "globs", "manifest", "tree", "disposition", "fields",
    "histogram", "trace_context", "wire", "settings", "nodes",
]
"""Modules at the root, each of which may import those before it."""

COMPOSERS = {"__main__", "__init__", "aio"}
"""Modules at the root that may import everything, as the packages `app` and `programs` may."""

MAY_IMPORT = {
    "net": set(),
    "origin": {"net"},
    "storage": set(),
    "peer": {"net", "storage"},
    "client": {"net", "origin", "storage"},
    "streaming": {"net", "storage", "client"},
    "files": {"net", "storage", "client"},
    "filesystem": {"origin"},
    "proxy.front": {"net", "proxy"},
    "proxy.upstream": {"net", "origin", "proxy"},
    "proxy.blobs": {"net", "storage", "client", "files", "proxy", "proxy.upstream"},
    "proxy.registry": {"net", "storage", "origin", "proxy", "proxy.blobs", "proxy.upstream"},
    "proxy.hub": {"net", "proxy", "proxy.blobs", "proxy.upstream"},
    "proxy.forward": {"net", "storage", "origin", "proxy", "proxy.blobs", "proxy.registry", "proxy.upstream"},
    "proxy.s3": {"net", "origin", "proxy", "proxy.blobs", "proxy.upstream"},
    "proxy": {
        "net", "origin",
        "proxy.front", "proxy.upstream", "proxy.blobs", "proxy.registry", "proxy.hub", "proxy.forward", "proxy.s3",
    },
    "supernode.swarm": {"net"},
    "supernode.copies": {"net", "origin", "storage", "supernode.swarm"},
    "supernode.fastpath": {"net", "storage", "supernode", "supernode.swarm"},
    "supernode.cluster": {"net"},
    "supernode.console": {"net", "supernode", "supernode.swarm", "supernode.copies", "supernode.fastpath"},
    "supernode": {"net", "origin", "storage", "peer", "supernode.swarm", "supernode.copies", "supernode.fastpath", "supernode.cluster",
                  "supernode.console"},
}
"""Package -> packages that it may import, beside itself and the core."""

PURE = {"asyncio", "socket", "os", "time", "random", "threading", "select", "subprocess", "uvloop", "pathlib"}
"""Imports forbidden in a pure module: no clock, randomness, socket, file or thread."""

SLOW = {
    "asyncio", "uvloop", "httptools", "http", "numpy", "rich", "aiohttp", "subprocess", "ssl", "logging", "urllib.request",
    "click", "dataclasses", "inspect", "msgspec", "pycurl", "random", "shutil", "tempfile", "typing", "typing_extensions", "yaml",
}
"""Modules that a `get` of a small file must not load, unless imported where they are used."""

OPTIONAL = {"cryptography", "opentelemetry", "dns", "fsspec", "obstore", "redis", "rich"}
"""Modules installed by extras, imported only where they are used."""

DISTRIBUTION = {"dns": "dnspython", "prometheus_client": "prometheus-client", "yaml": "pyyaml"}
"""Module -> its distribution, where the names differ."""

GET = {"get_command", "dialer", "fd_passing", "lazy_start", "_receive", "__init__", "__main__"}
"""Modules of other packages that a `get` imports."""


FIELD_TERMS = {
    "said": "message, answer, field",
    "told": "what it is: a report, fields, a head",
    "heard": "received, answered",
    "look": "check, read, find", "looks": "checks", "looked": "checked",
    "wish": "wanted", "wishes": "wanted pieces", "wished": "wanted",
    "tally": "counts",
    "begun": "started",
    "farewell": "close",
    "thing": "what it is",
    "went": "resumed, passed", "brought": "fetched", "bring": "fetch", "hear": "receive, on_notice",
    "lend": "delegate", "lends": "delegates", "lending": "delegated", "borrow": "await delegated digests",
    "wary": "cautious", "hurry": "mark slow", "bell": "waker", "pulse": "heartbeat", "vain": "unoffered, fruitless",
    "landing": "committing",
    "beliefs": "view", "believed": "valid",
    "census": "sampler",
    "lay": "ttl",
    "untold": "excluded",
    "dialled": "connect_host", "errands": "queue, jobs", "landed": "written, stored", "bending": "truncated",
    "spoil": "corrupt",
    "spoiled": "corrupted",
    "weigh": "charge, count",
    "tidy": "cleanup",
    "keeper": "what it does: announcer, cache",
    "tells": "reports, writes",
    "speaks": "sends",
    "doubted": "wrong",
    "accused": "reported",
}  # fmt: skip
"""Words that no name in the code may contain -> the terms to use instead."""

TEXT = {*dir(str), *dir(bytes), *dir(list), *dir(deque)}
"""Attributes allowed on a `line`, which is text. An object that carries bytes between two processes is a connection, or `sock`."""

_CYTHON_TEXT = re.compile(r'"""(?:.|\n)*?"""|"(?:\\.|[^"\\\n])*"|#[^\n]*')


WHOLES = {
    "net.control_connection": "net.control_server",
    "net.piece_connection": "net.piece_server",
    "proxy.front.interfaces": "proxy.front.client_connection",
    "proxy.hub.api": "proxy.hub.hub_answer",
    "proxy.reconfiguring": "proxy.server",
    "filesystem.reader": "filesystem.file_system",
    "supernode.preheats": "supernode.preheat_notices",
    "storage.served_file": "storage.home",
    "storage.shared_tree": "storage.home",
    "storage.home": "storage.tree_target",
    "client.file_from_leader": "client.assembly",
    "streaming.leader_digest": "streaming.stream_download",
    "streaming.stream_from_leader": "streaming.stream_buffer",
}
"""A part -> the module of what it belongs to, whose type its signatures name, and which it never imports to run."""


def room(path: Path) -> str:
    """`core`, a package's dotted name, or `` for modules that may import everything."""
    parts = path.relative_to(PACKAGE).parts[:-1]
    if parts:
        return "" if parts[0] in ("app", "programs") else ".".join(parts)
    return "" if path.stem in COMPOSERS else "core"


def is_module(name: str) -> bool:
    """Whether the name is one of the project's modules."""
    path = ROOT.joinpath(*name.split("."))
    return name.startswith("dfengine.") and (path.is_dir() or any(path.with_suffix(end).exists() for end in (".py", ".pyx")))


def imports(path: Path, everywhere: bool = True, types: bool = False) -> list[str]:
    """Dotted names that a module imports; `everywhere`: also inside functions; `types`: also those for type checkers only."""
    text = path.read_text()
    if path.suffix == ".pyx":
        return [name for line in text.splitlines() if (name := _cython_import(line))]
    found: list[str] = []

    def visit(nodes: list[ast.stmt]) -> None:
        for node in nodes:
            if isinstance(node, ast.Import):
                found.extend(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path}: relative import"
                module = node.module or ""
                found.extend(each if is_module(each := f"{module}.{alias.name}") else module for alias in node.names)
            elif not types and isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
                continue
            elif everywhere or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                for field in ("body", "orelse", "finalbody"):
                    visit(getattr(node, field, []))
                for handler in getattr(node, "handlers", []):
                    visit(handler.body)

    visit(ast.parse(text).body)
    return found


def _cython_import(line: str) -> str:
    match = re.match(r"\s*(?:from\s+([\w.]+)\s+c?import\s+(\w+)|c?import\s+([\w.]+))", line)
    if not match:
        return ""
    if match[1] == "dfengine":
        return f"dfengine.{match[2]}"
    return match[1] or match[3]


def package(name: str) -> str:
    """The package of a dotted module: one of MAY_IMPORT; else the module at the root."""
    parts = name.split(".")[1:]
    within = ".".join(parts[:2])
    return within if within in MAY_IMPORT else parts[0]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_follow_the_table(path: Path) -> None:
    here = room(path)
    for name in imports(path):
        if not name.startswith("dfengine."):
            continue
        there = package(name)
        if here == "":
            continue
        if here == "core":
            assert there in CORE[: CORE.index(path.stem) + 1], f"{path.stem} must not import {name}"
        elif there not in CORE:
            assert there == here or there in MAY_IMPORT[here], f"{here} must not import {name}"


def test_the_design_shows_the_same_table() -> None:
    rows = [line.strip("|").split(" | ") for line in (ROOT / "docs" / "design.md").read_text().splitlines() if line.startswith("| ")]
    shown = {each[0].strip(" `").replace("/", "."): each[1:] for each in rows if len(each) == 3}
    assert shown["core (root)"][0].strip().partition(";")[0].replace("`", "").split(", ") == CORE
    for name, allowed in MAY_IMPORT.items():
        within = name.partition(".")[0]
        subpackages = ", ".join(each for each in MAY_IMPORT if each.startswith(name + "."))
        cell = re.sub(r"\(.*?\)", "", shown[name][1]).replace("and its subpackages", subpackages)
        found = {each.strip() for each in cell.split(",")} - {"-", ""}
        assert {f"{within}.{each}" if f"{within}.{each}" in MAY_IMPORT else each for each in found} == allowed, name


@pytest.mark.parametrize("path", [path for path in MODULES if path.stem == "__init__" and path.parent != PACKAGE], ids=room)
def test_a_package_names_its_modules_and_the_one_to_read_first(path: Path) -> None:
    text = path.read_text()
    others = {each.stem for each in MODULES if each.parent == path.parent} - {"__init__"}
    assert not [name for name in others if not re.search(rf"\b{name}\b", text)]
    assert re.search(r"Start\s+with\s+`", text)


def test_there_are_no_import_cycles() -> None:
    """Also by imports inside functions, and for types only: modules in a cycle can be understood only together."""
    names = {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in MODULES}
    left = {name: {each for each in imports(path, types=True) if each in names and each != name} for name, path in names.items()}
    for part, wholes in WHOLES.items():
        of_types = {f"dfengine.{whole}" for whole in wholes.split()}
        assert of_types <= left[f"dfengine.{part}"] - set(imports(names[f"dfengine.{part}"])), f"{part} imports {wholes} for types only"
        left[f"dfengine.{part}"] -= of_types
    while free := [name for name, needs in left.items() if not needs]:
        for name in free:
            del left[name]
        for needs in left.values():
            needs.difference_update(free)
    assert not left, "some of these modules form a cycle"


def test_the_fast_path_is_imported_by_its_package_only() -> None:
    """Its modules may be replaced as a whole: other packages depend on the contract only."""
    inside = PACKAGE / "supernode" / "fastpath"
    outside = [path for path in MODULES if inside not in path.parents]
    assert not [path for path in outside for name in imports(path) if name.startswith("dfengine.supernode.fastpath.")]


def is_pure(path: Path) -> bool:
    """Whether the module is of the core, of the swarm's engine, or called pure in its docstring."""
    says = path.suffix == ".py" and re.search(r"\bPure\b|a pure state machine", ast.get_docstring(ast.parse(path.read_text())) or "")
    return bool(says) or room(path) in ("core", "supernode.swarm")


@pytest.mark.parametrize("path", [path for path in MODULES if is_pure(path)], ids=lambda path: str(path.relative_to(PACKAGE)))
def test_pure_modules_import_no_io_clock_or_randomness(path: Path) -> None:
    assert not PURE & {name.split(".")[0] for name in imports(path)}


@pytest.mark.parametrize(
    "path",
    [path for path in MODULES if path.stem in GET or room(path) in ("client", "storage") or (room(path) == "core" and path.stem != "wire")],
    ids=lambda path: str(path.relative_to(PACKAGE)),
)
def test_get_does_not_load_slow_modules(path: Path) -> None:
    slow = [name for name in imports(path, everywhere=False) if name in SLOW or name.split(".")[0] in SLOW]
    assert not slow


@pytest.mark.parametrize(
    "path",
    [path for path in MODULES if path.stem in GET or room(path) in ("client", "storage", "streaming", "core")],
    ids=lambda path: str(path.relative_to(PACKAGE)),
)
def test_libcurl_is_loaded_only_for_requests_to_origins(path: Path) -> None:
    """Its import takes 23 ms, which a download that finds all pieces in the swarm does not need."""
    begun = imports(path, everywhere=False)
    assert "dfengine.client.from_origin" not in begun
    assert path.stem == "from_origin" or not [name for name in begun if name.startswith("dfengine.origin")]


def words(name: str) -> set[str]:
    """`_heldBack` -> held, back."""
    return {word.lower() for word in re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).split("_")}


def identifiers(path: Path) -> set[str]:
    """All names in a module and its own, without those in texts and comments; of a Cython module also those in its `.pxd` and `.pyi`."""
    found = {path.stem}
    for file in (path, path.with_suffix(".pxd"), path.with_suffix(".pyi")) if path.suffix == ".pyx" else (path,):
        text = file.read_text()
        if file.suffix in (".py", ".pyi"):
            found.update(each.string for each in tokenize.generate_tokens(io.StringIO(text).readline) if each.type == tokenize.NAME)
        else:
            found.update(re.findall(r"[A-Za-z_]\w*", _CYTHON_TEXT.sub("", text)))
    return found


def of_lines(path: Path) -> set[str]:
    """The attributes of names such as `line` and `lines`: `self._line.close()` -> close."""
    text = path.read_text()
    if path.suffix == ".pyx":
        return set(re.findall(r"\b_?lines?\.(\w+)", _CYTHON_TEXT.sub("", text)))
    uses = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Attribute)]
    owners = [(use.value.attr if isinstance(use.value, ast.Attribute) else getattr(use.value, "id", ""), use.attr) for use in uses]
    return {attribute for owner, attribute in owners if re.fullmatch("_?lines?", owner)}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_names_avoid_words_outside_of_the_fields_terms(path: Path) -> None:
    wrong = {name: [FIELD_TERMS[word] for word in words(name) & FIELD_TERMS.keys()] for name in identifiers(path)}
    assert not {name: terms for name, terms in wrong.items() if terms}
    assert of_lines(path) <= TEXT, "a `line` is text: name a connection or a socket accordingly"


PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])


@pytest.mark.parametrize("path", [*MODULES, *PAGES], ids=lambda path: str(path.relative_to(ROOT)))
def test_prose_names_the_acting_program_thread_or_host(path: Path) -> None:
    """A program, a thread or a host is named: "no host serves it", "the caller", not an unnamed person."""
    files = (path, path.with_suffix(".pxd"), path.with_suffix(".pyi")) if path.suffix == ".pyx" else (path,)
    texts = "\n".join(file.read_text() for file in files)
    assert not re.findall(r"\b(?:[Nn]obody|[Ss]omebody|[Aa]nybody|[Ww]hoever)\b", texts)


def test_no_modules_are_named_utils_or_helpers() -> None:
    drawers = [path for path in MODULES if re.fullmatch(r"_?(utils?|helpers?|common|managers?|misc)", path.stem)]
    assert not drawers


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_modules_have_at_most_400_lines(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 400, "does the module contain a second state machine?"


@pytest.mark.parametrize("path", CYTHON, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_lines_of_cython_have_at_most_140_characters(path: Path) -> None:
    for file in (path, path.with_suffix(".pxd"), path.with_suffix(".pyi")):
        long = [line for line in file.read_text().splitlines() if len(line) > 140]
        assert not long, f"{file}: ruff does not check this file"


@pytest.mark.parametrize("path", CYTHON, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_each_cython_module_has_a_pxd_and_a_stub(path: Path) -> None:
    assert path.with_suffix(".pxd").exists()
    assert path.with_suffix(".pyi").exists()


def test_dependencies_are_the_imported_distributions() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = {re.split(r"[\[<>=]", each)[0].lower() for each in project["dependencies"]}
    modules = {path: imports(path) if path.suffix == ".py" else _at_run_time(path.read_text()) for path in MODULES}
    imported = {name.split(".")[0] for names in modules.values() for name in names} - sys.stdlib_module_names - OPTIONAL
    imported -= {"dfengine", "_signal"}
    assert named == {DISTRIBUTION.get(name, name) for name in imported}


def _at_run_time(text: str) -> list[str]:
    """Modules that a Cython module imports at run time; cimports are for the compiler only."""
    return [one or other for one, other in re.findall(r"^\s*(?:from\s+([\w.]+)\s+import|import\s+([\w.]+))\s", text, re.MULTILINE)]


def test_drawings_are_generated_from_their_text() -> None:
    sys.path.insert(0, str(ROOT / "docs"))
    try:
        import draw
    finally:
        sys.path.pop(0)
    for name, drawing in draw.DRAWINGS.items():
        assert (ROOT / "docs" / f"{name}.svg").read_text() == draw.svg(drawing), "run docs/draw.py"


def run(*command: str) -> None:
    result = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_ruff() -> None:
    run("ruff", "check", ".")


def test_mypy() -> None:
    run("mypy")


def test_no_script_closes_a_pipe_early() -> None:
    """With pipefail the script then ends by SIGPIPE if the program before is slower. `sed -n 1,8p` reads all lines, `head` does not."""
    scripts = [path for path in (ROOT / ".ci/run", *(ROOT / "deploy").iterdir()) if path.is_file() and b"pipefail" in path.read_bytes()]
    assert ROOT / ".ci/run" in scripts
    for path in scripts:
        assert not re.search(r"\|\s*(head|grep -\w*[qm])\b", path.read_text()), path


def test_stubs_agree_with_the_extensions() -> None:
    run("mypy.stubtest", *(str(path.relative_to(ROOT).with_suffix("")).replace("/", ".") for path in CYTHON))


def test_ignored_lint_and_type_errors_state_a_reason() -> None:
    texts = {path: path.read_text() for path in PACKAGE.rglob("*") if path.suffix in (".py", ".pyi")}
    bare = re.compile(r"# (?:noqa: \w+|type: ignore\[[\w-]+\])$")
    assert not [(path, line) for path, text in texts.items() for line in text.splitlines() if bare.search(line)]
