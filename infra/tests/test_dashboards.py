"""The dashboard and the alerts: every metric and label is one of the worker's, every query is one that Prometheus reads."""

import json
import re
import shutil
import subprocess

import jsonschema
import pytest
import yaml

import fleet
from worker_contract import contract_of

DASHBOARD = fleet.INFRA / "dashboards/nightread.json"
RULES = fleet.INFRA / "prometheus/nightread.rules.yml"
# Of a target, and not of the worker.
ALWAYS = {"job", "instance", "le", "alertname", "alertstate"}
POSITION = {"type": "object", "required": ["x", "y", "w", "h"], "properties": {k: {"type": "integer", "minimum": 0} for k in "xywh"}, "additionalProperties": False}
TARGET = {"type": "object", "required": ["refId", "datasource", "expr", "legendFormat"], "properties": {"expr": {"type": "string", "minLength": 3}}}
PANEL = {
    "type": "object",
    "required": ["id", "type", "title", "gridPos"],
    "properties": {"id": {"type": "integer", "minimum": 1}, "type": {"enum": ["row", "stat", "timeseries"]}, "title": {"type": "string", "minLength": 2}, "gridPos": POSITION},
    "if": {"properties": {"type": {"const": "row"}}},
    "else": {
        "required": ["description", "datasource", "fieldConfig", "targets"],
        "properties": {"description": {"minLength": 10}, "targets": {"type": "array", "minItems": 1, "items": TARGET}, "fieldConfig": {"required": ["defaults", "overrides"]}},
    },
}
# What Grafana needs of a dashboard that is provisioned from a file.
SCHEMA = {
    "type": "object",
    "required": ["title", "uid", "schemaVersion", "time", "templating", "panels"],
    "properties": {"uid": {"pattern": "^[a-z0-9-]{1,40}$"}, "schemaVersion": {"type": "integer", "minimum": 36}, "panels": {"type": "array", "minItems": 1, "items": PANEL}},
}


def dashboard():
    return json.loads(DASHBOARD.read_text())


def queries(board):
    """Title and expression of every panel, with the variables filled in."""
    for panel in board["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"].replace("$price", "0.5")
    for annotation in board["annotations"]["list"]:
        yield annotation["name"], annotation["expr"]


def rules():
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def findings(expressions, contract):
    """Names and labels that nobody tells."""
    metrics = {m["name"]: m for m in contract["metrics"]}
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    known = {*contract["process_metrics"], *recorded, "up", "ALERTS"}
    for title, expression in expressions:
        for name, selector in re.findall(r"\b((?:nightread|process)[a-z0-9_:]*|up|ALERTS)\b(?:\{([^}]*)\})?", re.sub(r'"[^"]*"', lambda m: m[0].replace("nightread", "~"), expression)):
            base = re.sub(r"_(bucket|sum|count)$", "", name)
            metric = metrics.get(name) or (metrics.get(base) if metrics.get(base, {}).get("kind") == "histogram" else None)
            if metric is None and name not in known:
                yield f"{title}: {name} is no metric"
                continue
            for label in re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", selector):
                if label not in ALWAYS and label not in (metric or {"labels": ()})["labels"]:
                    yield f"{title}: {name} has no label {label}"
        labels = {label for m in contract["metrics"] for label in m["labels"]} | ALWAYS
        for group in re.findall(r"\b(?:by|on|ignoring)\s*\(([^)]*)\)", expression):
            yield from (f"{title}: nothing has the label {label}" for label in re.split(r"[,\s]+", group.strip()) if label and label not in labels)


def promtool_says(expressions, folder):
    """None where Prometheus can read every expression, and its words otherwise."""
    path = folder / "queries.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": [{"record": f"query:{i}", "expr": e} for i, (_, e) in enumerate(expressions)]}]}))
    done = subprocess.run(["promtool", "check", "rules", str(path)], capture_output=True, text=True, check=False)
    return None if done.returncode == 0 else done.stdout + done.stderr


needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="SKIPPED: queries: promtool is not installed")


def test_the_dashboard_is_one():
    board = dashboard()
    jsonschema.Draft202012Validator(SCHEMA).validate(board)
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)
    taken = set()
    for panel in board["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24 and not cells & taken, panel["title"]
        taken |= cells
    sources = {target["datasource"]["uid"] for panel in board["panels"] for target in panel.get("targets", [])}
    assert sources == {"${datasource}"} and {v["name"] for v in board["templating"]["list"]} == {"datasource", "price"}


def test_it_shows_what_a_team_looks_for():
    shown = {panel["title"] for panel in dashboard()["panels"]}
    assert {"Work for each worker", "Oldest job", "Jobs ended", "Errors", "Failed share", "Wait before the work", "Stages", "Dead letters", "Poison", "Certificate", "Untold results", "Scraped", "Cost of a thousand"} <= shown


def test_every_metric_and_label_is_the_workers():
    contract = contract_of(fleet.INFRA.parent)
    assert list(findings(queries(dashboard()), contract)) == []
    assert list(findings([(rule.get("alert", rule.get("record")), rule["expr"]) for rule in rules()], contract)) == []


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("sum(nightread_job_total)", "no metric"),
        ("sum(nightread_dead_letters_bucket)", "no metric"),
        ('nightread_jobs_total{result="read"}', "no label"),
        ("sum by (modle) (nightread_jobs_total)", "nothing has"),
        ("nightread:failed_share:ratio5m", "no metric"),
    ],
)
def test_a_name_that_nobody_tells_is_seen(expression, words):
    [finding] = findings([("x", expression)], contract_of(fleet.INFRA.parent))
    assert words in finding


@needs_promtool
def test_prometheus_reads_every_query(tmp_path):
    assert promtool_says(list(queries(dashboard())), tmp_path) is None
    assert promtool_says([("x", "sum by (a (b)")], tmp_path) is not None


def test_every_alert_is_seen_live_by_a_test_that_names_it():
    """The full run sees them fire and clear; this sees at once that one has no such test."""
    live, alone = ((fleet.INFRA / "tests" / name).read_text() for name in ("test_alerts_live.py", "test_alerts.py"))
    [elsewhere] = re.findall(r"^ELSEWHERE = .*$", live, re.M)
    named = lambda text: set(re.findall(r'"(Nightread[A-Z]\w+)"', text))
    assert named(elsewhere) - named(alone) == set()
    assert {rule["alert"] for rule in rules() if "alert" in rule} - named(live.replace(elsewhere, "")) - named(elsewhere) == set()


@needs_promtool
def test_every_alert_has_a_test():
    tested = set(re.findall(r"alertname: (\w+)", (RULES.parent / "nightread.rules.test.yml").read_text()))
    alerts = {rule["alert"] for rule in rules() if "alert" in rule}
    assert alerts - tested == set()
    done = subprocess.run(["promtool", "test", "rules", "nightread.rules.test.yml"], cwd=RULES.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
