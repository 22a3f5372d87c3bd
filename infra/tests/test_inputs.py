"""Bad parameters are refused by the Bicep as well; terraform/tests/inputs.tftest.hcl asks the same of the Terraform."""

import re

import pytest

import bicep_eval
import fleet

BAD = [
    {"name": "ab"},
    {"name": "a" * 13},
    {"shape": "staging"},
    {"precision": "auto"},
    {"workerArchiveSha256": "a" * 63},
    {"brokerPackagesSha256": "b" * 65},
    {"workerCapacity": -1},
    {"workerCapacity": 101},
    {"presentCapacity": -2},
    {"presentSpotCapacity": 1001},
    {"adminSshPublicKey": "ssh-rsa"},
    {"workerArchiveName": ""},
    {"alertEmail": "a@b"},
    {"compute": "kubernetes"},
    {"workerImageTag": ""},
    {"modelPins": ["cxr-pneumonia-demo"]},
    {"modelPins": ["@sha256:" + "c" * 64]},
    {"modelPins": ["cxr-pneumonia-demo@sha512:" + "c" * 64]},
    {"modelPins": ["cxr-pneumonia-demo@sha256:" + "c" * 63]},
    {"modelPins": ["cxr@pneumonia@sha256:" + "c" * 64]},
    {"seriesPrefix": "ct/"},
    {"seriesModel": "ct-organs-demo"},
    {"seriesPrefix": "ct/", "seriesModel": "ct-organs-demo", "compute": "containerApps"},
    {"unknown": 1},
    *({parameter: [cidr]} for parameter in ("operatorIpRanges", "packageMirrorRanges") for cidr in fleet.BAD_RANGES),
    *({"metricsWorkspaceId": workspace} for workspace in fleet.BAD_WORKSPACES),
]


@pytest.mark.parametrize("extra", BAD, ids=str)
def test_bicep_refuses(extra):
    with pytest.raises(bicep_eval.Refused):
        fleet.bicep("prod", **extra)


@pytest.mark.parametrize("cidr", ["203.0.113.7", "203.0.113.0/24", "203.0.113.128/25"])
def test_bicep_takes_addresses_and_ranges_of_a_site(cidr):
    vaults = [r for r in fleet.bicep("prod", operatorIpRanges=[cidr]) if getattr(r, "kind", "") == "Microsoft.KeyVault/vaults"]
    assert [v.body["properties"]["networkAcls"]["ipRules"] for v in vaults] == [[{"value": cidr}]] * 2


@pytest.mark.parametrize("provider", ["Microsoft.Monitor", "microsoft.monitor"])
def test_bicep_takes_a_workspace(provider):
    workspace = fleet.WORKSPACE.replace("Microsoft.Monitor", provider)
    rules = [r for r in fleet.bicep("prod", metricsWorkspaceId=workspace) if getattr(r, "kind", "") == "Microsoft.Insights/dataCollectionRules"]
    assert workspace in [account["accountResourceId"] for rule in rules for account in rule.body["properties"]["destinations"].get("monitoringAccounts", [])]


def test_both_languages_refuse_the_same():
    """Terraform's half of the lists stands in tests of its own, which name each range and workspace."""
    source = (fleet.INFRA / "terraform/tests/inputs.tftest.hcl").read_text()
    assert re.findall(r'metrics_workspace_id += "(.*)"', source) == fleet.BAD_WORKSPACES
    for variable in ("operator_ip_ranges", "package_mirror_ranges"):
        assert sorted(re.findall(rf'{variable} += \["(.*)"\]', source)) == sorted(fleet.BAD_RANGES)


@pytest.mark.parametrize("size", ["Standard_D8ds_v6", "Standard_F8ads_v7"])
def test_bicep_puts_the_system_on_nvme_where_there_is_nothing_else(size):
    sets = [r for r in fleet.bicep("prod", workerVmSize=size) if getattr(r, "kind", "").endswith("virtualMachineScaleSets")]
    assert [s.body["properties"]["virtualMachineProfile"]["storageProfile"]["osDisk"]["diffDiskSettings"]["placement"] for s in sets] == ["NvmeDisk"]


def test_the_evaluator_refuses_what_it_does_not_know(tmp_path):
    for source in ("var a = toUpper('x')", "import 'x.bicep'", "var a = [for (x, i) in []: x]", "var a = 1 < 2", "var a = b"):
        path = tmp_path / "main.bicep"
        path.write_text(source + "\n")
        with pytest.raises(bicep_eval.Unsupported):
            bicep_eval.deploy(path, {}, fleet.WORLD)
