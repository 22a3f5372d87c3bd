"""Alerts live, with a broker: RabbitMQ, the worker, the relay, the backlog and Prometheus are real; each fault is made, its alert is seen
to fire, the fault is mended, and the alert is seen to clear. Then every query of the dashboard has an answer.

Ranges and waits are shortened in a copy of the rules, and nothing else is changed: thresholds are ours. Azure's storage is a
stand-in that answers as the services do. Faults that need no broker stand in test_alerts.py.
"""

import contextlib
import datetime
import json
import os
import re
import shutil
import subprocess
import time
import urllib.parse
import urllib.request

import pika
import pytest

import broker
import fleet
import stand_in
import test_worker_at_broker as at_broker
from broker import BINARY, NAMES, client, free_port, password, seed, setup_broker
from stand_in import StorageBlobs, StorageQueue
from test_dashboards import RULES, dashboard, queries, rules
from test_worker_at_broker import Worker, announce, fleet_broker, image, job  # noqa: F401  (the fixture)

if os.environ.get("NIGHTREAD_INFRA_QUICK"):
    pytest.skip("SKIPPED: every alert, live: a quick run", allow_module_level=True)

PATIENCE = 240
# Told of by another test, with the same rules: what they need is no broker.
ELSEWHERE = {"NightreadDown", "NightreadMetricsAbsent", "NightreadBacklogAbsent", "NightreadBacklogBlind"}


def shortened(text):
    """The rules with windows and waits of seconds; of what fires at once by a counter, a window that passes."""
    text = re.sub(r"^( +)for: \S+$", r"\1for: 2s", text, flags=re.M)
    # Sessions are lost one after the other, each after the time that a busy machine needs for the next.
    text = text.replace("nightread_broker_sessions_total[30m]", "nightread_broker_sessions_total[2m]")
    return re.sub(r"\[(?:10|15)m\]", "[20s]", text)


class Site:
    """Prometheus over whatever parts run; parts come and go, and it is told by a file."""

    def __init__(self, fleet_broker, folder):
        self.broker, self.folder, self.parts = fleet_broker, folder, {}
        self.storage = folder / "storage"
        for container in NAMES["containers"].values():
            (self.storage / container).mkdir(parents=True)
        self.port = free_port()
        self.queue = stand_in.serve(StorageQueue)
        (folder / "rules.yml").write_text(shortened(RULES.read_text()))
        self.tell()
        (folder / "prometheus.yml").write_text(
            f"global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: [{folder}/rules.yml]\n"
            f"scrape_configs:\n  - {{job_name: nightread, file_sd_configs: [{{files: [{folder}/targets.json], refresh_interval: 1s}}]}}\n"
        )
        command = ["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data", f"--web.listen-address=127.0.0.1:{self.port}"]
        self.prometheus = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "--", *command], stdout=(folder / "prometheus.log").open("w"), stderr=subprocess.STDOUT)

    def tell(self):
        targets = [f"127.0.0.1:{port}" for _, port in self.parts.values()]
        new = self.folder / "targets.json.new"
        new.write_text(json.dumps([{"targets": targets}]))
        new.rename(self.folder / "targets.json")

    @contextlib.contextmanager
    def worker(self, ready=True, **extra):
        with Worker(self.broker, self.storage, **extra) as worker:
            self.parts["worker"] = (worker.process, worker.port)
            self.tell()
            at_broker.until("an answer", lambda: worker.answers("/ready" if ready else "/healthz"), worker)
            yield worker
        del self.parts["worker"]
        self.tell()

    def helper(self, name, user, *command, **extra):
        port = free_port()
        env = {**at_broker.environment(self.broker, self.storage, user, "broker-0"), "NIGHTREAD_HTTP_LISTEN": f"127.0.0.1:{port}", **extra}
        words = [*self.broker["prefix"], "setpriv", "--pdeathsig", "KILL", "--", str(BINARY), *(w.replace("PORT", str(port)) for w in command)]
        process = subprocess.Popen(words, env=env, stdout=(self.folder / f"{name}.log").open("w"), stderr=subprocess.STDOUT)
        self.parts[name] = (process, port)
        self.tell()

    def start(self):
        monitor = f"http://{NAMES['brokerUsers']['monitor']}:{password(self.broker, 'monitor')}@127.0.0.1:{self.broker['ports']['management']}"
        self.helper("backlog", "relay", "backlog", "--every", "1s", "--serve", "127.0.0.1:PORT", NIGHTREAD_BACKLOG_MANAGEMENT_URL=monitor)
        account = stand_in.connection_string(self.queue.server_port)
        self.helper("relay", "relay", "relay", NIGHTREAD_RELAY_CONNECTION_STRING=account)

    def stop(self):
        for process, _ in [*self.parts.values(), (self.prometheus, 0)]:
            process.kill()
            process.wait()
        self.queue.shutdown()

    def ask(self, path):
        with contextlib.suppress(OSError, ValueError), urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
            return json.load(answer)["data"]
        return None

    def query(self, expression):
        found = self.ask("/api/v1/query?" + urllib.parse.urlencode({"query": expression}))
        return found and found["result"]

    def firing(self):
        found = self.ask("/api/v1/alerts")
        return None if found is None else {a["labels"]["alertname"] for a in found["alerts"] if a["state"] == "firing"}

    def until(self, what, holds):
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            firing = self.firing()
            if firing is not None and holds(firing):
                return
            time.sleep(0.5)
        raise AssertionError(f"{what}: firing are {self.firing()}\n" + "\n".join(f"{p.name}: {p.read_text()[-600:]}" for p in [*self.folder.glob("*.log"), *self.storage.glob("*.log")]))

    def seen(self, alerts, make, mend):
        """The fault fires its alerts, and its mending clears them. `make` may be asked again and again."""
        self.until(f"{alerts} quiet before", lambda firing: not alerts & firing)
        try:
            make()
            self.until(f"{alerts} to fire", lambda firing: alerts <= firing)
        finally:
            # Whatever came of it, the next test meets no fault of this one.
            mend()
        self.until(f"{alerts} to clear", lambda firing: not alerts & firing)
        SEEN.update(alerts)


SEEN = set()


@pytest.fixture(scope="module")
def site(fleet_broker, tmp_path_factory):  # noqa: F811
    if shutil.which("prometheus") is None:
        pytest.skip("SKIPPED: alerts live: Prometheus is not installed")
    site = Site(fleet_broker, tmp_path_factory.mktemp("site"))
    try:
        site.start()
        site.until("parts answer", lambda firing: len(site.query("up == 1") or []) == 2)
        yield site
    finally:
        site.stop()


def nothing():
    pass


def publish(site, exchange, key, *bodies, age=0):
    """As the administrator: persistent, and stamped so many seconds ago."""
    properties = pika.BasicProperties(delivery_mode=2, timestamp=int(time.time()) - age)
    with client(site.broker, "admin") as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        for body in bodies:
            channel.basic_publish(exchange, key, body, properties, mandatory=True)


def purge(site, queue):
    with client(site.broker, "admin") as connection:
        connection.channel().queue_purge(queue)


def rabbitmqctl(site, *arguments):
    subprocess.run(["rabbitmqctl", "-q", *arguments], env=site.broker["env"], check=True, capture_output=True)


def test_dead_letters_and_failing_studies(site):
    (site.storage / "incoming/bad.png").write_bytes(b"no image at all")
    (site.storage / "incoming/good.png").write_bytes(image(77))
    jobs = [json.dumps({"blob": "incoming/bad.png", "force": True}).encode()] * 30
    with site.worker():
        announce(site.broker, job("good.png"))
        site.until("a study", lambda _: bool(site.query('nightread_jobs_total{outcome="read"} > 0')))
        dead = NAMES["deadQueue"]
        site.seen({"NightreadDeadLetter", "NightreadDeadLettersLie"}, lambda: announce(site.broker, b"no announcement"), lambda: purge(site, dead))
        site.seen({"NightreadFailedShare"}, lambda: announce(site.broker, *jobs), nothing)


def test_what_waits_too_long(site):
    """Nobody empties the quarantine; then a worker takes images that were announced nine hours ago."""
    quarantine = NAMES["quarantineQueue"]
    site.seen({"NightreadQuarantine"}, lambda: publish(site, "", quarantine, b"{}"), lambda: purge(site, quarantine))
    with site.worker(NIGHTREAD_WORKER_REPORT_SECONDS="1"):
        late = lambda: publish(site, NAMES["exchange"], "job.ingest", *[job("good.png")] * 5, age=9 * 3600)
        site.seen({"NightreadImagesWait", "NightreadOldestJob"}, late, nothing)


def test_a_broker_that_goes_and_comes_or_is_short_of_memory(site):
    with site.worker():
        site.seen({"NightreadBrokerAway"}, lambda: rabbitmqctl(site, "stop_app"), lambda: rabbitmqctl(site, "start_app"))
        blocked = {"NightreadBrokerBlocked"}
        site.seen(blocked, lambda: rabbitmqctl(site, "set_vm_memory_high_watermark", "0.00001"), lambda: rabbitmqctl(site, "set_vm_memory_high_watermark", "0.6"))

        # By one command: on a busy machine each takes half a minute to begin.
        close = "[rabbit_networking:close_connection(C, <<\"a test\">>) || C <- rabbit_networking:connections()], timer:sleep(5000)"
        site.seen({"NightreadBrokerFlaps"}, lambda: rabbitmqctl(site, "eval", f"lists:foreach(fun(_) -> {close} end, lists:seq(1, 16))."), nothing)


def test_results_of_which_nobody_could_be_told(site):
    """The broker takes nothing for longer than a delivery may wait: what there is to tell lies with the results, until it takes again."""
    (site.storage / "incoming/untold.png").write_bytes(image(99))
    # Its work lies there before it starts: however slow a command is, none of it is told before the alarm.
    announce(site.broker, *[json.dumps({"blob": "incoming/untold.png", "force": True}).encode()] * 20)
    with contextlib.ExitStack() as stack:

        def mute():
            rabbitmqctl(site, "set_vm_memory_high_watermark", "0.00001")
            stack.enter_context(site.worker(ready=False, NIGHTREAD_BROKER_CONSUMER_TIMEOUT_SECONDS="10"))

        site.seen({"NightreadUntoldResults", "NightreadPaused"}, mute, lambda: rabbitmqctl(site, "set_vm_memory_high_watermark", "0.6"))


def test_exchanges_that_take_nothing(site):
    """A queue that is full: what goes there is refused, again and again. It takes some beyond its limit before it refuses any."""
    with site.worker():
        dead = NAMES["deadQueue"]

        def full():
            rabbitmqctl(site, "set_policy", "full", f"^{re.escape(dead)}$", '{"max-length": 0, "overflow": "reject-publish"}', "--apply-to", "queues")
            deadline = time.monotonic() + PATIENCE
            while not site.query("sum(nightread_publish_failures_total) > 0") and time.monotonic() < deadline:
                announce(site.broker, b"refused")
                time.sleep(0.5)

        def room():
            rabbitmqctl(site, "clear_policy", "full")
            time.sleep(3)
            purge(site, dead)

        site.seen({"NightreadPublishFailures"}, full, room)


def test_a_container_that_lets_nobody_in(site):
    """One source of two; in a folder, one that is gone is a blob that is gone."""
    blobs = stand_in.serve(StorageBlobs)
    storage = {"NIGHTREAD_STORAGE_KIND": "azure", "NIGHTREAD_STORAGE_FOLDER": "", "NIGHTREAD_STORAGE_CONNECTION_STRING": stand_in.connection_string(blobs.server_port), "NIGHTREAD_SOURCES_CONTAINERS": "incoming,second"}

    def refuse():
        StorageBlobs.away.add("incoming")
        announce(site.broker, *[job(f"refused-{n}.png") for n in range(20)])

    try:
        with site.worker(**storage):
            site.seen({"NightreadContainerAway"}, refuse, StorageBlobs.away.clear)
    finally:
        blobs.shutdown()


def test_events_before_the_broker(site):
    event = {"specversion": "1.0", "id": "x", "source": "/s", "type": "Microsoft.Storage.BlobTierChanged", "subject": "/blobServices/default/containers/incoming/blobs/good.png", "data": {}}

    def slow():
        old = datetime.datetime.now(datetime.UTC) - datetime.timedelta(minutes=10)
        with StorageQueue.lock:
            StorageQueue.waiting.extend([(old, json.dumps({**event, "id": str(n)}).encode()) for n in range(5)])

    def spoil(count):
        StorageQueue.poison = count

    site.seen({"NightreadStorageQueueSlow"}, slow, nothing)
    site.seen({"NightreadPoison"}, lambda: spoil(3), lambda: spoil(0))
    purge(site, NAMES["laneQueues"]["ingest"])


def test_every_query_of_the_dashboard_has_an_answer(site):
    """After work of every kind; an alert has a row only while one fires, and so has a container that is away."""
    (site.storage / "incoming/late.png").write_bytes(image(50))
    with site.worker():
        announce(site.broker, job("late.png"), job("bad.png"), b"no announcement", json.dumps({"blob": "incoming/bad.png", "force": True}).encode())
        site.until("an image", lambda _: bool(site.query('nightread_jobs_total{outcome="read"} > 0')))
        empty = None
        deadline = time.monotonic() + PATIENCE
        while empty != [] and time.monotonic() < deadline:
            empty = [f"{title}: {expression}" for title, expression in queries(dashboard()) if not site.query(expression) and not re.search(r"ALERTS|container_up == 0", expression)]
            time.sleep(1)
        assert empty == []


def test_a_certificate_that_ends_and_descriptors_that_run_out(site):
    deploy = site.broker["folder"] / "etc/deploy.env"
    secrets = {"CA": "brokerCa", "CERTIFICATE": "serverCertificate", "KEY": "serverKey", "COOKIE": "erlangCookie"}
    deploy.write_text(deploy.read_text() + "".join(f"SECRET_{k}={NAMES['secrets'][v]}\n" for k, v in secrets.items()))
    vaults = site.broker["secrets"].parent
    env = {**site.broker["env"], "NIGHTREAD_SETUP_TLS": str(site.broker["tls"]), "NIGHTREAD_SETUP_OWNER": "root"}

    def show(days):
        """New certificates, as a rotation takes them into use."""
        settings = json.loads((fleet.INFRA / "shared/settings.json").read_text())
        settings["secrets"]["certificateDays"] = days
        copy = site.folder / f"infra-{days}"
        shutil.copytree(fleet.INFRA / "scripts", copy / "scripts")
        (copy / "shared").mkdir()
        (copy / "shared/settings.json").write_text(json.dumps(settings))
        subprocess.run([str(copy / "scripts/seed-secrets"), "--name", "testfleet", "--out", str(vaults), "--rotate", "tls"], check=True, capture_output=True)
        done = setup_broker(env, "start_helpers() { :; }; rotate")
        assert done.returncode == 0, done.stderr

    # Who runs trusts the authorities that it read at its start: a worker is started anew after each rotation, as rotate does.
    show(20)
    with site.worker():
        site.until("the end to be told", lambda firing: "NightreadCertificateEnds" in firing)
    show(397)
    with site.worker() as worker:
        site.until("the end to be far", lambda firing: "NightreadCertificateEnds" not in firing)
        SEEN.add("NightreadCertificateEnds")
        pid = worker.process.pid
        used = lambda: len(os.listdir(f"/proc/{pid}/fd"))
        limit = lambda most: subprocess.run(["prlimit", "--pid", str(pid), f"--nofile={most}:"], check=True)
        site.seen({"NightreadDescriptors"}, lambda: limit(used() + 2), lambda: limit(1024))


def test_every_alert_was_seen_live(request):
    """Here or, where no broker is needed, in test_alerts.py; only after all of this file ran."""
    if request.session.testsfailed or len(SEEN) == 0:
        pytest.skip("SKIPPED: the count of alerts: not every test of them ran")
    assert {rule["alert"] for rule in rules() if "alert" in rule} - ELSEWHERE - SEEN == set()
