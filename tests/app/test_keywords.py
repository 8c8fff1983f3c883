"""Keywords of `dfengine.get` and `dfengine.stream`: their types for mypy, and their values."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import dfengine
from dfengine.app import keywords
from dfengine.errors import BadValue
from dfengine.settings import GetSettings, SupernodeAddress
from dfengine.task import Digest

ROOT = Path(__file__).parents[2]
SHA = Digest("sha256", "0" * 64)
NODE = SupernodeAddress("n", 8002)


class Index:
    """An integer type of another library."""

    def __index__(self) -> int:
        return 7


PROGRAM = """
import dfengine

dfengine.get("http://o/f", "out", nodes=["n"], minrate="1M", timeout=5, headers=[("A", "b")], digest="md5:00")
dfengine.stream("http://o/f", window="256M", cache=1 << 20, pattern="cdn")
dfengine.get("http://o/f", "out", minrat="1M")
dfengine.stream("http://o/f", windows=3)
dfengine.get("http://o/f", "out", retry="often")
"""


def test_mypy_reports_a_wrong_keyword_and_a_wrong_value(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    done = subprocess.run([sys.executable, "-m", "mypy", str(program)], cwd=ROOT, capture_output=True, text=True, check=False)
    lines = {int(line.split(":")[1]) for line in done.stdout.splitlines() if ": error: " in line}
    assert lines == {6, 7, 8}, done.stdout + done.stderr


def test_the_types_agree_with_the_table_of_options() -> None:
    tree = ast.parse(Path(keywords.__file__).read_text())
    named = next(node for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and node.name == "Keywords")
    found = {each.target.id for each in named.body if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name)}
    assert found == {*keywords.table(), "tls"}
    left_out = {"url", "output", "device", "content", "reach", "roots", "open_retry_time", "signed", "source"}
    assert set(keywords.table()) == set(GetSettings.FIELDS) - left_out | {"range", "user_agent"}


@pytest.fixture(autouse=True)
def _files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Create the files that settings name."""
    for name in ("a", "b", "file", "n", "s"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)


def settings(**given: Any) -> GetSettings:
    return keywords.settings("http://o/f", "out", keywords.checked({"nodes": ["n:1"], **given}))


def test_without_keywords_the_defaults_apply() -> None:
    plain = GetSettings(url="http://o/f", output="out", nodes=(SupernodeAddress("n", 1),), quiet=True)
    assert settings() == plain
    own = {name: getattr(GetSettings, name) for name in set(keywords.table()) & set(GetSettings.FIELDS) - {"nodes", "quiet", "secret_file"}}
    # An empty text is accepted by some settings only: the command line accepts no empty path, digest or choice either.
    taken = ("filter", "identifier", "callsystem", "location", "ip", "user")
    own = {name: value for name, value in own.items() if value != "" or name in taken}
    assert settings(**own) == plain
    assert settings(**{name: None for name in keywords.table() if name != "nodes"}) == plain


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ({"minrate": "1M"}, {"minrate": 1 << 20}), ({"minrate": 7}, {"minrate": 7}), ({"timeout": "5m"}, {"timeout": 300.0}),
        ({"timeout": 0.25}, {"timeout": 0.25}), ({"timeout": 3}, {"timeout": 3}), ({"digest": str(SHA)}, {"digest": SHA}),
        ({"digest": SHA}, {"digest": SHA}), ({"window": 3}, {"window": 3, "window_bytes": 0}),
        ({"window": "16"}, {"window": 16, "window_bytes": 0}), ({"window": "64M"}, {"window": 0, "window_bytes": 64 << 20}),
        ({"window_bytes": "64M"}, {"window_bytes": 64 << 20}), ({"cache": 0}, {"cache": 0}), ({"cache": -1}, {"cache": -1}),
        ({"headers": [("A", "b"), "C: d"]}, {"headers": (("A", "b"), ("C", "d"))}),
        ({"cacerts": ["a", Path("b")]}, {"cacerts": ("a", "b")}), ({"home": Path("/h")}, {"home": "/h"}),
        ({"netrc_file": "n"}, {"netrc_file": "n", "netrc": True}), ({"notbs": True}, {"notbs": True}),
        ({"md5": "A" * 32}, {"md5": "a" * 32}), ({"connections": 16, "retry": 0}, {"connections": 16, "retry": 0}),
        ({"port": 15001}, {"port": 15001}), ({"report_digest": True}, {"report_digest": True}),
        ({"headers": "A: b"}, {"headers": (("A", "b"),)}), ({"headers": {"A": "b", "C": "d"}}, {"headers": (("A", "b"), ("C", "d"))}),
        ({"headers": {}}, {"headers": ()}), ({"headers": (each for each in ["A: b"])}, {"headers": (("A", "b"),)}),
        ({"cacerts": "file"}, {"cacerts": ("file",)}), ({"secret_file": Path("s")}, {"secret_file": ("s",)}),
        ({"home": b"/h\xff"}, {"home": "/h\udcff"}), ({"range": "0-9"}, {"headers": (("Range", "bytes=0-9"),)}),
        ({"user_agent": "x/1"}, {"headers": (("User-Agent", "x/1"),)}), ({"notbs": None, "retry": None}, {"notbs": False, "retry": 5}),
        ({"nodes": "n"}, {"nodes": (NODE,)}), ({"nodes": "n:8002=1"}, {"nodes": (NODE,)}), ({"nodes": NODE}, {"nodes": (NODE,)}),
        ({"nodes": ["n", NODE, "m:9=2"]}, {"nodes": (NODE, SupernodeAddress("m", 9, 2))}), ({"headers": ()}, {"headers": ()}),
        ({"nodes": {"n"}}, {"nodes": (NODE,)}), ({"locallimit": "20M"}, {"locallimit": 20 << 20}),
        ({"locallimit": Index()}, {"locallimit": 7}),
        ({"digest": "SHA-512:" + "AB" * 64}, {"digest": Digest("sha512", "ab" * 64)}),
        ({"digest": "Sha1:" + "AB" * 20}, {"digest": Digest("sha1", "ab" * 20)}),
        ({"digest": Digest("MD5", "AB" * 16)}, {"digest": Digest("md5", "ab" * 16)}),
    ],
)  # fmt: skip
def test_values_and_texts_are_converted(given: dict[str, Any], meant: dict[str, Any]) -> None:
    found = settings(**given)
    assert {name: getattr(found, name) for name in meant} == meant


@pytest.mark.parametrize(
    "given",
    [
        {"minrate": -1}, {"minrate": "fast"}, {"minrate": 0.5}, {"minrate": True}, {"timeout": float("nan")}, {"timeout": -1.0},
        {"timeout": "soon"}, {"digest": "md5:0"}, {"digest": 5}, {"pattern": "all"}, {"window": -3}, {"cache": -2}, {"headers": "A"},
        {"headers": [("A", "b\nc")]}, {"headers": [("A", "b", "c")]}, {"headers": ["A"]}, {"notbs": "yes"},
        {"notbs": 1}, {"notbs": 0}, {"connections": 0}, {"connections": 4.0}, {"connections": True}, {"timeout": float("inf")},
        {"timeout": -0.5}, {"locallimit": -1}, {"window_bytes": -1}, {"digest": Digest("sha256", "00")}, {"digest": Digest("sha3", "00")},
        {"digest": b"md5:00"}, {"nodes": [1]}, {"nodes": 5}, {"nodes": b"n"}, {"nodes": ["n", None]}, {"nodes": "a,,b"},
        {"nodes": ["h:99999"]},
        {"nodes": ""}, {"nodes": "http://n"}, {"headers": 5}, {"headers": ("A", "b")}, {"headers": {"A": 5}}, {"headers": {"A\r\nB": "c"}},
        {"headers": [5]}, {"home": "a\0b"}, {"identifier": "a\0b"}, {"user": b"u"}, {"pattern": "zzz"}, {"range": "9-0"}, {"range": 5},
        {"md5": 5}, {"cacerts": [5]}, {"netrc_file": 5},
        {"connections": 17}, {"retry": -1}, {"port": 80}, {"port": 70000}, {"md5": "0"}, {"ip": 7},
        {"identifier": "\ud800"}, {"user": "\ud800"}, {"user_agent": "\ud800"}, {"headers": {"A": "\ud800"}}, {"headers": "A: \udfff"},
        {"identifier": "x" * 1025}, {"location": "x" * 1025}, {"location": "a\nb"}, {"callsystem": "a\x7f"},
        {"nodes": "\ud800"}, {"nodes": SupernodeAddress("\ud800")}, {"home": "\ud800"}, {"cacerts": "\ud800"}, {"secret_file": ["\ud800"]},
    ],
    ids=str,
)  # fmt: skip
def test_invalid_values_are_rejected(given: dict[str, Any]) -> None:
    with pytest.raises(BadValue, match=next(iter(given))):
        settings(**given)


def test_messages_do_not_show_headers() -> None:
    with pytest.raises(BadValue) as told:
        settings(headers=["Bearer-of-a-secret"])
    assert "secret" not in str(told.value)


@pytest.mark.parametrize("name", ["minrat", "url_", "device", "output_", "nodes_", "json"])
def test_unknown_keywords_raise_type_error(name: str) -> None:
    with pytest.raises(TypeError, match=name):
        dfengine.get("http://o/f", "out", **{name: 1})  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=name):
        dfengine.stream("http://o/f", **{name: 1})  # type: ignore[arg-type]
