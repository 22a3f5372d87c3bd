"""The real worker at the real broker, each with no more rights than the fleet gives it: what setup-broker allows is what the worker needs."""

import datetime
import json
import shutil
import signal
import struct
import subprocess
import time
import urllib.error
import urllib.request
import zlib

import pika
import pytest

import broker
import fleet
import stand_in
import syscalls
from broker import BINARY, NAMES, SETTINGS, ZONE, client

PATIENCE_SECONDS = 300


@pytest.fixture(scope="module")
def fleet_broker(rabbitmq):
    return declared(rabbitmq)


def declared(rabbitmq):
    """The broker with its exchanges and queues, declared by the step of `setup-broker` that does so on the machine."""
    if not BINARY.exists() or broker.runtime() is None:
        pytest.skip("SKIPPED: the worker at the broker: needs `make build runtime`")
    folder = rabbitmq["folder"]
    prefix = broker.in_zone(folder)
    # As the archive would be installed, and as cloud-init would write its environment.
    (folder / "prefix/bin").mkdir(parents=True, exist_ok=True)
    (folder / "prefix/bin/nightread").unlink(missing_ok=True)
    (folder / "prefix/bin/nightread").symlink_to(BINARY)
    (folder / "etc/nightread.env").write_text(f"NIGHTREAD_BROKER_CA_FILE={folder / 'tls/ca.pem'}\n")
    shutil.copy(fleet.INFRA / "package/worker.toml", folder / "etc")
    env = {**rabbitmq["env"], "NIGHTREAD_SETUP_PREFIX": str(folder / "prefix")}
    done = broker.setup_broker(env, "declare_topology", prefix)
    assert done.returncode == 0, done.stderr
    return {**rabbitmq, "prefix": prefix}


def image(value):
    """A grey PNG of 64 by 64 pixels, of one value but for a pixel: an image of one value is refused."""
    chunk = lambda kind, body: struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    rows = bytearray((b"\0" + bytes([value]) * 64) * 64)
    rows[1] ^= 1
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 64, 64, 8, 0, 0, 0, 0)) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def until(what, found, worker=None):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if (value := found()) not in (None, False):
            return value
        assert worker is None or worker.process.poll() is None, f"the worker ended while waiting for {what}: {worker.text()}"
        time.sleep(0.1)
    raise AssertionError(f"no {what} in {PATIENCE_SECONDS} s: {worker.text() if worker else ''}")


def environment(fleet_broker, storage, user, host):
    """What cloud-init and the set-up scripts give to a service of this user, but for the storage, which is a folder here."""
    return {
        "PATH": "/usr/bin:/bin",
        "NIGHTREAD_BROKER_URL": f"amqps://{NAMES['brokerUsers'][user]}:{broker.password(fleet_broker, user)}@{host}.{ZONE}:{fleet_broker['ports']['amqps']}/%2f",
        "NIGHTREAD_BROKER_CA_FILE": str(fleet_broker["tls"] / "ca.pem"),
        "NIGHTREAD_STORAGE_KIND": "folder",
        "NIGHTREAD_STORAGE_FOLDER": str(storage),
        "NIGHTREAD_MODELS_DIR": str(fleet.INFRA.parent / "tests/fixtures/models"),
        "NIGHTREAD_MODELS_PRECISION": "fp32",
        "NIGHTREAD_MODELS_RUNTIME": broker.runtime(),
    }


class Worker:
    """`nightread run` with the worker's user and password, at the name under which workers know the broker."""

    def __init__(self, fleet_broker, storage, traced=(), **extra):
        self.port, self.log = broker.free_port(), storage / f"worker-{time.monotonic_ns()}.log"
        settings = {**environment(fleet_broker, storage, "worker", "broker"), "NIGHTREAD_HTTP_LISTEN": f"127.0.0.1:{self.port}", **extra}
        command = [*fleet_broker["prefix"], "setpriv", "--pdeathsig", "KILL", "--", *traced, str(BINARY), "run"]
        self.process = subprocess.Popen(command, env=settings, stdout=self.log.open("w"), stderr=subprocess.STDOUT)

    def text(self):
        return self.log.read_text()[-3000:]

    def answers(self, path):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return json.loads(answer.read()) if path == SETTINGS["health"]["path"] else True
        except (OSError, urllib.error.URLError):
            return None

    def drained(self):
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(PATIENCE_SECONDS) == 0, self.text()
        assert "ACCESS_REFUSED" not in self.log.read_text() and "access to " not in self.log.read_text()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


@pytest.fixture
def storage(tmp_path):
    for container in NAMES["containers"].values():
        (tmp_path / container).mkdir()
    return tmp_path


def announce(fleet_broker, *bodies):
    """As the relay does: persistent, mandatory, confirmed."""
    with client(fleet_broker, "relay") as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        for body in bodies:
            channel.basic_publish(NAMES["exchange"], f"{NAMES['routingKey']}.ingest", body, pika.BasicProperties(delivery_mode=2), mandatory=True)


def job(name):
    return json.dumps({"blob": f"incoming/{name}"}).encode()


def waiting(fleet_broker, queue):
    with client(fleet_broker, "admin") as connection:
        return connection.channel().queue_declare(queue, passive=True).method.message_count


def result(storage, name):
    path = storage / f"results/one-node/1.0.0-fp32/incoming/{name}.json"
    return json.loads(path.read_text()) if path.exists() else None


def test_the_worker_lives_with_the_rights_it_is_given(fleet_broker, storage):
    (storage / "incoming/good.png").write_bytes(image(128))
    (storage / "incoming/bad.png").write_bytes(b"no image at all")
    with client(fleet_broker, "admin") as connection, Worker(fleet_broker, storage) as worker:
        channel = connection.channel()
        told = channel.queue_declare("", exclusive=True).method.queue
        channel.queue_bind(told, NAMES["resultsExchange"], "#")
        assert until("health", lambda: worker.answers(SETTINGS["health"]["path"]), worker) == SETTINGS["health"]["body"]
        until("readiness", lambda: worker.answers("/ready"), worker)
        announce(fleet_broker, job("good.png"), job("bad.png"), b"not an announcement")
        assert until("result", lambda: result(storage, "good.png"), worker)["status"] == "ok"
        assert until("failed result", lambda: result(storage, "bad.png"), worker)["status"] == "failed"
        until("dead letter", lambda: waiting(fleet_broker, NAMES["deadQueue"]) == 1, worker)
        until("result events", lambda: channel.queue_declare(told, passive=True).method.message_count >= 1, worker)
        worker.drained()
        channel.queue_purge(NAMES["deadQueue"])
    assert all(waiting(fleet_broker, queue) == 0 for queue in NAMES["laneQueues"].values())


def test_an_image_that_kills_workers_finds_its_way_with_these_rights(fleet_broker, storage):
    (storage / "incoming/deadly.png").write_bytes(image(10))
    announce(fleet_broker, job("deadly.png"))
    for _ in range(4):
        with Worker(fleet_broker, storage, NIGHTREAD_TESTING="1", NIGHTREAD_WORKER_FAILPOINT="after_fetch") as worker:
            assert worker.process.wait(PATIENCE_SECONDS) != 0, "the fail point kills it"
            assert "ACCESS_REFUSED" not in worker.log.read_text(), worker.text()
    with Worker(fleet_broker, storage) as worker:
        until("readiness", lambda: worker.answers("/ready"), worker)
        assert until("result", lambda: result(storage, "deadly.png"), worker)["status"] == "ok"
        worker.drained()


def start_of(unit):
    """The command line of a unit of the brokers, after the program."""
    text = (fleet.INFRA / f"package/systemd/{unit}.service").read_text().replace("@RECONCILE_SINCE@", SETTINGS["reconcile"]["modifiedSince"])
    [line] = [line.split()[1:] for line in text.splitlines() if line.startswith("ExecStart=")]
    return line


def on_broker(fleet_broker, storage, unit, without=(), **extra):
    """Runs what a unit of the brokers starts, with the relay's user, as `start_helpers` gives it."""
    command = [word.replace("/etc/nightread", str(fleet_broker["folder"] / "etc")) for word in start_of(unit) if word not in without]
    env = {**environment(fleet_broker, storage, "relay", "broker-0"), **extra}
    return subprocess.run([*fleet_broker["prefix"], str(BINARY), *command], env=env, capture_output=True, text=True, check=False)


def test_the_nightly_reconciliation_announces_what_has_no_result_and_nothing_else(fleet_broker, storage):
    bulk = NAMES["laneQueues"]["bulk"]
    for number in range(3):
        (storage / f"incoming/{number}.png").write_bytes(image(number))
    for expected in (3, 0):
        done = on_broker(fleet_broker, storage, "nightread-announce")
        assert done.returncode == 0, done.stdout + done.stderr
        assert waiting(fleet_broker, bulk) == expected
        with Worker(fleet_broker, storage) as worker:
            until("readiness", lambda: worker.answers("/ready"), worker)
            until("results", lambda: all(result(storage, f"{number}.png") for number in range(3)), worker)
            until("an empty queue", lambda: waiting(fleet_broker, bulk) == 0, worker)
            worker.drained()


def dicom(series, number):
    """A DICOM file of no more than a header: which instance of which series it is. Without a series where that is empty."""
    uid = "1.2.826.0.1.3680043.10.543"

    def element(group, tag, kind, value):
        value = value.encode() if isinstance(value, str) else value
        value += (b"\0" if kind in (b"UI", b"OB") else b" ") * (len(value) % 2)
        length = struct.pack("<HI", 0, len(value)) if kind == b"OB" else struct.pack("<H", len(value))
        return struct.pack("<HH", group, tag) + kind + length + value

    ct, instance = "1.2.840.10008.5.1.4.1.1.2", f"{series or uid}.{number}"
    meta = element(2, 1, b"OB", b"\0\1") + element(2, 2, b"UI", ct) + element(2, 3, b"UI", instance) + element(2, 0x10, b"UI", "1.2.840.10008.1.2.1") + element(2, 0x12, b"UI", uid)
    body = element(8, 0x16, b"UI", ct) + element(8, 0x18, b"UI", instance) + element(8, 0x60, b"CS", "CT") + element(0x20, 0xD, b"UI", uid)
    body += element(0x20, 0xE, b"UI", series) if series else b""
    return b"\0" * 128 + b"DICM" + element(2, 0, b"UL", struct.pack("<I", len(meta))) + meta + body + element(0x20, 0x13, b"IS", str(number))


def with_route(fleet_broker, folder):
    """The settings as the set-up leaves them where series are gathered; it may be repeated."""
    names = NAMES["containers"]
    route = (fleet.INFRA / "shared/series/route.toml").read_text()
    for token, value in (("INCOMING", names["incoming"]), ("SERIES_PREFIX", "ct/"), ("SERIES_MODEL", "ct-organs-demo")):
        route = route.replace(f"@@{token}@@", value)
    folder.mkdir()
    (folder / "series.toml").write_text(route)
    for name in ("deploy.env", "worker.toml"):
        shutil.copy(fleet_broker["folder"] / "etc" / name, folder)
    done = broker.setup_broker({**fleet_broker["env"], "NIGHTREAD_SETUP_ETC": str(folder)}, "add_route && add_route")
    assert done.returncode == 0, done.stderr
    settings = folder / "worker.toml"
    assert settings.read_text().count("[[routes]]") == 1
    return settings


def test_files_of_a_series_are_announced_as_one_with_the_rights_of_who_assembles(fleet_broker, storage):
    """Azure's queue is a stand-in. What is written beside the results lies where the condition of the role on Azure lets it lie."""
    volumes, dead, series = NAMES["laneQueues"]["volumes"], NAMES["deadQueue"], "1.2.826.0.1.3680043.10.543.7"
    (storage / "incoming/ct").mkdir()
    for number in range(4):
        (storage / f"incoming/ct/{number}.dcm").write_bytes(dicom(series if number else "", number))
    now = datetime.datetime.now(datetime.UTC)
    # By name: a folder has no address that an event of Azure could tell.
    events = [{"blob": f"incoming/ct/{number}.dcm"} for number in range(4)]
    queue = stand_in.serve(stand_in.StorageQueue)
    stand_in.StorageQueue.waiting.extend((now, json.dumps(event).encode()) for event in events)
    env = {
        **environment(fleet_broker, storage, "assemble", "broker-0"),
        "NIGHTREAD_ASSEMBLE_CONNECTION_STRING": stand_in.connection_string(queue.server_port),
        "NIGHTREAD_ASSEMBLE_QUIET_SECONDS": "1",
        "NIGHTREAD_HTTP_LISTEN": f"127.0.0.1:{broker.free_port()}",
    }
    command = [*fleet_broker["prefix"], str(BINARY), "assemble", "--once", "--config", str(with_route(fleet_broker, storage / "etc"))]
    try:
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=PATIENCE_SECONDS)
        assert done.returncode == 0 and "ACCESS_REFUSED" not in done.stderr, done.stdout + done.stderr
        assert (waiting(fleet_broker, volumes), waiting(fleet_broker, dead)) == (1, 1), done.stdout + done.stderr
        written = {str(path.relative_to(storage / "results")) for path in (storage / "results").rglob("*") if path.is_file()}
        assert f"_series/incoming/ct/{series}.json" in written
        # The lock is of the folder, and not of what is written.
        assert {name.split("/")[0] for name in written} - {".nightread.lock"} <= {"_series", "_assemble"}, written
    finally:
        queue.shutdown()
        with client(fleet_broker, "admin") as connection:
            for name in (volumes, dead, NAMES["laneQueues"]["ingest"]):
                connection.channel().queue_purge(name)


def test_the_backlog_is_counted_with_the_rights_of_the_monitor_and_the_relay(fleet_broker, storage):
    """All but the publishing, which needs Azure Monitor."""
    announce(fleet_broker, job("0.png"), job("1.png"))
    url = f"http://{NAMES['brokerUsers']['monitor']}:{broker.password(fleet_broker, 'monitor')}@127.0.0.1:{fleet_broker['ports']['management']}"
    try:
        # The management plug-in counts every few seconds.
        def counted():
            done = on_broker(fleet_broker, storage, "nightread-backlog", without=("--publish",), NIGHTREAD_BACKLOG_MANAGEMENT_URL=url)
            assert done.returncode == 0, done.stdout + done.stderr
            return next((line for line in done.stdout.splitlines() if "ingest" in line and " 2 " in line), None)

        until("two jobs in the count", counted)
    finally:
        with client(fleet_broker, "admin") as connection:
            connection.channel().queue_purge(NAMES["laneQueues"]["ingest"])


def test_the_unit_lets_the_worker_do_what_it_does(fleet_broker, storage):
    """Every system call of a worker that reads, decodes in a child process, stores and drains is in the filter of its unit."""
    trace = storage / "trace"
    traced = syscalls.tracer(trace)
    if traced is None or shutil.which("systemd-analyze") is None:
        pytest.skip("SKIPPED: the system calls of the worker: strace or systemd-analyze is not installed")
    sample = fleet.INFRA.parent / ".cache/samples/RG1_J2KR.dcm"
    if not sample.exists():
        pytest.skip("SKIPPED: the system calls of the worker: needs `make samples`")
    shutil.copy(sample, storage / "incoming/a.dcm")
    unit = (fleet.INFRA / "package/systemd/nightread.service").read_text()
    [filters] = [line.split("=")[1].split() for line in unit.splitlines() if line.startswith("SystemCallFilter=")]
    with Worker(fleet_broker, storage, traced) as worker:
        until("readiness", lambda: worker.answers("/ready"), worker)
        announce(fleet_broker, job("a.dcm"))
        assert until("result", lambda: result(storage, "a.dcm"), worker)["status"] == "ok"
        worker.drained()
    calls = syscalls.made(trace, str(BINARY))
    assert {"futex", "clone3", "execve", "connect"} <= calls, "the trace holds threads, the decoding child and the broker"
    assert sorted(calls - syscalls.allowed(filters)) == []
    assert "connect" not in syscalls.allowed(["@default"]), "a filter without the network would be seen"
