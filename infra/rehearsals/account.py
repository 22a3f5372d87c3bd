"""What both rehearsals share: load, workers and the account of every message. Nothing here is a fleet's: brokers, storage and images are made
for the rehearsal and go with it."""

import contextlib
import json
import subprocess
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import pika
import pytest

import broker
import fleet
from test_worker_at_broker import image

NAMES = fleet.settings()["names"]
PATIENCE = 300
QUEUES = [*NAMES["laneQueues"].values(), *NAMES["delayQueues"].values(), NAMES["quarantineQueue"], NAMES["parkedQueue"], NAMES["deadQueue"], NAMES["deliveriesQueue"], NAMES["deliveriesDeadQueue"]]


class Skipped(Exception):
    """What cannot be had here, by name."""


def say(text):
    print(f"rehearsal: {text}", flush=True)


def until(what, holds, patience=PATIENCE):
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError, subprocess.SubprocessError, pika.exceptions.AMQPError):
            if found := holds():
                return found
        time.sleep(0.3)
    raise AssertionError(f"{what} did not come in {patience} s")


class Site:
    """Images and results in a folder."""

    def __init__(self, folder):
        self.storage = folder / "storage"
        for container in NAMES["containers"].values():
            (self.storage / container).mkdir(parents=True)
        self.made = 0
        self.lock = threading.Lock()

    def next(self):
        """The name of an image that nobody has announced yet. Every eleventh is no image; its result says so."""
        with self.lock:
            self.made += 1
            name = f"{self.made:05}.png"
        (self.storage / "incoming" / name).write_bytes(b"no image" if self.made % 11 == 0 else image(self.made % 250))
        return name

    def results(self):
        folder = self.storage / "results/one-node/1.0.0-fp32/incoming"
        return {path.name.removesuffix(".json") for path in folder.glob("*.json")} if folder.exists() else set()


class Load(threading.Thread):
    """Announces for as long as it is let, each by a confirmed publish; who is announced to may change in between."""

    def __init__(self, site, connect, rate):
        super().__init__(daemon=True)
        self.site, self.connect, self.rate = site, connect, rate
        self.announced, self.parked, self.delayed = [], [], []
        self.connections, self.ended, self.failed = 0, threading.Event(), None
        self.moved = threading.Event()

    def run(self):
        try:
            while not self.ended.is_set():
                connection = self.connect()
                self.connections += 1
                self.moved.clear()
                with connection:
                    channel = connection.channel()
                    channel.confirm_delivery()
                    while not self.ended.is_set() and not self.moved.is_set():
                        name = self.site.next()
                        lane = ("ingest", "bulk")[self.site.made % 2]
                        body = json.dumps({"blob": f"incoming/{name}"}).encode()
                        channel.basic_publish(NAMES["exchange"], f"{NAMES['routingKey']}.{lane}", body, pika.BasicProperties(delivery_mode=2), mandatory=True)
                        self.announced.append(name)
                        connection.sleep(1 / self.rate)
        except Exception as problem:  # told by whoever joins
            self.failed = problem

    def end(self):
        self.ended.set()
        self.join()
        if self.failed:
            raise self.failed

    def go_to(self, connect):
        self.connect = connect
        before = self.connections
        self.moved.set()
        until("the announcer's new connection", lambda: self.connections > before or self.failed)


PARKED, DELAYED = 40, 10


def lay(load, connection, count, exchange, key, **headers):
    """Announcements that lie in another queue than a lane, confirmed there. Their names; their results are owed as all others are."""
    channel = connection.channel()
    channel.confirm_delivery()
    names = [load.site.next() for _ in range(count)]
    for name in names:
        body = json.dumps({"blob": f"incoming/{name}"}).encode()
        channel.basic_publish(exchange, key, body, pika.BasicProperties(delivery_mode=2, headers=headers), mandatory=True)
    return names


def park(load, connection):
    """As `nightread announce --finish-by` parks at its hour."""
    load.parked = lay(load, connection, PARKED, NAMES["exchange"], "parked.bulk")


def delay(load, connection):
    """As a worker postpones what did not go now, by the longest delay: it is not over before the move is."""
    load.delayed = lay(load, connection, DELAYED, NAMES["delayExchange"], f"{NAMES['routingKey']}.bulk", delay="5m")


def bring_back(load, counts, command, env):
    """What is parked is still so, and nobody read it; then the program brings it back. The account of it."""
    lay, read = counts()[NAMES["parkedQueue"]], len(set(load.parked) & load.site.results())
    done = subprocess.run([*command, "announce", "--bring-back"], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return {"parked": len(load.parked), "lay parked": lay, "read while parked": read, "left parked": counts()[NAMES["parkedQueue"]]}


def is_sound(parked):
    return parked == {"parked": PARKED, "lay parked": PARKED, "read while parked": 0, "left parked": 0}


def settle(load, site, counts):
    """Waits until everything that was announced has its result and no queue holds anything; then the account of it."""
    owed = {*load.announced, *load.parked, *load.delayed}

    def done():
        return owed <= site.results() and not any(counts().values())

    with contextlib.suppress(AssertionError):
        until("an empty broker and a result for each", done, PATIENCE / 2)
    missing = sorted(owed - site.results())
    return {"announced": len(owed), "results": len(site.results()), "missing": missing[:20], "lost": len(missing), "left in queues": {q: n for q, n in counts().items() if n}}


def rehearse(main):
    """Runs a rehearsal: 0 nothing lost, 1 something, 3 SKIPPED by name."""
    try:
        account = main()
    except (Skipped, pytest.skip.Exception) as reason:
        say(f"SKIPPED: {reason}")
        return 3
    say(json.dumps(account, indent=1))
    sound = account["lost"] == 0 and not account["left in queues"] and account.get("sound", True)
    say("nothing was lost" if sound else "THE ACCOUNT DOES NOT COME OUT")
    return 0 if sound else 1
