"""Command lines of Dragonfly 1.x's programs."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfengine.app import cli, compat, plain_parser
from dfengine.errors import BadValue


@pytest.fixture(autouse=True)
def no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Move 1.x's configuration files to a directory of the test."""
    monkeypatch.setattr(compat, "FILES", {name: str(tmp_path / f"{name}.yml") for name in compat.NAMES})
    return tmp_path


DFGET = [
    "-u", "http://h/f", "-o", "/tmp/f", "--node", "a,b:8003=2", "-f", "key&sign", "-i", "x", "-s", "20M", "--totallimit", "40m",
    "-p", "p2p", "--callsystem", "ci", "--notbs", "-e", "60", "--expiretime", "3m0s", "--alivetime", "5m0s", "--console",
    "--dfdaemon", "--clientqueue", "6", "--header", "A:b",
    "--cacerts", "/c", "--home", "/h", "--insecure", "--ip", "10.0.0.1", "--minrate", "1M", "--port", "15001", "-b", "--verbose",
]  # fmt: skip
SUPERNODE = [
    "--advertise-ip", "10.0.0.1", "-D", "--down-limit", "4", "--download-port", "8001", "--fail-access-interval", "3m0s",
    "--gc-initial-delay", "6s", "--gc-meta-interval", "2m0s", "--home-dir", "/h", "--max-bandwidth", "200MB", "--peer-gc-delay",
    "3m0s", "--pool-size", "10", "--port", "8002", "--profiler", "--system-bandwidth", "20MB", "--task-expire-time", "3m0s",
    "--up-limit", "5", "--cdn-pattern", "local",
]  # fmt: skip
DFDAEMON = [
    "--hostIp", "0.0.0.0", "--port=65002", "--registry", "https://r.example.com", "--node", "a:8002,b", "--ratelimit", "20M",
    "--callsystem", "x", "--dfpath", "/d", "--localrepo", "/l", "--maxprocs", "4", "--urlfilter", "a&b", "--timeout", "3",
    "--notbs", "--verbose", "--certpem", "c", "--keypem", "k",
    "--config", "/c", "--workHome", "/h", "--peerPort", "15001", "--streamMode", "--rule", "a",
]  # fmt: skip


def typed(name: str, given: list[str]) -> dict[str, object]:
    """Return the settings of a command line of 1.x."""
    role, *words = compat.words(name, given)
    return cli.main.commands[role].make_context(role, words).params


def test_every_flag_of_1x_is_accepted(capsys: pytest.CaptureFixture[str]) -> None:
    found = typed("dfget", DFGET)
    assert [str(node) for node in found["nodes"]] == ["a:8002", "b:8003"]  # type: ignore[attr-defined]
    assert (found["expiretime"], found["timeout"], found["verbose"]) == (180, 60, True)
    assert plain_parser.read(compat.words("dfget", DFGET)[1:]) is not None, "click need not be imported"
    found = typed("supernode", SUPERNODE)
    assert (found["max_bandwidth"], found["fail_access_interval"], found["cdn_pattern"]) == (200 << 20, 180, "local")
    found = typed("dfdaemon", DFDAEMON)
    assert (found["listen"], found["registries"], found["locallimit"]) == (("0.0.0.0:65002",), ("https://r.example.com",), 20 << 20)
    assert [str(node) for node in found["nodes"]] == ["a:8002", "b:8002"]  # type: ignore[attr-defined]
    assert (found["home"], found["port"]) == ("/h", 15001)
    assert "--dfpath, --localrepo" in capsys.readouterr().err
    assert typed("dfget", ["server", "--data", "/d", "--home=/h", "--meta", "/m", "--ip", "10.0.0.1", "--verbose"])["home"] == "/h"
    for name in compat.NAMES:
        assert compat.words(name, ["version"]) == ["version"]


def test_the_migration_guide_names_every_flag() -> None:
    guide = (Path(__file__).parents[2] / "docs/migrate-from-dragonfly-1.md").read_text()
    said = set(re.findall(r"`(-{1,2}[A-Za-z][A-Za-z-]*)`", guide))
    assert {word.partition("=")[0] for word in (*DFGET, *SUPERNODE, *DFDAEMON) if word.startswith("-")} <= said


def test_configuration_files_of_1x_are_read_and_overridden_by_flags(no_files: Path) -> None:
    (no_files / "dfget.yml").write_text("nodes: [n1, n2=2]\nlocalLimit: 20M\nminRate: 64K\nworkHome: /w\nother: {}\n")
    found = typed("dfget", ["-u", "http://h/f", "-s", "1M"])
    assert ([str(node) for node in found["nodes"]], found["locallimit"], found["home"]) == (["n1:8002", "n2:8002"], 1 << 20, "/w")  # type: ignore[attr-defined]
    found = typed("dfget", ["-u", "http://h/f", "--node=n3"])
    assert [str(node) for node in found["nodes"]] == ["n3:8002"]  # type: ignore[attr-defined]
    base = no_files / "supernode.yml"
    base.write_text("base:\n  listenPort: 8003\n  failAccessInterval: 180000000000\n  taskExpireTime: 5m0s\n  schedulerCorePoolSize: 10\n")
    for words in ([], ["--config", str(base)], [f"--config={base}"]):
        found = typed("supernode", words)
        assert (found["port"], found["fail_access_interval"], found["task_expire_time"], found["config"]) == (8003, 180, 300, None)
    own = no_files / "own.yml"
    own.write_text("supernode: {port: 8004}\n")
    assert compat.words("supernode", ["--config", str(own)]) == ["supernode", "--config", str(own)]
    (no_files / "dfdaemon.yml").write_text("")
    assert compat.words("dfdaemon", []) == ["proxy", "--dfdaemon", str(no_files / "dfdaemon.yml")]
    assert compat.words("dfdaemon", ["--config", str(own)]) == ["proxy", "--dfdaemon", str(own)]


@pytest.mark.parametrize("text", ["- a", "base: 5", "a: [", "base: {listenPort: [1]}", "\0"])
def test_invalid_configuration_files_are_rejected(no_files: Path, text: str) -> None:
    (no_files / "supernode.yml").write_text(text)
    with pytest.raises(BadValue):
        compat.words("supernode", [])


WORDS = [word for word in (*DFGET, *SUPERNODE, *DFDAEMON, "server", "", "--", "-") if word != "--config"]


@given(st.sampled_from(sorted(compat.NAMES)), st.lists(st.sampled_from(WORDS)))
def test_any_words_of_1x_are_translated_to_a_command(name: str, given: list[str]) -> None:
    found = compat.words(name, given)
    assert found[0] in ("get", "peer", "supernode", "proxy", "version")


def test_links_do_not_replace_existing_files(no_files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = no_files / "bin" / "dfengine"
    program.parent.mkdir()
    program.touch(0o755)
    monkeypatch.setattr("sys.argv", [str(program)])
    made = compat.install(str(no_files / "to"))
    assert [os.path.basename(path) for path in made] == list(compat.NAMES)
    assert {os.readlink(path) for path in made} == {str(program)}
    assert compat.install(str(no_files / "to")) == made
    os.remove(made[1])
    Path(made[1]).write_text("theirs")
    with pytest.raises(BadValue, match="remove it first"):
        compat.install(str(no_files / "to"))
    assert Path(made[1]).read_text() == "theirs"
