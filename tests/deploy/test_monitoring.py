"""deploy/grafana and deploy/prometheus: checks by promtool, and the values that raise each alert."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent.parent
RULES = ROOT / "deploy" / "prometheus" / "dfengine.rules.yml"
DASHBOARD = ROOT / "deploy" / "grafana" / "dfengine.json"


def promtool(*arguments: str) -> None:
    result = subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode == 0, result.stdout + result.stderr


def shown() -> list[str]:
    """Every expression of the dashboard, with values in place of Grafana's variables."""
    panels: list[Any] = json.loads(DASHBOARD.read_text())["panels"]
    found = [target["expr"] for panel in panels for target in panel.get("targets", ())]
    for variable, value in (("$__rate_interval", "5m"), ("$__range", "3h"), ("$instance", ".*")):
        found = [expr.replace(variable, value) for expr in found]
    return found


def rules() -> list[Any]:
    """All alerts."""
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def test_rules_and_the_example_configuration_are_valid() -> None:
    promtool("check", "rules", str(RULES))
    promtool("check", "config", str(RULES.parent / "prometheus.yml"))


def test_each_alert_is_raised_by_its_condition_only() -> None:
    promtool("test", "rules", str(Path(__file__).parent / "rules.yml"))
    ill = yaml.safe_load((Path(__file__).parent / "rules.yml").read_text())["tests"][1]["promql_expr_test"][0]["exp_samples"]
    assert {rule["alert"] for rule in rules()} == {each["labels"].split('"')[1] for each in ill}, "an alert is not tested"


def test_expressions_of_the_dashboard_are_valid(tmp_path: Path) -> None:
    made = [{"record": f"panel:{n}", "expr": expr} for n, expr in enumerate(shown())]
    assert len(made) > 30
    assert not [rule for rule in made if "$" in rule["expr"]]
    (tmp_path / "panels.yml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": made}]}))
    promtool("check", "rules", str(tmp_path / "panels.yml"))


def test_the_dashboard_is_generated_by_its_program() -> None:
    sys.path.insert(0, str(DASHBOARD.parent))
    try:
        import dashboard
    finally:
        sys.path.pop(0)
    assert DASHBOARD.read_text() == dashboard.written(), "run deploy/grafana/dashboard.py"
    made = json.loads(DASHBOARD.read_text())
    assert len({panel["id"] for panel in made["panels"]}) == len(made["panels"])
    taken = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in made["panels"]]
    assert len(set(taken)) == len(taken), "panels overlap"
