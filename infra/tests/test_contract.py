"""Names that code and infrastructure must agree on, taken from the Rust source itself, from the settings and from the templates.

Each finding is a line; `drifts_are_seen` changes either side in a copy and wants a line. Nothing is skipped.
"""

import json
import re
import shutil
from pathlib import Path

import pytest

import fleet
from worker_source import CommandLine, file_ending, rust, setting_names

REPOSITORY = fleet.INFRA.parent
COMMAND_OF_UNIT = {"nightread": "run", "nightread-relay": "relay", "nightread-backlog": "backlog", "nightread-announce": "announce"}


def used_names(path):
    # NIGHTREAD_SETUP_* belong to the set-up scripts, not to the worker.
    return {n for n in re.findall(r"\bNIGHTREAD_[A-Z0-9_]+", path.read_text()) if not n.startswith("NIGHTREAD_SETUP_") and not n.endswith("_")}


def settings_of(root):
    return json.loads((root / "infra/shared/settings.json").read_text())


def queue_findings(root):
    names, topology = settings_of(root)["names"], file_ending(rust(root), "queue/rabbitmq/topology.rs")
    literals = set(re.findall(r'"([^"]*)"', topology))
    exchanges = [names[key] for key in names if key == "exchange" or key.endswith("Exchange")]
    for name in (*exchanges, names["suspectQueue"], names["deadQueue"], names["reportsQueue"]):
        if name not in literals:
            yield f"{name} is not in topology.rs"
    lanes = re.search(r"fn as_str.*?\n    }", file_ending(rust(root), "domain/src/routing.rs", "domain/src/job.rs", "domain/src/lane.rs"), re.S)
    lane_words = set(re.findall(r'=> "([a-z]+)"', lanes.group(0))) if lanes else set()
    if "nightread.jobs.{}" not in literals or lane_words != set(names["laneQueues"]):
        yield f"lanes {sorted(lane_words)} are not {sorted(names['laneQueues'])}"
    for lane, queue in names["laneQueues"].items():
        if queue != f"nightread.jobs.{lane}":
            yield f"queue of lane {lane} is {queue}"
    delays = set(re.findall(r'=> "(\d+[sm])"', topology))
    if "nightread.jobs.delay.{}" not in literals or delays != set(names["delayQueues"]):
        yield f"delays {sorted(delays)} are not {sorted(names['delayQueues'])}"
    for delay, queue in names["delayQueues"].items():
        if queue != f"nightread.jobs.delay.{delay}":
            yield f"queue of delay {delay} is {queue}"
    if f'"{names["routingKey"]}.{{}}"' not in topology:
        yield f"routing key {names['routingKey']} is not in topology.rs"


def storage_queue_findings(root):
    names, sources = settings_of(root)["names"], rust(root)
    suffix = re.search(r'POISON_SUFFIX: &str = "([^"]+)"', file_ending(sources, "queue/storage_queue.rs"))
    if suffix is None or names["storagePoisonQueue"] != names["storageQueue"] + suffix.group(1):
        yield f"the relay puts poison into another queue than {names['storagePoisonQueue']}"
    if not re.search(rf'key\("relay", "queue", Text, "{names["storageQueue"]}"', file_ending(sources, "settings/keys.rs")):
        yield f"the default of [relay] queue is not {names['storageQueue']}"


def health_findings(root):
    health, source = settings_of(root)["health"], file_ending(rust(root), "telemetry/health.rs")
    if f'"{health["path"]}"' not in source:
        yield f"{health['path']} is not served"
    [(key, value)] = health["body"].items()
    if f'"{key}": "{value}"' not in source:
        yield f"the body {health['body']} is not answered"
    listen = re.search(r'key\(\s*"http",\s*"listen",\s*Text,\s*"[^"]*:(\d+)"', file_ending(rust(root), "settings/keys.rs"))
    if listen is None or int(listen.group(1)) != settings_of(root)["ports"]["health"]:
        yield "the port of the health endpoint differs from the default of [http] listen"


def variable_findings(root, paths):
    known = setting_names(rust(root))
    for path in paths:
        for name in sorted(used_names(root / "infra" / path) - known):
            yield f"{path}: {name} is no setting"


def metric_findings(root):
    metrics, source = settings_of(root)["metrics"], "".join(rust(root).values())
    threshold = settings_of(root)["autoscale"]["regular"]["scaleOut"]["thresholdSecondsPerWorker"]
    if not re.search(rf'"scale_out_seconds",\s*Integer,\s*"{threshold}"', file_ending(rust(root), "settings/keys.rs")):
        yield f"the default of [backlog] scale_out_seconds is not {threshold}"
    names = settings_of(root)["names"]
    allowed = re.search(r"ensure_user \"\$USER_RELAY\".* '(\S+)' '(\S+)' '(\S+)'", (root / "infra/shared/scripts/setup-broker").read_text())
    if not re.search(allowed.group(2), names["resultsExchange"]) or not re.search(allowed.group(3), names["reportsQueue"]):
        yield "the backlog's user may not read what workers report, or not leave what it concluded"
    for key in ("namespace", "backlogSecondsPerWorker", "deadLetters", "oldestJobAgeSeconds", "storageQueueDepth", "tokenAudience"):
        if f'"{metrics[key]}"' not in source and f'"{metrics[key].rstrip("/")}' not in source:
            yield f"metric {key} {metrics[key]} is not in the worker"


def imds_findings(root):
    version, source = settings_of(root)["imds"]["scheduledEventsApiVersion"], "".join(rust(root).values())
    if "scheduledevents" not in source or version not in source:
        yield f"scheduled events are not asked for with api-version {version}"


def event_findings(root):
    """What is subscribed to is what the worker reads, no less and no more."""
    source = file_ending(rust(root), "announcement/events.rs")
    read = set(re.findall(r'const BLOB_\w+: &str = "([^"]+)"', source))
    for kind in sorted(read ^ set(settings_of(root)["events"]["types"])):
        yield f"{kind} is {'not subscribed to' if kind in read else 'no work for the worker'}"


def container_findings(root):
    keys = file_ending(rust(root), "settings/keys.rs")
    names = settings_of(root)["names"]["containers"]
    for section, name, container in (("sources", "containers", names["incoming"]), ("results", "container", names["results"])):
        if not re.search(rf'key\("{section}", "{name}", \w+, "{container}"', keys):
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
    line = CommandLine(rust(root))
    for path, words in named_commands(root):
        if words[0] == command:
            yield from (f"{path}: {problem}" for problem in line.problems(words))


def identity_findings(root):
    """The names that stand in shared/settings.json stand in the machine scripts as well, which read no settings."""
    settings = settings_of(root)
    fetch = (root / "infra/shared/scripts/azure-fetch").read_text()
    if settings["imds"]["endpoint"] not in fetch or settings["imds"]["identityApiVersion"] not in fetch:
        yield "azure-fetch asks another identity endpoint"
    broker = (root / "infra/shared/scripts/setup-broker").read_text()
    lanes = "|".join([*settings["names"]["laneQueues"], settings["names"]["suspectQueue"].removeprefix("nightread.jobs.")])
    if rf"'^nightread\.jobs\.({lanes})$'" not in broker:
        yield "workers may not read their lanes"
    writes = "|".join(settings["names"][n].removeprefix("nightread.") for n in ("delayExchange", "suspectExchange", "deadExchange", "resultsExchange"))
    if rf"'^nightread(\.({writes}))?$'" not in broker:
        yield "workers may not publish where they must"
    alerts, metrics = settings["alerts"], settings["metrics"]
    if {a["metric"] for a in alerts.values()} != {metrics["deadLetters"], metrics["oldestJobAgeSeconds"], metrics["storageQueueDepth"]}:
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
    ("queues", "worker/src/adapters/queue/rabbitmq/topology.rs", '"nightread.results"', '"nightread.result"'),
    ("queues", "worker/src/adapters/queue/rabbitmq/topology.rs", '=> "30s"', '=> "31s"'),
    ("queues", "infra/shared/settings.json", '"nightread.jobs.bulk"', '"nightread.jobs.batch"'),
    ("machine scripts", "infra/shared/scripts/setup-broker", "|fmri|suspect)", "|fmri)"),
    ("metrics", "infra/shared/scripts/setup-broker", "'^nightread\\.reports$'", "'^$'"),
    ("metrics", "infra/shared/settings.json", '"thresholdSecondsPerWorker": 600', '"thresholdSecondsPerWorker": 700'),
    ("scheduled events", "infra/shared/settings.json", '"scheduledEventsApiVersion": "2020-07-01"', '"scheduledEventsApiVersion": "2021-07-01"'),
    ("storage queues", "worker/src/adapters/queue/storage_queue.rs", '"-poison"', '"-bad"'),
    ("storage queues", "infra/shared/settings.json", '"storageQueue": "blob-created"', '"storageQueue": "blobs-created"'),
    ("health", "worker/src/telemetry/health.rs", '"/healthz"', '"/health"'),
    ("health", "infra/shared/settings.json", '"Healthy"', '"healthy"'),
    ("health", "infra/shared/settings.json", '"health": 8080', '"health": 8081'),
    ("events", "infra/shared/settings.json", '"Microsoft.Storage.BlobRenamed", ', ""),
    ("events", "worker/crates/domain/src/announcement/events.rs", '"Microsoft.Storage.BlobTierChanged"', '"Microsoft.Storage.BlobDeleted"'),
    ("containers", "infra/shared/settings.json", '"results": "results"', '"results": "result"'),
    ("worker variables", "worker/src/settings/keys.rs", '"drain_seconds"', '"drain_time"'),
    ("worker variables", "infra/shared/cloud-init/worker.yaml", "NIGHTREAD_BROKER_CA_FILE", "NIGHTREAD_BROKER_CA"),
    ("broker variables", "infra/shared/cloud-init/broker.yaml", "NIGHTREAD_BACKLOG_RESOURCE_ID", "NIGHTREAD_BACKLOG_RESOURCE"),
    ("broker variables", "worker/src/settings/keys.rs", '"management_url"', '"management"'),
    ("units", "infra/package/systemd/nightread.service", "nightread run ", "nightread start "),
    ("machine scripts", "infra/shared/settings.json", '"ingest": ', '"arrivals": '),
    ("machine scripts", "infra/shared/scripts/azure-fetch", "2018-02-01", "2019-08-01"),
    ("machine scripts", "infra/shared/settings.json", '"metric": "DeadLetters"', '"metric": "Dead"'),
]
COMMAND_DRIFTS = [
    ("run", "worker/src/cli.rs", "    Run(RunArgs)", "    Serve(RunArgs)"),
    ("run", "worker/src/cli.rs", "pub config: Option<PathBuf>", "pub settings: Option<PathBuf>"),
    ("run", "infra/package/systemd/nightread.service", "run --config", "run --settings"),
    ("announce", "worker/src/commands/announce/args.rs", "pub skip_done: bool", "pub skip_known: bool"),
    ("backlog", "worker/src/commands/backlog/mod.rs", "pub publish: bool", "pub send: bool"),
    ("relay", "worker/src/cli.rs", "    Relay(", "    Pull("),
    ("topology", "infra/shared/scripts/setup-broker", 'nightread" topology --config', 'nightread" topology --declare --config'),
]


def drifted(file, old, new, folder):
    """A copy of what the contract reads, with one change."""
    for copied in ("infra/shared", "infra/package", "infra/docker"):
        shutil.copytree(REPOSITORY / copied, folder / copied)
    for path, text in rust(REPOSITORY).items():
        copy = folder / path.relative_to(REPOSITORY)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(text)
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
