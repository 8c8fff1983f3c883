"""One table, two readers: a plain command line means the same to `plain_parser.read` as to click."""

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
    """Settings that were given, by click; None when it has something else to say."""
    try:
        context = cli.main.commands["get"].make_context("get", list(words))
    except (click.exceptions.Exit, click.ClickException):
        return None
    given = click.core.ParameterSource.COMMANDLINE
    return {name: value for name, value in context.params.items() if context.get_parameter_source(name) is given}


@given(st.one_of(WORDS, PAIRS))
def test_plain_command_lines_mean_what_click_says(words: list[str]) -> None:
    found = plain_parser.read(words)
    if found is not None:
        assert found == by_click(words)


@pytest.mark.parametrize("line", ["http://h/f", "https://h/f -o x", "-o x http://h/f", "--json -n node http://h/f"])
def test_a_url_without_a_command_is_answered_with_get(line: str) -> None:
    done = CliRunner().invoke(cli.main, line.split())
    assert done.exit_code == 2
    assert "did you mean `dfengine get http" in done.output


@pytest.mark.parametrize(("line", "said"), [
    ("gett http://h/f", "Did you mean 'get'"), ("supernode http://h/f", "unexpected extra argument"), ("--help http://h/f", "Usage"),
    ("-o x", "No such option"), ("--frob get http://h/f", "No such option"),
])
def test_other_lines_are_answered_as_they_are(line: str, said: str) -> None:
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
def test_what_users_write_is_plain(words: list[str]) -> None:
    found = plain_parser.read(words)
    assert found is not None
    assert found == by_click(words)


@pytest.mark.parametrize(
    "words",
    [["--help"], ["--nonsense"], ["--port", "x"], ["-o"], ["--json=1"], ["--", "a"], ["-oout"], ["--rate"], ["--minrate", ""],
     ["--version"], ["-V"], ["-OL", "a"], ["-C", "100"], ["--connections", "17"], ["--retry", "-1"], ["-r", "5-1"]],
)
def test_the_rest_is_clicks(words: list[str]) -> None:
    assert plain_parser.read(words) is None


@pytest.mark.parametrize(("role", "option"), SHOWN, ids=str)
def test_the_defaults_that_help_shows_are_the_settings_own(role: str, option: options.Option) -> None:
    own = getattr(help.SETTINGS[role], option.name, None)
    text, _, _ = help.default(role, option).partition(",")
    if option.kind == option_kinds.FLAG:
        assert own in (None, False)
    elif text not in (*"", option.default.partition(",")[0]):
        assert option_kinds.KINDS[option.kind].read(text) == own
    else:
        assert own in (None, "", (), 0, -1), "help does not say it"


@pytest.mark.parametrize("role", options.COMMANDS)
def test_help_has_a_line_for_each_option(role: str) -> None:
    lines = CliRunner().invoke(cli.main, [role, "--help"]).output.splitlines()
    assert max(map(len, lines)) <= help.WIDTH
    columns = set()
    for option in (option for command, option in SHOWN if command == role):
        found = [line for line in lines if line.startswith(f"  {', '.join(option.flags)} ") and option.help in line]
        assert len(found) == 1, option
        assert found[0].endswith(f"[default: {help.default(role, option)}]" if help.default(role, option) else option.help)
        columns.add(found[0].index(option.help))
    assert len(columns) == 1
    assert not [line for line in lines if line.startswith("     ")], "no line goes on in another"
    for example in help.EXAMPLES[role]:
        assert f"  {example}" in lines
        assert "-" in example


@pytest.mark.parametrize("role", options.COMMANDS)
def test_examples_can_be_typed(role: str) -> None:
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
"""Arguments without which a command is none."""


@pytest.mark.parametrize(("role", "option"), SHOWN, ids=str)
def test_each_option_is_a_variable_and_a_setting_of_files(
    role: str, option: options.Option, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Weaker than the command line, and a variable is stronger than a file."""
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


def test_several_of_one_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DFENGINE_GET_NODES", "a,b:1")
    assert cli.main.commands["get"].make_context("get", ["http://o/f"]).params["nodes"] == (SupernodeAddress("a"), SupernodeAddress("b", 1))
    monkeypatch.setenv("DFENGINE_GET_NODES", "a b:1")
    monkeypatch.setenv("DFENGINE_GET_HEADERS", "A: b c\nD: e")
    values = cli.main.commands["get"].make_context("get", ["http://o/f"]).params
    assert values["nodes"] == (SupernodeAddress("a"), SupernodeAddress("b", 1))
    assert values["headers"] == (("A", "b c"), ("D", "e"))


def test_a_variable_that_names_a_version_is_no_option(monkeypatch: pytest.MonkeyPatch) -> None:
    """Images often have one."""
    monkeypatch.setenv("DFENGINE_VERSION", "1.0")
    monkeypatch.setenv("DFENGINE_GET_VERSION", "1.0")
    assert CliRunner().invoke(cli.main, ["get", "--help"]).exit_code == 0
    assert by_click(["http://o/f"]) == {"address": ("http://o/f",)}


def test_every_option_of_a_server_is_its_setting() -> None:
    for role, kind in (("supernode", SupernodeSettings), ("peer", PeerSettings)):
        assert {option.name for option in options.COMMANDS[role] if not option.ignored} - {"config", "debug"} == set(kind.FIELDS)


def test_the_documents_tables_are_made_from_the_table() -> None:
    sys.path.insert(0, str(DOCS))
    try:
        import commands
    finally:
        sys.path.pop(0)
    text = commands.DOCUMENT.read_text()
    assert text == commands.written(text), "run docs/commands.py"


def test_every_option_is_a_setting_or_told_to_the_command() -> None:
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
def test_a_flag_used_as_curl_uses_it_is_answered_with_the_one_that_is_meant(line: str, said: str) -> None:
    words = line.split()
    assert plain_parser.read(words) is None
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
    assert plain_parser.mistaken(line.split()) == ""
    assert by_click(line.split()) is not None


@pytest.mark.parametrize("role", ["get", "supernode", "peer"])
def test_the_documents_name_every_flag_and_no_other(role: str) -> None:
    text = (DOCS / "commands.md").read_text()
    section = text.split(f"\n## `dfengine {role}")[1].split("\n## ")[0]
    flags = section.split("Flags:")[1] if "Flags:" in section else "\n".join(re.findall(r"^\| (`.*?) \|", section, re.MULTILINE))
    named = set(re.findall(r"`(-{1,2}[A-Za-z0-9-]+)`", flags))
    shown = [param for param in cli.main.commands[role].params if isinstance(param, click.Option) and not param.hidden]
    assert named == {flag for param in shown if param.expose_value for flag in param.opts}


def shown(role: str) -> dict[str, str]:
    """Flag -> what `--help` shows that it takes."""
    command = cli.main.commands[role]
    flags = [param.opts[-1] for param in command.params if isinstance(param, click.Option) and not param.is_flag and not param.hidden]
    lines = [left for group in help.rows(role).values() for left, _ in group]
    return {flag: next(line for line in lines if f"{flag} " in line).rpartition(f"{flag} ")[2] for flag in flags}


@pytest.mark.parametrize("role", ["get", "supernode", "peer"])
def test_help_says_what_an_option_takes(role: str) -> None:
    kinds = shown(role)
    assert {flag for flag, kind in kinds.items() if kind == "TEXT"} <= {"--identifier", "--callsystem"}
    files = {"--secret-file", "--tls-cert", "--tls-key", "--tls-ca", "--cacerts", "--cert", "--key", "--netrc-file"}
    folders = {"--home", "--home-dir", "--dir"}
    assert {kinds[flag] for flag in kinds.keys() & files} == {"FILE"}
    assert {kinds[flag] for flag in kinds.keys() & folders} == {"DIR"}


@pytest.mark.parametrize("words", ["--version", "-V", "get --version", "get -V", "supernode -V", "peer -V", "version"])
def test_the_version_is_said_wherever_it_is_asked_for(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(words.split(), prog_name="dfengine", standalone_mode=False)
    assert capsys.readouterr().out == f"dfengine {VERSION}\n"


def test_a_shell_completes_paths_where_an_option_takes_one() -> None:
    from dfengine.app import completion

    found = {option.name: [each.type for each in completion.of_kind(option.kind, "x")] for option in options.GET}
    assert found["output"] == found["cacerts"] == found["tls_cert"] == ["file"]
    assert found["home"] == found["dir"] == ["dir"]
    assert found["ip"] == found["nodes"] == []
