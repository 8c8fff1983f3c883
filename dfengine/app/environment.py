"""Settings of `get` from configuration files and the environment, for programs: read as by the command line, without click."""

from __future__ import annotations

import os

from dfengine.app.get_command import configuration_files
from dfengine.app.keywords import table
from dfengine.app.option_kinds import FLAG, KINDS, read_all
from dfengine.app.options import GET
from dfengine.errors import BadValue
from dfengine.task import is_url

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from dfengine.app.options import Option

TRUE, FALSE = frozenset(("1", "true", "t", "yes", "y", "on")), frozenset(("0", "false", "f", "no", "n", "off"))
"""Texts of a flag, in upper or lower case."""

COMMAND_VARIABLES = frozenset(("quiet", "verbose"))
"""Settings of the command line's output, which programs do not use."""


def read() -> dict[str, Any]:
    """Keyword -> value, as from `keywords.checked`; the environment overrides the files. Raises BadValue, which names the place."""
    found: dict[str, Any] = {}
    paths = configuration_files()
    if paths:
        from dfengine.app import configuration  # YAML is slow to import

        files = configuration.read(paths).get("get", {})
    else:
        files = {}
    known = {*table(), "u"} - COMMAND_VARIABLES
    for option in filter(lambda option: option.name in known, GET):
        name = option.name
        variable = option.variable("get")
        if text := os.environ.get(variable, ""):
            found[name] = _read(option, _split(option, text) if option.many else text, variable)
        elif files.get(name) is not None:
            found[name] = _read(option, files[name], f"configuration: get.{option.key}")
    users = [each for each in found.pop("u", ()) if not is_url(each)]
    if users and "user" not in found:
        found["user"] = users[-1]
    return found


def _split(option: Option, text: str) -> list[str]:
    """Split a variable with several values: at newlines for headers, which contain spaces, else at spaces."""
    return text.split("\n") if option.kind == "header" else text.split()


def _read(option: Option, text: Any, where: str) -> Any:
    try:
        if option.kind == FLAG:
            return _flag(text)
        return read_all(option.kind, text) if option.many else KINDS[option.kind].read(text)
    except BadValue as error:
        raise BadValue(f"{where}: {error}") from None


def _flag(text: str) -> bool:
    plain = text.strip().lower()
    if plain in TRUE:
        return True
    if plain not in FALSE:
        raise BadValue(f"{text[:40]!r} is not true or false")
    return False
