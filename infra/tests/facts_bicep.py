"""What a fleet is, in words of neither language, read from the evaluated Bicep."""

import base64


def short(id):
    """The last type and name of a resource id: enough to tell the resources of one fleet apart."""
    return "/".join(id.split("/providers/")[-1].split("/")[1:])


def facts(deployed):
    by_kind = {}
    for resource in deployed:
        by_kind.setdefault(getattr(resource, "kind", "registry"), []).append(resource)

    def all_of(kind):
        return by_kind.get(kind, [])

    registry = {"disk": [], "activity-log-alert": []}
    for module in all_of("registry"):
        registry[module.registry.split("/")[-1].split(":")[0]].append(module.params)
    disks = {p["name"]: p for p in registry["disk"]}
    return {
        "identities": sorted(r.name for r in all_of("Microsoft.ManagedIdentity/userAssignedIdentities")),
        "roles": sorted(role(r) for r in all_of("Microsoft.Authorization/roleAssignments")),
        "security_groups": {
            r.name: sorted(rule(x) for x in r.body["properties"]["securityRules"])
            for r in all_of("Microsoft.Network/networkSecurityGroups")
        },
        "subnets": {s["name"]: subnet(s["properties"]) for r in all_of("Microsoft.Network/virtualNetworks") for s in r.body["properties"]["subnets"]},
        "address_space": [x for r in all_of("Microsoft.Network/virtualNetworks") for x in r.body["properties"]["addressSpace"]["addressPrefixes"]],
        "public_addresses": sorted(r.name for r in all_of("Microsoft.Network/publicIPAddresses")),
        "zones": sorted(r.name for r in all_of("Microsoft.Network/privateDnsZones")),
        "zone_links": sorted(short(r.id).split("/")[1] for r in all_of("Microsoft.Network/privateDnsZones/virtualNetworkLinks")),
        "records": {r.name: sorted(a["ipv4Address"] for a in r.body["properties"]["aRecords"]) for r in all_of("Microsoft.Network/privateDnsZones/A")},
        "endpoints": endpoints(all_of("Microsoft.Network/privateEndpoints"), all_of("Microsoft.Network/privateEndpoints/privateDnsZoneGroups")),
        "accounts": {r.name: account(r.body) for r in all_of("Microsoft.Storage/storageAccounts")},
        "soft_delete": {r.id.split("/")[-3]: soft_delete(r.body["properties"]) for r in all_of("Microsoft.Storage/storageAccounts/blobServices")},
        "containers": sorted((r.id.split("/")[-5], r.name, r.body["properties"]["publicAccess"]) for r in all_of("Microsoft.Storage/storageAccounts/blobServices/containers")),
        "queues": sorted((r.id.split("/")[-5], r.name) for r in all_of("Microsoft.Storage/storageAccounts/queueServices/queues")),
        "lifecycle": sorted(lifecycle(r) for r in all_of("Microsoft.Storage/storageAccounts/managementPolicies")),
        "locks": sorted((r.name, short(r.body["scope"].id), r.body["properties"]["level"]) for r in all_of("Microsoft.Authorization/locks")),
        "vaults": {r.name: vault(r.body["properties"]) for r in all_of("Microsoft.KeyVault/vaults")},
        "events": {s.name: events(t, s) for t in all_of("Microsoft.EventGrid/systemTopics") for s in all_of("Microsoft.EventGrid/systemTopics/eventSubscriptions")},
        "scale_sets": {r.name: scale_set(r.body) for r in all_of("Microsoft.Compute/virtualMachineScaleSets")},
        "brokers": {r.name: broker(r.body, disks) for r in all_of("Microsoft.Compute/virtualMachines")},
        "broker_extensions": sorted((r.id.split("/")[-3], extension(r.body["name"], r.body["properties"])) for r in all_of("Microsoft.Compute/virtualMachines/extensions")),
        "interfaces": {r.name: interface(r.body["properties"]) for r in all_of("Microsoft.Network/networkInterfaces")},
        "registries": {r.name: registry_of(r.body) for r in all_of("Microsoft.ContainerRegistry/registries")},
        "environments": {r.name: environment(r.body["properties"]) for r in all_of("Microsoft.App/managedEnvironments")},
        "container_apps": {r.name: container_app(r.body) for r in all_of("Microsoft.App/containerApps")},
        "container_jobs": {r.name: container_job(r.body) for r in all_of("Microsoft.App/jobs")},
        "autoscale": {r.name: autoscale(r.body["properties"]) for r in all_of("Microsoft.Insights/autoscalesettings")},
        "workspace": [(r.name, r.body["properties"]["sku"]["name"], r.body["properties"]["retentionInDays"], r.body["properties"]["features"]["disableLocalAuth"]) for r in all_of("Microsoft.OperationalInsights/workspaces")],
        "collection": [collection(r.body["properties"]) for r in all_of("Microsoft.Insights/dataCollectionRules") if "syslog" in r.body["properties"]["dataSources"]],
        "metrics_endpoints": [(r.name, r.body["kind"], r.body["properties"]["networkAcls"]["publicNetworkAccess"] == "Enabled") for r in all_of("Microsoft.Insights/dataCollectionEndpoints")],
        "metrics_collection": [metrics_collection(r) for r in all_of("Microsoft.Insights/dataCollectionRules") if "prometheusForwarder" in r.body["properties"]["dataSources"]],
        "collected": sorted(short(r.body["scope"].id) for r in all_of("Microsoft.Insights/dataCollectionRuleAssociations")),
        "logged": sorted((short(r.body["scope"].id), r.body["properties"]["logs"][0]["categoryGroup"]) for r in all_of("Microsoft.Insights/diagnosticSettings")),
        "notified": [x["emailAddress"] for r in all_of("Microsoft.Insights/actionGroups") for x in r.body["properties"]["emailReceivers"]],
        "alerts": {r.name: alert(r.body["properties"]) for r in all_of("Microsoft.Insights/metricAlerts")},
        "activity_alerts": {
            p["name"]: (p["alertDescription"], [short(s) for s in p["scopes"]], {c["field"]: c["equals"] for c in p["conditions"]}, [short(a["actionGroupId"]) for a in p["actions"]])
            for p in registry["activity-log-alert"]
        },
    }


def role(r):
    p = r.body["properties"]
    return (p["principalId"], p["roleDefinitionId"].split("/")[-1], short(r.body["scope"].id), p["principalType"], p.get("condition", ""))


def rule(x):
    p = x["properties"]
    return (
        x["name"],
        p["priority"],
        p["direction"],
        p["access"],
        p["protocol"],
        tuple(sorted(p.get("sourceAddressPrefixes", [p.get("sourceAddressPrefix")]))),
        tuple(sorted(p.get("destinationAddressPrefixes", [p.get("destinationAddressPrefix")]))),
        tuple(sorted(p.get("destinationPortRanges", [p.get("destinationPortRange")]))),
    )


def subnet(p):
    return {
        "prefix": p["addressPrefix"],
        "default_outbound": p["defaultOutboundAccess"],
        "security_group": short(p["networkSecurityGroup"]["id"]),
        "nat": "natGateway" in p,
        "endpoint_policies": p.get("privateEndpointNetworkPolicies", "Disabled"),
        "delegated": [d["properties"]["serviceName"] for d in p.get("delegations", [])],
    }


def endpoints(items, groups):
    zone_of = {g.id.rsplit("/", 2)[0]: g.body["properties"]["privateDnsZoneConfigs"][0]["properties"]["privateDnsZoneId"] for g in groups}
    out = {}
    for r in items:
        connection = r.body["properties"]["privateLinkServiceConnections"][0]["properties"]
        out[r.name] = (short(connection["privateLinkServiceId"]), tuple(connection["groupIds"]), short(r.body["properties"]["subnet"]["id"]), short(zone_of[r.id]))
    return out


def account(body):
    p = body["properties"]
    return {
        "kind": body["kind"],
        "sku": body["sku"]["name"],
        "tier": p["accessTier"],
        "public_blobs": p["allowBlobPublicAccess"],
        "cross_tenant": p["allowCrossTenantReplication"],
        "keys": p["allowSharedKeyAccess"],
        "default_entra": p["defaultToOAuthAuthentication"],
        "hierarchical": p["isHnsEnabled"],
        "local_users": p["isLocalUserEnabled"],
        "tls": p["minimumTlsVersion"],
        "public_network": p["publicNetworkAccess"] == "Enabled",
        "https_only": p["supportsHttpsTrafficOnly"],
        "double_encryption": p["encryption"]["requireInfrastructureEncryption"],
        "default_action": p["networkAcls"]["defaultAction"],
        "bypass": p["networkAcls"]["bypass"],
        "operators": [x["value"] for x in p["networkAcls"].get("ipRules", [])],
    }


def soft_delete(p):
    return (p["deleteRetentionPolicy"]["days"], p["containerDeleteRetentionPolicy"]["days"])


def lifecycle(r):
    [item] = r.body["properties"]["policy"]["rules"]
    [(action, when)] = item["definition"]["actions"]["baseBlob"].items()
    return (r.id.split("/")[-3], item["name"], item["definition"]["filters"]["prefixMatch"][0], action, when["daysAfterModificationGreaterThan"])


def vault(p):
    return {
        "tenant": p["tenantId"],
        "sku": p["sku"]["name"],
        "rbac": p["enableRbacAuthorization"],
        "retention": p["softDeleteRetentionInDays"],
        "purge_protection": p["enablePurgeProtection"],
        "public_network": p["publicNetworkAccess"] == "Enabled",
        "default_action": p["networkAcls"]["defaultAction"],
        "bypass": p["networkAcls"]["bypass"],
        "operators": [x["value"] for x in p["networkAcls"]["ipRules"]],
    }


def events(topic, subscription):
    p = subscription.body["properties"]
    delivery, dead = p["deliveryWithResourceIdentity"], p["deadLetterWithResourceIdentity"]
    return {
        "topic": topic.name,
        "source": short(topic.body["properties"]["source"]),
        "topic_type": topic.body["properties"]["topicType"],
        "topic_identities": [short(i) for i in topic.body["identity"]["userAssignedIdentities"]],
        "schema": p["eventDeliverySchema"],
        "types": p["filter"]["includedEventTypes"],
        "prefix": p["filter"]["subjectBeginsWith"],
        "not_below": [(f["operatorType"], f["key"], f["values"]) for f in p["filter"].get("advancedFilters", [])],
        "case_sensitive": p["filter"]["isSubjectCaseSensitive"],
        "retry": (p["retryPolicy"]["maxDeliveryAttempts"], p["retryPolicy"]["eventTimeToLiveInMinutes"]),
        "delivery_identity": short(delivery["identity"]["userAssignedIdentity"]),
        "queue": (short(delivery["destination"]["properties"]["resourceId"]), delivery["destination"]["properties"]["queueName"], delivery["destination"]["properties"]["queueMessageTimeToLiveInSeconds"]),
        "dead_letter_identity": short(dead["identity"]["userAssignedIdentity"]),
        "dead_letters": (short(dead["deadLetterDestination"]["properties"]["resourceId"]), dead["deadLetterDestination"]["properties"]["blobContainerName"]),
    }


def extension(name, p):
    return (name, p["publisher"], p["type"], p["typeHandlerVersion"], p["autoUpgradeMinorVersion"], p["enableAutomaticUpgrade"], p["settings"])


def scale_set(body):
    p = body["properties"]
    vm = p["virtualMachineProfile"]
    rolling, os_upgrade = p["upgradePolicy"]["rollingUpgradePolicy"], p["upgradePolicy"]["automaticOSUpgradePolicy"]
    [nic] = vm["networkProfile"]["networkInterfaceConfigurations"]
    [address] = nic["properties"]["ipConfigurations"]
    linux = vm["osProfile"]["linuxConfiguration"]
    notice = vm["scheduledEventsProfile"]
    return {
        "zones": sorted(body["zones"]),
        "size": body["sku"]["name"],
        "capacity": body["sku"]["capacity"],
        "identities": [short(i) for i in body["identity"]["userAssignedIdentities"]],
        "overprovision": p["overprovision"],
        "single_placement_group": p["singlePlacementGroup"],
        "zone_balance": p["zoneBalance"],
        "fault_domains": p["platformFaultDomainCount"],
        "scale_in": p["scaleInPolicy"]["rules"],
        "repair": (p["automaticRepairsPolicy"]["enabled"], p["automaticRepairsPolicy"]["gracePeriod"], p["automaticRepairsPolicy"]["repairAction"]),
        "upgrade_mode": p["upgradePolicy"]["mode"],
        "os_upgrade": (os_upgrade["enableAutomaticOSUpgrade"], not os_upgrade["disableAutomaticRollback"]),
        "rolling": (
            rolling["maxBatchInstancePercent"],
            rolling["maxUnhealthyInstancePercent"],
            rolling["maxUnhealthyUpgradedInstancePercent"],
            rolling["pauseTimeBetweenBatches"],
            rolling["prioritizeUnhealthyInstances"],
            rolling["maxSurge"],
        ),
        "spot": (vm["priority"], vm["evictionPolicy"], (vm["billingProfile"] or {}).get("maxPrice")),
        "encryption_at_host": vm["securityProfile"]["encryptionAtHost"],
        "trusted_launch": (vm["securityProfile"]["uefiSettings"]["secureBootEnabled"], vm["securityProfile"]["uefiSettings"]["vTpmEnabled"]),
        "terminate_notice": notice and notice["terminateNotificationProfile"]["notBeforeTimeout"],
        "prefix": vm["osProfile"]["computerNamePrefix"],
        "admin": (vm["osProfile"]["adminUsername"], linux["ssh"]["publicKeys"][0]["keyData"], linux["disablePasswordAuthentication"]),
        "cloud_init": base64.b64decode(vm["osProfile"]["customData"]).decode(),
        "image": vm["storageProfile"]["imageReference"],
        "os_disk": (vm["storageProfile"]["osDisk"]["caching"], vm["storageProfile"]["osDisk"]["diffDiskSettings"]["option"], vm["storageProfile"]["osDisk"]["diffDiskSettings"]["placement"], vm["storageProfile"]["osDisk"]["managedDisk"]["storageAccountType"], vm["storageProfile"]["osDisk"]["diskSizeGB"]),
        "boot_diagnostics": vm["diagnosticsProfile"]["bootDiagnostics"]["enabled"],
        "nic": (nic["name"], nic["properties"]["enableAcceleratedNetworking"], nic["properties"]["enableIPForwarding"], short(address["properties"]["subnet"]["id"])),
        "public_address": "publicIPAddressConfiguration" in address["properties"],
        "extensions": sorted((extension(e["name"], e["properties"]) for e in vm["extensionProfile"]["extensions"]), key=lambda e: e[0]),
    }


def broker(body, disks):
    p = body["properties"]
    [attached] = p["storageProfile"]["dataDisks"]
    disk = disks[attached["managedDisk"]["id"].split("/")[-1]]
    linux = p["osProfile"]["linuxConfiguration"]
    return {
        "zone": body["zones"],
        "size": p["hardwareProfile"]["vmSize"],
        "identities": [short(i) for i in body["identity"]["userAssignedIdentities"]],
        "computer": p["osProfile"]["computerName"],
        "admin": (p["osProfile"]["adminUsername"], linux["ssh"]["publicKeys"][0]["keyData"], linux["disablePasswordAuthentication"]),
        "cloud_init": base64.b64decode(p["userData"]).decode(),
        "encryption_at_host": p["securityProfile"]["encryptionAtHost"],
        "trusted_launch": (p["securityProfile"]["uefiSettings"]["secureBootEnabled"], p["securityProfile"]["uefiSettings"]["vTpmEnabled"]),
        "image": p["storageProfile"]["imageReference"],
        "os_disk": (p["storageProfile"]["osDisk"]["caching"], p["storageProfile"]["osDisk"]["managedDisk"]["storageAccountType"]),
        "data_disk": (attached["lun"], attached["createOption"], attached["caching"], disk["name"], str(disk["availabilityZone"]), disk["diskSizeGB"], disk["sku"], disk["networkAccessPolicy"], disk["publicNetworkAccess"] == "Enabled"),
        "interfaces": [short(i["id"]) for i in p["networkProfile"]["networkInterfaces"]],
        "boot_diagnostics": p["diagnosticsProfile"]["bootDiagnostics"]["enabled"],
        "patches": patches(linux["patchSettings"]),
    }


def patches(p):
    platform = p["automaticByPlatformSettings"]
    return (p["patchMode"], p["assessmentMode"], platform["rebootSetting"], platform["bypassPlatformSafetyChecksOnUserSchedule"])


def interface(p):
    [address] = p["ipConfigurations"]
    a = address["properties"]
    return (p["enableAcceleratedNetworking"], p["enableIPForwarding"], a["privateIPAllocationMethod"], a["privateIPAddress"], short(a["subnet"]["id"]), "publicIPAddress" in a)


def autoscale(p):
    return {
        "target": short(p["targetResourceUri"]),
        "profiles": {
            x["name"]: {
                "capacity": tuple(int(x["capacity"][k]) for k in ("minimum", "default", "maximum")),
                "recurrence": x.get("recurrence") and (x["recurrence"]["schedule"]["timeZone"], tuple(x["recurrence"]["schedule"]["days"]), tuple(x["recurrence"]["schedule"]["hours"]), tuple(x["recurrence"]["schedule"]["minutes"])),
                "rules": [autoscale_rule(r["metricTrigger"], r["scaleAction"]) for r in x["rules"]],
            }
            for x in p["profiles"]
        },
    }


def autoscale_rule(t, a):
    return (
        (t["metricNamespace"], t["metricName"], short(t["metricResourceUri"])),
        (t["operator"], t["threshold"], t["statistic"], t["timeAggregation"], t["timeGrain"], t["timeWindow"], t["dividePerInstance"]),
        (a["direction"], a["type"], int(a["value"]), a["cooldown"]),
    )


def registry_of(body):
    p = body["properties"]
    rules = p["networkRuleSet"]
    return {
        "sku": body["sku"]["name"],
        "admin": p["adminUserEnabled"],
        "anonymous": p["anonymousPullEnabled"],
        "data_endpoint": p["dataEndpointEnabled"],
        "retention": p["policies"]["retentionPolicy"]["status"] == "enabled" and p["policies"]["retentionPolicy"]["days"],
        "public_network": p["publicNetworkAccess"] == "Enabled",
        "bypass": p["networkRuleBypassOptions"],
        "zones": p["zoneRedundancy"] == "Enabled",
        "default_action": rules["defaultAction"],
        "operators": [x["value"] for x in rules["ipRules"]],
    }


def environment(p):
    return {
        "subnet": short(p["vnetConfiguration"]["infrastructureSubnetId"]),
        "internal": p["vnetConfiguration"]["internal"],
        "public_network": p["publicNetworkAccess"],
        "zones": p["zoneRedundant"],
        "logs": p["appLogsConfiguration"]["destination"],
        "profiles": [(w["name"], w["workloadProfileType"], w["minimumCount"], w["maximumCount"]) for w in p["workloadProfiles"]],
    }


def contained(body):
    """What an app and a job have in common."""
    p = body["properties"]
    [container] = p["template"]["containers"]
    [registry] = p["configuration"]["registries"]
    return {
        "environment": short(p["environmentId"]),
        "profile": p["workloadProfileName"],
        "identities": [short(i) for i in body["identity"]["userAssignedIdentities"]],
        "registry": (registry["server"], short(registry["identity"])),
        "secrets": sorted((s["name"], s.get("keyVaultUrl"), s.get("identity") and short(s["identity"]), s.get("value")) for s in p["configuration"]["secrets"]),
        "image": container["image"],
        "args": container["args"],
        "env": sorted((e["name"], e.get("value"), e.get("secretRef")) for e in container["env"]),
        "resources": (container["resources"]["cpu"], container["resources"]["memory"]),
        "mounts": sorted((m["volumeName"], m["mountPath"]) for m in container["volumeMounts"]),
        "volumes": sorted((v["name"], v["storageType"]) for v in p["template"]["volumes"]),
    }


def scale_rule(name, kind, metadata, auth):
    return (name, kind, tuple(sorted(metadata.items())), tuple(sorted((a["triggerParameter"], a["secretRef"]) for a in auth)))


def container_app(body):
    p = body["properties"]
    [container] = p["template"]["containers"]
    scale = p["template"]["scale"]
    return {
        **contained(body),
        "revisions": p["configuration"]["activeRevisionsMode"],
        "ingress": "ingress" in p["configuration"],
        "grace": p["template"]["terminationGracePeriodSeconds"],
        "probes": sorted((x["type"], x["httpGet"]["path"], x["httpGet"]["port"], x["periodSeconds"], x["failureThreshold"]) for x in container["probes"]),
        "replicas": (scale["minReplicas"], scale["maxReplicas"], scale["pollingInterval"], scale["cooldownPeriod"]),
        "rules": sorted(scale_rule(r["name"], r["custom"]["type"], r["custom"]["metadata"], r["custom"]["auth"]) for r in scale["rules"]),
    }


def container_job(body):
    c = body["properties"]["configuration"]
    event, schedule = c.get("eventTriggerConfig"), c.get("scheduleTriggerConfig")
    scale = event and event["scale"]
    return {
        **contained(body),
        "time": (c["replicaTimeout"], c["replicaRetryLimit"]),
        "event": event and (event["parallelism"], event["replicaCompletionCount"], scale["pollingInterval"], scale["minExecutions"], scale["maxExecutions"], [scale_rule(r["name"], r["type"], r["metadata"], r["auth"]) for r in scale["rules"]]),
        "schedule": schedule and (schedule["cronExpression"], schedule["parallelism"], schedule["replicaCompletionCount"]),
    }


def collection(p):
    [source] = p["dataSources"]["syslog"]
    [target] = p["destinations"]["logAnalytics"]
    [flow] = p["dataFlows"]
    return (source["streams"], source["facilityNames"], source["logLevels"], short(target["workspaceResourceId"]), flow["streams"], flow["destinations"] == [target["name"]])


def metrics_collection(r):
    p = r.body["properties"]
    [source] = p["dataSources"]["prometheusForwarder"]
    [target] = p["destinations"]["monitoringAccounts"]
    [flow] = p["dataFlows"]
    return (r.name, short(p["dataCollectionEndpointId"]), source["streams"], short(target["accountResourceId"]), flow["streams"], flow["destinations"] == [target["name"]])


def alert(p):
    [c] = p["criteria"]["allOf"]
    return {
        "text": p["description"],
        "severity": p["severity"],
        "scopes": [short(s) for s in p["scopes"]],
        "every": (p["evaluationFrequency"], p["windowSize"]),
        "criterion": (c["metricNamespace"], c["metricName"], c["timeAggregation"], c["operator"], c["threshold"], c.get("skipMetricValidation", False)),
        "actions": [short(a["actionGroupId"]) for a in p["actions"]],
    }
