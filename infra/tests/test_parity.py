"""The Bicep and the Terraform render the same fleet, in every variant; and a drift of either is seen."""

import re
import shutil

import pytest

import facts_bicep
import facts_terraform
import fleet


def differences(left, right):
    assert left.keys() == right.keys()
    return [topic for topic in left if left[topic] != right[topic]]


@pytest.mark.parametrize("variant", fleet.VARIANTS)
def test_both_languages_render_the_same_fleet(variant, bicep_facts, terraform_facts):
    assert differences(bicep_facts[variant], terraform_facts[variant]) == []


def test_every_fact_is_stated(bicep_facts):
    containers = ["registries", "environments", "container_apps", "container_jobs"]
    assert [topic for topic, fact in bicep_facts["prod"].items() if not fact] == containers
    assert [topic for topic, fact in bicep_facts["prod_containers"].items() if not fact] == []


def test_no_token_is_left_in_cloud_init(bicep_facts):
    for machines in ("scale_sets", "brokers"):
        for name, machine in bicep_facts["prod"][machines].items():
            assert "@@" not in machine["cloud_init"], name


def test_custom_data_is_within_what_azure_takes(bicep_facts):
    for machines in ("scale_sets", "brokers"):
        for machine in bicep_facts["prod"][machines].values():
            assert len(machine["cloud_init"].encode()) < 65535 * 3 // 4


# One change in one language each: path, what is there, what is put instead, the fact that must differ.
BICEP_DRIFT = [
    ("autoscale.bicep", "statistic: 'Max'", "statistic: 'Sum'", "autoscale"),
    ("autoscale.bicep", "rules.scaleOut.windowMinutes", "rules.scaleIn.windowMinutes", "autoscale"),
    ("autoscale.bicep", "autoscale.profileStartHours.night", "21", "autoscale"),
    ("network.bicep", "destinationPortRange: amqps", "destinationPortRange: '5672'", "security_groups"),
    ("network.bicep", "defaultOutboundAccess: false", "defaultOutboundAccess: true", "subnets"),
    ("storage.bicep", "principalId: eventsPrincipalId", "principalId: brokerPrincipalId", "roles"),
    ("storage.bicep", "publicNetworkAccess: 'Disabled'", "publicNetworkAccess: 'Enabled'", "accounts"),
    ("scale-set.bicep", "overprovision: false", "overprovision: true", "scale_sets"),
    ("workers.bicep", "settings.names.brokerUsers.worker", "settings.names.brokerUsers.admin", "scale_sets"),
    ("broker.bicep", "vmSize: settings.sizes.broker", "vmSize: settings.sizes.worker", "brokers"),
    ("network.bicep", "'AzureResourceManager'", "'AzureCloud'", "security_groups"),
    ("network.bicep", "'80'", "'81'", "security_groups"),
    ("broker.bicep", "patchMode: 'AutomaticByPlatform'", "patchMode: 'ImageDefault'", "brokers"),
    ("container-apps.bicep", "terminationGracePeriodSeconds: settings.drain.stopTimeoutSeconds", "terminationGracePeriodSeconds: 30", "container_apps"),
    ("container-apps.bicep", "queueName: lanes.bulk", "queueName: lanes.ingest", "container_apps"),
    ("container-apps.bicep", "replicaTimeout: containers.volumesTimeoutSeconds", "replicaTimeout: 600", "container_jobs"),
    ("container-apps.bicep", "identity: brokerIdentityId", "identity: identityId", "container_jobs"),
    ("container-apps.bicep", "internal: true", "internal: false", "environments"),
    ("container-apps.bicep", "adminUserEnabled: false", "adminUserEnabled: true", "registries"),
    ("events.bicep", "events.queueMessageTimeToLiveSeconds", "604800", "events"),
    ("events.bicep", "includedEventTypes: events.types", "includedEventTypes: settings.names.laneQueues", "events"),
    ("events.bicep", "advancedFilters: notOfSeries", "advancedFilters: []", "events"),
    ("events.bicep", "queueName: settings.names.instancesQueue", "queueName: settings.names.storageQueue", "events"),
    ("storage.bicep", "condition: loadTextContent('../../shared/series/writer.condition')", "condition: ''", "roles"),
    ("broker.bicep", "names.instancesQueue", "names.storageQueue", "brokers"),
    ("workers.bicep", "base64(route)", "base64(seriesPrefix)", "scale_sets"),
    ("metrics.bicep", "accountResourceId: workspaceId", "accountResourceId: endpoint.id", "metrics_collection"),
    ("metrics.bicep", "principalId: workerPrincipalId", "principalId: brokerPrincipalId", "roles"),
    ("workers.bicep", "settings.metrics.remoteWrite.audience", "settings.metrics.tokenAudience", "scale_sets"),
    ("monitoring.bicep", "rule: alerts.oldestJobAge", "rule: alerts.deadLetters", "alerts"),
    ("monitoring.bicep", "equals: 'Failed'", "equals: 'Succeeded'", "activity_alerts"),
]


@pytest.mark.parametrize(("file", "old", "new", "topic"), BICEP_DRIFT, ids=lambda value: str(value)[:32])
def test_drift_of_the_bicep_is_seen(file, old, new, topic, tmp_path, bicep_facts):
    shutil.copytree(fleet.INFRA / "bicep", tmp_path / "bicep")
    shutil.copytree(fleet.INFRA / "shared", tmp_path / "shared")
    path = tmp_path / "bicep/modules" / file
    source = path.read_text()
    assert old in source
    path.write_text(source.replace(old, new, 1))
    variant = {"container-apps.bicep": "prod_containers", "metrics.bicep": "prod"}.get(file, "prod_backlog_spot")
    drifted = facts_bicep.facts(fleet.bicep(variant, tmp_path))
    assert topic in differences(drifted, bicep_facts[variant])


def test_drift_of_the_terraform_is_seen(tmp_path, terraform, bicep_facts):
    """Several changes in one copy, because a mocked apply takes seconds: each must show in its own fact."""
    drifts = {
        "container_apps/main.tf": (r"workload_profile_name += \"workers\"", 'workload_profile_name = "Consumption"', "container_apps"),
        "autoscale/main.tf": (r'"Average"', '"Maximum"', "autoscale"),
        "network/main.tf": (r"local\.net\.endpointsPrefix, ports = \[local\.https\]", 'local.net.endpointsPrefix, ports = ["80"]', "security_groups"),
        "storage/roles.tf": (r"local\.roles\.blobContributor", "local.roles.blobReader", "roles"),
        "scale_set/main.tf": (r'rule = "OldestVM"', 'rule = "NewestVM"', "scale_sets"),
        "broker/main.tf": (r'reboot_setting += "IfRequired"', 'reboot_setting = "Never"', "brokers"),
        "broker/cloud-init.tf": (r"local\.users\.relay", "local.users.admin", "brokers"),
        "metrics/main.tf": (r"monitor_account_id = var.workspace_id", "monitor_account_id = azurerm_monitor_data_collection_endpoint.this.id", "metrics_collection"),
        "events/main.tf": (r"string_not_begins_with", "string_begins_with", "events"),
        "identity/main.tf": (r"soft_delete_retention_days += 90", "soft_delete_retention_days = 7", "vaults"),
        "monitoring/main.tf": (r'aggregation = "Maximum"', 'aggregation = "Average"', "alerts"),
    }
    copy = tmp_path / "source"
    shutil.copytree(fleet.INFRA, copy, ignore=shutil.ignore_patterns(".terraform*", "__pycache__"))
    for file, (old, new, _) in drifts.items():
        path = copy / "terraform/modules" / file
        changed, count = re.subn(old, new, path.read_text())
        assert count, f"{file}: {old}"
        path.write_text(changed)
    states = fleet.Terraform(copy, tmp_path / "work").states()
    seen = differences(bicep_facts["prod"], facts_terraform.facts(states["prod"]))
    seen += differences(bicep_facts["prod_backlog_spot"], facts_terraform.facts(states["prod_backlog_spot"]))
    seen += differences(bicep_facts["prod_containers"], facts_terraform.facts(states["prod_containers"]))
    assert {topic for _, _, topic in drifts.values()} <= set(seen)
