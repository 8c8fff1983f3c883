"""A client's settings: precedence, validation and pickling."""

from __future__ import annotations

import ast
import asyncio
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import dfengine
from dfengine import errors
from dfengine.errors import BadValue, IllegalEvent
from dfengine.settings import SupernodeAddress
from dfengine.task import Digest

ROOT = Path(__file__).parents[2]
URL = "http://o/f"


@pytest.fixture(autouse=True)
def _no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))


def test_keywords_of_a_method_override_those_of_the_client() -> None:
    client = dfengine.Client(nodes="a", minrate="1M", digest="md5:" + "0" * 32, timeout=5)
    assert client.settings(URL, None, {}).minrate == 1 << 20
    found = client.settings(URL, None, {"minrate": 7, "nodes": "b", "timeout": None})
    assert (found.minrate, found.nodes, found.timeout, found.digest) == (7, (SupernodeAddress("b"),), 5, Digest("md5", "0" * 32))


def test_only_a_configured_client_reads_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DFENGINE_GET_NODES", "sn1")
    monkeypatch.setenv("DFENGINE_GET_RETRY", "9")
    assert dfengine.Client().settings(URL, None, {}).nodes == ()
    found = dfengine.Client.configured(retry=1).settings(URL, None, {})
    assert (found.nodes, found.retry) == ((SupernodeAddress("sn1"),), 1)
    assert dfengine.Client.configured().settings(URL, None, {"pattern": "source"}).pattern == "source"


def test_errors_in_the_environment_are_raised_by_the_functions(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DFENGINE_GET_RETRY", "often")
    with pytest.raises(BadValue, match="DFENGINE_GET_RETRY"):
        dfengine.get(URL, tmp_path / "out")


def test_a_client_is_pickled_by_its_settings() -> None:
    client = dfengine.Client(nodes=["a:1=2"], digest="sha1:" + "A" * 40, headers={"A": "b"})
    other = pickle.loads(pickle.dumps(client))
    assert other.settings(URL, None, {}) == client.settings(URL, None, {})
    client.close()
    again = pickle.loads(pickle.dumps(client))
    assert again.settings(URL, None, {}).nodes == (SupernodeAddress("a", 1, 2),)


@pytest.mark.parametrize("name", ["get", "download", "stream", "preheat"])
def test_a_closed_client_starts_no_calls(name: str, tmp_path: Path) -> None:
    with dfengine.Client(nodes="a") as client:
        pass
    client.close()
    with pytest.raises(IllegalEvent, match="closed"):
        getattr(client, name)(URL, *([tmp_path / "out"] if name in ("get", "download") else []))


@pytest.mark.parametrize("output", ["", "-", b"", 5, None, "a\0b", b"a\0b", ["a"]], ids=repr)
def test_invalid_outputs_are_rejected(output: Any) -> None:
    with pytest.raises(BadValue, match="output"):
        dfengine.Client().get(URL, output)


@pytest.mark.parametrize("url", [b"http://o/f", None, "", "ftp://o/f", "http://", "f"], ids=repr)
def test_invalid_urls_are_rejected(url: Any, tmp_path: Path) -> None:
    with pytest.raises(BadValue, match=r"(?i)url"):
        dfengine.Client().get(url, tmp_path / "out")


@pytest.mark.parametrize("url", ["hf://org/name", "hf://datasets/org/name@main/", "file:///srv/models/", "s3://bucket"])
def test_urls_of_directories_are_accepted_for_trees_only(url: str) -> None:
    client = dfengine.Client()
    assert client.settings(url, None, {}, tree=True).url == url
    with pytest.raises(BadValue, match="names no file"):
        client.settings(url, None, {})


@pytest.mark.parametrize("url", [b"http://o/d/", None, "", "ftp://o/d/", "d", "df:sha256:0", "http://o/d/?x", "hf://org"], ids=repr)
def test_invalid_tree_urls_are_rejected(url: Any, tmp_path: Path) -> None:
    with pytest.raises(BadValue, match=r"(?i)url|df:sha256"):
        dfengine.Client().fetch_tree(url, tmp_path / "out")
    assert not list(tmp_path.iterdir())


async def nobody_awaits_it(progress: object) -> None:
    pass


@pytest.mark.parametrize("progress", [5, "x", True, [], nobody_awaits_it], ids=str)
def test_invalid_progress_functions_are_rejected(progress: Any, tmp_path: Path) -> None:
    client = dfengine.Client()
    for call in (client.get, client.download):
        with pytest.raises(BadValue, match="progress"):
            call(URL, tmp_path / "out", progress=progress)
    with pytest.raises(BadValue, match="progress"):
        client.stream(URL, progress=progress)
    with pytest.raises(BadValue, match="progress"):
        asyncio.run(dfengine.aio.Client().get(URL, tmp_path / "out", progress=progress))


@pytest.mark.parametrize("buffering", [1.5, "x", True, -2, 1 << 50, None], ids=repr)
def test_invalid_buffering_is_rejected(buffering: Any) -> None:
    with pytest.raises(BadValue, match="buffering"):
        dfengine.Client().open(URL, buffering=buffering)


def test_outputs_may_be_any_kind_of_path(tmp_path: Path) -> None:
    client = dfengine.Client()
    for given, meant in (("a", "a"), (b"a\xff", "a\udcff"), (tmp_path / "a", f"{tmp_path}/a"), (tmp_path, f"{tmp_path}/f"), ("b/", "b/f")):
        assert client.settings(URL, given, {}).output == meant


def test_a_space_in_a_url_is_encoded_as_on_the_command_line() -> None:
    assert dfengine.Client().settings("http://o/a b", None, {}).url == "http://o/a%20b"


@pytest.mark.parametrize(("name", "near"), [("minrat", "minrate"), ("node", "nodes"), ("timeouts", "timeout"), ("header", "headers")])
def test_an_unknown_keyword_suggests_the_nearest_one(name: str, near: str, tmp_path: Path) -> None:
    arguments: dict[str, Any] = {name: 1}
    file = (URL, tmp_path / "out")
    for call, values in ((dfengine.Client, ()), (dfengine.get, file), (dfengine.stream, (URL,)), (dfengine.preheat, (URL,))):
        with pytest.raises(TypeError, match=f"mean '{near}'"):
            call(*values, **arguments)


def test_preheats_with_settings_that_supernodes_do_not_support_are_rejected() -> None:
    with pytest.raises(BadValue, match="nodes"):
        dfengine.Client().preheat(URL)
    with pytest.raises(BadValue, match="pattern"):
        dfengine.Client(nodes="a").preheat(URL, pattern="cdn")
    with pytest.raises(BadValue, match="digest"):
        dfengine.Client(nodes="a").preheat(URL, digest=f"sha256:{64 * '0'}")
    with pytest.raises(BadValue, match="sign"):
        dfengine.Client(nodes="a").preheat(URL, sign="client")


def test_exports_agree_with_the_names_for_type_checkers() -> None:
    tree = ast.parse(Path(dfengine.__file__).read_text())
    named = {alias.asname for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names if alias.asname}
    assert named == {*dfengine._LATE, "__version__"}
    for name in dfengine.__all__:
        assert name in dir(dfengine)
        assert getattr(dfengine, name) is not None
    with pytest.raises(AttributeError, match="nothing"):
        dfengine.nothing  # noqa: B018


def test_exported_errors_are_dfengine_errors() -> None:
    exported = [getattr(dfengine, name) for name in dfengine._LATE if isinstance(getattr(errors, name, None), type)]
    assert len(exported) > 10
    assert all(issubclass(each, dfengine.DfengineError) for each in exported)


def test_import_loads_no_further_modules() -> None:
    """Beyond those of a bare interpreter; `bench.programs` measures the time."""
    text = "import sys; before = set(sys.modules); import dfengine; print(*(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", text], cwd=ROOT, capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) <= {"__future__", "dfengine", "dfengine.about"}


def test_neither_click_nor_asyncio_is_loaded_for_a_client(tmp_path: Path) -> None:
    text = (
        "import sys, dfengine; client = dfengine.Client(nodes='127.0.0.1:1')\n"
        "try: client.get('http://127.0.0.1:1/f', sys.argv[1], retry=0, pattern='cdn')\n"
        "except dfengine.OriginError: pass\n"
        "print(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", text, str(tmp_path / "out")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        env={"HOME": str(tmp_path), "PATH": ""},
    )
    assert not {"asyncio", "click", "uvloop", "yaml", "msgspec"} & set(done.stdout.split())
