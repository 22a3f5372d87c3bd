"""Metrics by remote write: a real Prometheus receives what the services of the fleet would send to an Azure Monitor workspace."""

import contextlib
import http.server
import json
import os
import re
import shutil
import signal
import subprocess
import threading
import time
import urllib.parse
import urllib.request

import pytest

import broker
import fleet
from broker import free_port
from test_alerts import NOBODY, STORAGE, binary
from test_worker_at_broker import fleet_broker, on_broker, storage  # noqa: F401  (fixtures)

PATIENCE = 180


class Receiver:
    """Prometheus, which scrapes nobody."""

    def __init__(self, folder):
        self.folder, self.port, self.process = folder, free_port(), None
        self.url = f"http://127.0.0.1:{self.port}/api/v1/write"
        (folder / "prometheus.yml").write_text("global: {evaluation_interval: 1s}\n")

    def start(self):
        command = ["prometheus", f"--config.file={self.folder}/prometheus.yml", f"--storage.tsdb.path={self.folder}/data", f"--web.listen-address=127.0.0.1:{self.port}", "--web.enable-remote-write-receiver"]
        log = (self.folder / "prometheus.log").open("a")
        self.process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "--", *command], stdout=log, stderr=log)

    def stop(self):
        self.process.terminate()
        self.process.wait(60)

    def query(self, expression):
        with contextlib.suppress(OSError, ValueError), urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api/v1/query?" + urllib.parse.urlencode({"query": expression}), timeout=5) as answer:
            return json.load(answer)["data"]["result"]
        return []


@pytest.fixture
def receiver(tmp_path):
    if shutil.which("prometheus") is None:
        pytest.skip("SKIPPED: remote write: Prometheus is not installed")
    receiver = Receiver(tmp_path)
    receiver.start()
    yield receiver
    receiver.stop()


def until(what, found, log=None):
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if value := found():
            return value
        time.sleep(0.3)
    raise AssertionError(f"no {what}: {log.read_text()[-2000:] if log else ''}")


@contextlib.contextmanager
def relay(folder, url, **extra):
    """A relay, whose broker and queue nobody serves; its port and its log."""
    port, log = free_port(), folder / "relay.log"
    env = {
        **os.environ,
        "NIGHTREAD_BROKER_URL": f"amqp://nobody:nobody@{NOBODY}/%2f",
        "NIGHTREAD_STORAGE_KIND": "folder",
        "NIGHTREAD_STORAGE_FOLDER": str(folder),
        "NIGHTREAD_RELAY_CONNECTION_STRING": STORAGE,
        "NIGHTREAD_HTTP_LISTEN": f"127.0.0.1:{port}",
        "NIGHTREAD_METRICS_WRITE_URL": url,
        "NIGHTREAD_METRICS_WRITE_SECONDS": "1",
        **extra,
    }
    process = subprocess.Popen([str(binary()), "relay"], env=env, stdout=log.open("a"), stderr=subprocess.STDOUT)
    try:
        yield port, log, process
    finally:
        process.kill()
        process.wait()


def served(port):
    with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        return set(re.findall(r"^(\w+)(?=[{ ])", answer.read().decode(), re.M))
    return set()


def test_all_that_is_served_is_written_as_a_target_of_its_own(receiver, tmp_path):
    with relay(tmp_path, receiver.url) as (port, log, process):
        until("metrics", lambda: receiver.query('up{job="nightread-relay"} == 1'), log)
        names = until("metrics on the page", lambda: served(port))
        assert {"nightread_build_info", "nightread_relay_messages_total", "nightread_storage_queue_wait_seconds_bucket", "process_open_fds"} <= names
        until("each of them", lambda: names <= {s["metric"]["__name__"] for s in receiver.query('{job="nightread-relay"}')}, log)
        [build] = receiver.query("nightread_build_info")
        assert build["metric"]["instance"].endswith(f":{port}") and build["metric"]["version"]
        # The dashboard's and the alerts' own words for a target hold here as well.
        assert receiver.query('process_open_fds{job=~"nightread.*"} / process_max_fds') and receiver.query('avg(up{job=~"nightread.*"})')
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0, log.read_text()[-2000:]


def test_a_receiver_that_goes_is_told_of_once_and_found_again(receiver, tmp_path):
    with relay(tmp_path, receiver.url) as (_, log, _process):
        until("metrics", lambda: receiver.query("nightread_build_info"), log)
        # The very first may have come before the receiver listened.
        before = [log.read_text().count(words) for words in ("metrics are not written", "metrics are written again")]
        receiver.stop()
        until("a warning", lambda: log.read_text().count("metrics are not written") > before[0], log)
        time.sleep(3)
        receiver.start()
        until("a word that it is back", lambda: log.read_text().count("metrics are written again") > before[1], log)
        assert log.read_text().count("metrics are not written") == before[0] + 1


class Refusing(http.server.BaseHTTPRequestHandler):
    """Takes nothing, and keeps how it was asked."""

    asked = []

    def log_message(self, *_):
        pass

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.asked.append(dict(self.headers.items()))
        body = b"no such rule"
        self.send_response(403)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def test_a_refusal_is_told_in_words_and_the_service_goes_on(tmp_path):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with relay(tmp_path, f"http://127.0.0.1:{server.server_port}/") as (port, log, process):
            until("a refusal", lambda: "Monitoring Metrics Publisher" in log.read_text(), log)
            until("a second try", lambda: len(Refusing.asked) > 1)
            assert process.poll() is None and served(port)
            asked = {name.lower(): value for name, value in Refusing.asked[0].items()}
            assert (asked["content-type"], asked["content-encoding"], asked["x-prometheus-remote-write-version"]) == ("application/x-protobuf", "snappy", "0.1.0")
            assert "authorization" not in asked, "no token without an audience"
    finally:
        server.shutdown()


def test_the_minutes_backlog_is_written_by_the_look_itself(fleet_broker, storage, receiver):  # noqa: F811
    """As the timer of the brokers runs it, which serves nothing."""
    monitor = f"http://{broker.NAMES['brokerUsers']['monitor']}:{broker.password(fleet_broker, 'monitor')}@127.0.0.1:{fleet_broker['ports']['management']}"
    done = on_broker(fleet_broker, storage, "nightread-backlog", without=("--publish",), NIGHTREAD_BACKLOG_MANAGEMENT_URL=monitor, NIGHTREAD_METRICS_WRITE_URL=receiver.url)
    assert done.returncode == 0, done.stdout + done.stderr
    until("the backlog", lambda: receiver.query('nightread_backlog_seconds_per_worker{job="nightread-backlog"}'))
    assert receiver.query("nightread_backlog_messages") and receiver.query("nightread_backlog_last_success_age_seconds")


def test_machines_and_containers_are_told_the_same_receiver(bicep_facts):
    url = "https://dce-testfleet-metrics.westeurope-1.metrics.ingest.monitor.azure.com/dataCollectionRules/dcr-00000000000000000000000000000001/streams/Microsoft-PrometheusMetrics/api/v1/write?api-version=2023-04-24"
    audience = fleet.settings()["metrics"]["remoteWrite"]["audience"]
    for machines in ("scale_sets", "brokers"):
        for variant, said in (("prod", url), ("dev", "")):
            for machine in bicep_facts[variant][machines].values():
                lines = machine["cloud_init"].splitlines()
                assert f"      NIGHTREAD_METRICS_WRITE_URL={said}" in lines and f"      NIGHTREAD_METRICS_WRITE_AUDIENCE={audience}" in lines
    for app in (bicep_facts["prod_containers"]["container_apps"], bicep_facts["prod_containers"]["container_jobs"]):
        told = [dict((name, value) for name, value, _ in one["env"]) for name, one in app.items() if "announce" not in name]
        assert told and all((t["NIGHTREAD_METRICS_WRITE_URL"], t["NIGHTREAD_METRICS_WRITE_AUDIENCE"]) == (url, audience) for t in told)
