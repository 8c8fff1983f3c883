"""Writes the tables of docs/commands.md from the table of options in dfengine/app/options.py.

    python docs/commands.py

Each table is placed between `<!-- NAME: made by docs/commands.py -->` and `<!-- end -->`.
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

from dfengine.app import help
from dfengine.app.option_kinds import FLAG, KINDS
from dfengine.app.options import COMMANDS, Option

BAR = r"\|"
DOCUMENT = Path(__file__).with_suffix(".md")


def row(*cells: str) -> str:
    """A row of a Markdown table."""
    return "|" + "".join(f" {cell.replace('|', BAR)} |" if cell else " |" for cell in cells)


def code(text: str) -> str:
    """Markdown code, or "" for an empty text."""
    return f"`{text}`" if text else ""


def meaning(option: Option) -> str:
    """The help text, and the option's `more`, for which `--help` has no room."""
    return f"{option.help}. {option.more}" if option.more else option.help


def options(command: str) -> str:
    """One table for each group of the command's options."""
    parts = []
    for group, found in help.groups(command).items():
        lines = [f"**{group}**", "", row("flag", "takes", "default", "setting", "meaning"), row(*["---"] * 5)]
        for option in found:
            default = "off" if option.kind == FLAG else help.default(command, option)
            flags = ", ".join(map(code, option.flags))
            takes = ", ".join(filter(None, (code(help.value(option)), KINDS[option.kind].unit)))
            lines.append(row(flags, takes, default, code(option.key), meaning(option)))
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def legacy() -> str:
    """The table of settings in configuration files of 1.x and their names here."""
    lines = [row("1.x", "here"), row("---", "---")]
    for command, table in COMMANDS.items():
        lines += [row(code(option.legacy), code(f"{command}.{option.key}")) for option in table if option.legacy]
    return "\n".join(lines)


TABLES = {**{command: options(command) for command in COMMANDS}, "legacy": legacy()}


def written(text: str) -> str:
    """The document with its tables replaced by new ones."""
    for name, table in TABLES.items():
        begin = f"<!-- {name}: made by docs/commands.py -->"
        made = f"{begin}\n\n{table}\n\n<!-- end -->"
        text, found = re.subn(f"{re.escape(begin)}\n.*?<!-- end -->", partial(lambda made, _: made, made), text, flags=re.DOTALL)
        assert found == 1, f"{DOCUMENT} has {found} places for {name}"
    return text


if __name__ == "__main__":
    DOCUMENT.write_text(written(DOCUMENT.read_text()))
