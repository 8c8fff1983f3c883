"""Wrong values for every call of a client raise errors that dfengine exports, before any request is sent."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dfengine
from dfengine.app import keywords
from dfengine.errors import BadValue, DfengineError, StorageError
from dfengine.filesystem.file_system import FileSystem
from dfengine.programs.handle import Handle, waiting_time
from dfengine.settings import ShareSettings

REFUSED = "http://127.0.0.1:1/f"
"""No server listens there."""

TEXTS = st.text(max_size=12) | st.sampled_from(["", "1M", "sha256:x", "sn1:8002", "a: b", "\0", "\ud800", "-1", "1e999", "nan", "~/x"])
PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | TEXTS | st.binary(max_size=5) | st.builds(object) | st.just(int)
VALUES = PLAIN | st.lists(PLAIN, max_size=3) | st.lists(PLAIN, max_size=3).map(tuple) | st.dictionaries(TEXTS, PLAIN, max_size=2)
SETTINGS = st.dictionaries(st.sampled_from([*sorted(keywords.table()), "tls"]), VALUES, max_size=3)

WRONG: dict[str, Any] = {
    "nodes": [], "pattern": "all", "notbs": "yes", "no_join": 1, "filter": 5, "identifier": "a\n", "md5": "", "digest": "",
    "headers": {"A": 5}, "range": "9-0", "user_agent": 5, "locallimit": "fast", "totallimit": -1, "minrate": 0.5, "timeout": "soon",
    "ip": "x", "port": 80, "home": "", "alivetime": -1, "expiretime": "x", "cacerts": {"a": "b"}, "insecure": 0, "callsystem": "\x7f",
    "location": "a\nb", "connections": 0, "retry": -1, "retry_max_time": "x", "connect_timeout": True, "first_byte_timeout": [],
    "netrc": "yes", "netrc_file": "", "user": b"u", "sign": "", "private": "", "cert": "/nowhere", "key": "/nowhere", "force": 1,
    "quiet": 0, "verbose": "x", "report_digest": 1, "window": -3, "window_bytes": -1, "cache": -2, "secret_file": (),
    "tls_cert": "/nowhere", "tls_key": "/nowhere", "tls_ca": "/nowhere", "tls": {},
}  # fmt: skip
"""One value of each keyword that the command line rejects."""

OF_CALLS: dict[str, tuple[Any, ...]] = {
    "progress": (5, "x", []), "include": (5, [5], "a//b", "a/./b"), "exclude": (5, [None], ""), "replicas": (-1, True, 1.5, "1", None, 2),
    "ttl": (0, -1, "x", None, True, [], float("nan")), "store": (5, "tmp", None, []), "buffering": (-2, 1.5, True, None, "x", 1 << 50),
}  # fmt: skip
"""Keywords of some calls only, with values that they reject."""

CALLS = {
    "get": (REFUSED, "/nowhere/out"), "download": (REFUSED, "/nowhere/out"), "stream": (REFUSED,), "open": (REFUSED,),
    "preheat": (REFUSED,), "fetch_tree": ("http://127.0.0.1:1/d/", "/nowhere/d"), "download_tree": ("http://127.0.0.1:1/d/", "/nowhere/d"),
    "share": ("/nowhere/f",),
}  # fmt: skip
"""Valid arguments of each."""


def raised(call: Callable[[], object]) -> BaseException | None:
    try:
        call()
    except Exception as error:
        if not str(error):
            raise  # no message
        return error
    return None


@given(SETTINGS)
def test_any_settings_are_valid_or_raise_bad_value(given: dict[str, Any]) -> None:
    assert isinstance(raised(lambda: dfengine.Client(**given).settings(REFUSED, "out", {})), BadValue | None)
    assert isinstance(raised(lambda: dfengine.Client().settings(REFUSED, None, given)), BadValue | None)  # type: ignore[arg-type]


@given(VALUES, VALUES)
def test_any_urls_and_outputs_are_valid_or_raise_bad_value(url: Any, output: Any) -> None:
    assert isinstance(raised(lambda: dfengine.Client().settings(url, output, {})), BadValue | None)


@pytest.mark.parametrize("name", [name for name in CALLS if name != "share"])
@settings(deadline=None, max_examples=20)
@given(url=VALUES.filter(lambda value: not (isinstance(value, str) and "://" in value)))
def test_calls_with_invalid_urls_start_no_threads(name: str, url: Any) -> None:
    before = threading.active_count()
    assert isinstance(raised(lambda: getattr(dfengine.Client(), name)(url, *CALLS[name][1:])), BadValue)
    assert threading.active_count() == before


def ways(name: str) -> Iterator[Any]:
    """The variants of the call: of a client and of the module, and both as coroutines."""
    for module in (dfengine, dfengine.aio):
        for owner in (module.Client(nodes="127.0.0.1:1"), module):
            yield getattr(owner, name)


def called(call: Any, name: str, **wrong: Any) -> BaseException | None:
    async def main() -> None:
        found = call(*CALLS[name], **wrong)
        if asyncio.iscoroutine(found):
            await found

    return raised(lambda: asyncio.run(main()))


def test_every_keyword_has_a_wrong_value_in_this_test() -> None:
    assert set(WRONG) == {*keywords.table(), "tls"}
    known = {each for name in CALLS for each, what in inspect.signature(getattr(dfengine, name)).parameters.items() if what.kind == 3}
    assert set(OF_CALLS) == known


@pytest.mark.parametrize("name", CALLS)
def test_a_wrong_value_of_any_keyword_is_rejected_before_anything_starts(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("DFENGINE_GET_NODES", "127.0.0.1:1")
    before = threading.active_count()
    for call in ways(name):
        own = [(each, value) for each in inspect.signature(call).parameters for value in OF_CALLS.get(each, ())]
        for keyword, value in (*WRONG.items(), *own):
            error = called(call, name, **{keyword: value})
            kinds = (BadValue, TypeError) if name == "share" and keyword not in ShareSettings.FIELDS else BadValue
            assert isinstance(error, kinds), (keyword, value, error)
            assert keyword.partition("_")[0] in str(error) or (keyword in ("include", "exclude") and "pattern" in str(error))
            assert "\n" not in str(error)
    assert threading.active_count() == before


def test_a_wrong_value_of_any_file_system_option_is_rejected() -> None:
    fsspec_settings = {name: value for name, value in WRONG.items() if name not in ("cert", "key", "tls_cert", "tls_key", "tls_ca")}
    for name, value in fsspec_settings.items():
        error = raised(lambda: FileSystem(skip_instance_cache=True, **{name: value}))  # noqa: B023
        assert isinstance(error, BadValue), (name, error)
        assert name in str(error)
    wrongs: tuple[Any, ...] = (5, "x", ["a"])
    for wrong in wrongs:
        assert isinstance(raised(lambda: FileSystem(target_protocol="http", target_options=wrong)), BadValue)  # noqa: B023


def test_tls_must_be_a_mapping_of_files(tmp_path: Path) -> None:
    for name in ("cert", "key", "ca"):
        (tmp_path / name).write_text("PEM")
        (tmp_path / name).chmod(0o600)
    tls = {name: tmp_path / name for name in ("cert", "key", "ca")}
    found = dfengine.Client(tls=tls).settings(REFUSED, None, {})
    assert (found.tls_cert, found.tls_key, found.tls_ca) == tuple(str(tmp_path / name) for name in ("cert", "key", "ca"))
    assert dfengine.Client(tls=tls).settings(REFUSED, None, {"tls": None}) == found
    for wrong in (
        "x", b"x", 5, True, [], {}, [("cert", "x")], {"certificate": "x"}, {"cert": ""}, {"cert": 5}, {"key": tls["key"]},
        {"cert": tls["cert"]}, {"ca": tmp_path / "none"}, {"ca": "a\0"}, {5: "x"},
    ):  # fmt: skip
        with pytest.raises(BadValue, match="tls"):
            dfengine.Client(tls=wrong).settings(REFUSED, None, {})  # type: ignore[arg-type]
    with pytest.raises(BadValue, match="omit one"):
        dfengine.Client(tls=tls, tls_ca=tls["ca"])
    with pytest.raises(BadValue, match="cannot be used for TLS"):
        dfengine.Client(tls=tls, nodes="127.0.0.1:1").get(REFUSED, tmp_path / "out")


def test_an_unknown_home_directory_is_not_created_in_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StorageError, match="no home directory is known"):
        dfengine.Client(nodes="127.0.0.1:1", home="~nobody-of-this-name/x").get(REFUSED, tmp_path / "out")
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    assert dfengine.Client(nodes="127.0.0.1:1").settings(REFUSED, None, {}).pattern == "cdn"
    assert not list(tmp_path.iterdir())


@given(VALUES)
def test_invalid_store_and_buffering_of_an_open_file_are_rejected(value: Any) -> None:
    client = dfengine.Client()
    with pytest.raises(BadValue):
        client.open(REFUSED, store=("no", value))  # type: ignore[call-overload]
    with pytest.raises(BadValue):
        client.open(REFUSED, buffering=("no", value))  # type: ignore[call-overload]


class Work(Handle[int]):
    """Ends when `turn` is set."""

    def __init__(self) -> None:
        super().__init__("work", lambda _: None)
        self.turn = threading.Event()

    def _work(self) -> int:
        self.turn.wait()
        return 1

    def _interrupt(self, error: BaseException) -> None:
        self.turn.set()


@given(VALUES)
def test_a_waiting_time_is_in_seconds_or_rejected(timeout: Any) -> None:
    with contextlib.suppress(BadValue):
        found = waiting_time(timeout)
        assert found is None or 0 <= found <= threading.TIMEOUT_MAX


@pytest.mark.parametrize("timeout", ["1", b"1", "x", float("nan"), [], (), object(), 1j], ids=repr)
def test_invalid_and_extreme_waiting_times(timeout: Any) -> None:
    work = Work().start()
    try:
        with pytest.raises(BadValue, match="timeout"):
            work.wait(timeout)
        with pytest.raises(BadValue, match="timeout"):
            asyncio.run(dfengine.aio.Download(work).wait(timeout))  # type: ignore[arg-type]
        for over in (0, -5, -(2**200), 0.0):
            with pytest.raises(TimeoutError):
                work.wait(over)
    finally:
        work.turn.set()
    assert [work.wait(each) for each in (float("inf"), 2**200, 1e300, None)] == [1] * 4


def test_connection_failures_raise_exported_errors(tmp_path: Path) -> None:
    client = dfengine.Client(retry=0, home=tmp_path)
    for call in (
        lambda: client.get(REFUSED, tmp_path / "out"), lambda: client.download(REFUSED, tmp_path / "out").wait(60),
        lambda: client.open(REFUSED), lambda: client.stream(REFUSED).read(), lambda: client.preheat(REFUSED, nodes="127.0.0.1:1").wait(60),
    ):  # fmt: skip
        error = raised(call)
        assert isinstance(error, DfengineError)
        assert hasattr(dfengine, type(error).__name__) or any(hasattr(dfengine, each.__name__) for each in type(error).__mro__[1:3])
