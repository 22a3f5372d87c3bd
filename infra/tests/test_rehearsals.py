"""The rehearsals: a move from RabbitMQ 3.10 to 4.0 and both rotations, under load, each with the account of every message."""

import json
import os
import re
import subprocess
import sys

import pytest

import fleet
from broker import NAMES

if os.environ.get("NIGHTREAD_INFRA_QUICK"):
    pytest.skip("SKIPPED: the rehearsals: a quick run", allow_module_level=True)

FOLDER = fleet.INFRA / "rehearsals"


def rehearse(name, *arguments):
    """The exit status and the account."""
    done = subprocess.run([sys.executable, str(FOLDER / name), *arguments], capture_output=True, text=True, check=False)
    if done.returncode == 3:
        pytest.skip(re.search(r"SKIPPED: .*", done.stdout)[0])
    found = re.search(r"^rehearsal: (\{.*?^\})", done.stdout, re.M | re.S)
    assert found, done.stdout + done.stderr
    return done.returncode, json.loads(found[1])


def test_a_move_from_3_10_to_4_0_under_load_loses_nothing():
    status, account = rehearse("move")
    assert status == 0, account
    assert account["lost"] == 0 and account["announced"] == account["results"] and account["moved by shovels"] >= 200
    assert account["kept"] == {NAMES["deadQueue"]: 1, NAMES["deliveriesQueue"]: 5, NAMES["deliveriesDeadQueue"]: 1}
    assert account["of the parked"] == {"parked": 40, "lay parked": 40, "read while parked": 0, "left parked": 0}


def test_a_queue_without_a_shovel_is_missing_from_the_account():
    status, account = rehearse("move", "--backlog", "60", "--leave-out", NAMES["laneQueues"]["bulk"])
    assert status == 1 and account["lost"] > 0 and list(account["left at the old broker"]) == [NAMES["laneQueues"]["bulk"]]


@pytest.mark.parametrize("what", ["passwords", "tls"])
def test_a_rotation_under_load_cuts_no_connection_and_loses_nothing(what):
    status, account = rehearse("rotate", what)
    assert status == 0, account
    assert account["lost"] == 0 and account["stood"] == {"worker's sessions": 1.0, "announcer's connections": 1, "broker restarted": False}
    assert account["of the parked"] == {"parked": 40, "lay parked": 40, "read while parked": 0, "left parked": 0}
