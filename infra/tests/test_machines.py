"""What runs on the machines: fetching with an identity, setting up a worker, and the secrets. The broker: test_broker.py."""

import hashlib
import http.server
import json
import os
import shutil
import subprocess
import tarfile
import threading

import pytest

import fleet
from broker import deploy_env, seed, setup_broker

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


@pytest.mark.parametrize("route", ["", "# The route\n[[routes]]\nprefix = 'ct/'\n"], ids=["none", "one"])
def test_the_route_of_series_goes_behind_the_settings_of_the_archive_once(machine, azure, route):
    folder, run = machine
    azure.state["secrets"] = {"broker-ca": "CA", "broker-worker-password": "s3cret"}
    (folder / "etc/worker.toml").write_text("[http]\n")
    (folder / "etc/series.toml").write_text(route)
    for _ in range(2):
        assert run().returncode == 0
    assert (folder / "etc/worker.toml").read_text() == "[http]\n" + route


@pytest.mark.parametrize("queue", ["", "instance-created"], ids=["none", "one"])
def test_brokers_assemble_series_where_their_files_arrive(tmp_path, queue):
    ports = {"amqps": 5671, "management": 15672, "distribution": 25672}
    lines = {**deploy_env(ports), "OPS_ACCOUNT": "acc", "INSTANCES_QUEUE": queue, "ASSEMBLE_PORT": SETTINGS["ports"]["assembleHealth"]}
    for name in ("etc", "lib", "bin"):
        (tmp_path / name).mkdir()
    (tmp_path / "etc/deploy.env").write_text("".join(f"{k}={v}\n" for k, v in lines.items()))
    for path, body in (("lib/azure-fetch", 'echo "of $3"'), ("bin/systemctl", f'echo "$@" >>{tmp_path}/systemctl.log')):
        (tmp_path / path).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / path).chmod(0o755)
    env = {**os.environ, "PATH": f"{tmp_path}/bin:{os.environ['PATH']}", "NIGHTREAD_SETUP_ETC": str(tmp_path / "etc"), "NIGHTREAD_SETUP_LIB": str(tmp_path / "lib")}
    done = setup_broker(env, "start_assemble")
    assert done.returncode == 0, done.stderr
    told = tmp_path / "etc/assemble.env"
    if not queue:
        assert not told.exists() and not (tmp_path / "systemctl.log").exists()
        return
    host = f"{SETTINGS['network']['brokerHost']}-0.{SETTINGS['network']['internalZone']}"
    assert told.read_text().splitlines() == [
        f"NIGHTREAD_BROKER_URL=amqps://assemble:of broker-assemble-password@{host}:5671/%2f",
        "NIGHTREAD_ASSEMBLE_QUEUE_URL=https://acc.queue.core.windows.net/instance-created",
        "NIGHTREAD_HTTP_LISTEN=127.0.0.1:8081",
    ]
    assert told.stat().st_mode & 0o777 == 0o600, "it holds a password"
    assert (tmp_path / "systemctl.log").read_text().splitlines() == ["enable nightread-assemble.service", "restart nightread-assemble.service"]


def test_a_password_that_would_break_the_url_is_refused(machine, azure):
    folder, run = machine
    azure.state["secrets"] = {"broker-ca": "CA", "broker-worker-password": "a@b/c"}
    done = run()
    assert done.returncode != 0 and "URL-safe" in done.stderr and "a@b/c" not in done.stderr
    assert not (folder / "etc/secrets.env").exists()


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
    assert len(set(passwords)) == 6 and all(len(p) == 40 and p.isalnum() for p in passwords)
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


def test_containers_are_given_whole_addresses_that_follow_the_passwords(tmp_path):
    made, zone, ports = SETTINGS["names"]["containerSecrets"], SETTINGS["network"]["internalZone"], SETTINGS["ports"]
    seed(tmp_path, "--containers")
    first = snapshot(tmp_path)
    password = lambda told, user: told[f"kv-testfleet-broker/broker-{user}-password"]
    assert first[f"kv-testfleet-worker/{made['brokerUrl']}"] == f"amqps://worker:{password(first, 'worker')}@broker.{zone}:{ports['amqps']}/%2f"
    assert first[f"kv-testfleet-worker/{made['managementUrl']}"] == f"https://monitor:{password(first, 'monitor')}@broker.{zone}:{ports['managementTls']}"
    assert first[f"kv-testfleet-broker/{made['announceUrl']}"] == f"amqps://relay:{password(first, 'relay')}@broker.{zone}:{ports['amqps']}/%2f"
    seed(tmp_path, "--containers")
    assert snapshot(tmp_path) == first, "a second run changes nothing"
    seed(tmp_path, "--containers", "--rotate", "passwords")
    second = snapshot(tmp_path)
    assert password(second, "worker") in second[f"kv-testfleet-worker/{made['brokerUrl']}"] != first[f"kv-testfleet-worker/{made['brokerUrl']}"]


@pytest.mark.parametrize(
    ("candidate", "arguments", "told"),
    [
        ("3.12.1-1ubuntu1", (), "not of the series"),
        ("40.2.0-1", (), "not of the series"),
        ("3.9.13-1", ("--series", "3.9"), "older than"),
        ("(none)", (), "apt-get update"),
    ],
)
def test_packages_of_another_series_are_not_taken_by_accident(candidate, arguments, told, tmp_path):
    (tmp_path / "apt-cache").write_text(f"#!/bin/sh\necho '  Candidate: {candidate}'\n")
    (tmp_path / "apt-cache").chmod(0o755)
    env = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run([str(fleet.INFRA / "package/broker-packages"), "--out", str(tmp_path / "out"), *arguments], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and told in done.stderr and not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize(("have", "good"), [("3.10.8-1.1+deb12u1", True), ("3.10", True), ("3.12.1-1ubuntu1", True), ("4.1.0", True), ("3.9.13-1ubuntu0.22.04.2", False), ("3.8", False)])
def test_an_old_broker_is_refused(have, good, tmp_path):
    (tmp_path / "deploy.env").write_text("AZURE_CLIENT_ID=x\nMINIMUM_VERSION=3.10\n")
    done = subprocess.run(["bash", "-c", f'. {SCRIPTS / "setup-broker"}; at_least "{have}" "$MINIMUM_VERSION"'], env={**os.environ, "NIGHTREAD_SETUP_ETC": str(tmp_path)}, check=False)
    assert (done.returncode == 0) is good
