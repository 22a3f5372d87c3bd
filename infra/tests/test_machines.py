"""What runs on the machines: fetching with an identity, setting up a worker, the secrets, and a real RabbitMQ set up by the script."""

import contextlib
import hashlib
import http.server
import json
import os
import shutil
import socket
import ssl
import subprocess
import tarfile
import threading
import time
from pathlib import Path

import pytest

import fleet

SCRIPTS = fleet.INFRA / "shared/scripts"
SETTINGS = fleet.settings()


class Azure(http.server.BaseHTTPRequestHandler):
    """The three services that a machine asks at boot: identity, Blob storage, Key Vault. Each is as strict as Azure about headers."""

    def do_GET(self):
        path, _, query = self.path.partition("?")
        state = self.server.state
        state["asked"].append(path)
        if path == "/metadata/identity/oauth2/token":
            if self.headers.get("Metadata") != "true" or "client_id=client" not in query:
                return self.answer(400, b"{}")
            audience = query.split("resource=")[1].split("&")[0]
            return self.answer(200, json.dumps({"access_token": "token for " + audience}).encode())
        audience = "https%3A%2F%2Fvault.azure.net" if path.startswith("/secrets/") else "https%3A%2F%2Fstorage.azure.com%2F"
        if self.headers.get("Authorization") != "Bearer token for " + audience:
            return self.answer(401, b"{}")
        if path.startswith("/secrets/"):
            value = state["secrets"].get(path.split("/")[2])
            return self.answer(404, b"{}") if value is None else self.answer(200, json.dumps({"value": value}).encode())
        if self.headers.get("x-ms-version") is None:
            return self.answer(400, b"")
        if path == "/artifacts/moved":
            self.send_response(302)
            self.send_header("Location", "http://127.0.0.1:9/elsewhere")
            self.end_headers()
            return None
        body = state["blobs"].get(path)
        return self.answer(404, b"") if body is None else self.answer(200, body)

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def azure():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Azure)
    server.state = {"asked": [], "secrets": {}, "blobs": {}}
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()


def environment(azure, **extra):
    url = f"http://127.0.0.1:{azure.server_address[1]}"
    return {**os.environ, "IMDS_ENDPOINT": url, "BLOB_ENDPOINT": url, "VAULT_ENDPOINT": url, "AZURE_CLIENT_ID": "client", **extra}


def fetch(azure, *arguments):
    return subprocess.run([str(SCRIPTS / "azure-fetch"), *arguments], env=environment(azure), capture_output=True, text=True, check=False)


def test_a_blob_is_fetched_and_its_digest_checked(azure, tmp_path):
    body = os.urandom(3 << 20)
    azure.state["blobs"]["/artifacts/a.tar.gz"] = body
    digest = hashlib.sha256(body).hexdigest()
    target = tmp_path / "a.tar.gz"
    assert fetch(azure, "blob", "acc", "artifacts", "a.tar.gz", digest, str(target)).returncode == 0
    assert target.read_bytes() == body


def test_a_blob_with_another_digest_is_refused_and_not_left_behind(azure, tmp_path):
    azure.state["blobs"]["/artifacts/a.tar.gz"] = b"tampered"
    done = fetch(azure, "blob", "acc", "artifacts", "a.tar.gz", "0" * 64, str(tmp_path / "a.tar.gz"))
    assert done.returncode == 2 and "digest" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["missing", "moved"])
def test_what_cannot_be_had_now_is_tried_again_later(azure, tmp_path, name):
    """A redirect counts as an error: it would carry the token to another host."""
    done = fetch(azure, "blob", "acc", "artifacts", name, "0" * 64, str(tmp_path / "x"))
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_secret_is_printed_as_it_is(azure):
    azure.state["secrets"]["broker-ca"] = "-----BEGIN\nx\n-----END\n"
    assert fetch(azure, "secret", "kv", "broker-ca").stdout == "-----BEGIN\nx\n-----END\n"
    assert fetch(azure, "secret", "kv", "nothing").returncode == 1
    assert fetch(azure, "secret", "kv").returncode == 2


@pytest.fixture
def machine(tmp_path, azure):
    """Folders of a fresh machine, with a systemctl that writes down what it was asked."""
    etc, lib, bin = tmp_path / "etc", tmp_path / "lib", tmp_path / "bin"
    for folder in (etc, lib, bin):
        folder.mkdir()
    shutil.copy(SCRIPTS / "azure-fetch", lib)
    (bin / "systemctl").write_text(f'#!/bin/sh\necho "$@" >>{tmp_path}/systemctl.log\n')
    (bin / "systemctl").chmod(0o755)
    archive = tmp_path / "archive"
    (archive / "nightread-1").mkdir(parents=True)
    (archive / "nightread-1/install").write_text(f'#!/bin/sh\necho "$@" >{tmp_path}/install.log\n')
    (archive / "nightread-1/install").chmod(0o755)
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as tar:
        tar.add(archive / "nightread-1", "nightread-1")
    body = (tmp_path / "a.tar.gz").read_bytes()
    azure.state["blobs"]["/artifacts/nightread-1.0.0.tar.gz"] = body
    (etc / "deploy.env").write_text(
        "\n".join(
            [
                "AZURE_CLIENT_ID=client",
                "OPS_ACCOUNT=acc",
                "ARTIFACTS=artifacts",
                "ARCHIVE_NAME=nightread-1.0.0.tar.gz",
                f"ARCHIVE_SHA256={hashlib.sha256(body).hexdigest()}",
                "VAULT=kv",
                "SECRET_CA=broker-ca",
                "SECRET_PASSWORD=broker-worker-password",
                "BROKER_USER=worker",
                "BROKER_HOST=broker.nightread.internal",
                "AMQPS_PORT=5671",
            ]
        )
        + "\n"
    )
    env = environment(
        azure,
        PATH=f"{bin}:{os.environ['PATH']}",
        NIGHTREAD_SETUP_ETC=str(etc),
        NIGHTREAD_SETUP_LIB=str(lib),
        NIGHTREAD_SETUP_CACHE=str(tmp_path / "cache"),
    )
    run = lambda: subprocess.run([str(SCRIPTS / "setup-worker")], env=env, capture_output=True, text=True, check=False)
    return tmp_path, run


def test_a_worker_sets_itself_up_once_artifact_and_secrets_are_there(machine, azure):
    folder, run = machine
    assert run().returncode != 0, "secrets are not seeded yet"
    assert not (folder / "systemctl.log").exists()
    azure.state["secrets"] = {"broker-ca": "CA", "broker-worker-password": "s3cret"}
    assert run().returncode == 0
    assert (folder / "install.log").read_text().split() == ["--start-later"]
    assert (folder / "etc/secrets.env").read_text() == "NIGHTREAD_BROKER_URL=amqps://worker:s3cret@broker.nightread.internal:5671/%2f\n"
    assert (folder / "etc/secrets.env").stat().st_mode & 0o777 == 0o600
    assert (folder / "etc/broker-ca.pem").read_text() == "CA"
    assert (folder / "systemctl.log").read_text().splitlines() == ["daemon-reload", "enable nightread.service", "restart nightread.service"]
    assert azure.state["asked"].count("/artifacts/nightread-1.0.0.tar.gz") == 1, "the second try takes it from the cache"


def test_a_password_that_would_break_the_url_is_refused(machine, azure):
    folder, run = machine
    azure.state["secrets"] = {"broker-ca": "CA", "broker-worker-password": "a@b/c"}
    done = run()
    assert done.returncode != 0 and "URL-safe" in done.stderr and "a@b/c" not in done.stderr
    assert not (folder / "etc/secrets.env").exists()


def seed(out, *arguments):
    command = [str(fleet.INFRA / "scripts/seed-secrets"), "--name", "testfleet", "--out", str(out), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True)


def snapshot(out):
    return {str(p.relative_to(out)): p.read_text() for p in sorted(out.rglob("*")) if p.is_file()}


def test_secrets_are_made_once_and_rotated_on_demand(tmp_path):
    seed(tmp_path)
    first = snapshot(tmp_path)
    names = set(SETTINGS["names"]["secrets"].values())
    assert {n.split("/")[1] for n in first if n.startswith("kv-testfleet-broker/")} == names
    worker = {n.split("/")[1] for n in first if n.startswith("kv-testfleet-worker/")}
    assert worker == {SETTINGS["names"]["secrets"]["brokerCa"], SETTINGS["names"]["secrets"]["workerPassword"]}
    assert first["kv-testfleet-worker/broker-worker-password"] == first["kv-testfleet-broker/broker-worker-password"]
    passwords = [v for n, v in first.items() if n.endswith("password") and "broker/" in n]
    assert len(set(passwords)) == 4 and all(len(p) == 40 and p.isalnum() for p in passwords)
    assert not any("PRIVATE KEY" in v for n, v in first.items() if "worker/" in n)

    seed(tmp_path)
    assert snapshot(tmp_path) == first, "a second run changes nothing"

    seed(tmp_path, "--rotate", "passwords")
    second = snapshot(tmp_path)
    assert {n.split("/")[1] for n in first if first[n] != second[n]} == {n for n in names if n.endswith("password")}

    seed(tmp_path, "--rotate", "tls")
    third = snapshot(tmp_path)
    bundle = third["kv-testfleet-worker/broker-ca"]
    assert bundle.count("BEGIN CERTIFICATE") == 2 and bundle.endswith(first["kv-testfleet-worker/broker-ca"]), "both authorities, while machines are rolled"
    assert third["kv-testfleet-broker/broker-erlang-cookie"] == first["kv-testfleet-broker/broker-erlang-cookie"]


# --- a real RabbitMQ ---------------------------------------------------------------------------------------------------


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


SERVER = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")


@pytest.fixture(scope="module")
def rabbitmq(tmp_path_factory):
    """A node that the broker's own script has configured and given its users, with seeded certificates and passwords."""
    if not SERVER.exists():
        pytest.skip("SKIPPED: rabbitmq: rabbitmq-server is not installed")
    folder = tmp_path_factory.mktemp("rabbitmq")
    seed(folder / "vaults")
    secrets = folder / "vaults/kv-testfleet-broker"
    for name in ("etc", "lib", "conf", "data"):
        (folder / name).mkdir()
    # azure-fetch of this test reads the folder that seed-secrets wrote.
    (folder / "lib/azure-fetch").write_text(f'#!/bin/sh\n[ "$1" = secret ] && cat "{secrets}/$3"\n')
    (folder / "lib/azure-fetch").chmod(0o755)
    shutil.copy(fleet.INFRA / "shared/rabbitmq/rabbitmq.conf", folder / "lib")
    ports = {name: free_port() for name in ("amqps", "management", "distribution", "epmd")}
    names = SETTINGS["names"]
    variables = {
        "AZURE_CLIENT_ID": "client", "VAULT": "kv", "BROKER_INDEX": 0, "BROKER_COUNT": 1, "BROKER_HOST": "broker", "INTERNAL_ZONE": SETTINGS["network"]["internalZone"],
        "AMQPS_PORT": ports["amqps"], "MANAGEMENT_PORT": ports["management"], "DISTRIBUTION_PORT": ports["distribution"],
        "CONSUMER_TIMEOUT_MS": SETTINGS["broker"]["consumerTimeoutSeconds"] * 1000, "DISK_FREE_GIB": 0,
        "MINIMUM_VERSION": SETTINGS["broker"]["minimumVersion"],
        "USER_WORKER": names["brokerUsers"]["worker"], "USER_RELAY": names["brokerUsers"]["relay"], "USER_MONITOR": names["brokerUsers"]["monitor"], "USER_ADMIN": names["brokerUsers"]["admin"],
        "SECRET_WORKER": names["secrets"]["workerPassword"], "SECRET_RELAY": names["secrets"]["relayPassword"], "SECRET_MONITOR": names["secrets"]["monitorPassword"], "SECRET_ADMIN": names["secrets"]["adminPassword"],
    }
    (folder / "etc/deploy.env").write_text("".join(f"{k}={v}\n" for k, v in variables.items()))
    env = {
        **os.environ,
        "NIGHTREAD_SETUP_ETC": str(folder / "etc"),
        "NIGHTREAD_SETUP_LIB": str(folder / "lib"),
        "HOME": str(folder / "data"),
        "ERL_EPMD_PORT": str(ports["epmd"]),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "RABBITMQ_CONFIG_FILE": str(folder / "conf/rabbitmq.conf"),
        "RABBITMQ_CONF_ENV_FILE": str(folder / "conf/rabbitmq-env.conf"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "conf/enabled_plugins"),
        "RABBITMQ_MNESIA_BASE": str(folder / "data"),
        "RABBITMQ_LOG_BASE": str(folder / "data"),
        "RABBITMQ_NODENAME": f"rabbit@broker-0.{SETTINGS['network']['internalZone']}",
        "RABBITMQ_USE_LONGNAME": "true",
        # The names of the private DNS zone, for this node and its command-line tool only.
        "ERL_INETRC": str(folder / "inetrc"),
        "PATH": f"/usr/lib/rabbitmq/bin:{os.environ['PATH']}",
    }
    (folder / "inetrc").write_text(f'{{host, {{127,0,0,1}}, ["broker-0.{SETTINGS["network"]["internalZone"]}"]}}.\n{{lookup, [file, native]}}.\n')
    subprocess.run([str(SCRIPTS / "setup-broker"), "render", str(folder / "conf")], env=env, check=True)
    conf = folder / "conf/rabbitmq.conf"
    rendered = conf.read_text()
    tls = folder / "tls"
    tls.mkdir()
    for name, secret in (("ca.pem", "broker-ca"), ("server.pem", "broker-server-certificate"), ("server.key", "broker-server-key")):
        shutil.copy(secrets / secret, tls / name)
    # The one change for this machine: where the certificates lie.
    conf.write_text(rendered.replace("/etc/rabbitmq/tls", str(tls)))
    cookie = folder / "data/.erlang.cookie"
    shutil.copy(secrets / "broker-erlang-cookie", cookie)
    cookie.chmod(0o400)
    node = subprocess.Popen([str(SERVER)], env=env, stdout=(folder / "node.log").open("w"), stderr=subprocess.STDOUT, start_new_session=True)
    epmd = None
    try:
        script = f". {SCRIPTS / 'setup-broker'}; rabbitmqctl -q await_startup --timeout 600 && ensure_users"
        deadline = time.monotonic() + 600
        while True:
            done = subprocess.run(["bash", "-c", script], env=env, capture_output=True, text=True, check=False)
            if done.returncode == 0:
                break
            assert node.poll() is None, (folder / "node.log").read_text()[-3000:]
            assert time.monotonic() < deadline, done.stderr[-2000:] + (folder / "node.log").read_text()[-2000:]
            time.sleep(1)
        epmd = [int(p.name) for p in Path("/proc").iterdir() if p.name.isdigit() and is_epmd(p, ports["epmd"])]
        yield {"ports": ports, "secrets": secrets, "tls": tls, "env": env, "rendered": rendered, "log": folder / "node.log"}
    finally:
        subprocess.run(["rabbitmqctl", "-q", "shutdown", "--timeout", "30"], env=env, capture_output=True, check=False)
        node.terminate()
        node.wait(120)
        for pid in epmd or []:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, 15)


def is_epmd(process, port):
    """The port mapper that this node started, and no other."""
    try:
        return b"epmd" in (process / "cmdline").read_bytes() and f"ERL_EPMD_PORT={port}".encode() in (process / "environ").read_bytes().split(b"\0")
    except OSError:
        return False


def listening(port):
    """Local addresses, as the kernel writes them, on which somebody listens at a port."""
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            address, number = line.split()[1].split(":")
            if line.split()[3] == "0A" and int(number, 16) == port:
                found.add(address)
    return found


def client(rabbitmq, user, secret):
    import pika

    context = ssl.create_default_context(cafile=str(rabbitmq["tls"] / "ca.pem"))
    credentials = pika.PlainCredentials(user, (rabbitmq["secrets"] / secret).read_text())
    parameters = pika.ConnectionParameters("127.0.0.1", rabbitmq["ports"]["amqps"], "/", credentials, ssl_options=pika.SSLOptions(context, f"broker-0.{SETTINGS['network']['internalZone']}"))
    return pika.BlockingConnection(parameters)


def test_the_broker_speaks_only_tls_and_under_its_name(rabbitmq):
    status = json.loads(subprocess.run(["rabbitmqctl", "-q", "status", "--formatter", "json"], env=rabbitmq["env"], capture_output=True, text=True, check=True).stdout)
    listeners = {(l["protocol"], l["port"], l["interface"]) for l in status["listeners"]}
    assert {("amqp/ssl", rabbitmq["ports"]["amqps"])} == {(p, port) for p, port, _ in listeners if p.startswith("amqp")}
    assert listening(rabbitmq["ports"]["management"]) == {"0100007F"}, "the management API answers on 127.0.0.1 only"
    client(rabbitmq, "worker", "broker-worker-password").close()
    context = ssl.create_default_context(cafile=str(rabbitmq["tls"] / "ca.pem"))
    for name, good in ((f"broker.{SETTINGS['network']['internalZone']}", True), (f"broker-2.{SETTINGS['network']['internalZone']}", True), ("broker.example.org", False)):
        with socket.create_connection(("127.0.0.1", rabbitmq["ports"]["amqps"])) as plain:
            if good:
                context.wrap_socket(plain, server_hostname=name).close()
            else:
                with pytest.raises(ssl.SSLCertVerificationError):
                    context.wrap_socket(plain, server_hostname=name)


def test_the_settings_have_arrived_in_the_broker(rabbitmq):
    asked = subprocess.run(["rabbitmqctl", "-q", "eval", "application:get_env(rabbit, consumer_timeout)."], env=rabbitmq["env"], capture_output=True, text=True, check=True).stdout
    assert asked.strip() == "{ok,%d}" % (SETTINGS["broker"]["consumerTimeoutSeconds"] * 1000)
    users = json.loads(subprocess.run(["rabbitmqctl", "-q", "list_users", "--formatter", "json"], env=rabbitmq["env"], capture_output=True, text=True, check=True).stdout)
    assert {u["user"]: u["tags"] for u in users} == {"worker": [], "relay": [], "monitor": ["monitoring"], "operator": ["administrator"]}


def test_each_user_may_do_its_work_and_nothing_else(rabbitmq):
    import pika

    names = SETTINGS["names"]
    with client(rabbitmq, "operator", "broker-admin-password") as connection:
        channel = connection.channel()
        for exchange in ("exchange", "deadExchange", "delayExchange", "resultsExchange"):
            channel.exchange_declare(names[exchange], "topic", durable=True)
        for queue in [*names["laneQueues"].values(), names["deadQueue"], *names["delayQueues"].values()]:
            channel.queue_declare(queue, durable=True, arguments={"x-queue-type": "quorum"})
        channel.queue_bind(names["laneQueues"]["ingest"], names["exchange"], "job.ingest")

    def refused(user, secret, action):
        with client(rabbitmq, user, secret) as connection:
            channel = connection.channel()
            channel.confirm_delivery()
            try:
                action(channel)
            except pika.exceptions.ChannelClosedByBroker as closed:
                assert closed.reply_code == 403, closed
                return True
            return False

    relay, worker = ("relay", "broker-relay-password"), ("worker", "broker-worker-password")
    announce = lambda c: c.basic_publish(names["exchange"], "job.ingest", b"{}", mandatory=True)
    take = lambda queue: lambda c: c.basic_get(queue)
    assert not refused(*relay, announce)
    assert not refused(*worker, take(names["laneQueues"]["ingest"]))
    assert not refused(*worker, lambda c: c.basic_publish(names["delayExchange"], "job.ingest", b"{}"))
    assert not refused(*worker, lambda c: c.basic_publish(names["resultsExchange"], "x", b"{}"))
    assert not refused(*worker, lambda c: c.queue_declare(names["deadQueue"], passive=True))
    assert refused(*relay, take(names["laneQueues"]["ingest"]))
    assert refused(*relay, lambda c: c.basic_publish(names["resultsExchange"], "x", b"{}"))
    assert refused(*worker, take(names["deadQueue"]))
    assert refused(*worker, lambda c: c.queue_declare("nightread.jobs.mine"))
    assert refused(*worker, lambda c: c.queue_delete(names["laneQueues"]["bulk"]))
    assert refused(*worker, lambda c: c.basic_publish("", names["laneQueues"]["ingest"], b"{}"))
    assert refused("monitor", "broker-monitor-password", announce)


@pytest.mark.parametrize(("have", "good"), [("3.10.8-1.1+deb12u1", True), ("3.10", True), ("3.12.1-1ubuntu1", True), ("4.1.0", True), ("3.9.13-1ubuntu0.22.04.2", False), ("3.8", False)])
def test_an_old_broker_is_refused(have, good, tmp_path):
    (tmp_path / "deploy.env").write_text("AZURE_CLIENT_ID=x\nMINIMUM_VERSION=3.10\n")
    done = subprocess.run(["bash", "-c", f'. {SCRIPTS / "setup-broker"}; at_least "{have}" "$MINIMUM_VERSION"'], env={**os.environ, "NIGHTREAD_SETUP_ETC": str(tmp_path)}, check=False)
    assert (done.returncode == 0) is good
