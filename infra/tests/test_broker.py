"""A broker as the fleet deploys it: TLS under its name, its settings, and what each user may do there."""

import json
import socket
import ssl
import subprocess
from pathlib import Path

import pytest

from broker import NAMES, SETTINGS, ZONE, client


def listening(port):
    """Local addresses, as the kernel writes them, on which somebody listens at a port."""
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            address, number = line.split()[1].split(":")
            if line.split()[3] == "0A" and int(number, 16) == port:
                found.add(address)
    return found


def rabbitmqctl(rabbitmq, *arguments):
    return subprocess.run(["rabbitmqctl", "-q", *arguments], env=rabbitmq["env"], capture_output=True, text=True, check=True).stdout


def test_the_broker_speaks_only_tls_and_under_its_name(rabbitmq):
    status = json.loads(rabbitmqctl(rabbitmq, "status", "--formatter", "json"))
    listeners = {(l["protocol"], l["port"], l["interface"]) for l in status["listeners"]}
    assert {("amqp/ssl", rabbitmq["ports"]["amqps"])} == {(p, port) for p, port, _ in listeners if p.startswith("amqp")}
    assert listening(rabbitmq["ports"]["management"]) == {"0100007F"}, "the management API answers on 127.0.0.1 only"
    client(rabbitmq, "worker").close()
    context = ssl.create_default_context(cafile=str(rabbitmq["tls"] / "ca.pem"))
    for name, good in ((f"broker.{ZONE}", True), (f"broker-2.{ZONE}", True), ("broker.example.org", False)):
        with socket.create_connection(("127.0.0.1", rabbitmq["ports"]["amqps"])) as plain:
            if good:
                context.wrap_socket(plain, server_hostname=name).close()
            else:
                with pytest.raises(ssl.SSLCertVerificationError):
                    context.wrap_socket(plain, server_hostname=name)


def test_the_settings_have_arrived_in_the_broker(rabbitmq):
    asked = rabbitmqctl(rabbitmq, "eval", "application:get_env(rabbit, consumer_timeout).")
    assert asked.strip() == "{ok,%d}" % (SETTINGS["broker"]["consumerTimeoutSeconds"] * 1000)
    policies = json.loads(rabbitmqctl(rabbitmq, "list_policies", "--formatter", "json"))
    timeouts = {p["name"]: json.loads(p["definition"])["consumer-timeout"] for p in policies}
    knows = tuple(int(n) for n in rabbitmqctl(rabbitmq, "version").strip().split(".")[:2]) >= (3, 12)
    assert timeouts == ({"volumes": SETTINGS["broker"]["volumesConsumerTimeoutSeconds"] * 1000} if knows else {})
    users = json.loads(rabbitmqctl(rabbitmq, "list_users", "--formatter", "json"))
    assert {u["user"]: u["tags"] for u in users} == {"worker": [], "relay": [], "assemble": [], "deliver": [], "monitor": ["monitoring"], "operator": ["administrator"]}


def delete_names(rabbitmq, exchanges, queues):
    """What is not there is no error to the broker."""
    with client(rabbitmq, "admin") as connection:
        channel = connection.channel()
        for queue in queues:
            channel.queue_delete(queue)
        for exchange in exchanges:
            channel.exchange_delete(exchange)


@pytest.fixture
def names_in_use(rabbitmq):
    """Exchanges and queues by name, without the worker's own arguments, instead of those that a test before left; they go again, for the worker to declare its own."""
    exchanges = [exchange for name, exchange in NAMES.items() if name == "exchange" or name.endswith("Exchange")]
    queues = [*NAMES["laneQueues"].values(), *(NAMES[f"{name}Queue"] for name in ("quarantine", "parked", "dead", "deliveries", "deliveriesDead"))]
    delete_names(rabbitmq, exchanges, queues)
    with client(rabbitmq, "admin") as connection:
        channel = connection.channel()
        for exchange in exchanges:
            channel.exchange_declare(exchange, "topic", durable=True)
        for queue in queues:
            channel.queue_declare(queue, durable=True, arguments={"x-queue-type": "quorum"})
        channel.queue_bind(NAMES["laneQueues"]["ingest"], NAMES["exchange"], "job.ingest")
    yield
    delete_names(rabbitmq, exchanges, queues)


def test_each_user_may_do_its_work_and_nothing_else(rabbitmq, names_in_use):
    import pika

    def refused(user, action):
        with client(rabbitmq, user) as connection:
            channel = connection.channel()
            channel.confirm_delivery()
            try:
                action(channel)
            except pika.exceptions.ChannelClosedByBroker as closed:
                assert closed.reply_code == 403, closed
                return True
            return False

    announce = lambda c: c.basic_publish(NAMES["exchange"], "job.ingest", b"{}", mandatory=True)
    take = lambda queue: lambda c: c.basic_get(queue)
    assert not refused("relay", announce)
    assert not refused("worker", take(NAMES["laneQueues"]["ingest"]))
    assert not refused("worker", take(NAMES["quarantineQueue"]))
    for exchange in ("delayExchange", "quarantineExchange", "deadExchange", "resultsExchange"):
        assert not refused("worker", lambda c: c.basic_publish(NAMES[exchange], "job.ingest", b"{}"))
    assert not refused("worker", lambda c: c.queue_declare(NAMES["deadQueue"], passive=True))
    assert refused("relay", take(NAMES["laneQueues"]["ingest"]))
    assert refused("relay", take(NAMES["quarantineQueue"]))
    assert not refused("relay", take(NAMES["laneQueues"]["bulk"]))
    assert not refused("relay", take(NAMES["parkedQueue"]))
    assert refused("worker", take(NAMES["parkedQueue"]))
    assert not refused("relay", lambda c: c.basic_publish(NAMES["resultsExchange"], "report.backlog", b"{}"))
    assert refused("relay", lambda c: c.basic_publish(NAMES["deadExchange"], "x", b"{}"))
    assert refused("worker", take(NAMES["deadQueue"]))
    assert refused("worker", lambda c: c.queue_declare("nightread.jobs.mine"))
    assert refused("worker", lambda c: c.queue_delete(NAMES["laneQueues"]["bulk"]))
    assert refused("worker", lambda c: c.basic_publish("", NAMES["laneQueues"]["ingest"], b"{}"))
    assert refused("monitor", announce)
    assert not refused("assemble", announce)
    assert not refused("assemble", lambda c: c.basic_publish(NAMES["deadExchange"], "job.volumes", b"{}"))
    for queue in (NAMES["laneQueues"]["volumes"], NAMES["deadQueue"], NAMES["reportsQueue"]):
        assert refused("assemble", take(queue)), queue
    for exchange in ("resultsExchange", "quarantineExchange", "delayExchange"):
        assert refused("assemble", lambda c: c.basic_publish(NAMES[exchange], "job.ingest", b"{}")), exchange
    assert not refused("deliver", take(NAMES["deliveriesQueue"]))
    for exchange in ("exchange", "delayExchange", "deliveriesDeadExchange"):
        assert not refused("deliver", lambda c: c.basic_publish(NAMES[exchange], "delivery.pacs", b"{}"))
    assert not refused("deliver", lambda c: c.queue_declare(NAMES["deliveriesDeadQueue"], passive=True))
    for queue in (NAMES["laneQueues"]["ingest"], NAMES["quarantineQueue"], NAMES["deliveriesDeadQueue"]):
        assert refused("deliver", take(queue)), queue
    for exchange in ("quarantineExchange", "deadExchange", "resultsExchange"):
        assert refused("deliver", lambda c: c.basic_publish(NAMES[exchange], "job.ingest", b"{}")), exchange
    assert refused("deliver", lambda c: c.queue_delete(NAMES["deliveriesQueue"]))
    for user in ("worker", "relay", "monitor"):
        assert refused(user, take(NAMES["deliveriesQueue"])), user
