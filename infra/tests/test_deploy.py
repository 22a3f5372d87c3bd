"""Deploying over a fleet that runs, and preparing a disk: what must not shrink, and what must not be formatted.

Not deployed: `az` is a recorder here, and its answer has the shape that Azure documents for a list of scale sets.
"""

import json
import os
import subprocess

import pytest

import fleet

SCRIPTS = fleet.INFRA / "shared/scripts"
NIGHT = [
    {"name": f"vmss-{fleet.NAME}-workers", "location": "westeurope", "sku": {"name": "Standard_D8ds_v5", "tier": "Standard", "capacity": 17}, "orchestrationMode": "Uniform"},
    {"name": f"vmss-{fleet.NAME}-workers-spot", "location": "westeurope", "sku": {"name": "Standard_D8ds_v5", "tier": "Standard", "capacity": 9}, "orchestrationMode": "Uniform"},
    {"name": "vmss-another-workers", "location": "westeurope", "sku": {"name": "Standard_D2s_v5", "tier": "Standard", "capacity": 3}, "orchestrationMode": "Uniform"},
]


def deploy(folder, answer, *arguments, status=0):
    """Runs the script with an `az` that answers a list with `answer` and writes down everything else that it is asked."""
    (folder / "answer").write_text(answer if isinstance(answer, str) else json.dumps(answer))
    (folder / "main.bicepparam").write_text("using 'main.bicep'\n")
    az = folder / "az"
    az.write_text(f'#!/bin/sh\nif [ "$1 $2" = "vmss list" ]; then cat {folder}/answer; exit {status}; fi\necho "$@" >{folder}/asked\n')
    az.chmod(0o755)
    command = [str(fleet.INFRA / "scripts/deploy"), "--group", "rg", "--name", fleet.NAME, "--parameters", str(folder / "main.bicepparam"), *arguments]
    done = subprocess.run(command, env={**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}, capture_output=True, text=True, check=False)
    asked = folder / "asked"
    return done, asked.read_text().split() if asked.exists() else None


def present(asked):
    return {p.split("=")[0]: int(p.split("=")[1]) for p in asked if p.startswith("present")}


def capacities(**present):
    sets = [r for r in fleet.bicep("prod_backlog_spot", **present) if getattr(r, "kind", "").endswith("virtualMachineScaleSets")]
    return {s.name: s.body["sku"]["capacity"] for s in sets}


def test_a_deployment_at_night_keeps_the_fleet_as_large_as_it_is(tmp_path):
    done, asked = deploy(tmp_path, NIGHT)
    assert done.returncode == 0 and asked[:3] == ["deployment", "group", "create"]
    assert capacities(**present(asked)) == {f"vmss-{fleet.NAME}-workers": 17, f"vmss-{fleet.NAME}-workers-spot": 9}


def test_a_fleet_that_went_to_zero_stays_there(tmp_path):
    asleep = [{**s, "sku": {**s["sku"], "capacity": 0}} for s in NIGHT]
    assert capacities(**present(deploy(tmp_path, asleep, "--what-if")[1])) == {f"vmss-{fleet.NAME}-workers": 0, f"vmss-{fleet.NAME}-workers-spot": 0}


def test_the_first_deployment_takes_the_parameter(tmp_path):
    done, asked = deploy(tmp_path, NIGHT[2:])
    assert done.returncode == 0
    assert capacities(workerCapacity=2, **present(asked)) == {f"vmss-{fleet.NAME}-workers": 2, f"vmss-{fleet.NAME}-workers-spot": 0}


@pytest.mark.parametrize(("answer", "status"), [("[]", 1), ("not JSON", 0), ([{"name": f"vmss-{fleet.NAME}-workers", "sku": {"capacity": None}}], 0), (NIGHT[:1] * 2, 0)])
def test_what_cannot_be_read_is_not_guessed(tmp_path, answer, status):
    done, asked = deploy(tmp_path, answer, status=status)
    assert done.returncode != 0 and asked is None


def test_terraform_leaves_the_number_to_autoscale():
    assert "ignore_changes = [instances]" in (fleet.INFRA / "terraform/modules/scale_set/main.tf").read_text()


def format_if_empty(folder, disk):
    (folder / "deploy.env").write_text("AZURE_CLIENT_ID=x\n")
    env = {**os.environ, "NIGHTREAD_SETUP_ETC": str(folder), "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}
    return subprocess.run(["bash", "-c", f'. {SCRIPTS / "setup-broker"}; format_if_empty "{disk}"'], env=env, capture_output=True, text=True, check=False)


def filesystem(disk):
    return subprocess.run(["/sbin/blkid", "--probe", "--output", "value", "--match-tag", "TYPE", disk], capture_output=True, text=True, check=False).stdout.strip()


@pytest.fixture
def disk(tmp_path):
    path = tmp_path / "disk"
    with path.open("wb") as file:
        file.truncate(32 << 20)
    return path


def test_an_empty_disk_is_formatted_and_a_full_one_kept(tmp_path, disk):
    assert format_if_empty(tmp_path, disk).returncode == 0 and filesystem(disk) == "ext4"
    before = disk.read_bytes()
    assert format_if_empty(tmp_path, disk).returncode == 0 and disk.read_bytes() == before


def test_a_disk_that_two_signatures_claim_is_not_formatted(tmp_path, disk):
    """`blkid` ends with 8 there: any other status than 2 is no empty disk."""
    subprocess.run(["/sbin/mkfs.ext4", "-q", str(disk)], check=True)
    with disk.open("r+b") as file:
        file.seek(0)
        file.write(b"XFSB" + (4096).to_bytes(4, "big") + (8192).to_bytes(8, "big") + bytes(84) + (0xB4A5).to_bytes(2, "big") + (512).to_bytes(2, "big") + (512).to_bytes(2, "big"))
    before = disk.read_bytes()
    status = subprocess.run(["/sbin/blkid", "--probe", str(disk)], capture_output=True, check=False).returncode
    done = format_if_empty(tmp_path, disk)
    assert disk.read_bytes() == before and (status == 0 or (status == 8 and done.returncode != 0))


@pytest.mark.parametrize("status", [1, 4, 8, 127])
def test_a_failure_to_look_is_no_empty_disk(tmp_path, disk, status):
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "blkid").write_text(f"#!/bin/sh\nexit {status}\n")
    (tools / "blkid").chmod(0o755)
    before = disk.read_bytes()
    (tmp_path / "deploy.env").write_text("AZURE_CLIENT_ID=x\n")
    env = {**os.environ, "NIGHTREAD_SETUP_ETC": str(tmp_path), "PATH": f"{tools}:{os.environ['PATH']}:/sbin"}
    done = subprocess.run(["bash", "-c", f'. {SCRIPTS / "setup-broker"}; format_if_empty "{disk}"'], env=env, capture_output=True, text=True, check=False)
    assert done.returncode != 0 and f"status {status}" in done.stdout and disk.read_bytes() == before


def test_a_disk_that_cannot_be_read_is_not_formatted(tmp_path):
    """`blkid` says 2 here as well, as of an empty one."""
    folder = tmp_path / "unreadable"
    folder.mkdir()
    assert subprocess.run(["/sbin/blkid", "--probe", str(folder)], capture_output=True, check=False).returncode != 0
    done = format_if_empty(tmp_path, tmp_path / "missing")
    assert done.returncode != 0 and not (tmp_path / "missing").exists()
