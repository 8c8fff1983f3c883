"""Shell completion of dfengine's command lines, in real shells."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.e2e.scene import DFENGINE, PATIENCE

BASH = """
eval "$(dfengine completion bash)"
complete -p dfengine >/dev/null || exit 1
COMP_WORDS=(dfengine "$@"); COMP_CWORD=$#; compopt() { echo "compopt $2"; }
_dfengine_completion dfengine
printf '%s\\n' "${COMPREPLY[@]}"
"""
ZSH = """
autoload -U compinit; compinit -u -D
eval "$(dfengine completion zsh)"
[[ $_comps[dfengine] == _dfengine_completion ]] || exit 1
_describe() { print -l -- ${(P)3}; }; compadd() { print -l -- ${(P)${@[-1]}}; }; _path_files() { echo "compopt default"; }
words=(dfengine "$@"); CURRENT=$#; CURRENT=$(( $# + 1 ))
_dfengine_completion
"""
FISH = """
dfengine completion fish | source
complete -C "dfengine $argv"
"""
SHELLS = {"bash": (["bash", "-c", BASH, "bash"], 1), "zsh": (["zsh", "-f", "-c", ZSH, "zsh"], 1), "fish": (["fish", "-N", "-c", FISH], 1)}


def completed(shell: str, path: Path, *words: str) -> set[str]:
    """The shell's completions of the last word, without descriptions."""
    command = SHELLS[shell][0]
    environment = {"PATH": f"{path}:/usr/bin:/bin", "HOME": str(path), "TERM": "dumb"}
    told = subprocess.run([*command, *words], capture_output=True, text=True, check=True, timeout=PATIENCE, env=environment, cwd=path)
    assert not told.stderr
    return {line.partition("\t")[0].partition(":")[0] for line in told.stdout.splitlines() if line}


@pytest.mark.parametrize("shell", [each for each in SHELLS if each == "bash" or shutil.which(each)])
def test_a_shell_completes_commands_options_and_values(shell: str, tmp_path: Path) -> None:
    own = tmp_path / "dfengine"
    own.write_text(f"#!/bin/sh\nexec {' '.join(DFENGINE)} \"$@\"\n")
    own.chmod(0o755)
    assert {"get", "supernode", "proxy", "cache", "completion"} <= completed(shell, tmp_path, "")
    assert completed(shell, tmp_path, "get", "--dig") == {"--digest"}
    assert completed(shell, tmp_path, "supernode", "--log-level", "") == {"debug", "info", "warning", "error", "off"}
    assert completed(shell, tmp_path, "cache", "p") == {"pin"}
    # An incomplete command line that is invalid so far causes no error.
    assert "get" in completed(shell, tmp_path, "http://origin/f", "")


def test_an_unsupported_shell_is_rejected() -> None:
    told = subprocess.run([*DFENGINE, "completion", "tcsh"], capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert (told.returncode, told.stderr) == (2, "dfengine: 'tcsh' is not one of bash, zsh, fish\n")
