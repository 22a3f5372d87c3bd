"""Kubernetes: every overlay renders, is valid in two versions of Kubernetes and to KEDA, and agrees with the worker; and a drift is seen."""

import re
import shutil

import pytest

import fleet
import kubernetes

pytestmark = pytest.mark.skipif(not kubernetes.have_kubectl(), reason="SKIPPED: kubernetes: kubectl is not installed")
NEEDS_KEDA = pytest.mark.skipif(kubernetes.crds() is None, reason="SKIPPED: KEDA's definitions are not beside the project")
OVERLAYS = pytest.mark.parametrize("overlay", kubernetes.OVERLAYS)
SETTINGS = fleet.settings()


@pytest.fixture(scope="module")
def rendered():
    return {overlay: kubernetes.render(overlay) for overlay in kubernetes.OVERLAYS}


def findings(documents, overlay):
    return list(kubernetes.contract_findings(documents, kubernetes.contract(), SETTINGS, overlay))


@OVERLAYS
@pytest.mark.parametrize("version", kubernetes.VERSIONS)
def test_kubernetes_takes_it(rendered, overlay, version):
    pytest.importorskip("kubernetes_validate", reason="SKIPPED: Kubernetes' schemas: a quick run")
    assert list(kubernetes.core_findings(rendered[overlay], version)) == []


@NEEDS_KEDA
@OVERLAYS
def test_keda_takes_it(rendered, overlay):
    assert list(kubernetes.keda_findings(rendered[overlay])) == []
    assert {d["kind"] for d in rendered[overlay] if "keda.sh" in d["apiVersion"]} == {"ScaledObject", "ScaledJob", "TriggerAuthentication"}


@OVERLAYS
def test_it_agrees_with_the_worker_and_the_fleet(rendered, overlay):
    assert findings(rendered[overlay], overlay) == []


@OVERLAYS
def test_one_image_of_the_present_release_is_run(rendered, overlay):
    version = re.search(r'^\[workspace.package\].*?^version = "(.*?)"', (fleet.INFRA.parent / "Cargo.toml").read_text(), re.M | re.S).group(1)
    assert {container["image"] for _, _, container in kubernetes.ours(rendered[overlay])} == {f"registry.example.org/nightread:{version}"}


def test_the_broker_inside_gives_everybody_the_rights_of_the_fleet():
    import json

    given = json.loads((kubernetes.FOLDER / "overlays/dev/definitions.json").read_text())
    script = (fleet.INFRA / "shared/scripts/setup-broker").read_text()
    users = SETTINGS["names"]["brokerUsers"]
    for permission in given["permissions"]:
        role = next(role for role, user in users.items() if user == permission["user"])
        wanted = re.search(rf"ensure_user \"\$USER_{role.upper()}\" \"\$SECRET_{role.upper()}\" (\S*) '(\S+)' '(\S+)' '(\S+)'", script)
        assert (permission["configure"], permission["write"], permission["read"]) == wanted.groups()[1:], role
    assert {u["name"] for u in given["users"]} == set(users.values())


def test_secrets_are_no_part_of_the_base(rendered):
    for overlay in ("aks", "on-premises"):
        assert [kubernetes.name(d) for d in rendered[overlay] if d["kind"] == "Secret"] == []


# One change each, in the sources: file, what is there, what is put instead, words of the finding.
DRIFT = [
    ("base/worker.yaml", "--lanes, \"ingest,bulk\"", "--lanes, \"ingest,images\"", "no lane images"),
    ("base/worker.yaml", "[run, --lanes", "[serve, --lanes", "no command"),
    ("base/worker.yaml", "terminationGracePeriodSeconds: 540", "terminationGracePeriodSeconds: 60", "killed before a drain"),
    ("base/worker.yaml", "containerPort: 8080", "containerPort: 8081", "health is not served"),
    ("base/worker.yaml", "path: /ready", "path: /readyz", "does not ask /ready"),
    ("base/worker.yaml", "drop: [ALL]", "drop: [NET_RAW]", "may more"),
    ("base/worker.yaml", "name: NIGHTREAD_BROKER_URL", "name: NIGHTREAD_BROKER_ADDRESS", "is no setting"),
    ("base/worker.yaml", "- name: spool\n          emptyDir", "- name: spoool\n          emptyDir", "no volume spool"),
    ("base/worker.yaml", "serviceAccountName: nightread-worker", "serviceAccountName: nightread-reader", "no account"),
    ("base/volumes.yaml", '--jobs, "1"', '--jobs, "2"', "more than one"),
    ("base/volumes.yaml", "activeDeadlineSeconds: 14940", "activeDeadlineSeconds: 600", "killed before its lane"),
    ("base/volumes.yaml", "queueName: nightread.jobs.volumes", "queueName: nightread.jobs.volume", "one for each message"),
    ("base/volumes.yaml", 'excludeUnacknowledged: "false"', 'excludeUnacknowledged: "true"', "look idle"),
    ("base/scaling.yaml", "queueName: nightread.jobs.ingest", "queueName: nightread.jobs.images", "trigger ingest"),
    ("base/scaling.yaml", 'threshold: "600"', 'threshold: "60"', "threshold"),
    ("base/scaling.yaml", "nightread_message_cost_seconds", "nightread_message_seconds", "is no metric"),
    ("base/scaling.yaml", "start: 0 6 * * *", "start: 0 7 * * *", "the day"),
    ("base/scaling.yaml", "periodSeconds: 60", "periodSeconds: 15", "grows otherwise"),
    ("base/scaling.yaml", "cooldownPeriod: 600", "cooldownPeriod: 300", "grows otherwise"),
    ("base/scaling.yaml", "scaleUp:\n", "scaleUp:\n          tolerance: 200m\n", "tolerance"),
    ("base/scaling.yaml", "maxReplicaCount: 20", "maxReplicaCount: 200", "bounded"),
    ("base/announce.yaml", '"30 2 * * *"', '"30 3 * * *"', "not announced as"),
    ("base/network-policies.yaml", "port: 5671}", "port: 5672}", "alone"),
    ("base/network-policies.yaml", "kubernetes.io/metadata.name: keda", "kubernetes.io/metadata.name: default", "others than the scaler"),
    ("base/deliver.yaml", "replicas: 0", "replicas: 1", "without an archive"),
    ("base/settings.yaml", "  NIGHTREAD_HTTP", "  NIGHTREAD_DELIVER_ARCHIVE: https://pacs.example.org\n  NIGHTREAD_HTTP", "sent by nobody"),
    ("base/deliver.yaml", "key: deliver-url", "key: worker-url", "as another user"),
    ("base/deliver.yaml", 'nightread/uses-archive: "true"', 'nightread/uses-archives: "true"', "the way to archives"),
    ("base/network-policies.yaml", "port: 2762}", "port: 104}", "over TLS alone"),
    ("base/settings.yaml", 'DRAIN_SECONDS: "480"', 'DRAIN_SECONDS: "900"', "the drain"),
]


@pytest.mark.parametrize(("file", "old", "new", "words"), DRIFT, ids=lambda value: str(value)[:28])
def test_a_drift_is_seen(file, old, new, words, tmp_path):
    root = tmp_path / "kubernetes"
    shutil.copytree(kubernetes.FOLDER, root)
    source = (root / file).read_text()
    assert old in source
    (root / file).write_text(source.replace(old, new, 1))
    assert any(words in finding for finding in findings(kubernetes.render("aks", root), "aks"))


@NEEDS_KEDA
@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("ScaledObject", lambda d: d["spec"].pop("triggers")),
        ("ScaledObject", lambda d: d["spec"].update(maxReplicas=3)),
        ("ScaledObject", lambda d: d["spec"]["triggers"][0].update(metadata={"threshold": 600})),
        ("ScaledJob", lambda d: d["spec"].pop("jobTargetRef")),
        ("ScaledJob", lambda d: d["spec"]["jobTargetRef"].update(activeDeadline=60)),
        ("ScaledJob", lambda d: d["spec"]["scalingStrategy"].update(strategie="eager")),
        ("TriggerAuthentication", lambda d: d["spec"]["secretTargetRef"][0].pop("key")),
    ],
)
def test_keda_refuses_a_field_too_many_and_one_too_few(kind, change):
    documents = kubernetes.render("on-premises")
    change(next(d for d in documents if d["kind"] == kind))
    assert list(kubernetes.keda_findings(documents))


@pytest.mark.parametrize("version", kubernetes.VERSIONS)
@pytest.mark.parametrize(
    "change",
    [
        lambda d: d["spec"]["template"]["spec"].update(terminationGracePeriod=5),
        lambda d: d["spec"]["template"]["spec"]["containers"][0]["ports"][0].update(containerPort="8080"),
        lambda d: d["spec"].pop("selector"),
        lambda d: d.update(apiVersion="extensions/v1beta1"),
    ],
)
def test_kubernetes_refuses_what_it_does_not_know(change, version):
    pytest.importorskip("kubernetes_validate", reason="SKIPPED: Kubernetes' schemas: a quick run")
    documents = kubernetes.render("aks")
    change(next(d for d in documents if d["kind"] == "Deployment"))
    assert list(kubernetes.core_findings(documents, version))
