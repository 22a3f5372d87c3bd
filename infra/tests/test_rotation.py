"""New passwords and certificates for a fleet that runs, and when a broker may be restarted at all."""

import datetime
import os
import re
import ssl
import subprocess

import pika
import pytest

import fleet
from broker import NAMES, NODE, SCRIPTS, SETTINGS, client, deploy_env, password, seed, setup_broker

SECRETS = NAMES["secrets"]
ROTATE = "start_helpers() { :; }; rotate"


def tools(folder, **scripts):
    """A folder of commands for the start of the path; each writes down what it was asked."""
    folder.mkdir(exist_ok=True)
    for name, body in scripts.items():
        path = folder / name.replace("_", "-")
        path.write_text(f'#!/bin/bash\necho "{name.replace("_", "-")} $*" >>{folder}/log\n{body}\n')
        path.chmod(0o755)
    return folder


def log(folder):
    path = folder / "log"
    return path.read_text().splitlines() if path.exists() else []


def run(script, folder, *arguments):
    env = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}
    return subprocess.run([str(fleet.INFRA / "scripts" / script), *arguments], env=env, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)


# An `az` without secrets yet.
VAULT = 'case "$1 $2 $3" in "keyvault secret show") exit 3;; esac'


def test_every_secret_but_the_cookie_says_when_it_must_be_replaced(tmp_path):
    az = tools(tmp_path / "bin", az=VAULT)
    assert run("seed-secrets", az, "--name", "testfleet").returncode == 0
    ends = {}
    for line in log(az):
        if found := re.match(r"az keyvault secret set --vault-name \S+ --name (\S+) --file", line):
            ends[found[1]] = (re.findall(r"--expires (\S+)", line) or [None])[0]
    assert ends.pop(SECRETS["erlangCookie"]) is None
    assert set(ends) == set(SECRETS.values()) - {SECRETS["erlangCookie"]}
    now = datetime.datetime.now(datetime.UTC)
    days = {name: (datetime.datetime.fromisoformat(end) - now).total_seconds() / 86400 for name, end in ends.items()}
    for name in ("workerPassword", "relayPassword", "assemblePassword", "deliverPassword", "monitorPassword", "adminPassword"):
        assert days[SECRETS[name]] == pytest.approx(SETTINGS["secrets"]["passwordDays"], abs=0.1)
    for name in ("serverCertificate", "serverKey"):
        assert days[SECRETS[name]] == pytest.approx(SETTINGS["secrets"]["certificateDays"], abs=0.1)
    assert days[SECRETS["brokerCa"]] > days[SECRETS["serverCertificate"]], "an authority outlives what it signed"


# Machines that do what they are told, but for those that `bad` names.
MACHINES = """case "$1 $2" in
"vmss list") echo vmss-testfleet-workers ;;
"vmss list-instances") printf '3\\n7\\n' ;;
"vm run-command" | "vmss run-command") [[ "$*" == *"$BAD"* && -n "$BAD" ]] || echo "[stdout] quorum-stands rotated: worker goes on" ;;
"keyvault secret") [ "$3" = set ] || exit 3 ;;
esac"""


def told(lines):
    """Who was told what, in order."""
    for line in lines:
        if found := re.search(r"vm run-command .*--name vm-testfleet-broker-(\d) .*--scripts (\S+)", line):
            yield f"broker {found[1]} {'rotates' if 'setup' in found[2] else 'is asked'}"
        elif found := re.search(r"vmss run-command .*--instance-id (\d)", line):
            yield f"worker {found[1]}"
        elif "keyvault secret set" in line:
            yield "seeded"


def rotate(tmp_path, what, bad=""):
    az = tools(tmp_path / "bin", az=MACHINES.replace("$BAD", bad))
    done = run("rotate", az, what, "--group", "rg", "--name", "testfleet")
    steps = list(told(log(az)))
    return done, [step for i, step in enumerate(steps) if i == 0 or steps[i - 1] != step]


ASKED = [f"broker {i} is asked" for i in range(3)]
ROTATED = [step for i in range(3) for step in (f"broker {i} rotates", f"broker {i} is asked")]


def test_workers_trust_a_new_authority_before_a_broker_shows_it(tmp_path):
    done, steps = rotate(tmp_path, "tls")
    assert done.returncode == 0, done.stderr
    assert steps == [*ASKED, "seeded", "worker 3", "worker 7", *ROTATED]


def test_workers_get_a_password_after_the_brokers_know_it(tmp_path):
    done, steps = rotate(tmp_path, "passwords")
    assert done.returncode == 0, done.stderr
    assert steps == [*ASKED, "seeded", *ROTATED, "worker 3", "worker 7"]


def test_nothing_is_replaced_while_a_majority_hangs_on_one_broker(tmp_path):
    done, steps = rotate(tmp_path, "passwords", bad="broker-1")
    assert done.returncode != 0 and steps == ASKED[:2]


def test_a_broker_that_does_not_rotate_ends_it(tmp_path):
    done, steps = rotate(tmp_path, "passwords", bad="setup rotate")
    assert done.returncode != 0 and steps == [*ASKED, "seeded", "broker 0 rotates"]


@pytest.mark.parametrize(
    ("runs", "changed", "needed", "expected"),
    [
        (False, False, False, "restart"),
        (True, False, True, None),
        (True, True, False, "restart"),
        (True, True, True, "refused"),
    ],
)
def test_a_broker_is_restarted_for_a_new_configuration_and_never_against_a_majority(tmp_path, runs, changed, needed, expected):
    bin = tools(tmp_path / "bin", systemctl=f'[ "$1" != is-active ] || exit {0 if runs else 3}', rabbitmq_queues=f"exit {69 if needed else 0}")
    for name in ("etc", "lib", "conf"):
        (tmp_path / name).mkdir()
    (tmp_path / "lib/rabbitmq.conf").write_bytes((fleet.INFRA / "shared/rabbitmq/rabbitmq.conf").read_bytes())
    ports = {"amqps": 5671, "management": 15672, "distribution": 25672}
    (tmp_path / "etc/deploy.env").write_text("".join(f"{k}={v}\n" for k, v in deploy_env(ports).items()))
    env = {**os.environ, "PATH": f"{bin}:{os.environ['PATH']}", **{f"NIGHTREAD_SETUP_{n.upper()}": str(tmp_path / n) for n in ("etc", "lib", "conf")}}
    assert setup_broker(env, f"render {tmp_path}/conf").returncode == 0
    conf = tmp_path / "conf/rabbitmq.conf"
    if changed:
        conf.write_text(conf.read_text() + "# of an earlier version\n")
    before = conf.read_text()
    done = setup_broker(env, "start_broker")
    assert ("systemctl restart rabbitmq-server.service" in log(bin)) is (expected == "restart")
    assert (done.returncode != 0) is (expected == "refused")
    assert (conf.read_text() == before) is (expected != "restart" or not changed), "a node that is not restarted keeps the file that it runs by"


def environment(rabbitmq):
    return {**rabbitmq["env"], "NIGHTREAD_SETUP_TLS": str(rabbitmq["tls"]), "NIGHTREAD_SETUP_OWNER": "root"}



def serial(rabbitmq):
    """What the broker shows to a client that trusts what workers trust."""
    import socket

    context = ssl.create_default_context(cafile=str(rabbitmq["tls"] / "ca.pem"))
    with socket.create_connection(("127.0.0.1", rabbitmq["ports"]["amqps"])) as plain, context.wrap_socket(plain, server_hostname=NODE) as stream:
        return stream.getpeercert()["serialNumber"]


def started(rabbitmq):
    return subprocess.run(["rabbitmqctl", "-q", "eval", "erlang:system_info(start_time)."], env=rabbitmq["env"], capture_output=True, text=True, check=True).stdout


@pytest.fixture
def rotating(rabbitmq):
    """The node with the names of all secrets in its settings, as on a machine, and a worker connected to it."""
    deploy = rabbitmq["folder"] / "etc/deploy.env"
    names = {"CA": "brokerCa", "CERTIFICATE": "serverCertificate", "KEY": "serverKey", "COOKIE": "erlangCookie"}
    deploy.write_text(deploy.read_text() + "".join(f"SECRET_{k}={SECRETS[v]}\n" for k, v in names.items()))
    with client(rabbitmq, "worker") as standing:
        yield rabbitmq, standing.channel()


def test_a_new_certificate_is_shown_without_a_restart_and_connections_stand(rotating):
    rabbitmq, channel = rotating
    before, node = serial(rabbitmq), started(rabbitmq)
    seed(rabbitmq["secrets"].parent, "--rotate", "tls")
    done = setup_broker(environment(rabbitmq), ROTATE)
    assert done.returncode == 0, done.stderr
    assert serial(rabbitmq) != before and started(rabbitmq) == node
    channel.basic_qos(prefetch_count=1)
    assert channel.is_open, "the connection from before answers"


def test_new_passwords_count_at_once_and_connections_stand(rotating):
    rabbitmq, channel = rotating
    old, node = password(rabbitmq, "worker"), started(rabbitmq)
    seed(rabbitmq["secrets"].parent, "--rotate", "passwords")
    done = setup_broker(environment(rabbitmq), ROTATE)
    assert done.returncode == 0, done.stderr
    client(rabbitmq, "worker").close()
    with pytest.raises(pika.exceptions.ProbableAuthenticationError):
        client(rabbitmq, "worker", secret=old)
    channel.basic_qos(prefetch_count=1)
    assert channel.is_open and started(rabbitmq) == node


def test_a_certificate_of_another_key_is_not_taken(rotating):
    rabbitmq, _ = rotating
    before = serial(rabbitmq)
    key = rabbitmq["secrets"] / SECRETS["serverKey"]
    kept = key.read_text()
    key.write_text(subprocess.run(["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout"], capture_output=True, text=True, check=True).stdout)
    try:
        done = setup_broker(environment(rabbitmq), ROTATE)
        assert done.returncode != 0 and "the old ones stay" in done.stdout
        assert serial(rabbitmq) == before
    finally:
        key.write_text(kept)
