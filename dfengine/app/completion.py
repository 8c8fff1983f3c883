"""Completion of command lines in bash, zsh and fish: the script that a shell runs once, and the candidates for each tab.

For candidates a shell runs `dfengine` with a variable in its environment; click then prints them from the same table as `--help`.
"""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem, get_completion_class

from dfengine.app import option_kinds
from dfengine.errors import BadValue

SHELLS = "bash", "zsh", "fish"
VARIABLE = "_DFENGINE_COMPLETE"


def script(main: click.Command, shell: str) -> str:
    """The script that makes the shell complete the command's words. Raises BadValue."""
    if shell not in SHELLS:
        raise BadValue(f"{shell[:40]!r} is not one of {', '.join(SHELLS)}")
    known = get_completion_class(shell)
    assert known is not None
    made = known(main, {}, "dfengine", VARIABLE)
    # Not made.source(), which runs bash to check its version: the script may be for another machine.
    return made.source_template % made.source_vars()


def of_argument(command: str, name: str, incomplete: str) -> list[CompletionItem]:
    """Words of an argument that begin with `incomplete`, or its files; none if its words are not known."""
    match command, name:
        case "proxy", "what":
            return _begin("hosts-toml", "ca", incomplete=incomplete)
        case "cache", "action":
            from dfengine.app.cache_command import ACTIONS

            return _begin(*ACTIONS, incomplete=incomplete)
        case "preheat", "words":
            from dfengine.app.preheat_command import ACTIONS as STEPS

            return _begin(*STEPS, incomplete=incomplete)
        case "completion", _:
            return _begin(*SHELLS, incomplete=incomplete)
        case ("share" | "cache"), _:
            return [CompletionItem(incomplete, type="file")]
        case "install-compat", _:
            return [CompletionItem(incomplete, type="dir")]
    return []


def of_kind(kind: str, incomplete: str) -> list[CompletionItem]:
    """Values of an option of this kind that begin with `incomplete`; none if they are not known."""
    if kind in option_kinds.PATHS:
        return [CompletionItem(incomplete, type=kind.partition("|")[0])]
    return _begin(*option_kinds.words(kind), incomplete=incomplete)


def _begin(*choices: str, incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(each) for each in choices if each.startswith(incomplete)]
