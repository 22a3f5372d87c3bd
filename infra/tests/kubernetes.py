"""What the folder `kubernetes` renders, and what is wrong with it: findings are lines, none is right."""

import functools
import json
import os
import shutil
import subprocess
from pathlib import Path

import jsonschema
import yaml

import fleet

FOLDER = fleet.INFRA / "kubernetes"
OVERLAYS = ("dev", "aks", "on-premises")
VERSIONS = ("1.31", "1.37")
MANAGEMENT_TLS = 15671
DICOM_TLS = 2762


def crds():
    """KEDA's definitions, or None where they are not beside the project."""
    check = Path(os.environ.get("NIGHTREAD_INFRA_CHECK", fleet.INFRA.parent.parent / "shared/tools/infra-check/check"))
    folder = check.parent.parent / "kubernetes-check/crds"
    return folder if folder.is_dir() else None


def render(overlay, root=FOLDER):
    """The documents of one overlay; the program's words where it refuses."""
    done = subprocess.run(["kubectl", "kustomize", str(root / "overlays" / overlay)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ValueError(done.stderr.strip())
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def have_kubectl():
    return shutil.which("kubectl") is not None


def name(document):
    return f"{document['kind']} {document['metadata']['name']}"


def core_findings(documents, version):
    """Kubernetes' own schemas, strictly. A kind that a version does not know is a finding, which the tool only warns of."""
    from kubernetes_validate import utils, validate

    for document in documents:
        if "keda.sh" in document["apiVersion"]:
            continue
        try:
            validate(document, version, strict=True)
        except (utils.ValidationError, utils.SchemaNotFoundError) as problem:
            yield f"{name(document)} in {version}: {problem.message[:200]}"


def closed(schema):
    """The schema with every object closed, but where unknown fields are kept on purpose: a typo is then an error."""
    if isinstance(schema, list):
        return [closed(s) for s in schema]
    if not isinstance(schema, dict):
        return schema
    out = {key: closed(value) for key, value in schema.items()}
    if "properties" in out and not isinstance(out["properties"].get("type"), str) and not out.get("x-kubernetes-preserve-unknown-fields"):
        out.setdefault("additionalProperties", False)
    return out


@functools.cache
def keda_validators():
    found = {}
    for path in crds().glob("*.yaml"):
        definition = yaml.safe_load(path.read_text())
        [version] = definition["spec"]["versions"]
        schema = closed(version["schema"]["openAPIV3Schema"])
        schema["properties"]["metadata"] = {"type": "object"}
        found[definition["spec"]["names"]["kind"]] = jsonschema.Draft202012Validator(schema)
    return found


def keda_findings(documents):
    for document in documents:
        if "keda.sh" in document["apiVersion"]:
            for problem in keda_validators()[document["kind"]].iter_errors(document):
                yield f"{name(document)}: {'/'.join(map(str, problem.path))}: {problem.message[:120]}"


def template(document):
    """The pods that a document makes, and how long they may take to go."""
    paths = {
        "Deployment": ("spec", "template"),
        "Job": ("spec", "template"),
        "CronJob": ("spec", "jobTemplate", "spec", "template"),
        "ScaledJob": ("spec", "jobTargetRef", "template"),
    }
    if document["kind"] not in paths:
        return None
    for key in paths[document["kind"]]:
        document = document[key]
    return document


def ours(documents):
    """Pods of the image, with the document that makes them."""
    for document in documents:
        pod = template(document)
        if pod is not None:
            [container] = pod["spec"]["containers"]
            if "/nightread:" in container["image"]:
                yield document, pod, container


def contract_findings(documents, contract, settings, overlay):
    """Commands, variables, queues, ports, users, deadlines and thresholds are those of the worker and of the fleet."""
    yield from program_findings(documents, contract, settings)
    yield from pod_findings(documents, settings)
    yield from reference_findings(documents)
    yield from scaling_findings(documents, contract, settings, "dev" if overlay == "dev" else "prod")
    yield from policy_findings(documents, settings, overlay)


def program_findings(documents, contract, settings):
    variables = {s["variable"] for s in contract["settings"]} | set(contract["variables"])
    for document, pod, container in ours(documents):
        command, *arguments = container["args"]
        options = contract["commands"].get(command, {}).get("options")
        if options is None:
            yield f"{name(document)}: nightread {command} is no command"
            continue
        yield from (f"{name(document)}: nightread {command} has no {a}" for a in arguments if a.startswith("--") and a not in options)
        if "--lanes" in arguments:
            lanes = arguments[arguments.index("--lanes") + 1].split(",")
            yield from (f"{name(document)}: no lane {lane}" for lane in lanes if lane not in contract["broker"]["lane_queues"])
        told = [e["name"] for e in container.get("env", [])]
        yield from (f"{name(document)}: {v} is no setting" for v in told if v.startswith("NIGHTREAD_") and v not in variables)
        if command == "deliver" and container["env"][0]["valueFrom"]["secretKeyRef"]["key"] != "deliver-url":
            yield f"{name(document)}: it comes to the broker as another user"
    data = next(d["data"] for d in documents if name(d) == "ConfigMap nightread-settings")
    senders = sum(d["spec"]["replicas"] for d, _, container in ours(documents) if container["args"][0] == "deliver")
    if bool(senders) != ("NIGHTREAD_DELIVER_ARCHIVE" in data):
        yield "results are ordered for an archive and sent by nobody, or sent without an archive"
    yield from (f"the settings: {v} is no setting" for v in data if v.startswith("NIGHTREAD_") and v not in variables)
    if data.get("NIGHTREAD_WORKER_DRAIN_SECONDS") != str(settings["drain"]["deadlineSeconds"]):
        yield "the drain is not as long as that of the fleet"
    if data.get("NIGHTREAD_BROKER_CONSUMER_TIMEOUT_SECONDS") != str(settings["broker"]["consumerTimeoutSeconds"]):
        yield "the broker's patience is not that of the fleet"
    if data.get("NIGHTREAD_BROKER_VOLUMES_CONSUMER_TIMEOUT_SECONDS") != str(settings["broker"]["volumesConsumerTimeoutSeconds"]):
        yield "the broker's patience with volumes is not that of the fleet"


def pod_findings(documents, settings):
    health = settings["ports"]["health"]
    for document, pod, container in ours(documents):
        spec, where = pod["spec"], name(document)
        if container["args"][0] == "run" and spec.get("terminationGracePeriodSeconds", 30) < settings["drain"]["stopTimeoutSeconds"]:
            yield f"{where}: it is killed before a drain ends"
        ports = {p["name"]: p["containerPort"] for p in container.get("ports", [])}
        if ports and ports.get("http") != health:
            yield f"{where}: health is not served at {ports.get('http')}"
        for probe, path in (("startupProbe", "/healthz"), ("livenessProbe", settings["health"]["path"]), ("readinessProbe", "/ready")):
            if document["kind"] == "Deployment" and container.get(probe, {}).get("httpGet") != {"path": path, "port": "http"}:
                yield f"{where}: {probe} does not ask {path}"
        security = container.get("securityContext", {})
        if not (security.get("readOnlyRootFilesystem") and security.get("capabilities") == {"drop": ["ALL"]} and security.get("allowPrivilegeEscalation") is False):
            yield f"{where}: its container may more than it needs"
        if not (spec["securityContext"].get("runAsNonRoot") and spec["securityContext"].get("seccompProfile") == {"type": "RuntimeDefault"}):
            yield f"{where}: its pod is not restricted"
        if spec.get("automountServiceAccountToken") is not False:
            yield f"{where}: it is given a token for the cluster"
        if "memory" not in container.get("resources", {}).get("limits", {}):
            yield f"{where}: its memory has no bound"


def reference_findings(documents):
    """Whatever one document names of another is there: volumes, config maps, accounts, selectors, disruption budgets."""
    there = {name(d) for d in documents}
    pods = [template(d)["metadata"]["labels"] for d in documents if template(d)]
    for document, pod, container in ours(documents):
        where, spec = name(document), pod["spec"]
        volumes = {v["name"] for v in spec.get("volumes", [])}
        yield from (f"{where}: no volume {m['name']}" for m in container.get("volumeMounts", []) if m["name"] not in volumes)
        if "serviceAccountName" in spec and f"ServiceAccount {spec['serviceAccountName']}" not in there:
            yield f"{where}: no account {spec['serviceAccountName']}"
        for source in container.get("envFrom", []):
            if f"ConfigMap {source['configMapRef']['name']}" not in there:
                yield f"{where}: no settings {source['configMapRef']['name']}"
        for volume in spec.get("volumes", []):
            if "persistentVolumeClaim" in volume and f"PersistentVolumeClaim {volume['persistentVolumeClaim']['claimName']}" not in there:
                yield f"{where}: no claim {volume['persistentVolumeClaim']['claimName']}"
    for document in documents:
        if document["kind"] in ("Deployment", "PodDisruptionBudget", "Service"):
            selector = document["spec"]["selector"]
            wanted = selector.get("matchLabels", selector)
            if not any(wanted.items() <= labels.items() for labels in pods):
                yield f"{name(document)}: no pod has {wanted}"
        if document["kind"] == "Deployment" and not document["spec"]["selector"]["matchLabels"].items() <= template(document)["metadata"]["labels"].items():
            yield f"{name(document)}: it does not select its own pods"


def scaling_findings(documents, contract, settings, shape):
    named = {name(d): d for d in documents}
    scaled, job = named["ScaledObject nightread-worker"]["spec"], named["ScaledJob nightread-volumes"]["spec"]
    regular, rules = settings["shapes"][shape]["regular"], settings["autoscale"]["regular"]
    if f"Deployment {scaled['scaleTargetRef']['name']}" not in named:
        yield f"no deployment {scaled['scaleTargetRef']['name']} is scaled"
    if (scaled["minReplicaCount"], scaled["maxReplicaCount"]) != (regular["night"]["minimum"], regular["night"]["maximum"]):
        yield "replicas are not bounded as the fleet by night"
    triggers = {t["name"]: t for t in scaled["triggers"]}
    hours = settings["autoscale"]["profileStartHours"]
    cron = triggers["day"]["metadata"]
    if (cron["start"], cron["end"], int(cron["desiredReplicas"]), cron["timezone"]) != (f"0 {hours['day']} * * *", f"0 {hours['night']} * * *", regular["day"]["minimum"], settings["autoscale"]["timeZone"]):
        yield "the day is not the fleet's"
    out = rules["scaleOut"]["thresholdSecondsPerWorker"]
    if int(triggers["seconds-of-work"]["metadata"]["threshold"]) != out:
        yield f"the threshold is not {out} s of work for each worker"
    metrics = {m["name"] for m in contract["metrics"]}
    query = triggers["seconds-of-work"]["metadata"]["query"]
    yield from (f"{metric} is no metric" for metric in metric_names(query) - metrics)
    behaviour = scaled["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    if behaviour["scaleUp"]["policies"][0]["value"] != rules["scaleOut"]["instances"] or behaviour["scaleDown"]["policies"][0]["value"] != rules["scaleIn"]["instances"]:
        yield "steps are not those of the fleet"
    if behaviour["scaleDown"]["stabilizationWindowSeconds"] != rules["scaleIn"]["windowMinutes"] * 60 or behaviour["scaleDown"]["policies"][0]["periodSeconds"] != rules["scaleIn"]["cooldownMinutes"] * 60:
        yield "it goes home otherwise than the fleet"
    kubernetes = settings["kubernetes"]
    up = behaviour["scaleUp"]
    if (up["policies"][0]["periodSeconds"], up["stabilizationWindowSeconds"], scaled["cooldownPeriod"]) != (kubernetes["scaleUpPeriodSeconds"], 0, kubernetes["cooldownSeconds"]):
        yield "it grows otherwise than `nightread simulate` plays"
    # Kubernetes' own tolerance holds where a document names none.
    if any("tolerance" in direction for direction in behaviour.values()) or kubernetes["tolerance"] != 0.1:
        yield "the tolerance is not the one that is simulated"
    lanes = contract["broker"]["lane_queues"]
    each_ms = {s["name"]: s["default"] for s in contract["settings"] if s["section"] == "backlog"}
    wanted = {"ingest": (lanes["ingest"], out * 1000 // int(each_ms["ingest_ms"])), "bulk": (lanes["bulk"], out * 1000 // int(each_ms["bulk_ms"]))}
    wanted["quarantine"] = (contract["broker"]["quarantine_queue"], wanted["bulk"][1])
    for trigger, (queue, messages) in wanted.items():
        metadata = triggers[trigger]["metadata"]
        if (metadata["queueName"], int(metadata["value"])) != (queue, messages):
            yield f"trigger {trigger}: {metadata['queueName']} by {metadata['value']}, not {queue} by {messages}"
    [volumes] = job["triggers"]
    if volumes["metadata"]["queueName"] != lanes["volumes"] or volumes["metadata"]["value"] != "1":
        yield "scans are not started one for each message of their lane"
    for trigger in (*(triggers[t] for t in wanted), volumes):
        if trigger["metadata"]["protocol"] != "http" or trigger["metadata"]["excludeUnacknowledged"] != "false":
            yield "messages in hand are not counted: a busy fleet would look idle"
        if f"TriggerAuthentication {trigger['authenticationRef']['name']}" not in named:
            yield f"no authentication {trigger['authenticationRef']['name']}"
    deadline = settings["broker"]["volumesConsumerTimeoutSeconds"] + settings["drain"]["stopTimeoutSeconds"]
    if job["jobTargetRef"]["activeDeadlineSeconds"] < deadline:
        yield f"a scan is killed before its lane's deadline ({deadline} s)"
    arguments = job["jobTargetRef"]["template"]["spec"]["containers"][0]["args"]
    if arguments[1:] != ["--lanes", "volumes", "--jobs", "1"]:
        yield "a run of a scan takes more than one"
    announce = named["CronJob nightread-announce"]["spec"]
    hour, minute = settings["reconcile"]["startAt"].split(":")
    if announce["schedule"] != f"{int(minute)} {int(hour)} * * *" or settings["reconcile"]["modifiedSince"] not in template(named["CronJob nightread-announce"])["spec"]["containers"][0]["args"]:
        yield "what has no result is not announced as the fleet does"


def metric_names(query):
    import re

    return set(re.findall(r"\bnightread_[a-z_]+(?=[{\s)\[]|$)", query)) - {"nightread_jobs"}


def policy_findings(documents, settings, overlay):
    policies = {d["metadata"]["name"]: d["spec"] for d in documents if d["kind"] == "NetworkPolicy"}
    if policies.get("deny-all") != {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}:
        yield "not everything is denied first"
    ports = settings["ports"]
    amqp, management = (5672, ports["management"]) if overlay == "dev" else (ports["amqps"], MANAGEMENT_TLS)
    def spoken(rules):
        return {p["port"] for rule in rules for p in rule.get("ports", [])}
    if spoken(policies["to-broker"]["egress"]) != {amqp}:
        yield f"the broker is not spoken to at {amqp} alone"
    if spoken(policies["to-management"]["egress"]) != {management}:
        yield f"its management is not spoken to at {management} alone"
    for rule in policies["broker"]["ingress"]:
        if management in spoken([rule]):
            callers = [(f.get("namespaceSelector", {}).get("matchLabels", {}).get("kubernetes.io/metadata.name"), tuple(f.get("podSelector", {}).get("matchLabels", {}))) for f in rule["from"]]
            if callers != [("keda", ("app.kubernetes.io/name",)), (None, ("nightread/uses-management",))]:
                yield "others than the scaler and the backlog reach the broker's management"
    to_archive = policies["to-archive"]
    if spoken(to_archive["egress"]) != {443, DICOM_TLS}:
        yield "archives are not spoken to over TLS alone"
    for document, pod, container in ours(documents):
        reaches = to_archive["podSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
        if reaches != (container["args"][0] == "deliver"):
            yield f"{name(document)}: the way to archives is not for what sends to them alone"
    if spoken(policies["metrics"]["ingress"]) != {ports["health"]}:
        yield f"metrics are not scraped at {ports['health']}"
    for rule in (rule for policy in policies.values() for rule in policy.get("ingress", [])):
        if "from" not in rule:
            yield "a port is open to everybody"


def contract(root=fleet.INFRA.parent):
    return json.loads((root / "worker/contract.json").read_text())
