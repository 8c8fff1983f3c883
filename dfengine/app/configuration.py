"""Configuration files: YAML that maps commands to their options."""

from __future__ import annotations

from typing import Any

import yaml

from dfengine.app.options import COMMANDS
from dfengine.errors import BadValue


def read(paths: list[str]) -> dict[str, dict[str, Any]]:
    """The files' settings by command, as texts; later files override earlier ones. Raises BadValue."""
    merged: dict[str, dict[str, Any]] = {}
    for path in paths:
        for command, part in _read(path).items():
            merged.setdefault(command, {}).update(part)
    return merged


def _read(path: str) -> dict[str, dict[str, Any]]:
    try:
        with open(path, "rb") as file:
            content = yaml.safe_load(file.read(1 << 20))
    except (OSError, yaml.YAMLError, RecursionError, ValueError) as error:
        raise BadValue(f"configuration {path} cannot be read: {' '.join(str(error).split())}") from None
    content = {} if content is None else content
    if not isinstance(content, dict) or not all(isinstance(part, dict) for part in content.values()):
        raise BadValue(f"configuration {path} is not a mapping of {', '.join(COMMANDS)} to settings")
    found: dict[str, dict[str, Any]] = {}
    for command, part in content.items():
        known = {option.key: option for option in COMMANDS.get(command, ()) if not option.hidden}
        for key, value in part.items():
            option = known.get(str(key).replace("_", "-"))
            if option is None:
                raise BadValue(f"configuration {path}: {command}.{key} is not a setting")
            found.setdefault(command, {})[option.name] = _text(value, option.many, f"configuration {path}: {command}.{key}")
    return found


def _text(value: Any, many: bool, where: str) -> Any:
    """A value of YAML as the option's text or texts; None counts as absent. Raises BadValue for other types."""
    if many and not isinstance(value, list):
        value = [value]
    for each in value if many else [value]:
        if not isinstance(each, str | int | float | None):
            raise BadValue(f"{where} is {type(each).__name__}: write it as on the command line")
    if many:
        return [str(each) for each in value if each is not None]
    return value if value is None else str(value)
