"""A real RabbitMQ, configured and given its users by `setup-broker`, with secrets of `seed-secrets`; and the real worker beside it."""

import contextlib
import os
import random
import shutil
import socket
import ssl
import subprocess
import time
from pathlib import Path

import pytest

import fleet

SCRIPTS = fleet.INFRA / "shared/scripts"
SETTINGS = fleet.settings()
NAMES = SETTINGS["names"]
ZONE = SETTINGS["network"]["internalZone"]
NODE = f"broker-0.{ZONE}"
SERVER = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
BINARY = fleet.INFRA.parent / "target/release/nightread"


def seed(out, *arguments):
    command = [str(fleet.INFRA / "scripts/seed-secrets"), "--name", "testfleet", "--out", str(out), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True)


def free_port():
    """A port nobody uses; none of those that Linux gives to outgoing connections, which could take it before its server does."""
    while True:
        port = random.randrange(10_000, 32_000)
        with contextlib.suppress(OSError), socket.socket() as s:
            s.bind(("127.0.0.1", port))
            return port


def deploy_env(ports):
    """What the cloud-init of the first broker writes, as far as the broker's script uses it here."""
    users, secrets = NAMES["brokerUsers"], NAMES["secrets"]
    return {
        "AZURE_CLIENT_ID": "client",
        "VAULT": "kv",
        "BROKER_INDEX": 0,
        "BROKER_COUNT": 1,
        "BROKER_HOST": SETTINGS["network"]["brokerHost"],
        "INTERNAL_ZONE": ZONE,
        "AMQPS_PORT": ports["amqps"],
        "MANAGEMENT_PORT": ports["management"],
        "DISTRIBUTION_PORT": ports["distribution"],
        "CONSUMER_TIMEOUT_MS": SETTINGS["broker"]["consumerTimeoutSeconds"] * 1000,
        "VOLUMES_CONSUMER_TIMEOUT_MS": SETTINGS["broker"]["volumesConsumerTimeoutSeconds"] * 1000,
        "DISK_FREE_GIB": 0,
        "MINIMUM_VERSION": SETTINGS["broker"]["minimumVersion"],
        **{f"USER_{user.upper()}": users[user] for user in ("worker", "relay", "assemble", "deliver", "monitor", "admin")},
        **{f"SECRET_{user.upper()}": secrets[f"{user}Password"] for user in ("worker", "relay", "assemble", "deliver", "monitor", "admin")},
    }


def start(folder):
    """Yields ports, folders and the environment in which `setup-broker` and `rabbitmqctl` speak to the node."""
    if not SERVER.exists():
        pytest.skip("SKIPPED: rabbitmq: rabbitmq-server is not installed")
    seed(folder / "vaults")
    secrets = folder / "vaults/kv-testfleet-broker"
    for name in ("etc", "lib", "conf", "data", "tls"):
        (folder / name).mkdir()
    # azure-fetch of this test reads the folder that seed-secrets wrote.
    (folder / "lib/azure-fetch").write_text(f'#!/bin/sh\n[ "$1" = secret ] && cat "{secrets}/$3"\n')
    (folder / "lib/azure-fetch").chmod(0o755)
    shutil.copy(fleet.INFRA / "shared/rabbitmq/rabbitmq.conf", folder / "lib")
    ports = {name: free_port() for name in ("amqps", "management", "distribution", "epmd")}
    (folder / "etc/deploy.env").write_text("".join(f"{k}={v}\n" for k, v in deploy_env(ports).items()))
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
        "RABBITMQ_NODENAME": f"rabbit@{NODE}",
        "RABBITMQ_USE_LONGNAME": "true",
        # The names of the private DNS zone, for this node and its command-line tool only.
        "ERL_INETRC": str(folder / "inetrc"),
        "PATH": f"/usr/lib/rabbitmq/bin:{os.environ['PATH']}",
    }
    (folder / "inetrc").write_text(f'{{host, {{127,0,0,1}}, ["{NODE}"]}}.\n{{lookup, [file, native]}}.\n')
    subprocess.run([str(SCRIPTS / "setup-broker"), "render", str(folder / "conf")], env=env, check=True)
    conf = folder / "conf/rabbitmq.conf"
    for name, secret in (("ca.pem", "brokerCa"), ("server.pem", "serverCertificate"), ("server.key", "serverKey")):
        shutil.copy(secrets / NAMES["secrets"][secret], folder / "tls" / name)
    # The one change for this machine: where the certificates lie.
    conf.write_text(conf.read_text().replace("/etc/rabbitmq/tls", str(folder / "tls")))
    cookie = folder / "data/.erlang.cookie"
    shutil.copy(secrets / NAMES["secrets"]["erlangCookie"], cookie)
    cookie.chmod(0o400)
    node = subprocess.Popen([str(SERVER)], env=env, stdout=(folder / "node.log").open("w"), stderr=subprocess.STDOUT, start_new_session=True)
    epmd = None
    try:
        deadline = time.monotonic() + 600
        while True:
            done = setup_broker(env, "rabbitmqctl -q await_startup --timeout 600 && ensure_users && ensure_policies")
            if done.returncode == 0:
                break
            assert node.poll() is None, (folder / "node.log").read_text()[-3000:]
            assert time.monotonic() < deadline, done.stderr[-2000:] + (folder / "node.log").read_text()[-2000:]
            time.sleep(1)
        epmd = [int(p.name) for p in Path("/proc").iterdir() if p.name.isdigit() and is_epmd(p, ports["epmd"])]
        yield {"folder": folder, "ports": ports, "secrets": secrets, "tls": folder / "tls", "env": env}
    finally:
        subprocess.run(["rabbitmqctl", "-q", "shutdown", "--timeout", "30"], env=env, capture_output=True, check=False)
        node.terminate()
        node.wait(120)
        for pid in epmd or []:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, 15)


def setup_broker(env, steps, prefix=()):
    """Runs steps of `setup-broker`, which only defines them when it is sourced."""
    return subprocess.run([*prefix, "bash", "-c", f". {SCRIPTS / 'setup-broker'}; {steps}"], env=env, capture_output=True, text=True, check=False)


def is_epmd(process, port):
    """The port mapper that this node started, and no other."""
    try:
        return b"epmd" in (process / "cmdline").read_bytes() and f"ERL_EPMD_PORT={port}".encode() in (process / "environ").read_bytes().split(b"\0")
    except OSError:
        return False


def password(rabbitmq, user):
    return (rabbitmq["secrets"] / NAMES["secrets"][f"{user}Password"]).read_text()


def client(rabbitmq, user, secret=None, cafile=None):
    """A connection of one of the broker's users, over TLS and under the broker's name; of its present password and authority, or of others.

    Without heartbeats: this client answers none while a test waits for something else, and after two minutes the broker would cut it off.
    With patience: on a busy machine a broker may need longer to let it in than the 15 seconds after which it would give up.
    """
    import pika

    context = ssl.create_default_context(cafile=str(cafile or rabbitmq["tls"] / "ca.pem"))
    credentials = pika.PlainCredentials(NAMES["brokerUsers"][user], secret or password(rabbitmq, user))
    patience = {"heartbeat": 0, "socket_timeout": 60, "stack_timeout": 120}
    parameters = pika.ConnectionParameters("127.0.0.1", rabbitmq["ports"]["amqps"], "/", credentials, ssl_options=pika.SSLOptions(context, NODE), **patience)
    return pika.BlockingConnection(parameters)


def in_zone(folder):
    """The start of a command that sees the names of the private DNS zone, in a mount namespace of its own; skips where there can be none."""
    hosts = folder / "hosts"
    hosts.write_text(f"127.0.0.1 localhost {NODE} {SETTINGS['network']['brokerHost']}.{ZONE}\n")
    unshare = ["unshare", "--mount"] if os.getuid() == 0 else ["unshare", "--mount", "--map-root-user"]
    prefix = [*unshare, "sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"', str(hosts)]
    if shutil.which("unshare") is None or subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("SKIPPED: the worker at the broker: no mount namespace can be made here")
    return prefix


def runtime():
    found = sorted((fleet.INFRA.parent / ".cache/onnxruntime").glob("cpu-*/libonnxruntime.so.*"))
    return os.environ.get("NIGHTREAD_MODELS_RUNTIME") or (str(found[-1]) if found else None)
