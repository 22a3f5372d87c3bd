"""What a fleet is, in words of neither language, read from the state that a mocked apply of the Terraform leaves."""

import base64
import json

from facts_bicep import short


def one(blocks):
    [block] = blocks
    return block


def facts(state):
    by_type = {}
    for address, values in state.items():
        by_type.setdefault(values["resource_type"], {})[address] = values

    def all_of(kind):
        return list(by_type.get("azurerm_" + kind, {}).values())

    return {
        "identities": sorted(r["name"] for r in all_of("user_assigned_identity")),
        "roles": sorted((r["principal_id"], r["role_definition_id"].split("/")[-1], short(r["scope"]), r["principal_type"], r["condition"] or "") for r in all_of("role_assignment")),
        "security_groups": {r["name"]: sorted(rule(x) for x in r["security_rule"]) for r in all_of("network_security_group")},
        "subnets": subnets(all_of("subnet"), all_of("subnet_network_security_group_association"), all_of("subnet_nat_gateway_association")),
        "address_space": [x for r in all_of("virtual_network") for x in r["address_space"]],
        "public_addresses": sorted(r["name"] for r in all_of("public_ip")),
        "zones": sorted(r["name"] for r in all_of("private_dns_zone")),
        "zone_links": sorted(r["private_dns_zone_id"].split("/")[-1] for r in all_of("private_dns_zone_virtual_network_link")),
        "records": {r["name"]: sorted(r["records"]) for r in all_of("private_dns_a_record")},
        "endpoints": {r["name"]: endpoint(r) for r in all_of("private_endpoint")},
        "accounts": {r["name"]: account(r) for r in all_of("storage_account")},
        "soft_delete": {r["name"]: soft_delete(one(r["blob_properties"])) for r in all_of("storage_account")},
        "containers": sorted((r["storage_account_id"].split("/")[-1], r["name"], {"private": "None"}.get(r["container_access_type"], r["container_access_type"])) for r in all_of("storage_container")),
        "queues": sorted((r["storage_account_id"].split("/")[-1], r["name"]) for r in all_of("storage_queue")),
        "lifecycle": sorted(lifecycle(r) for r in all_of("storage_management_policy")),
        "locks": sorted((r["name"], short(r["scope"]), r["lock_level"]) for r in all_of("management_lock")),
        "vaults": {r["name"]: vault(r) for r in all_of("key_vault")},
        "events": {s["name"]: events(t, s) for t in all_of("eventgrid_system_topic") for s in all_of("eventgrid_system_topic_event_subscription")},
        "scale_sets": {r["name"]: scale_set(r) for r in all_of("linux_virtual_machine_scale_set")},
        "brokers": {r["name"]: broker(r, all_of("managed_disk"), all_of("virtual_machine_data_disk_attachment")) for r in all_of("linux_virtual_machine")},
        "broker_extensions": sorted((r["virtual_machine_id"].split("/")[-1], extension(r)) for r in all_of("virtual_machine_extension")),
        "interfaces": {r["name"]: interface(r) for r in all_of("network_interface")},
        "registries": {r["name"]: registry_of(r) for r in all_of("container_registry")},
        "environments": {r["name"]: environment(r) for r in all_of("container_app_environment")},
        "container_apps": {r["name"]: container_app(r) for r in all_of("container_app")},
        "container_jobs": {r["name"]: container_job(r) for r in all_of("container_app_job")},
        "autoscale": {r["name"]: autoscale(r) for r in all_of("monitor_autoscale_setting")},
        "workspace": [(r["name"], r["sku"], r["retention_in_days"], not r["local_authentication_enabled"]) for r in all_of("log_analytics_workspace")],
        "collection": [collection(r) for r in all_of("monitor_data_collection_rule") if one(r["data_sources"])["syslog"]],
        "metrics_endpoints": [(r["name"], r["kind"], r["public_network_access_enabled"]) for r in all_of("monitor_data_collection_endpoint")],
        "metrics_collection": [metrics_collection(r) for r in all_of("monitor_data_collection_rule") if one(r["data_sources"])["prometheus_forwarder"]],
        "collected": sorted(short(r["target_resource_id"]) for r in all_of("monitor_data_collection_rule_association")),
        "logged": sorted((short(r["target_resource_id"]), one(r["enabled_log"])["category_group"]) for r in all_of("monitor_diagnostic_setting")),
        "notified": [x["email_address"] for r in all_of("monitor_action_group") for x in r["email_receiver"]],
        "alerts": {r["name"]: alert(r) for r in all_of("monitor_metric_alert")},
        "activity_alerts": {
            r["name"]: (r["description"], [short(s) for s in r["scopes"]], conditions(one(r["criteria"])), [short(a["action_group_id"]) for a in r["action"]])
            for r in all_of("monitor_activity_log_alert")
        },
    }


def rule(x):
    return (
        x["name"],
        x["priority"],
        x["direction"],
        x["access"],
        x["protocol"],
        tuple(sorted(x["source_address_prefixes"] or [x["source_address_prefix"]])),
        tuple(sorted(x["destination_address_prefixes"] or [x["destination_address_prefix"]])),
        tuple(sorted(x["destination_port_ranges"] or [x["destination_port_range"]])),
    )


def subnets(items, groups, nats):
    group_of = {g["subnet_id"]: g["network_security_group_id"] for g in groups}
    with_nat = {n["subnet_id"] for n in nats}
    return {
        s["name"]: {
            "prefix": one(s["address_prefixes"]),
            "default_outbound": s["default_outbound_access_enabled"],
            "security_group": short(group_of[s["id"]]),
            "nat": s["id"] in with_nat,
            "endpoint_policies": s["private_endpoint_network_policies"],
            "delegated": [one(d["service_delegation"])["name"] for d in s["delegation"]],
        }
        for s in items
    }


def endpoint(r):
    connection = one(r["private_service_connection"])
    zone = one(one(r["private_dns_zone_group"])["private_dns_zone_ids"])
    return (short(connection["private_connection_resource_id"]), tuple(connection["subresource_names"]), short(r["subnet_id"]), short(zone))


def account(r):
    rules = one(r["network_rules"])
    return {
        "kind": r["account_kind"],
        "sku": f"{r['account_tier']}_{r['account_replication_type']}",
        "tier": r["access_tier"],
        "public_blobs": r["allow_nested_items_to_be_public"],
        "cross_tenant": r["cross_tenant_replication_enabled"],
        "keys": r["shared_access_key_enabled"],
        "default_entra": r["default_to_oauth_authentication"],
        "hierarchical": r["is_hns_enabled"],
        "local_users": r["local_user_enabled"],
        "tls": r["min_tls_version"],
        "public_network": r["public_network_access_enabled"],
        "https_only": r["https_traffic_only_enabled"],
        "double_encryption": r["infrastructure_encryption_enabled"],
        "default_action": rules["default_action"],
        "bypass": ", ".join(rules["bypass"]),
        "operators": rules["ip_rules"] or [],
    }


def soft_delete(p):
    return (one(p["delete_retention_policy"])["days"], one(p["container_delete_retention_policy"])["days"])


LIFECYCLE_ACTIONS = {
    "tier_to_cool_after_days_since_modification_greater_than": "tierToCool",
    "delete_after_days_since_modification_greater_than": "delete",
}


def lifecycle(r):
    item = one(r["rule"])
    [(action, days)] = [(k, v) for k, v in one(one(item["actions"])["base_blob"]).items() if v not in (None, False)]
    return (r["storage_account_id"].split("/")[-1], item["name"], one(one(item["filters"])["prefix_match"]), LIFECYCLE_ACTIONS.get(action, action), days)


def vault(r):
    rules = one(r["network_acls"])
    return {
        "tenant": r["tenant_id"],
        "sku": r["sku_name"],
        "rbac": r["rbac_authorization_enabled"],
        "retention": r["soft_delete_retention_days"],
        "purge_protection": r["purge_protection_enabled"],
        "public_network": r["public_network_access_enabled"],
        "default_action": rules["default_action"],
        "bypass": rules["bypass"],
        "operators": rules["ip_rules"] or [],
    }


def events(topic, s):
    queue, dead = one(s["storage_queue_endpoint"]), one(s["storage_blob_dead_letter_destination"])
    return {
        "topic": topic["name"],
        "source": short(topic["source_resource_id"]),
        "topic_type": topic["topic_type"],
        "topic_identities": [short(i) for i in one(topic["identity"])["identity_ids"]],
        "schema": s["event_delivery_schema"],
        "types": s["included_event_types"],
        "prefix": one(s["subject_filter"])["subject_begins_with"],
        "not_below": [("StringNotBeginsWith", f["key"], f["values"]) for a in s["advanced_filter"] for f in a["string_not_begins_with"]],
        "case_sensitive": one(s["subject_filter"])["case_sensitive"],
        "retry": (one(s["retry_policy"])["max_delivery_attempts"], one(s["retry_policy"])["event_time_to_live"]),
        "delivery_identity": short(one(s["delivery_identity"])["user_assigned_identity"]),
        "queue": (short(queue["storage_account_id"]), queue["queue_name"], queue["queue_message_time_to_live_in_seconds"]),
        "dead_letter_identity": short(one(s["dead_letter_identity"])["user_assigned_identity"]),
        "dead_letters": (short(dead["storage_account_id"]), dead["storage_blob_container_name"]),
    }


def extension(e):
    return (e["name"], e["publisher"], e["type"], e["type_handler_version"], e["auto_upgrade_minor_version"], e["automatic_upgrade_enabled"], json.loads(e["settings"]))


def scale_set(r):
    rolling, os_upgrade = one(r["rolling_upgrade_policy"]), one(r["automatic_os_upgrade_policy"])
    repair, nic, disk = one(r["automatic_instance_repair"]), one(r["network_interface"]), one(r["os_disk"])
    address, local = one(nic["ip_configuration"]), one(disk["diff_disk_settings"])
    notice = r["termination_notification"]
    return {
        "zones": sorted(r["zones"]),
        "size": r["sku"],
        "capacity": r["instances"],
        "identities": [short(i) for i in one(r["identity"])["identity_ids"]],
        "overprovision": r["overprovision"],
        "single_placement_group": r["single_placement_group"],
        "zone_balance": r["zone_balance"],
        "fault_domains": r["platform_fault_domain_count"],
        "scale_in": [one(r["scale_in"])["rule"]],
        "repair": (repair["enabled"], repair["grace_period"], repair["action"]),
        "upgrade_mode": r["upgrade_mode"],
        "os_upgrade": (os_upgrade["automatic_os_upgrade_enabled"], os_upgrade["automatic_rollback_enabled"]),
        "rolling": (
            rolling["max_batch_instance_percent"],
            rolling["max_unhealthy_instance_percent"],
            rolling["max_unhealthy_upgraded_instance_percent"],
            rolling["pause_time_between_batches"],
            rolling["prioritize_unhealthy_instances_enabled"],
            rolling["maximum_surge_instances_enabled"],
        ),
        "spot": (r["priority"], r["eviction_policy"], r["max_bid_price"]),
        "encryption_at_host": r["encryption_at_host_enabled"],
        "trusted_launch": (r["secure_boot_enabled"], r["vtpm_enabled"]),
        "terminate_notice": one(notice)["timeout"] if notice and one(notice)["enabled"] else None,
        "prefix": r["computer_name_prefix"],
        "admin": (r["admin_username"], one(r["admin_ssh_key"])["public_key"], r["disable_password_authentication"]),
        "cloud_init": base64.b64decode(r["custom_data"]).decode(),
        "image": one(r["source_image_reference"]),
        "os_disk": (disk["caching"], local["option"], local["placement"], disk["storage_account_type"], disk["disk_size_gb"]),
        "boot_diagnostics": len(r["boot_diagnostics"]) == 1,
        "nic": (nic["name"], nic["accelerated_networking_enabled"], nic["ip_forwarding_enabled"], short(address["subnet_id"])),
        "public_address": bool(address["public_ip_address"]),
        "extensions": sorted((extension(e) for e in r["extension"]), key=lambda e: e[0]),
    }


def broker(r, disks, attachments):
    attachment = one([a for a in attachments if a["virtual_machine_id"] == r["id"]])
    disk = one([d for d in disks if d["id"] == attachment["managed_disk_id"]])
    os_disk = one(r["os_disk"])
    return {
        "zone": [r["zone"]],
        "size": r["size"],
        "identities": [short(i) for i in one(r["identity"])["identity_ids"]],
        "computer": r["computer_name"],
        "admin": (r["admin_username"], one(r["admin_ssh_key"])["public_key"], r["disable_password_authentication"]),
        "cloud_init": base64.b64decode(r["user_data"]).decode(),
        "encryption_at_host": r["encryption_at_host_enabled"],
        "trusted_launch": (r["secure_boot_enabled"], r["vtpm_enabled"]),
        "image": one(r["source_image_reference"]),
        "os_disk": (os_disk["caching"], os_disk["storage_account_type"]),
        "data_disk": (attachment["lun"], attachment["create_option"] or "Attach", attachment["caching"], disk["name"], disk["zone"], disk["disk_size_gb"], disk["storage_account_type"], disk["network_access_policy"], disk["public_network_access_enabled"]),
        "interfaces": [short(i) for i in r["network_interface_ids"]],
        "boot_diagnostics": len(r["boot_diagnostics"]) == 1,
        "patches": (r["patch_mode"], r["patch_assessment_mode"], r["reboot_setting"], r["bypass_platform_safety_checks_on_user_schedule_enabled"]),
    }


def interface(r):
    a = one(r["ip_configuration"])
    return (r["accelerated_networking_enabled"], r["ip_forwarding_enabled"], a["private_ip_address_allocation"], a["private_ip_address"], short(a["subnet_id"]), a["public_ip_address_id"] is not None)


def autoscale(r):
    return {
        "target": short(r["target_resource_id"]),
        "profiles": {
            p["name"]: {
                "capacity": tuple(one(p["capacity"])[k] for k in ("minimum", "default", "maximum")),
                "recurrence": recurrence(p["recurrence"]),
                "rules": [autoscale_rule(one(x["metric_trigger"]), one(x["scale_action"])) for x in p["rule"]],
            }
            for p in r["profile"]
        },
    }


def recurrence(blocks):
    return (blocks[0]["timezone"], tuple(blocks[0]["days"]), tuple(blocks[0]["hours"]), tuple(blocks[0]["minutes"])) if blocks else None


def autoscale_rule(t, a):
    return (
        (t["metric_namespace"], t["metric_name"], short(t["metric_resource_id"])),
        (t["operator"], t["threshold"], t["statistic"], t["time_aggregation"], t["time_grain"], t["time_window"], t["divide_by_instance_count"]),
        (a["direction"], a["type"], a["value"], a["cooldown"]),
    )


def registry_of(r):
    rules = one(r["network_rule_set"])
    return {
        "sku": r["sku"],
        "admin": r["admin_enabled"],
        "anonymous": r["anonymous_pull_enabled"],
        "data_endpoint": r["data_endpoint_enabled"],
        "retention": r["retention_policy_in_days"],
        "public_network": r["public_network_access_enabled"],
        "bypass": r["network_rule_bypass_option"],
        "zones": r["zone_redundancy_enabled"],
        "default_action": rules["default_action"],
        "operators": [x["ip_range"] for x in rules["ip_rule"]],
    }


def environment(r):
    return {
        "subnet": short(r["infrastructure_subnet_id"]),
        "internal": r["internal_load_balancer_enabled"],
        "public_network": r["public_network_access"],
        "zones": r["zone_redundancy_enabled"],
        "logs": r["logs_destination"],
        "profiles": [(w["name"], w["workload_profile_type"], w["minimum_count"], w["maximum_count"]) for w in r["workload_profile"]],
    }


def contained(r):
    template = one(r["template"])
    container, registry = one(template["container"]), one(r["registry"])
    return {
        "environment": short(r["container_app_environment_id"]),
        "profile": r["workload_profile_name"],
        "identities": [short(i) for i in one(r["identity"])["identity_ids"]],
        "registry": (registry["server"], short(registry["identity"])),
        "secrets": sorted((s["name"], s["key_vault_secret_id"] or None, short(s["identity"]) if s["identity"] else None, s["value"] or None) for s in r["secret"]),
        "image": container["image"],
        "args": container["args"],
        "env": sorted((e["name"], e["value"] or None, e["secret_name"] or None) for e in container["env"]),
        "resources": (container["cpu"], container["memory"]),
        "mounts": sorted((m["name"], m["path"]) for m in container["volume_mounts"]),
        "volumes": sorted((v["name"], v["storage_type"]) for v in template["volume"]),
    }


def scale_rule(r):
    return (r["name"], r["custom_rule_type"], tuple(sorted(r["metadata"].items())), tuple(sorted((a["trigger_parameter"], a["secret_name"]) for a in r["authentication"])))


def container_app(r):
    template = one(r["template"])
    container = one(template["container"])
    probes = [(kind, one(container[f"{kind.lower()}_probe"])) for kind in ("Startup", "Liveness", "Readiness")]
    return {
        **contained(r),
        "revisions": r["revision_mode"],
        "ingress": bool(r["ingress"]),
        "grace": template["termination_grace_period_seconds"],
        "probes": sorted((kind, p["path"], p["port"], p["interval_seconds"], p["failure_count_threshold"]) for kind, p in probes),
        "replicas": tuple(template[k] for k in ("min_replicas", "max_replicas", "polling_interval_in_seconds", "cooldown_period_in_seconds")),
        "rules": sorted(scale_rule(x) for x in template["custom_scale_rule"]),
    }


def container_job(r):
    event = one(r["event_trigger_config"]) if r["event_trigger_config"] else None
    schedule = one(r["schedule_trigger_config"]) if r["schedule_trigger_config"] else None
    scale = event and one(event["scale"])
    return {
        **contained(r),
        "time": (r["replica_timeout_in_seconds"], r["replica_retry_limit"]),
        "event": event and (event["parallelism"], event["replica_completion_count"], scale["polling_interval_in_seconds"], scale["min_executions"], scale["max_executions"], [scale_rule(x) for x in scale["rules"]]),
        "schedule": schedule and (schedule["cron_expression"], schedule["parallelism"], schedule["replica_completion_count"]),
    }


def collection(r):
    source = one(one(r["data_sources"])["syslog"])
    target = one(one(r["destinations"])["log_analytics"])
    flow = one(r["data_flow"])
    return (source["streams"], source["facility_names"], source["log_levels"], short(target["workspace_resource_id"]), flow["streams"], flow["destinations"] == [target["name"]])


def conditions(criteria):
    names = {"category": "category", "operationName": "operation_name", "status": "status"}
    return {field: criteria[name] for field, name in names.items() if criteria[name]}


def metrics_collection(r):
    source = one(one(r["data_sources"])["prometheus_forwarder"])
    target = one(one(r["destinations"])["monitor_account"])
    flow = one(r["data_flow"])
    return (r["name"], short(r["data_collection_endpoint_id"]), source["streams"], short(target["monitor_account_id"]), flow["streams"], flow["destinations"] == [target["name"]])


def alert(r):
    c = one(r["criteria"])
    return {
        "text": r["description"],
        "severity": r["severity"],
        "scopes": [short(s) for s in r["scopes"]],
        "every": (r["frequency"], r["window_size"]),
        "criterion": (c["metric_namespace"], c["metric_name"], c["aggregation"], c["operator"], c["threshold"], bool(c["skip_metric_validation"])),
        "actions": [short(a["action_group_id"]) for a in r["action"]],
    }
