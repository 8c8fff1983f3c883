"""Settings that a command line yields, before anything is downloaded."""

from __future__ import annotations

import json
import os
import pwd
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from dfengine.app import cli, get_command, home, plain_parser
from dfengine.errors import BadValue, StorageError
from dfengine.settings import GetSettings

URL = "http://o/dir/f.bin"


class _Began(Exception):
    """All checks have passed, and the download would start."""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory; no download starts."""
    monkeypatch.chdir(tmp_path)

    def began(settings: GetSettings, bar: bool, values: dict[str, Any]) -> None:
        raise _Began(settings)

    monkeypatch.setattr(get_command, "_download", began)
    return tmp_path


def told(*words: str) -> GetSettings:
    """Return the settings that a download would start with."""
    values = plain_parser.read(words)
    assert values is not None
    with pytest.raises(_Began) as began:
        get_command.get(values)
    settings = began.value.args[0]
    assert isinstance(settings, GetSettings)
    return settings


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-A", "x/1"], {"headers": (("User-Agent", "x/1"),)}),
        (["-A", "x/1", "-H", "user-agent: y"], {"headers": (("user-agent", "y"),)}),
        (["-r", "0-9", "-H", "A: b"], {"headers": (("A", "b"), ("Range", "bytes=0-9"))}),
        (["-r", "-7"], {"headers": (("Range", "bytes=-7"),)}),
        (["-u", "me:pw"], {"user": "me:pw"}),
        (["--user", "me"], {"user": "me"}),
        (["-u", URL, "-u", "me:p://w"], {"user": "me:p://w", "url": URL}),
        (["--netrc-file", "n"], {"netrc": True, "netrc_file": "n"}),
        (["--netrc"], {"netrc": True, "netrc_file": ""}),
        (["--cert", "c", "--key", "k", "-k"], {"cert": "c", "key": "k", "insecure": True}),
        (["--limit-rate", "2M", "--max-time", "5m"], {"locallimit": 2 << 20, "timeout": 300.0}),
        (["--connections", "16", "--retry", "0", "--retry-max-time", "9"], {"connections": 16, "retry": 0, "retry_max_time": 9.0}),
        (["--connect-timeout", "3", "--first-byte-timeout", "50s"], {"connect_timeout": 3.0, "first_byte_timeout": 50.0}),
        (["--force", "-q", "--verbose"], {"force": True, "quiet": True, "verbose": False}),
        (["-O", "-L", "-c", "-C", "-"], {"output": "f.bin"}),
        (["-i", "\udce9", "-f", "a\udce8", "--callsystem", "\udcff"], {"identifier": "%E9", "filter": "a%E8", "callsystem": "%FF"}),
        (["-i", "\u00e9"], {"identifier": "\u00e9"}),
        (["-o", "-"], {"output": "-", "device": ""}),
        (["-o", "/dev/null", "--window", "2"], {"output": "-", "device": "/dev/null", "window": 2}),
        (["-o", "/dev/stdout"], {"output": "-", "device": ""}),
        (["-P", ".", "-o", "x"], {"output": "./x"}),
        (["-j", "3", "-o", "x"], {"output": "x"}),
        (["-P", "a/b", "--create-dirs"], {"output": "a/b/f.bin"}),
        (["-o", "a/b/", "--create-dirs"], {"output": "a/b/f.bin"}),
        (["-P", "a", "-o", "b/c", "--create-dirs"], {"output": "a/b/c"}),
    ],
)
def test_flags_are_mapped_to_settings(words: list[str], said: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "isatty", lambda fd: False)
    settings = told(URL, *words)
    assert {name: getattr(settings, name) for name in said} == said
    assert os.path.isdir(os.path.dirname(settings.output) or ".")


def test_a_url_of_arbitrary_bytes_is_percent_encoded() -> None:
    assert told("http://o/\udce9 x").url == "http://o/%E9%20x"
    assert os.fsencode(told("http://o/\udce9").output) == b"\xe9"
    assert os.fsencode(told("http://o/%E8").output) == b"\xe8"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-r", "0-9", "-H", "range: bytes=1-2"], "--range and a Range header"),
        (["http://other/f.bin", "-u", URL], "two URLs have the output f.bin"),
        (["http://other/", "-u", URL], "names no file"),
        (["http://other/x", "-o", "x"], "-o, -J"),
        (["http://other/x", "--digest", "md5:" + "0" * 32], "checksum="),
        (["-"], "--input-file -"),
        (["out.bin"], "out.bin is not a URL: -o FILE"),
        (["-J", "-o", "name"], "-J names the output"),
        (["-A", "x\ny"], "header"),
        (["-u", "me:secret", "--user", "you:secret"], "two users"),
    ],
)
def test_contradictory_arguments_are_rejected(words: list[str], said: str) -> None:
    values = plain_parser.read([*words, *([] if "-u" in words and URL in words else [URL])])
    assert values is not None
    with pytest.raises(BadValue, match=said) as told:
        get_command.get(values)
    assert "secret" not in str(told.value)


def test_a_stream_to_a_terminal_or_to_a_closed_stdout_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for words in (["-o", "-"], ["--stream"], ["-o", "/dev/stdout"], ["-o", "/dev/fd/1"]):
        values = plain_parser.read([URL, *words])
        assert values is not None
        with monkeypatch.context() as patch:
            patch.setattr(os, "isatty", lambda fd: fd == 1)
            with pytest.raises(BadValue, match=r"terminal.*-o FILE"):
                get_command.get(values)
            patch.setattr(get_command, "closed", (1,))
            with pytest.raises(StorageError, match="stdout is closed"):
                get_command.get(values)


@pytest.mark.parametrize("as_json", [False, True])
def test_an_existing_output_is_skipped_with_skip_existing(folder: Path, capsys: pytest.CaptureFixture[str], as_json: bool) -> None:
    (folder / "f.bin").write_text("old")
    values = plain_parser.read([URL, "--skip-existing", *(["--json"] if as_json else [])])
    assert values is not None
    get_command.get(values)
    out, err = capsys.readouterr()
    assert err == "dfengine: f.bin exists: skipped\n"
    assert (json.loads(out) if as_json else out) == (
        {"url": URL, "output": str(folder / "f.bin"), "skipped": True} if as_json else ""
    )
    assert told(URL, "--skip-existing", "-o", "other").output == "other"


@pytest.fixture
def header(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The origin's Content-Disposition is "said"; "asked" is the requested URL."""
    found = {"said": ""}
    module = ModuleType("dfengine.origin.schemes")

    def disposition(settings: GetSettings) -> str:
        found["asked"] = settings.url
        return found["said"]

    module.disposition = disposition  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "dfengine.origin", ModuleType("dfengine.origin"))
    monkeypatch.setitem(sys.modules, "dfengine.origin.schemes", module)
    return found


def test_the_output_is_named_by_content_disposition(folder: Path, header: dict[str, str]) -> None:
    header["said"] = "attachment; filename=told.bin"
    (folder / "d").mkdir()
    assert told(URL, "-J").output == "told.bin"
    assert header["asked"] == URL
    assert told(URL, "-O", "-J", "-P", "d").output == "d/told.bin"
    assert told(URL, "-J", "-o", "d").output == "d/told.bin"
    for useless in ("", "attachment", "attachment; filename=.profile"):
        header["said"] = useless
        assert told(URL, "-J").output == "f.bin"


def test_the_origin_cannot_choose_an_existing_file_to_be_replaced(folder: Path, header: dict[str, str]) -> None:
    header["said"] = "attachment; filename=Makefile"
    (folder / "Makefile").write_text("mine")
    values = plain_parser.read([URL, "-J"])
    assert values is not None
    with pytest.raises(BadValue, match=r"Makefile.*--force"):
        get_command.get(values)
    assert told(URL, "-J", "--force").output == "Makefile"
    get_command.get({**values, "skip_existing": True})


@pytest.fixture
def homeless(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user without a home directory in HOME and in the user database."""

    def unknown(uid: int) -> None:
        raise KeyError(uid)

    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)


@pytest.mark.usefixtures("homeless")
def test_without_a_home_directory_no_path_with_a_tilde_is_used(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = told(URL, "-n", "node")
    assert settings.pattern == "cdn"
    assert "serves no peers: no home directory is known: set HOME, or use --home DIR" in capsys.readouterr().err
    assert told(URL, "-n", "node", "-q").pattern == "cdn"
    assert capsys.readouterr().err == ""
    assert told(URL, "-n", "node", "--home", "here").pattern == "p2p"
    assert told(URL).pattern == "p2p"
    with pytest.raises(_Began) as began:
        cli.main(["get", URL, "-nnode", "-q"], standalone_mode=False)
    assert began.value.args[0].pattern == "cdn"
    values = plain_parser.read([URL, "--home", "~/x"])
    assert values is not None
    with pytest.raises(StorageError, match="set HOME, or use --home DIR"):
        get_command.get(values)
    with pytest.raises(StorageError, match="--home-dir DIR"):
        home.found("~/.dfengine/supernode", "--home-dir DIR")
    assert not [path for path in get_command.configuration_files() if path.startswith("~")]
    assert os.listdir(folder) == []


def test_without_home_variable_the_user_database_is_used(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME", raising=False)
    assert home.found("~/x", "--home DIR") == os.path.join(pwd.getpwuid(os.getuid()).pw_dir, "x")
