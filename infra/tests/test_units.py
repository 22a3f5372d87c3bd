"""Files for other programs: cloud-init, systemd, shell, TOML. Each is read by the program itself where that is installed."""

import configparser
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

import fleet

SETTINGS = fleet.settings()
UNITS = fleet.INFRA / "package/systemd"
SERVICES = sorted(p.name for p in UNITS.glob("*.service"))


@pytest.fixture(scope="session")
def cloud_init_schema():
    """cloud-init's own schema: from an installed cloud-init, or from the Debian package, unpacked into a cache and not installed."""
    cache = Path(os.environ.get("NIGHTREAD_CLOUD_INIT_CACHE", Path.home() / ".cache/nightread/cloud-init"))
    pattern = "usr/lib/python3/dist-packages/cloudinit/config/schemas/schema-cloud-config-v1.json"
    for root in (Path("/"), cache):
        if (root / pattern).exists():
            return json.loads((root / pattern).read_text())
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        pytest.skip("SKIPPED: cloud-init schema: cloud-init is not installed and cannot be fetched")
    cache.mkdir(parents=True, exist_ok=True)
    subprocess.run(["apt-get", "download", "-q", "cloud-init"], cwd=cache, capture_output=True, check=False)
    packages = list(cache.glob("cloud-init_*.deb"))
    if not packages:
        pytest.skip("SKIPPED: cloud-init schema: cloud-init is not installed and cannot be fetched")
    subprocess.run(["dpkg-deb", "-x", str(packages[0]), str(cache)], check=True)
    return json.loads((cache / pattern).read_text())


@pytest.mark.parametrize("machines", ["scale_sets", "brokers"])
def test_cloud_init_takes_what_is_rendered(machines, bicep_facts, cloud_init_schema):
    import jsonschema

    validator = jsonschema.Draft4Validator(cloud_init_schema)
    for name, machine in bicep_facts["prod_backlog_spot"][machines].items():
        text = machine["cloud_init"]
        assert text.startswith("#cloud-config\n"), name
        config = yaml.safe_load(text)
        assert [e.message for e in validator.iter_errors(config)] == []
        assert not config["package_update"] and "packages" not in config, "there is no way to a package source"


def test_the_schema_refuses_a_wrong_key(cloud_init_schema):
    import jsonschema

    bad = {"write_files": [{"path": "/x", "permission": "0644"}]}
    assert list(jsonschema.Draft4Validator(cloud_init_schema).iter_errors(bad))


def test_every_embedded_script_is_the_file_itself(bicep_facts):
    import base64

    expected = {
        "scale_sets": {"/usr/local/lib/nightread/azure-fetch": "scripts/azure-fetch", "/usr/local/lib/nightread/setup": "scripts/setup-worker"},
        "brokers": {
            "/usr/local/lib/nightread/azure-fetch": "scripts/azure-fetch",
            "/usr/local/lib/nightread/setup": "scripts/setup-broker",
            "/usr/local/lib/nightread/rabbitmq.conf": "rabbitmq/rabbitmq.conf",
        },
    }
    for machines, files in expected.items():
        for machine in bicep_facts["prod"][machines].values():
            written = {f["path"]: f for f in yaml.safe_load(machine["cloud_init"])["write_files"]}
            for path, source in files.items():
                assert base64.b64decode(written[path]["content"]) == (fleet.INFRA / "shared" / source).read_bytes()


@pytest.mark.parametrize("machines", ["scale_sets", "brokers"])
def test_the_setup_scripts_get_every_variable_they_use(machines, bicep_facts):
    script = "setup-worker" if machines == "scale_sets" else "setup-broker"
    used = set(re.findall(r"\$\{?([A-Z][A-Z0-9_]+)", (fleet.INFRA / "shared/scripts" / script).read_text())) - {"BASH_SOURCE"}
    used = {name for name in used if not name.startswith("NIGHTREAD_SETUP_")}
    for machine in bicep_facts["prod"][machines].values():
        [env] = [f["content"] for f in yaml.safe_load(machine["cloud_init"])["write_files"] if f["path"] == "/etc/nightread/deploy.env"]
        given = dict(line.split("=", 1) for line in env.splitlines())
        assert used - given.keys() <= {"NIGHTREAD_BROKER_URL"}
        # Without Container Apps nobody asks the management API from elsewhere, and here no files of series arrive.
        assert {name for name, value in given.items() if not value} <= {"MANAGEMENT_TLS_PORT", "INSTANCES_QUEUE"}
        # The file is sourced by a shell.
        assert all(re.fullmatch(r"[A-Za-z0-9._:/+-]*", value) for value in given.values())


def shell_scripts():
    for path in sorted(fleet.INFRA.rglob("*")):
        if path.is_file() and ".terraform" not in path.parts and path.read_bytes()[:2] == b"#!":
            if re.match(rb"#!.*\b(ba)?sh\b", path.read_bytes().split(b"\n", 1)[0]):
                yield path


@pytest.mark.parametrize("script", shell_scripts(), ids=lambda p: str(p.relative_to(fleet.INFRA)))
def test_shellcheck(script):
    shellcheck = shutil.which("shellcheck", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if shellcheck is None:
        pytest.skip("SKIPPED: shellcheck is not installed")
    done = subprocess.run([shellcheck, "--external-sources", str(script)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert os.access(script, os.X_OK), "not executable"


@pytest.fixture(scope="session")
def rendered_units(tmp_path_factory):
    """The units as `package/stage` writes them, with a program at the path that they start."""
    folder = tmp_path_factory.mktemp("units")
    prefix = folder / "prefix"
    (prefix / "bin").mkdir(parents=True)
    shutil.copy("/bin/true", prefix / "bin/nightread")
    tokens = {"@PREFIX@": str(prefix), "@STOP_SECONDS@": str(SETTINGS["drain"]["stopTimeoutSeconds"]), "@RECONCILE_SINCE@": SETTINGS["reconcile"]["modifiedSince"], "@RECONCILE_AT@": SETTINGS["reconcile"]["startAt"]}
    for unit in UNITS.iterdir():
        text = unit.read_text()
        for token, value in tokens.items():
            text = text.replace(token, value)
        assert not re.search(r"@[A-Z_]+@", text), unit.name
        (folder / unit.name).write_text(text)
    return folder


def test_systemd_takes_the_units(rendered_units):
    if shutil.which("systemd-analyze") is None:
        pytest.skip("SKIPPED: systemd-analyze is not installed")
    units = [str(rendered_units / u.name) for u in UNITS.iterdir()]
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", *units], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "Unknown" not in done.stderr, done.stderr


@pytest.mark.parametrize("service", SERVICES)
def test_units_are_hardened(service, rendered_units):
    if shutil.which("systemd-analyze") is None:
        pytest.skip("SKIPPED: systemd-analyze is not installed")
    # 2.0 of 10, where 10 is a service that may do anything; a usual unit has over 9.
    done = subprocess.run(["systemd-analyze", "security", "--offline=true", "--threshold=20", str(rendered_units / service)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-400:] + done.stderr


@pytest.mark.parametrize("service", SERVICES)
def test_services_run_as_nobody_in_particular(service):
    unit = configparser.RawConfigParser(strict=False)
    unit.optionxform = str
    unit.read(UNITS / service)
    assert unit["Service"]["User"] == unit["Service"]["Group"] == SETTINGS["names"]["user"]
    assert unit["Service"]["ProtectSystem"] == "strict" and unit["Service"]["CapabilityBoundingSet"] == ""


def test_nothing_that_starts_the_program_lets_its_runtime_report(bicep_facts):
    """ONNX Runtime reports to Microsoft unless it finds this when it is loaded; the program would have to start itself anew."""
    off = "ORT_DISABLE_TELEMETRY=1"
    for service in SERVICES:
        assert f"Environment={off}" in (UNITS / service).read_text().splitlines(), service
    assert re.search(rf"^ENV (.*\\\n)*.*\b{off}\b", (fleet.INFRA / "docker/Dockerfile").read_text(), re.M)
    for machine in bicep_facts["prod"]["scale_sets"].values():
        [env] = [f["content"] for f in yaml.safe_load(machine["cloud_init"])["write_files"] if f["path"] == "/etc/nightread/nightread.env"]
        assert off in env.splitlines()


def test_large_scans_are_spooled_to_a_disk(bicep_facts):
    """Where nobody says so they go to the folders of temporary files, which are memory in a container."""
    folder = SETTINGS["spool"]["folder"]
    service = (UNITS / "nightread.service").read_text().splitlines()
    assert folder == f"/var/cache/{SETTINGS['names']['user']}"
    assert {f"CacheDirectory={SETTINGS['names']['user']}", f"Environment=NIGHTREAD_STORAGE_SPOOL_DIR=%C/{SETTINGS['names']['user']}"} <= set(service)
    image = (fleet.INFRA / "docker/Dockerfile").read_text()
    assert f"VOLUME {folder}\n" in image and f"NIGHTREAD_STORAGE_SPOOL_DIR={folder} \\\n" in image
    assert re.search(rf"install -d -o 990 -g 990 -m 0700 {folder}$", image, re.M), "the volume would belong to root"
    for machine in bicep_facts["prod"]["scale_sets"].values():
        [env] = [f["content"] for f in yaml.safe_load(machine["cloud_init"])["write_files"] if f["path"] == "/etc/nightread/nightread.env"]
        assert f"NIGHTREAD_STORAGE_SPOOL_DIR={folder}" in env.splitlines()
        assert machine["os_disk"][-1] << 30 >= (32 << 30) + (16 << 30), "32 GiB of spooled scans beside the system"


def test_the_debian_package_knows_every_unit():
    """An upgrade restarts the services that run, and a removal ends all of them; what a timer starts ends by itself."""
    timed = {timer.stem for timer in UNITS.glob("*.timer")}
    for script, ended in (("postinst", {s for s in SERVICES if s.removesuffix(".service") not in timed}), ("prerm", {s for s in SERVICES if s.removesuffix(".service") not in timed} | {f"{t}.timer" for t in timed})):
        told = set(re.findall(r"nightread[\w-]*\.(?:service|timer)", (fleet.INFRA / "package/deb" / script).read_text()))
        assert told == ended, script


def test_a_worker_has_longer_to_stop_than_to_drain(rendered_units):
    text = (rendered_units / "nightread.service").read_text()
    stop = int(re.search(r"^TimeoutStopSec=(\d+)$", text, re.M).group(1))
    assert stop > SETTINGS["drain"]["deadlineSeconds"] and "KillSignal=SIGTERM" in text


def test_the_backlog_is_published_as_often_as_the_metric_wants():
    assert SETTINGS["metrics"]["publishIntervalSeconds"] == 60
    assert "OnCalendar=*-*-* *:*:00" in (UNITS / "nightread-backlog.timer").read_text()


def test_the_settings_file_is_read():
    text = (fleet.INFRA / "package/worker.toml").read_text()
    assert tomllib.loads(text)["http"]["listen"].endswith(f":{SETTINGS['ports']['health']}")


def test_the_workflow_is_yaml_and_pins_its_actions():
    workflow = yaml.safe_load((fleet.INFRA.parent / ".github/workflows/infra.yml").read_text())
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    assert all(re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", step["uses"]) for step in steps if "uses" in step)
    assert workflow["permissions"] == {"contents": "read"}
