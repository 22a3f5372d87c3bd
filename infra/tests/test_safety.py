"""What the fleet must never do, asked of both languages: who reaches whom, who may do what, what is closed."""

import base64
import ipaddress
import re
import tomllib

import pytest

import fleet

SETTINGS = fleet.settings()
NET = SETTINGS["network"]
PORTS = SETTINGS["ports"]
ROLES = SETTINGS["roles"]
BOTH = pytest.mark.parametrize("language", ["bicep_facts", "terraform_facts"])
WORKER, BROKER, ENDPOINT, STRANGER = "10.40.0.9", "10.40.4.4", "10.40.4.70", "10.40.99.1"
CONTAINER = "10.40.8.9"
INTERNET, MONITOR, MANAGER = "8.8.8.8", "AzureMonitor", "AzureResourceManager"
MIRROR = "192.0.2.7"


def matches(prefix, address):
    if prefix == "*" or prefix == address:
        return True
    if not prefix[0].isdigit() or not address[0].isdigit():
        return False
    return ipaddress.ip_address(address) in ipaddress.ip_network(prefix)


def verdict(rules, direction, source, destination, port):
    """The first rule by priority decides; there is always one, because both directions end in a deny."""
    for _, _, rule_direction, access, protocol, sources, targets, ports in sorted(rules, key=lambda rule: rule[1]):
        if rule_direction != direction or protocol not in ("*", "Tcp"):
            continue
        if any(matches(s, source) for s in sources) and any(matches(t, destination) for t in targets) and ("*" in ports or str(port) in ports):
            return access == "Allow"
    raise AssertionError("no rule decides")


def reachable(facts, source, destination, port):
    groups, subnets = facts["security_groups"], facts["subnets"]
    def group(address):
        for subnet in subnets.values():
            if address[0].isdigit() and ipaddress.ip_address(address) in ipaddress.ip_network(subnet["prefix"]):
                return groups[subnet["security_group"].split("/")[-1]]
        return None
    leaving, entering = group(source), group(destination)
    out = leaving is None or verdict(leaving, "Outbound", source, destination, port)
    return out and (entering is None or verdict(entering, "Inbound", source, destination, port))


REACH = [
    (WORKER, BROKER, PORTS["amqps"], True),
    (WORKER, ENDPOINT, PORTS["https"], True),
    (WORKER, MONITOR, PORTS["https"], True),
    (BROKER, "10.40.4.5", PORTS["epmd"], True),
    (BROKER, "10.40.4.5", PORTS["erlangDistribution"], True),
    (BROKER, ENDPOINT, PORTS["https"], True),
    (BROKER, MONITOR, PORTS["https"], True),
    (WORKER, MANAGER, PORTS["https"], True),
    (BROKER, MANAGER, PORTS["https"], True),
    (WORKER, MANAGER, 80, False),
    (CONTAINER, BROKER, PORTS["amqps"], True),
    (CONTAINER, BROKER, PORTS["managementTls"], True),
    (CONTAINER, ENDPOINT, PORTS["https"], True),
    (CONTAINER, MONITOR, PORTS["https"], True),
    (CONTAINER, "AzureActiveDirectory", PORTS["https"], True),
    (CONTAINER, INTERNET, 443, False),
    (CONTAINER, BROKER, PORTS["management"], False),
    (CONTAINER, BROKER, PORTS["epmd"], False),
    (CONTAINER, WORKER, 22, False),
    (WORKER, CONTAINER, 443, False),
    (STRANGER, CONTAINER, PORTS["health"], False),
    (WORKER, BROKER, PORTS["managementTls"], False),
    (BROKER, MIRROR, 80, False),
    (WORKER, INTERNET, 443, False),
    (WORKER, INTERNET, 80, False),
    (BROKER, INTERNET, 443, False),
    (WORKER, BROKER, 5672, False),
    (WORKER, BROKER, PORTS["management"], False),
    (WORKER, BROKER, PORTS["epmd"], False),
    (WORKER, BROKER, PORTS["erlangDistribution"], False),
    (WORKER, BROKER, 22, False),
    (WORKER, "10.40.1.7", 22, False),
    (BROKER, WORKER, 22, False),
    (STRANGER, WORKER, PORTS["health"], False),
    (STRANGER, BROKER, PORTS["amqps"], False),
    (STRANGER, ENDPOINT, 443, False),
    (INTERNET, WORKER, 22, False),
    (INTERNET, BROKER, PORTS["amqps"], False),
    (ENDPOINT, WORKER, 443, False),
]


@BOTH
def test_the_addresses_of_this_test_lie_in_their_subnets(language, request):
    subnets = request.getfixturevalue(language)["prod"]["subnets"]
    for address, name in ((WORKER, "workers"), (BROKER, "brokers"), (ENDPOINT, "endpoints"), (CONTAINER, "containers")):
        assert ipaddress.ip_address(address) in ipaddress.ip_network(subnets[name]["prefix"])


@BOTH
@pytest.mark.parametrize(("source", "destination", "port", "expected"), REACH)
def test_who_reaches_whom(language, source, destination, port, expected, request):
    facts = request.getfixturevalue(language)["prod"]
    assert reachable(facts, source, destination, port) is expected


@BOTH
def test_brokers_alone_reach_a_package_mirror_that_is_named(language, request):
    facts = request.getfixturevalue(language)["prod_backlog_spot"]
    assert reachable(facts, BROKER, MIRROR, 80) and reachable(facts, BROKER, MIRROR, 443)
    assert not reachable(facts, BROKER, MIRROR, 22) and not reachable(facts, WORKER, MIRROR, 80) and not reachable(facts, BROKER, INTERNET, 80)


@BOTH
def test_brokers_are_patched_by_azure(language, request):
    """Off-peak, a zone at a time, with a restart where one is needed."""
    for broker in request.getfixturevalue(language)["prod"]["brokers"].values():
        assert broker["patches"] == ("AutomaticByPlatform", "AutomaticByPlatform", "IfRequired", False)


@BOTH
def test_no_subnet_has_a_way_out_of_its_own(language, request):
    subnets = request.getfixturevalue(language)["prod"]["subnets"]
    assert {name: s["default_outbound"] for name, s in subnets.items()} == dict.fromkeys(("workers", "brokers", "endpoints", "containers"), False)
    assert subnets["endpoints"]["endpoint_policies"] == "NetworkSecurityGroupEnabled"


@BOTH
def test_nothing_but_the_nat_gateway_has_a_public_address(language, request):
    facts = request.getfixturevalue(language)["prod_backlog_spot"]
    assert facts["public_addresses"] == [f"pip-{fleet.NAME}-nat"]
    assert not any(s["public_address"] for s in facts["scale_sets"].values())
    assert not any(nic[-1] for nic in facts["interfaces"].values())


def expected_roles():
    """The whole of what anyone may do: (identity, role, scope)."""
    data, ops = f"storageAccounts/{fleet.NAME}data", f"storageAccounts/{fleet.NAME}ops"
    containers = "/blobServices/default/containers/"
    return {
        ("worker", "blobReader", data + containers + "incoming"),
        ("worker", "blobReader", data + containers + "models"),
        ("worker", "blobContributor", data + containers + "results"),
        ("worker", "blobReader", ops + containers + "artifacts"),
        ("worker", "vaultSecretsUser", f"vaults/kv-{fleet.NAME}-worker"),
        ("broker", "blobReader", data + containers + "incoming"),
        ("broker", "blobReader", data + containers + "results"),
        ("broker", "blobReader", ops + containers + "artifacts"),
        ("broker", "blobReader", ops + containers + "event-dead-letters"),
        ("broker", "queueProcessor", ops + "/queueServices/default/queues/blob-created"),
        ("broker", "queueSender", ops + "/queueServices/default/queues/blob-created-poison"),
        ("broker", "vaultSecretsUser", f"vaults/kv-{fleet.NAME}-broker"),
        ("broker", "metricsPublisher", f"virtualMachineScaleSets/vmss-{fleet.NAME}-workers"),
        ("events", "queueSender", ops + "/queueServices/default/queues/blob-created"),
        ("events", "blobContributor", ops + containers + "event-dead-letters"),
    }


def roles_of_series():
    """What is more where files of CT series are gathered."""
    queues = f"storageAccounts/{fleet.NAME}ops/queueServices/default/queues/"
    return {
        ("broker", "queueProcessor", queues + "instance-created"),
        ("broker", "queueSender", queues + "instance-created-poison"),
        ("events", "queueSender", queues + "instance-created"),
        ("broker", "blobContributor", f"storageAccounts/{fleet.NAME}data/blobServices/default/containers/results"),
    }


@BOTH
def test_brokers_write_what_is_known_of_series_and_no_result(language, request):
    """The only right with a condition: every action that changes a blob is bound to the two folders that `nightread assemble` keeps."""
    [(role, scope, condition)] = [(r, scope, c) for _, r, scope, _, c in request.getfixturevalue(language)["prod_backlog_spot"]["roles"] if c]
    assert role == ROLES["blobContributor"] and scope.endswith("containers/results")
    bound, _, allowed = condition.partition("OR\n (")
    blobs = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/"
    assert set(re.findall(r"!\(ActionMatches\{'(\S+)'\}\)", bound)) == {blobs + action for action in ("write", "add/action", "move/action", "delete")}
    assert re.findall(r"StringLike '(\S+)'", allowed) == ["_assemble/*", "_series/*"] and condition.count("(") == condition.count(")")


@BOTH
@pytest.mark.parametrize("variant", fleet.VARIANTS)
def test_these_roles_and_no_other(language, variant, request):
    who = {fleet.WORLD.runtime[f"{fleet.GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/id-{fleet.NAME}-{n}"]["principalId"]: n for n in fleet.IDENTITIES}
    role = {guid: name for name, guid in ROLES.items()}
    found = request.getfixturevalue(language)[variant]["roles"]
    pulls = {(n, "registryPull", f"registries/cr{fleet.NAME}") for n in ("worker", "broker")} if variant == "prod_containers" else set()
    writes = {(n, "metricsPublisher", f"dataCollectionRules/dcr-{fleet.NAME}-metrics") for n in ("worker", "broker")} if "metricsWorkspaceId" in fleet.VARIANTS[variant] else set()
    models = {("broker", "blobReader", f"storageAccounts/{fleet.NAME}data/blobServices/default/containers/models")} if "modelPins" in fleet.VARIANTS[variant] else set()
    expected = expected_roles() | models | pulls | writes | (roles_of_series() if "seriesPrefix" in fleet.VARIANTS[variant] else set())
    assert {(who[p], role[r], scope) for p, r, scope, *_ in found} == expected
    assert len(found) == len(expected)


@BOTH
@pytest.mark.parametrize("variant", fleet.VARIANTS)
def test_keys_are_off_and_everything_is_closed_by_default(language, variant, request):
    facts = request.getfixturevalue(language)[variant]
    for name, account in facts["accounts"].items():
        assert not account["keys"] and not account["public_blobs"] and not account["local_users"] and not account["cross_tenant"], name
        assert account["default_action"] == "Deny" and account["https_only"] and account["tls"] == "TLS1_2", name
        assert not account["hierarchical"], "on a hierarchical account a created blob need not be complete"
    data = facts["accounts"][f"{fleet.NAME}data"]
    assert not data["public_network"] and data["bypass"] == "None" and data["operators"] == []
    opened = variant == "prod_backlog_spot"
    for vault in facts["vaults"].values():
        assert vault["public_network"] is opened and vault["default_action"] == "Deny" and vault["purge_protection"] and vault["rbac"]
        assert bool(vault["operators"]) is opened
    assert bool(facts["accounts"][f"{fleet.NAME}ops"]["operators"]) is opened


@BOTH
def test_every_account_and_vault_has_its_private_endpoints(language, request):
    endpoints = request.getfixturevalue(language)["prod"]["endpoints"].values()
    zones = NET["privateLinkZones"]
    assert {(target, groups, zone.split("/")[-1]) for target, groups, _, zone in endpoints} == {
        (f"storageAccounts/{fleet.NAME}data", ("blob",), zones["blob"]),
        (f"storageAccounts/{fleet.NAME}ops", ("blob",), zones["blob"]),
        (f"storageAccounts/{fleet.NAME}ops", ("queue",), zones["queue"]),
        (f"vaults/kv-{fleet.NAME}-worker", ("vault",), zones["vault"]),
        (f"vaults/kv-{fleet.NAME}-broker", ("vault",), zones["vault"]),
    }
    assert {subnet.split("/")[-1] for _, _, subnet, _ in endpoints} == {"endpoints"}


@BOTH
def test_machines_are_drained_before_they_go(language, request):
    sets = request.getfixturevalue(language)["prod_backlog_spot"]["scale_sets"]
    regular, spot = sets[f"vmss-{fleet.NAME}-workers"], sets[f"vmss-{fleet.NAME}-workers-spot"]
    assert regular["terminate_notice"] == f"PT{SETTINGS['drain']['terminateNotificationMinutes']}M"
    assert spot["terminate_notice"] is None, "Azure refuses it on Spot machines"
    assert regular["spot"] == ("Regular", None, None) and spot["spot"] == ("Spot", "Delete", -1)
    for machine in sets.values():
        assert machine["overprovision"] is False and machine["upgrade_mode"] == "Rolling" and machine["rolling"][-1] is True
        assert machine["os_upgrade"] == (True, True) and machine["image"]["version"] == "latest"
        assert machine["encryption_at_host"] and machine["trusted_launch"] == (True, True)
        assert machine["os_disk"][1] == "Local"


def test_the_deadlines_of_a_drain_contain_one_another():
    drain = SETTINGS["drain"]
    assert drain["deadlineSeconds"] < drain["stopTimeoutSeconds"] < drain["terminateNotificationMinutes"] * 60
    assert 5 <= drain["terminateNotificationMinutes"] <= 15, "what Azure takes"


@BOTH
def test_containers_are_closed_and_drained_and_count_messages_in_hand(language, request):
    facts = request.getfixturevalue(language)["prod_containers"]
    [registry], [environment] = facts["registries"].values(), facts["environments"].values()
    assert not registry["admin"] and not registry["anonymous"] and not registry["public_network"] and registry["default_action"] == "Deny"
    assert environment["internal"] and environment["public_network"] == "Disabled" and environment["subnet"].endswith("subnets/containers")
    app, jobs, lanes = facts["container_apps"][f"ca-{fleet.NAME}-worker"], facts["container_jobs"], SETTINGS["names"]["laneQueues"]
    assert not app["ingress"] and app["grace"] >= SETTINGS["drain"]["stopTimeoutSeconds"] and app["args"] == ["run", "--lanes", "ingest,bulk"]
    assert {(kind, path, port) for kind, path, port, _, _ in app["probes"]} == {("Startup", "/healthz", 8080), ("Liveness", "/healthz", 8080), ("Readiness", "/ready", 8080)}
    night = SETTINGS["shapes"]["prod"]["regular"]["night"]
    assert app["replicas"][:2] == (night["minimum"], night["maximum"])
    volumes, announce = jobs[f"caj-{fleet.NAME}-volumes"], jobs[f"caj-{fleet.NAME}-announce"]
    assert volumes["args"] == ["run", "--lanes", "volumes", "--jobs", "1"] and volumes["time"][1] == 0
    assert volumes["time"][0] >= SETTINGS["broker"]["volumesConsumerTimeoutSeconds"] + SETTINGS["drain"]["stopTimeoutSeconds"]
    hour, minute = SETTINGS["reconcile"]["startAt"].split(":")
    assert announce["schedule"][0] == f"{int(minute)} {int(hour)} * * *"
    rules = {rule[0]: (dict(rule[2]), dict(rule[3])) for rule in (*app["rules"], *volumes["event"][-1])}
    assert {name: metadata["queueName"] for name, (metadata, _) in rules.items()} == {**lanes, "quarantine": SETTINGS["names"]["quarantineQueue"]}
    for metadata, authentication in rules.values():
        assert metadata["protocol"] == "http" and metadata["excludeUnacknowledged"] == "false"
        assert set(authentication) == {"host", "ca", "tls"}
    made = SETTINGS["names"]["containerSecrets"]
    for part in (app, volumes, announce):
        assert all(url for name, url, _, _ in part["secrets"] if name != "tls"), "no value of a secret stands in a template"
        assert ("NIGHTREAD_BROKER_URL", None, made["announceUrl"] if part is announce else made["brokerUrl"]) in part["env"]


@BOTH
def test_machines_stay_away_where_containers_work(language, request):
    facts = request.getfixturevalue(language)["prod_containers"]
    assert {name: s["capacity"] for name, s in facts["scale_sets"].items()} == {f"vmss-{fleet.NAME}-workers": 0}
    [setting] = facts["autoscale"].values()
    assert [p["capacity"] for p in setting["profiles"].values()] == [(0, 0, 0)]
    brokers = [b["cloud_init"] for b in facts["brokers"].values()]
    assert all(f"MANAGEMENT_TLS_PORT={PORTS['managementTls']}\n" in text for text in brokers)
    assert all("MANAGEMENT_TLS_PORT=\n" in b["cloud_init"] for b in request.getfixturevalue(language)["prod"]["brokers"].values())


@BOTH
def test_autoscale_comes_in_two_phases(language, request):
    facts = request.getfixturevalue(language)
    for variant in ("dev", "prod"):
        [setting] = facts[variant]["autoscale"].values()
        assert {name: (p["capacity"], p["recurrence"], p["rules"]) for name, p in setting["profiles"].items()} == {"fixed": ((1, 1, 1), None, [])}
    for variant, count in (("dev_backlog", 1), ("prod_backlog_spot", 2)):
        settings = facts[variant]["autoscale"]
        assert len(settings) == count
        for setting in settings.values():
            assert set(setting["profiles"]) == {"day", "night"}
            for profile in setting["profiles"].values():
                low, default, high = profile["capacity"]
                assert low <= default <= high
                (metric, out, more), (same, within, less) = profile["rules"]
                assert metric == same == (SETTINGS["metrics"]["namespace"], "BacklogSecondsPerWorker", f"virtualMachineScaleSets/vmss-{fleet.NAME}-workers")
                assert out[0] == "GreaterThan" and within[0] == "LessThan" and out[1] >= 5 * within[1], "a wide margin, or it flaps"
                assert (more[0], less[0]) == ("Increase", "Decrease") and more[2] >= 1 and less[2] >= 1
                assert out[2] == within[2] == "Max" and out[-1] is within[-1] is False


def test_a_missing_metric_leaves_a_worker():
    for shape in SETTINGS["shapes"].values():
        assert all(profile["default"] >= 1 for profile in shape["regular"].values())


@BOTH
def test_announcements_never_expire_unseen(language, request):
    [events] = request.getfixturevalue(language)["prod"]["events"].values()
    assert events["queue"][2] == -1
    assert events["schema"] == "CloudEventSchemaV1_0" and events["types"] == SETTINGS["events"]["types"]
    assert {kind.removeprefix("Microsoft.Storage.") for kind in events["types"]} == {"BlobCreated", "BlobRenamed", "BlobTierChanged"}
    assert events["prefix"] == "/blobServices/default/containers/incoming/", "results among the inputs would feed the fleet to itself"
    assert events["dead_letters"] == (f"storageAccounts/{fleet.NAME}ops", "event-dead-letters")


@BOTH
def test_a_file_of_a_series_goes_to_one_queue_and_every_other_file_to_the_other(language, request):
    events = request.getfixturevalue(language)["prod_backlog_spot"]["events"]
    whole, files = events["blob-created"], events["instance-created"]
    below = "/blobServices/default/containers/incoming/blobs/ct/"
    assert files["prefix"] == below and files["queue"][1] == SETTINGS["names"]["instancesQueue"] and not files["not_below"]
    assert whole["not_below"] == [("StringNotBeginsWith", "subject", [below])] and whole["queue"][1] == SETTINGS["names"]["storageQueue"]
    same = lambda told: {k: v for k, v in told.items() if k not in ("prefix", "not_below", "queue")}
    assert same(whole) == same(files)
    assert request.getfixturevalue(language)["prod"]["events"]["blob-created"]["not_below"] == []


@BOTH
def test_brokers_gather_and_machines_know_the_route_of_series(language, request):
    facts = request.getfixturevalue(language)
    route = lambda text: base64.b64decode(re.search(r"path: /etc/nightread/series.toml\n.*\n.*\n +content: \"(.*)\"", text)[1]).decode()
    for machines in ("brokers", "scale_sets"):
        for machine in facts["prod_backlog_spot"][machines].values():
            assert tomllib.loads(route(machine["cloud_init"])) == {"routes": [{"container": "incoming", "prefix": "ct/", "task": "segmentation", "model": "ct-organs-demo", "instances": True}]}
        assert all(route(machine["cloud_init"]) == "" for machine in facts["prod"][machines].values())
    assert all("INSTANCES_QUEUE=instance-created\n" in b["cloud_init"] for b in facts["prod_backlog_spot"]["brokers"].values())
    assert all("INSTANCES_QUEUE=\n" in b["cloud_init"] for b in facts["prod"]["brokers"].values())


@BOTH
@pytest.mark.parametrize("variant", fleet.VARIANTS)
def test_somebody_hears_of_what_goes_wrong(language, variant, request):
    facts = request.getfixturevalue(language)[variant]
    name = f"alert-{fleet.NAME}-"
    assert facts["alerts"].keys() == {name + what for what in ("dead-letters", "oldest-job-age", "storage-queue-depth", "broker-certificate", "events-undelivered")}
    assert {alert: conditions for alert, (_, _, conditions, _) in facts["activity_alerts"].items()} == {
        name + "repairs-suspended": {"category": "Administrative", "operationName": "Microsoft.Compute/virtualMachineScaleSets/setOrchestrationServiceState/action"},
        name + "autoscale-failed": {"category": "Autoscale", "status": "Failed"},
    }
    assert all(notified for _, _, _, notified in facts["activity_alerts"].values()) and facts["notified"]


@BOTH
def test_nothing_deletes_patient_data(language, request):
    facts = request.getfixturevalue(language)["prod"]
    assert [action for account, _, _, action, _ in facts["lifecycle"] if account == f"{fleet.NAME}data"] == ["tierToCool"]
    assert [level for _, scope, level in facts["locks"] if scope.endswith("data")] == ["CanNotDelete"]


def test_no_secret_is_in_a_template_or_a_machine(bicep_facts):
    for machines in ("scale_sets", "brokers"):
        for machine in bicep_facts["prod"][machines].values():
            for word in ("PRIVATE KEY", "amqps://", "AccountKey", "SharedAccessSignature"):
                assert word not in machine["cloud_init"]
