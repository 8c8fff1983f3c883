"""One table, two readers: a plain command line means the same to `options.plain` as to click."""

from __future__ import annotations

import re
from itertools import chain
from pathlib import Path
from typing import Any

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfengine.app import cli, options
from dfengine.settings import VERSION, GetSettings

TEXTS = ["", "-", "--", "-x", "a", "a=b", "http://o/f", "1", "20M", "64K/s", "5m", "16", "70000", "15001", "n:8002=2", "A: b", "p2p", "cdn",
         "md5:" + "0" * 32, "\u00e9", "\udce9", "--json", "-L", "0-9", "16", "me:pw"]  # fmt: skip
FLAGS = [flag for option in options.GET for flag in option.flags]
WORDS = st.lists(
    st.one_of(
        st.sampled_from(TEXTS),
        st.sampled_from([*FLAGS, "--help", "-h", "--nonsense", "-Z", "-bq", "-o-", "--no", "-OL", "-fsSL"]),
        st.tuples(st.sampled_from(FLAGS), st.sampled_from(TEXTS)).map("=".join),
    ),
    max_size=6,
)
PAIRS = st.lists(st.tuples(st.sampled_from(FLAGS), st.sampled_from(TEXTS)), max_size=4).map(lambda pairs: [*chain(*pairs)])


def by_click(words: list[str]) -> dict[str, Any] | None:
    """Settings that were given, by click; None when it has something else to say."""
    try:
        context = cli.main.commands["get"].make_context("get", list(words))
    except (click.exceptions.Exit, click.ClickException):
        return None
    given = click.core.ParameterSource.COMMANDLINE
    return {name: value for name, value in context.params.items() if context.get_parameter_source(name) is given}


@given(st.one_of(WORDS, PAIRS))
def test_plain_command_lines_mean_what_click_says(words: list[str]) -> None:
    plain = options.plain(words)
    if plain is not None:
        assert plain == by_click(words)


@pytest.mark.parametrize(
    "words",
    [
        ["http://o/f", "-o", "out", "-n", "a:1", "--node", "b=2", "--quiet", "--header", "A: b"],
        ["-u", "http://o/f", "-o", "-", "--window=16", "--cache", "64M", "--json"],
        ["-L", "-O", "-C", "-", "-c", "-k", "-q", "-H", "A: b", "-A", "x/1", "-P", "dir", "--create-dirs", "-J", "-r", "-5", "http://o/f"],
        ["http://o/f", "-u", "me:pw", "--limit-rate", "2M", "--max-time", "5m", "--connections", "16", "--retry", "0", "--skip-existing"],
        ["http://o/f", "--md5", "0" * 32, "-s", "20M", "--timeout=5m", "-p", "cdn", "--digest", "xxh3:" + "0" * 32],
    ],
)
def test_what_users_write_is_plain(words: list[str]) -> None:
    plain = options.plain(words)
    assert plain is not None
    assert plain == by_click(words)


@pytest.mark.parametrize(
    "words",
    [["--help"], ["a", "b"], ["--nonsense"], ["--port", "x"], ["-o"], ["--json=1"], ["--", "a"], ["-oout"], ["--rate"], ["--minrate", ""],
     ["--version"], ["-V"], ["-OL", "a"], ["-C", "100"], ["--connections", "17"], ["--retry", "-1"], ["-r", "5-1"]],
)
def test_the_rest_is_clicks(words: list[str]) -> None:
    assert options.plain(words) is None


def test_the_defaults_that_help_shows_are_the_settings_own() -> None:
    for option in options.GET:
        if option.default:
            assert options.KINDS[option.kind](option.default) == getattr(GetSettings, option.name)


def test_every_option_is_a_setting_or_told_to_the_command() -> None:
    told = {"stream", "json", "showbar", "u", "dir", "create_dirs", "remote_header_name", "accepted", "continue_at", "skip_existing",
            "range", "user_agent"}  # fmt: skip
    assert {option.name for option in options.GET} - told <= set(GetSettings.FIELDS)
    assert len({option.name for option in options.GET}) == len(options.GET)
    assert len(set(FLAGS)) == len(FLAGS)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("-fsSL http://o/f", "-f is"), ("-f http://o/f", "-f is"), ("-f -o out http://o/f", "-f is"), ("http://o/f -f", "-f is"),
        ("-sSL http://o/f", "-s is.*-q"), ("-s http://o/f", "-s is.*-q"), ("-s -o out http://o/f", "-s is"), ("-LsS http://o/f", "-s is"),
        ("http://o/f -s", "-s is.*-q"), ("-sL http://o/f", "-s is"), ("-n http://o/f", "-n is.*--netrc"), ("-n -o out http://o/f", "-n is"),
        ("-i http://o/f", "-i is"), ("http://o/f -i", "-i is"), ("-iL http://o/f", "-i is"), ("-i -L http://o/f", "-i is"),
        ("-m 30 http://o/f", "-m is.*--max-time"), ("-O out http://o/f", "-O names.*-o FILE"), ("http://o/f -OL out", "-O names"),
        ("-qO- http://o/f", "-O names.*-o -"), ("-O - http://o/f", "-O names"), ("-nc http://o/f", "-n is.*--skip-existing"),
        ("-x8 http://o/f", "there is no -x.*--connections"), ("-v http://o/f", "there is no -v.*--verbose"),
        ("-N http://o/f", "there is no -N"),
    ],
)  # fmt: skip
def test_a_flag_used_as_curl_uses_it_is_answered_with_the_one_that_is_meant(line: str, said: str) -> None:
    words = line.split()
    assert options.plain(words) is None
    with pytest.raises(click.UsageError) as told:
        cli.main.commands["get"].make_context("get", list(words))
    assert re.match(said, told.value.message)


def test_an_url_without_a_command_is_answered_with_the_command() -> None:
    with pytest.raises(click.UsageError) as told:
        cli.main.main(["http://o/f"], standalone_mode=False)
    assert "`dfengine get http://o/f`" in told.value.message


@pytest.mark.parametrize(
    "line",
    ["-s 20M http://o/f", "-s20M http://o/f", "-n host http://o/f", "-nhost:1=2 http://o/f", "-f sig&exp http://o/f", "-fsig http://o/f",
     "-i a http://o/f", "-i http://x/ http://o/f", "-u http://o/f -i http://x/", "-m " + "0" * 32 + " http://o/f", "-f ok http://o/f",
     "-OL http://o/f", "-bq http://o/f", "--filter -x http://o/f", "-o -s http://o/f", "--output -n http://o/f", "-u me:pw http://o/f"],
)  # fmt: skip
def test_what_1x_means_by_its_flags_stays(line: str) -> None:
    assert options.mistaken(line.split()) == ""
    assert by_click(line.split()) is not None


@pytest.mark.parametrize("role", ["get", "supernode", "peer"])
def test_the_documents_name_every_flag_and_no_other(role: str) -> None:
    text = (Path(__file__).parents[2] / "docs" / "commands.md").read_text()
    section = text.split(f"\n## `dfengine {role}")[1].split("\n## ")[0]
    flags = section.split("Flags:")[1] if "Flags:" in section else "\n".join(re.findall(r"^\| (`.*?) \|", section, re.MULTILINE))
    named = set(re.findall(r"`(-{1,2}[A-Za-z0-9-]+)`", flags))
    shown = [param for param in cli.main.commands[role].params if isinstance(param, click.Option) and not param.hidden]
    assert named == {flag for param in shown if param.expose_value for flag in param.opts}


def shown(role: str) -> dict[str, str]:
    """Flag -> what `--help` shows that it takes."""
    command = cli.main.commands[role]
    context = click.Context(command)
    options = [param for param in command.params if isinstance(param, click.Option) and not param.is_flag]
    records = {option.opts[-1]: option.get_help_record(context) for option in options}
    return {flag: record[0].rpartition(f"{flag} ")[2] for flag, record in records.items() if record is not None}


@pytest.mark.parametrize("role", ["get", "supernode", "peer"])
def test_help_says_what_an_option_takes(role: str) -> None:
    kinds = shown(role)
    assert {flag for flag, kind in kinds.items() if kind == "TEXT"} <= {"--identifier", "--callsystem"}
    files = {"--secret-file", "--tls-cert", "--tls-key", "--tls-ca", "--output", "--cacerts", "--cert", "--key", "--netrc-file"}
    folders = {"--home", "--home-dir", "--dir"}
    assert {kinds[flag] for flag in kinds.keys() & files} == {"FILE"}
    assert {kinds[flag] for flag in kinds.keys() & folders} == {"DIR"}


@pytest.mark.parametrize("words", ["--version", "-V", "get --version", "get -V", "supernode -V", "peer -V", "version"])
def test_the_version_is_said_wherever_it_is_asked_for(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(words.split(), prog_name="dfengine", standalone_mode=False)
    assert capsys.readouterr().out == f"dfengine {VERSION}\n"
