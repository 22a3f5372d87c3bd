"""Names that code and infrastructure must agree on, taken from the worker's contract, from the settings and from the templates.

Each finding is a line; `drifts_are_seen` changes either side in a copy and wants a line. Nothing is skipped.
"""

import json
import re
import shutil
from pathlib import Path

import pytest

import fleet
from worker_contract import command_problems, contract_of, default_of, variables

REPOSITORY = fleet.INFRA.parent
COMMAND_OF_UNIT = {"nightread": "run", "nightread-relay": "relay", "nightread-assemble": "assemble", "nightread-deliver": "deliver", "nightread-backlog": "backlog", "nightread-announce": "announce"}


def used_names(path):
    # NIGHTREAD_SETUP_* belong to the set-up scripts, not to the worker.
    return {n for n in re.findall(r"\bNIGHTREAD_[A-Z0-9_]+", path.read_text()) if not n.startswith("NIGHTREAD_SETUP_") and not n.endswith("_")}


def settings_of(root):
    return json.loads((root / "infra/shared/settings.json").read_text())


def queue_findings(root):
    names, broker = settings_of(root)["names"], contract_of(root)["broker"]
    exchanges = {"jobs": names["exchange"]} | {key: names[f"{key}Exchange"] for key in ("dead", "delay", "quarantine", "results")}
    exchanges["deliveries_dead"] = names["deliveriesDeadExchange"]
    ours = {
        "exchanges": exchanges,
        "lane_queues": names["laneQueues"],
        "lane_keys": {lane: f"{names['routingKey']}.{lane}" for lane in names["laneQueues"]},
        "delay_queues": names["delayQueues"],
        "former_queues": names["formerQueues"],
        "quarantine_queue": names["quarantineQueue"],
        "parked_queue": names["parkedQueue"],
        "dead_queue": names["deadQueue"],
        "reports_queue": names["reportsQueue"],
        "deliveries_queue": names["deliveriesQueue"],
        "deliveries_dead_queue": names["deliveriesDeadQueue"],
        "delivery_key": names["deliveryKey"],
    }
    for key in sorted(broker.keys() | ours.keys()):
        if broker.get(key) != ours.get(key):
            yield f"{key}: the worker has {broker.get(key)}, the settings {ours.get(key)}"


def storage_queue_findings(root):
    names, contract = settings_of(root)["names"], contract_of(root)
    if names["storagePoisonQueue"] != names["storageQueue"] + contract["storage_queue"]["poison_suffix"]:
        yield f"the relay puts poison into another queue than {names['storagePoisonQueue']}"
    if default_of(contract, "relay", "queue") != names["storageQueue"]:
        yield f"the default of [relay] queue is not {names['storageQueue']}"
    if names["instancesPoisonQueue"] != names["instancesQueue"] + contract["storage_queue"]["poison_suffix"]:
        yield f"who assembles series puts poison into another queue than {names['instancesPoisonQueue']}"
    if default_of(contract, "assemble", "queue") != names["instancesQueue"]:
        yield f"the default of [assemble] queue is not {names['instancesQueue']}"


def health_findings(root):
    settings, contract = settings_of(root), contract_of(root)
    health, http = settings["health"], contract["http"]
    if health["path"] != http["alive"]:
        yield f"{health['path']} is not served"
    if health["body"] != http["alive_body"]:
        yield f"the body {health['body']} is not answered"
    if default_of(contract, "http", "listen").rpartition(":")[2] != str(settings["ports"]["health"]):
        yield "the port of the health endpoint differs from the default of [http] listen"


def variable_findings(root, paths):
    known = variables(contract_of(root))
    for path in paths:
        for name in sorted(used_names(root / "infra" / path) - known):
            yield f"{path}: {name} is no setting"


def metric_findings(root):
    settings, contract = settings_of(root), contract_of(root)
    metrics, monitor = settings["metrics"], contract["azure_monitor"]
    threshold = settings["autoscale"]["regular"]["scaleOut"]["thresholdSecondsPerWorker"]
    if default_of(contract, "backlog", "scale_out_seconds") != str(threshold):
        yield f"the default of [backlog] scale_out_seconds is not {threshold}"
    names = settings["names"]
    allowed = re.search(r"ensure_user \"\$USER_RELAY\".* '(\S+)' '(\S+)' '(\S+)'", (root / "infra/shared/scripts/setup-broker").read_text())
    if not re.search(allowed.group(2), names["resultsExchange"]) or not re.search(allowed.group(3), names["reportsQueue"]):
        yield "the backlog's user may not read what workers report, or not leave what it concluded"
    if not all(re.search(allowed.group(3), queue) for queue in (names["laneQueues"]["bulk"], names["parkedQueue"])):
        yield "the nightly announcement may not park what is left in the lane bulk, or not bring it back"
    if metrics["namespace"] != monitor["namespace"] or f"{metrics['tokenAudience']}/.default" != monitor["scope"]:
        yield "metrics go to another namespace, or with a token for somebody else"
    published = {metrics[key] for key in ("backlogSecondsPerWorker", "deadLetters", "oldestJobAgeSeconds", "storageQueueDepth", "brokerCertificateDays")}
    for name in sorted(published ^ set(monitor["metrics"])):
        yield f"metric {name} is {'not published' if name in published else 'not known to the settings'}"


def imds_findings(root):
    version = settings_of(root)["imds"]["scheduledEventsApiVersion"]
    if not contract_of(root)["imds"]["scheduled_events"].endswith(f"/scheduledevents?api-version={version}"):
        yield f"scheduled events are not asked for with api-version {version}"


def event_findings(root):
    """What is subscribed to is what the worker reads, no less and no more."""
    read = set(contract_of(root)["event_types"])
    for kind in sorted(read ^ set(settings_of(root)["events"]["types"])):
        yield f"{kind} is {'not subscribed to' if kind in read else 'no work for the worker'}"


def container_findings(root):
    contract, names = contract_of(root), settings_of(root)["names"]["containers"]
    for section, name, container in (("sources", "containers", names["incoming"]), ("results", "container", names["results"])):
        if default_of(contract, section, name) != container:
            yield f"the default of [{section}] {name} is not {container}"


def unit_findings(root):
    """Each unit starts its command, with the settings file."""
    for unit, command in COMMAND_OF_UNIT.items():
        text = (root / f"infra/package/systemd/{unit}.service").read_text()
        if not re.search(rf"^ExecStart=@PREFIX@/bin/nightread {command} .*--config /etc/nightread/worker\.toml$", text, re.M):
            yield f"{unit}.service does not start {command}"


COMMAND = re.compile(r"(?<![\w.])nightread\"? ([a-z][a-z-]*(?: [a-z][a-z-]*)?)((?: (?:--[a-z][a-z-]*|\"[^\"\n]*\"|[\w./@$-]+))*)")
PLACES = ("README.md", "package/**/*", "shared/*/*", "docker/*", "scripts/*", "bicep/**/*.bicep", "terraform/**/*.tf")


def named_commands(root):
    """(file, words) of each `nightread <command> [<command>] [--option]...` in units, scripts, templates and documents."""
    for path in sorted({p for place in PLACES for p in (root / "infra").glob(place) if p.is_file()}):
        for match in COMMAND.finditer(path.read_text()):
            yield path.relative_to(root), [*match.group(1).split(), *re.findall(r"(?<= )--[a-z][a-z-]*", match.group(2))]


def command_findings(root, command):
    """What is wrong with each mention of one command."""
    contract = contract_of(root)
    for path, words in named_commands(root):
        if words[0] == command:
            yield from (f"{path}: {problem}" for problem in command_problems(contract, words))


def identity_findings(root):
    """The names that stand in shared/settings.json stand in the machine scripts as well, which read no settings."""
    settings = settings_of(root)
    fetch = (root / "infra/shared/scripts/azure-fetch").read_text()
    if settings["imds"]["endpoint"] not in fetch or settings["imds"]["identityApiVersion"] not in fetch:
        yield "azure-fetch asks another identity endpoint"
    broker = (root / "infra/shared/scripts/setup-broker").read_text()
    # Workers of an earlier version, beside those of this one, go by its names.
    others = (name.removeprefix("nightread.jobs.") for name in [settings["names"]["quarantineQueue"], *settings["names"]["formerQueues"]])
    lanes = "|".join([*settings["names"]["laneQueues"], *others])
    if rf"'^nightread\.jobs\.({lanes})$'" not in broker:
        yield "workers may not read their lanes"
    written = [settings["names"][n] for n in ("delayExchange", "quarantineExchange", "deadExchange", "resultsExchange")]
    writes = "|".join(name.removeprefix("nightread.") for name in [*written, *settings["names"]["formerExchanges"]])
    if rf"'^nightread(\.({writes}))?$'" not in broker:
        yield "workers may not publish where they must"
    alerts, metrics = settings["alerts"], settings["metrics"]
    if {a["metric"] for a in alerts.values()} != {metrics[key] for key in ("deadLetters", "oldestJobAgeSeconds", "storageQueueDepth", "brokerCertificateDays")}:
        yield "alerts watch metrics that are not published"


WORKER_FILES = ["shared/cloud-init/worker.yaml", "shared/scripts/setup-worker", "docker/Dockerfile", "package/worker.toml"]
BROKER_FILES = ["shared/cloud-init/broker.yaml", "shared/scripts/setup-broker"]
CHECKS = {
    "queues": queue_findings,
    "storage queues": storage_queue_findings,
    "health": health_findings,
    "containers": container_findings,
    "events": event_findings,
    "worker variables": lambda root: variable_findings(root, WORKER_FILES),
    "broker variables": lambda root: variable_findings(root, BROKER_FILES),
    "metrics": metric_findings,
    "scheduled events": imds_findings,
    "units": unit_findings,
    "machine scripts": identity_findings,
}


@pytest.mark.parametrize("check", CHECKS)
def test_code_and_infrastructure_agree(check):
    assert list(CHECKS[check](REPOSITORY)) == []


@pytest.mark.parametrize("command", sorted({words[0] for _, words in named_commands(REPOSITORY)}))
def test_every_command_that_is_named_is_one_of_the_worker(command):
    assert list(command_findings(REPOSITORY, command)) == []


DRIFTS = [
    ("queues", "worker/contract.json", '"nightread.results"', '"nightread.result"'),
    ("queues", "worker/contract.json", '"nightread.jobs.delay.30s"', '"nightread.jobs.delay.31s"'),
    ("queues", "infra/shared/settings.json", '"nightread.jobs.bulk"', '"nightread.jobs.batch"'),
    ("machine scripts", "infra/shared/scripts/setup-broker", "|volumes|quarantine|fmri|suspect)", "|volumes|quarantine|fmri)"),
    ("metrics", "infra/shared/scripts/setup-broker", "'^nightread\\.(reports|jobs\\.(bulk|parked))$'", "'^$'"),
    ("metrics", "infra/shared/scripts/setup-broker", "jobs\\.(bulk|parked)", "jobs\\.(bulk)"),
    ("metrics", "infra/shared/settings.json", '"thresholdSecondsPerWorker": 600', '"thresholdSecondsPerWorker": 700'),
    ("metrics", "worker/contract.json", '"OldestJobAgeSeconds"', '"OldestJobAge"'),
    ("metrics", "infra/shared/settings.json", '"nightread/queue"', '"nightread/queues"'),
    ("queues", "worker/contract.json", '"job.ingest"', '"work.ingest"'),
    ("scheduled events", "worker/contract.json", "api-version=2020-07-01", "api-version=2021-07-01"),
    ("scheduled events", "infra/shared/settings.json", '"scheduledEventsApiVersion": "2020-07-01"', '"scheduledEventsApiVersion": "2021-07-01"'),
    ("storage queues", "worker/contract.json", '"-poison"', '"-bad"'),
    ("storage queues", "infra/shared/settings.json", '"storageQueue": "blob-created"', '"storageQueue": "blobs-created"'),
    ("storage queues", "infra/shared/settings.json", '"instancesQueue": "instance-created"', '"instancesQueue": "instances-created"'),
    ("health", "worker/contract.json", '"/healthz"', '"/health"'),
    ("health", "infra/shared/settings.json", '"Healthy"', '"healthy"'),
    ("health", "infra/shared/settings.json", '"health": 8080', '"health": 8081'),
    ("events", "infra/shared/settings.json", '"Microsoft.Storage.BlobRenamed", ', ""),
    ("events", "worker/contract.json", '"Microsoft.Storage.BlobTierChanged"', '"Microsoft.Storage.BlobDeleted"'),
    ("containers", "infra/shared/settings.json", '"results": "results"', '"results": "result"'),
    ("worker variables", "worker/contract.json", "_DRAIN_SECONDS", "_DRAIN_TIME"),
    ("worker variables", "infra/shared/cloud-init/worker.yaml", "NIGHTREAD_BROKER_CA_FILE", "NIGHTREAD_BROKER_CA"),
    ("broker variables", "infra/shared/cloud-init/broker.yaml", "NIGHTREAD_BACKLOG_RESOURCE_ID", "NIGHTREAD_BACKLOG_RESOURCE"),
    ("broker variables", "worker/contract.json", "_MANAGEMENT_URL", "_MANAGEMENT"),
    ("units", "infra/package/systemd/nightread.service", "nightread run ", "nightread start "),
    ("machine scripts", "infra/shared/settings.json", '"ingest": ', '"arrivals": '),
    ("machine scripts", "infra/shared/scripts/azure-fetch", "2018-02-01", "2019-08-01"),
    ("machine scripts", "infra/shared/settings.json", '"metric": "DeadLetters"', '"metric": "Dead"'),
]
COMMAND_DRIFTS = [
    ("run", "worker/contract.json", '"run": {', '"serve": {'),
    ("run", "worker/contract.json", '"--config"', '"--settings"'),
    ("run", "infra/package/systemd/nightread.service", "run --config", "run --settings"),
    ("announce", "worker/contract.json", '"--skip-done"', '"--skip-known"'),
    ("backlog", "worker/contract.json", '"--publish"', '"--send"'),
    ("relay", "worker/contract.json", '"relay": {', '"pull": {'),
    ("topology", "infra/shared/scripts/setup-broker", 'nightread" topology --config', 'nightread" topology --declare --config'),
]


def drifted(file, old, new, folder):
    """A copy of what the contract reads, with one change."""
    for copied in ("infra/shared", "infra/package", "infra/docker"):
        shutil.copytree(REPOSITORY / copied, folder / copied)
    (folder / "worker").mkdir()
    shutil.copy(REPOSITORY / "worker/contract.json", folder / "worker/contract.json")
    changed = folder / file
    assert old in changed.read_text(), f"{file} no longer says {old}"
    changed.write_text(changed.read_text().replace(old, new))
    return folder


@pytest.mark.parametrize(("check", "file", "old", "new"), DRIFTS, ids=lambda value: Path(str(value)).name[:28])
def test_drifts_are_seen(check, file, old, new, tmp_path):
    assert list(CHECKS[check](drifted(file, old, new, tmp_path))) != []


@pytest.mark.parametrize(("command", "file", "old", "new"), COMMAND_DRIFTS, ids=lambda value: Path(str(value)).name[:28])
def test_drifts_of_commands_are_seen(command, file, old, new, tmp_path):
    assert list(command_findings(drifted(file, old, new, tmp_path), command)) != []
