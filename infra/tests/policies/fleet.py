"""What Nightread asks of its scale sets and accounts beyond the checks that checkov brings, in both languages."""

from checkov.bicep.checks.resource.base_resource_check import BaseResourceCheck as BicepCheck
from checkov.common.models.enums import CheckCategories, CheckResult
from checkov.terraform.checks.resource.base_resource_check import BaseResourceCheck as TerraformCheck


def at(conf, *path):
    """A value in nested dicts and one-element lists, or None."""
    for key in path:
        while isinstance(conf, list) and len(conf) == 1:
            conf = conf[0]
        if not isinstance(conf, dict):
            return None
        conf = conf.get(key)
    while isinstance(conf, list) and len(conf) == 1:
        conf = conf[0]
    return conf


def verdict(good):
    return CheckResult.PASSED if good else CheckResult.FAILED


def bicep(check_id, text, kind, good):
    class Check(BicepCheck):
        def __init__(self):
            super().__init__(name=text, id=check_id, categories=[CheckCategories.GENERAL_SECURITY], supported_resources=[kind])

        def scan_resource_conf(self, conf):
            return verdict(good(conf.get("config", conf)))

    return Check()


def terraform(check_id, text, kind, good):
    class Check(TerraformCheck):
        def __init__(self):
            super().__init__(name=text, id=check_id, categories=[CheckCategories.GENERAL_SECURITY], supported_resources=[kind])

        def scan_resource_conf(self, conf):
            return verdict(good(conf))

    return Check()


SCALE_SET, ACCOUNT, SUBNETS = "Microsoft.Compute/virtualMachineScaleSets", "Microsoft.Storage/storageAccounts", "Microsoft.Network/virtualNetworks"
TF_SCALE_SET, TF_ACCOUNT, TF_SUBNET = "azurerm_linux_virtual_machine_scale_set", "azurerm_storage_account", "azurerm_subnet"

OVERPROVISION = "Doubled machines would take messages and be deleted while they work on them"
bicep("CKV_NIGHTREAD_1", OVERPROVISION, SCALE_SET, lambda c: at(c, "properties", "overprovision") is False)
terraform("CKV_NIGHTREAD_1", OVERPROVISION, TF_SCALE_SET, lambda c: at(c, "overprovision") is False)

PUBLIC = "No worker has a public address"


def bicep_public(conf):
    nics = conf["properties"]["virtualMachineProfile"]["networkProfile"]["networkInterfaceConfigurations"]
    return any("publicIPAddressConfiguration" in ip["properties"] for nic in nics for ip in nic["properties"]["ipConfigurations"])


bicep("CKV_NIGHTREAD_2", PUBLIC, SCALE_SET, lambda c: not bicep_public(c))
terraform("CKV_NIGHTREAD_2", PUBLIC, TF_SCALE_SET, lambda c: at(c, "network_interface", "ip_configuration", "public_ip_address") is None)

SURGE = "Upgrades replace machines, which are told and drain, instead of reimaging them"
bicep("CKV_NIGHTREAD_3", SURGE, SCALE_SET, lambda c: at(c, "properties", "upgradePolicy", "rollingUpgradePolicy", "maxSurge") is True)
terraform("CKV_NIGHTREAD_3", SURGE, TF_SCALE_SET, lambda c: at(c, "rolling_upgrade_policy", "maximum_surge_instances_enabled") is True)

KEYS = "Account keys are off"
bicep("CKV_NIGHTREAD_4", KEYS, ACCOUNT, lambda c: at(c, "properties", "allowSharedKeyAccess") is False)
terraform("CKV_NIGHTREAD_4", KEYS, TF_ACCOUNT, lambda c: at(c, "shared_access_key_enabled") is False)

OUTBOUND = "No subnet has Azure's default way out"
bicep("CKV_NIGHTREAD_5", OUTBOUND, SUBNETS, lambda c: all(s["properties"].get("defaultOutboundAccess") is False for s in c["properties"]["subnets"]))
terraform("CKV_NIGHTREAD_5", OUTBOUND, TF_SUBNET, lambda c: at(c, "default_outbound_access_enabled") is False)
