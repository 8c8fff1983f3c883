"""Configuration files and variables have the same meaning for a program as for the command line."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from dfengine.app import cli, environment, get_command, keywords
from dfengine.app.option_kinds import FLAG, PATTERN, PRIVATE, SIGN
from dfengine.app.options import GET, Option
from dfengine.errors import BadValue

SAMPLES = {
    "pattern": "cdn", "hex": "0" * 32, "rate": "3M", "size": "5M", "pieces|size": "64M", "duration": "1m", "header": "A: b c",
    "host[:port][=weight]": "sn1:9", "algorithm:hex": "MD5:" + "A" * 32, "port": "15002", "a-b|a-|-n": "0-9", "1..16": "3", "n": "7",
    FLAG: "yes", "ip": "127.0.0.2",
}  # fmt: skip
CHOICES = (PATTERN, PRIVATE, SIGN)


def sample(option: Option) -> str:
    """Return a text that the option accepts; for a choice, its last value."""
    return SAMPLES.get(option.kind) or (option.kind.rpartition("|")[2] if option.kind in CHOICES else "text")


OPTIONS = [option for option in GET if option.name in set(keywords.table()) - environment.COMMAND_VARIABLES]


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's directory of configuration files; all other external settings are removed."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    for variable in [name for name in os.environ if name.startswith("DFENGINE")]:
        monkeypatch.delenv(variable)
    folder = tmp_path / "dfengine"
    folder.mkdir()
    return folder


def by_click(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return the command line's values from files and variables; flags and lists that are not given are left out."""
    found: dict[str, Any] = {}
    monkeypatch.setattr(get_command, "get", found.update)
    done = CliRunner().invoke(cli.main, ["get"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return {name: value for name, value in found.items() if value not in (False, ())}


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
class TestEachOption:
    def test_the_variable_has_the_same_meaning_as_for_the_command_line(self, option: Option, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(option.variable("get"), sample(option))
        assert environment.read() == by_click(monkeypatch) != {}

    def test_the_setting_in_a_file_has_the_same_meaning_as_for_the_command_line(
        self, option: Option, files: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (files / "a.yml").write_text(f"get: {{{option.key}: '{sample(option)}'}}")
        assert environment.read() == by_click(monkeypatch) != {}

    def test_an_empty_variable_is_ignored(self, option: Option, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(option.variable("get"), "")
        assert environment.read() == by_click(monkeypatch) == {}


@pytest.mark.parametrize("text", ["a b", " a\tb ", "A: b\nC: d e"])
@pytest.mark.parametrize("name", ["nodes", "headers", "cacerts", "secret_file"])
def test_several_values_in_one_variable(name: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"DFENGINE_GET_{name.upper()}", text)
    if name == "headers" and ":" not in text:
        with pytest.raises(BadValue, match="DFENGINE_GET_HEADERS"):
            environment.read()
        assert CliRunner().invoke(cli.main, ["get"]).exit_code == 2
    elif name == "nodes" and ":" in text:
        with pytest.raises(BadValue, match="DFENGINE_GET_NODES"):
            environment.read()
        assert CliRunner().invoke(cli.main, ["get"]).exit_code == 2
    else:
        assert environment.read() == by_click(monkeypatch) != {}


def test_variables_override_files_and_later_files_override_earlier_ones(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (files / "a.yml").write_text("get: {minrate: 1M, retry: 1, nodes: [a, b]}")
    (files / "b.yml").write_text("get: {retry: 2, output: elsewhere}")
    monkeypatch.setenv("DFENGINE_GET_MINRATE", "2M")
    monkeypatch.setenv("DFENGINE_GET_JSON", "1")
    found = environment.read()
    assert (found["minrate"], found["retry"], [node.host for node in found["nodes"]]) == (2 << 20, 2, ["a", "b"])
    assert set(found) == {"minrate", "retry", "nodes"}, "output and format are settings of the command, not of a program"


def test_a_user_after_the_url_as_in_1x(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DFENGINE_GET_U", "http://o/f me:secret")
    assert environment.read() == {"user": "me:secret"}


@pytest.mark.parametrize(("name", "text"), [("MINRATE", "fast"), ("NOTBS", "perhaps"), ("NODES", "a,,b"), ("PATTERN", "zzz")])
def test_errors_name_the_variable(name: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"DFENGINE_GET_{name}", text)
    with pytest.raises(BadValue, match=f"DFENGINE_GET_{name}"):
        environment.read()


def test_errors_name_the_setting_of_a_file(files: Path) -> None:
    (files / "a.yml").write_text("get: {connect-timeout: soon}")
    with pytest.raises(BadValue, match=r"get\.connect-timeout"):
        environment.read()
