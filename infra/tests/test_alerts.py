"""Alerts live: Prometheus judges real parts by our rules, a fault is made, the alert is seen to fire, the fault is mended, and it is seen to clear.

Here stand the faults that need no broker; every alert has its test by `promtool` in prometheus/nightread.rules.test.yml. Waits are
shortened in a copy of the rules, and nothing else is changed.
"""

import contextlib
import json
import os
import re
import shutil
import subprocess
import time
import urllib.parse
import urllib.request

import pytest

import fleet
from broker import BINARY, free_port
from test_dashboards import RULES, dashboard, queries

DEBUG = fleet.INFRA.parent / "target/debug/nightread"
PATIENCE = 180
NOBODY = "127.0.0.1:1"
# The account and key that Azurite's documentation gives to everybody.
STORAGE = (
    "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;"
    "AccountKey=Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==;"
    f"BlobEndpoint=http://{NOBODY}/devstoreaccount1;QueueEndpoint=http://{NOBODY}/devstoreaccount1;"
)


def binary():
    found = next((b for b in (BINARY, DEBUG) if b.exists()), None)
    if found is None or shutil.which("prometheus") is None:
        pytest.skip(f"SKIPPED: alerts live: {'Prometheus is not installed' if found else 'the worker is not built'}")
    return found


class Site:
    """A relay and a backlog, whose broker and storage nobody serves, and a Prometheus that scrapes both each second."""

    def __init__(self, folder):
        self.folder, self.binary, self.running = folder, binary(), {}
        self.ports = {name: free_port() for name in ("relay", "backlog", "prometheus")}
        rules = re.sub(r"^( +)for: \S+$", r"\1for: 2s", RULES.read_text(), flags=re.M)
        rules = rules.replace("nightread_backlog_last_success_age_seconds > 300", "nightread_backlog_last_success_age_seconds > 3")
        (folder / "rules.yml").write_text(rules)
        targets = ", ".join(f'"127.0.0.1:{self.ports[name]}"' for name in ("relay", "backlog"))
        (folder / "prometheus.yml").write_text(
            "global: {scrape_interval: 1s, evaluation_interval: 1s}\n"
            f"rule_files: [{folder}/rules.yml]\nscrape_configs:\n  - {{job_name: nightread, static_configs: [{{targets: [{targets}]}}]}}\n"
        )

    def start(self, name):
        port, broker = self.ports[name], f"amqp://nobody:nobody@{NOBODY}/%2f"
        commands = {
            "relay": [str(self.binary), "relay"],
            "backlog": [str(self.binary), "backlog", "--every", "1s", "--serve", f"127.0.0.1:{port}"],
            "prometheus": ["prometheus", f"--config.file={self.folder}/prometheus.yml", f"--storage.tsdb.path={self.folder}/data", f"--web.listen-address=127.0.0.1:{port}"],
        }
        env = {
            **os.environ,
            "NIGHTREAD_BROKER_URL": broker,
            "NIGHTREAD_STORAGE_KIND": "folder",
            "NIGHTREAD_STORAGE_FOLDER": str(self.folder),
            "NIGHTREAD_RELAY_CONNECTION_STRING": STORAGE if name == "relay" else "",
            "NIGHTREAD_BACKLOG_MANAGEMENT_URL": f"http://nobody:nobody@{NOBODY}",
            "NIGHTREAD_HTTP_LISTEN": f"127.0.0.1:{port}",
            "ORT_DISABLE_TELEMETRY": "1",
        }
        with (self.folder / f"{name}.log").open("a") as log:
            self.running[name] = subprocess.Popen(commands[name], env=env, stdout=log, stderr=log, start_new_session=True)

    def stop(self, name):
        process = self.running.pop(name)
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)
        process.kill()
        process.wait()

    def ask(self, path):
        with contextlib.suppress(OSError, ValueError), urllib.request.urlopen(f"http://127.0.0.1:{self.ports['prometheus']}{path}", timeout=5) as answer:
            return json.load(answer)["data"]
        return None

    def firing(self):
        found = self.ask("/api/v1/alerts")
        return found and {a["labels"]["alertname"] for a in found["alerts"] if a["state"] == "firing"}

    def query(self, expression):
        return self.ask("/api/v1/query?" + urllib.parse.urlencode({"query": expression}))

    def until(self, what, holds):
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            firing = self.firing()
            if firing is not None and holds(firing):
                return
            time.sleep(0.5)
        raise AssertionError(f"{what}: firing are {self.firing()}\n" + "\n".join(p.read_text()[-500:] for p in self.folder.glob("*.log")))


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    site = Site(tmp_path_factory.mktemp("site"))
    try:
        for name in ("relay", "backlog", "prometheus"):
            site.start(name)
        site.until("parts answer", lambda firing: "NightreadMetricsAbsent" not in firing and len((site.query("up == 1") or {"result": []})["result"]) == 2)
        yield site
    finally:
        for name in list(site.running):
            site.stop(name)


def test_a_broker_and_a_backlog_that_are_away_are_told(site):
    site.until("both to fire", lambda firing: {"NightreadBrokerAway", "NightreadBacklogBlind"} <= firing)


@pytest.mark.parametrize(
    ("stopped", "alerts"),
    [(("backlog",), {"NightreadBacklogAbsent", "NightreadDown"}), (("relay", "backlog"), {"NightreadMetricsAbsent", "NightreadDown"})],
    ids=["backlog", "everything"],
)
def test_what_stops_is_told_and_what_is_back_is_cleared(site, stopped, alerts):
    site.until("quiet", lambda firing: not alerts & firing)
    for name in stopped:
        site.stop(name)
    site.until(f"{alerts} to fire", lambda firing: alerts <= firing)
    for name in stopped:
        site.start(name)
    site.until(f"{alerts} to clear", lambda firing: not alerts & firing)


def test_the_live_prometheus_answers_every_query_of_the_dashboard(site):
    """Those about what these two parts tell have an answer; the others are read without a fault."""
    found = site.query('count by (__name__) ({__name__=~"(nightread|process)_.*|up"})') or {"result": []}
    told = {m["metric"]["__name__"] for m in found["result"]}
    assert {"nightread_relay_messages_total", "nightread_backlog_last_success_age_seconds", "nightread_broker_up"} <= told
    answered = set()
    for title, expression in queries(dashboard()):
        result = site.query(expression)
        assert result is not None, f"{title}: {expression}"
        if result["result"]:
            answered.add(title)
    # Alerts have a row only while one fires: the tests above ask for those.
    assert {"Scraped", "Backlog last counted", "Broker", "Processor", "Memory"} <= answered
