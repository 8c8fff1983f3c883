"""One table of options, two parsers: a plain command line yields the same with `plain_parser.read` as with click."""

from __future__ import annotations

import json
import re
import sys
from itertools import chain
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from dfengine.about import VERSION
from dfengine.app import cli, configuration, help, option_kinds, options, plain_parser
from dfengine.settings import GetSettings, PeerSettings, SupernodeAddress, SupernodeSettings

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
SHOWN = [(role, option) for role, table in options.COMMANDS.items() for option in table if not option.hidden]
DOCS = Path(__file__).parents[2] / "docs"
PAIRS = st.lists(st.tuples(st.sampled_from(FLAGS), st.sampled_from(TEXTS)), max_size=4).map(lambda pairs: [*chain(*pairs)])


def by_click(words: list[str]) -> dict[str, Any] | None:
    """Return the settings given on the command line, by click; None if click prints an error or help."""
    try:
        context = cli.main.commands["get"].make_context("get", list(words))
    except (click.exceptions.Exit, click.ClickException):
        return None
    given = click.core.ParameterSource.COMMANDLINE
    return {name: value for name, value in context.params.items() if context.get_parameter_source(name) is given}


@given(st.one_of(WORDS, PAIRS))
def test_plain_command_lines_are_parsed_as_by_click(words: list[str]) -> None:
    found = plain_parser.read(words)
    if found is not None:
        assert found == by_click(words)


@pytest.mark.parametrize("line", ["http://h/f", "https://h/f -o x", "-o x http://h/f", "--json -n node http://h/f"])
def test_a_url_without_a_command_suggests_get(line: str) -> None:
    done = CliRunner().invoke(cli.main, line.split())
    assert done.exit_code == 2
    assert "did you mean `dfengine get http" in done.output


@pytest.mark.parametrize(("line", "said"), [
    ("gett http://h/f", "Did you mean 'get'"), ("supernode http://h/f", "unexpected extra argument"), ("--help http://h/f", "Usage"),
    ("-o x", "No such option"), ("--frob get http://h/f", "No such option"),
])
def test_other_invalid_lines_get_clicks_own_errors(line: str, said: str) -> None:
    assert said in CliRunner().invoke(cli.main, line.split()).output


@pytest.mark.parametrize(
    "words",
    [
        ["http://o/f", "-o", "out", "-n", "a:1", "--node", "b=2", "--quiet", "--header", "A: b"],
        ["-u", "http://o/f", "-o", "-", "--window=16", "--cache", "64M", "--json"],
        ["-L", "-O", "-C", "-", "-c", "-k", "-q", "-H", "A: b", "-A", "x/1", "-P", "dir", "--create-dirs", "-J", "-r", "-5", "http://o/f"],
        ["http://o/f", "-u", "me:pw", "--limit-rate", "2M", "--max-time", "5m", "--connections", "16", "--retry", "0", "--skip-existing"],
        ["-u", "http://o/f", "-n", "a:1,b=2", "--node=c,d", "--console", "--dfdaemon", "--clientqueue", "6"],
        ["http://o/f", "--md5", "0" * 32, "-s", "20M", "--timeout=5m", "-p", "cdn", "--digest", "xxh3:" + "0" * 32],
    ],
)
def test_usual_command_lines_are_parsed_without_click(words: list[str]) -> None:
    found = plain_parser.read(words)
    assert found is not None
    assert found == by_click(words)


@pytest.mark.parametrize(
    "words",
    [["--help"], ["--nonsense"], ["--port", "x"], ["-o"], ["--json=1"], ["--", "a"], ["-oout"], ["--rate"], ["--minrate", ""],
     ["--version"], ["-V"], ["-OL", "a"], ["-C", "100"], ["--connections", "17"], ["--retry", "-1"], ["-r", "5-1"]],
)
def test_other_command_lines_are_left_to_click(words: list[str]) -> None:
    assert plain_parser.read(words) is None


@pytest.mark.parametrize(("role", "option"), SHOWN, ids=str)
def test_help_shows_the_defaults_of_the_settings(role: str, option: options.Option) -> None:
    own = getattr(help.SETTINGS[role], option.name, None)
    text, _, _ = help.default(role, option).partition(",")
    if option.kind == option_kinds.FLAG:
        assert own in (None, False)
    elif text not in (*"", option.default.partition(",")[0]):
        assert option_kinds.KINDS[option.kind].read(text) == own
    else:
        assert own in (None, "", (), 0, -1), "help does not state the default"


@pytest.mark.parametrize("role", options.COMMANDS)
def test_help_has_one_line_for_each_option(role: str) -> None:
    lines = CliRunner().invoke(cli.main, [role, "--help"]).output.splitlines()
    assert max(map(len, lines)) <= help.WIDTH
    columns = set()
    for option in (option for command, option in SHOWN if command == role):
        found = [line for line in lines if line.startswith(f"  {', '.join(option.flags)} ") and option.help in line]
        assert len(found) == 1, option
        assert found[0].endswith(f"[default: {help.default(role, option)}]" if help.default(role, option) else option.help)
        columns.add(found[0].index(option.help))
    assert len(columns) == 1
    assert not [line for line in lines if line.startswith("     ")], "no line is wrapped"
    for example in help.EXAMPLES[role]:
        assert f"  {example}" in lines
        assert "-" in example


@pytest.mark.parametrize("role", options.COMMANDS)
def test_examples_in_help_are_valid(role: str) -> None:
    for example in help.EXAMPLES[role]:
        program, command, *words = example.replace("HEX", "0" * 64).partition(" |")[0].split()
        assert (program, command) == ("dfengine", role)
        cli.main.commands[role].make_context(role, words)


SAMPLES = {"text": "a", "url": "http://o/f", "rate": "2M", "size": "2M", "pieces|size": "7", "duration": "7s", "header": "A: b",
           "host[:port][=weight]": "n:1", "algorithm:hex": "md5:" + "0" * 32, "hex": "0" * 32, "port": "7", "a-b|a-|-n": "1-2", "-": "-",
           option_kinds.PATTERN: "cdn", option_kinds.SIGN: "none", "scope": "all_peers", "platform": "linux/amd64",
           option_kinds.PRIVATE: "split", option_kinds.XET: "passthrough", option_kinds.CDN_PATTERN: "source", option_kinds.FORM: "json",
           "level": "error", "task order": "url", "host order": "seen", "ip": "127.0.0.2", option_kinds.FLAG: "1"}  # fmt: skip

NEEDED = {"share": ("FILE",), "cache": ("ls",), "preheat": ("ls",)}
"""Arguments that a command requires."""


@pytest.mark.parametrize(("role", "option"), SHOWN, ids=str)
def test_each_option_is_read_from_a_variable_and_from_files(
    role: str, option: options.Option, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The command line overrides a variable, and a variable overrides a file."""
    text, other = SAMPLES.get(option.kind, "7"), "http://o/g" if option.kind == "url" else SAMPLES.get(option.kind, "8")
    file = tmp_path / "a.yml"
    file.write_text(json.dumps({role: {option.key: [other] if option.many else other}}))
    command = cli.main.commands[role]

    def found(*words: str) -> Any:
        given = configuration.read([str(file)])[role]
        return command.make_context(role, [*words, *NEEDED.get(role, ())], default_map=given).params[option.name]

    def read(text: str) -> Any:
        if option.many:
            return option_kinds.read_all(option.kind, [text])
        return True if option.kind == option_kinds.FLAG else option_kinds.KINDS[option.kind].read(text)

    assert found() == read(other)
    monkeypatch.setenv(f"DFENGINE_{role}_{option.name}".upper(), text)
    assert found() == read(text)
    if option.kind != option_kinds.FLAG:
        assert found(option.flags[0], other) == read(other)


def test_several_values_in_one_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DFENGINE_GET_NODES", "a,b:1")
    assert cli.main.commands["get"].make_context("get", ["http://o/f"]).params["nodes"] == (SupernodeAddress("a"), SupernodeAddress("b", 1))
    monkeypatch.setenv("DFENGINE_GET_NODES", "a b:1")
    monkeypatch.setenv("DFENGINE_GET_HEADERS", "A: b c\nD: e")
    values = cli.main.commands["get"].make_context("get", ["http://o/f"]).params
    assert values["nodes"] == (SupernodeAddress("a"), SupernodeAddress("b", 1))
    assert values["headers"] == (("A", "b c"), ("D", "e"))


def test_a_version_variable_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    """Images often set one."""
    monkeypatch.setenv("DFENGINE_VERSION", "1.0")
    monkeypatch.setenv("DFENGINE_GET_VERSION", "1.0")
    assert CliRunner().invoke(cli.main, ["get", "--help"]).exit_code == 0
    assert by_click(["http://o/f"]) == {"address": ("http://o/f",)}


def test_options_of_servers_agree_with_their_settings() -> None:
    for role, kind in (("supernode", SupernodeSettings), ("peer", PeerSettings)):
        assert {option.name for option in options.COMMANDS[role] if not option.ignored} - {"config", "debug"} == set(kind.FIELDS)


def test_tables_in_the_docs_are_generated_from_the_options() -> None:
    sys.path.insert(0, str(DOCS))
    try:
        import commands
    finally:
        sys.path.pop(0)
    text = commands.DOCUMENT.read_text()
    assert text == commands.written(text), "run docs/commands.py"


def test_options_of_get_are_settings_or_used_by_the_command() -> None:
    told = {"stream", "json", "showbar", "u", "dir", "create_dirs", "remote_header_name", "accepted", "continue_at", "skip_existing",
            "range", "user_agent", "input_file", "jobs", "recursive", "include", "exclude", "delete", "dry_run"}  # fmt: skip
    assert {option.name for option in options.GET if not option.ignored} - told <= set(GetSettings.FIELDS)
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
        ("-x8 http://o/f", "there is no -x.*--connections"),
        ("-N http://o/f", "there is no -N"),
    ],
)  # fmt: skip
def test_flags_used_as_in_curl_or_wget_suggest_the_intended_flag(line: str, said: str) -> None:
    words = line.split()
    assert plain_parser.read(words) is None
    with pytest.raises(click.UsageError) as told:
        cli.main.commands["get"].make_context("get", list(words))
    assert re.match(said, told.value.message)


def test_the_error_for_a_url_without_a_command_contains_the_full_command() -> None:
    with pytest.raises(click.UsageError) as told:
        cli.main.main(["http://o/f"], standalone_mode=False)
    assert "`dfengine get http://o/f`" in told.value.message


@pytest.mark.parametrize(
    "line",
    ["-s 20M http://o/f", "-s20M http://o/f", "-n host http://o/f", "-nhost:1=2 http://o/f", "-f sig&exp http://o/f", "-fsig http://o/f",
     "-i a http://o/f", "-i http://x/ http://o/f", "-u http://o/f -i http://x/", "-m " + "0" * 32 + " http://o/f", "-f ok http://o/f",
     "-OL http://o/f", "-bq http://o/f", "--filter -x http://o/f", "-o -s http://o/f", "--output -n http://o/f", "-u me:pw http://o/f"],
)  # fmt: skip
def test_flags_of_1x_keep_their_meaning(line: str) -> None:
    assert plain_parser.mistaken(line.split()) == ""
    assert by_click(line.split()) is not None


@pytest.mark.parametrize("role", ["get", "supernode", "peer"])
def test_the_docs_name_exactly_the_flags_of_each_command(role: str) -> None:
    text = (DOCS / "commands.md").read_text()
    section = text.split(f"\n## `dfengine {role}")[1].split("\n## ")[0]
    flags = section.split("Flags:")[1] if "Flags:" in section else "\n".join(re.findall(r"^\| (`.*?) \|", section, re.MULTILINE))
    named = set(re.findall(r"`(-{1,2}[A-Za-z0-9-]+)`", flags))
    shown = [param for param in cli.main.commands[role].params if isinstance(param, click.Option) and not param.hidden]
    assert named == {flag for param in shown if param.expose_value for flag in param.opts}


def shown(role: str) -> dict[str, str]:
    """Return for each flag the kind of value that `--help` shows."""
    command = cli.main.commands[role]
    flags = [param.opts[-1] for param in command.params if isinstance(param, click.Option) and not param.is_flag and not param.hidden]
    lines = [left for group in help.rows(role).values() for left, _ in group]
    return {flag: next(line for line in lines if f"{flag} " in line).rpartition(f"{flag} ")[2] for flag in flags}


@pytest.mark.parametrize("role", ["get", "supernode", "peer"])
def test_help_shows_the_kind_of_value_of_an_option(role: str) -> None:
    kinds = shown(role)
    assert {flag for flag, kind in kinds.items() if kind == "TEXT"} <= {"--identifier", "--callsystem"}
    files = {"--secret-file", "--tls-cert", "--tls-key", "--tls-ca", "--cacerts", "--cert", "--key", "--netrc-file"}
    folders = {"--home", "--home-dir", "--dir"}
    assert {kinds[flag] for flag in kinds.keys() & files} == {"FILE"}
    assert {kinds[flag] for flag in kinds.keys() & folders} == {"DIR"}


@pytest.mark.parametrize("words", ["--version", "-V", "get --version", "get -V", "supernode -V", "peer -V", "version"])
def test_the_version_is_printed_by_every_command(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(words.split(), prog_name="dfengine", standalone_mode=False)
    assert capsys.readouterr().out == f"dfengine {VERSION}\n"


def test_shell_completion_offers_paths_for_path_options() -> None:
    from dfengine.app import completion

    found = {option.name: [each.type for each in completion.of_kind(option.kind, "x")] for option in options.GET}
    assert found["output"] == found["cacerts"] == found["tls_cert"] == ["file"]
    assert found["home"] == found["dir"] == ["dir"]
    assert found["ip"] == found["nodes"] == []
