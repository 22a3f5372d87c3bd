"""The same fleet, as the Bicep and as the Terraform would deploy it."""

import copy
import json
import os
import shutil
import subprocess
from pathlib import Path

import bicep_eval

INFRA = Path(__file__).resolve().parent.parent
GROUP = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-test"
NAME = "testfleet"
IDENTITIES = {"worker": "3", "broker": "4", "events": "5"}

# The values that only Azure can give, as terraform/tests/mocks gives them.
WORLD = bicep_eval.World(
    group_id=GROUP,
    location="westeurope",
    tenant_id="00000000-0000-0000-0000-000000000002",
    runtime={
        f"{GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/id-{NAME}-{who}": {
            "principalId": f"00000000-0000-0000-0000-00000000001{digit}",
            "clientId": f"00000000-0000-0000-0000-00000000002{digit}",
        }
        for who, digit in IDENTITIES.items()
    }
    | {
        f"{GROUP}/providers/Microsoft.Insights/dataCollectionEndpoints/dce-{NAME}-metrics": {"metricsIngestion": {"endpoint": f"https://dce-{NAME}-metrics.westeurope-1.metrics.ingest.monitor.azure.com"}},
        f"{GROUP}/providers/Microsoft.Insights/dataCollectionRules/dcr-{NAME}-metrics": {"immutableId": "dcr-00000000000000000000000000000001"},
    },
)

COMMON = {
    "name": NAME,
    "workerArchiveName": "nightread-1.0.0.tar.gz",
    "workerArchiveSha256": "a" * 64,
    "brokerPackagesName": "rabbitmq.tar.gz",
    "brokerPackagesSha256": "b" * 64,
    "precision": "fp32",
    "adminSshPublicKey": "ssh-ed25519 " + "AAAAC3NzaC1lZDI1NTE5AAAAI".ljust(68, "A") + " test",
    "alertEmail": "team@example.org",
}

WORKSPACE = f"{GROUP}/providers/Microsoft.Monitor/accounts/amw-test"

# One entry for each run of terraform/tests/fleet.tftest.hcl.
VARIANTS = {
    "dev": {"shape": "dev"},
    "dev_backlog": {"shape": "dev", "autoscaleOnBacklog": True},
    "prod": {"metricsWorkspaceId": WORKSPACE},
    "prod_backlog_spot": {
        "autoscaleOnBacklog": True,
        "spotEnabled": True,
        "operatorIpRanges": ["203.0.113.0/24"],
        "packageMirrorRanges": ["192.0.2.0/28"],
        "seriesPrefix": "ct/",
        "seriesModel": "ct-organs-demo",
        "modelPins": [f"cxr-pneumonia-demo@sha256:{'c' * 64}", f"ct-organs-demo@sha256:{'d' * 64}"],
    },
    "prod_containers": {
        "compute": "containerApps",
        "workerImageTag": "1.0.0",
        "autoscaleOnBacklog": True,
        "spotEnabled": True,
        "metricsWorkspaceId": WORKSPACE,
        "modelPins": [f"cxr-pneumonia-demo@sha256:{'c' * 64}"],
    },
}


def settings(infra=INFRA):
    return json.loads((infra / "shared/settings.json").read_text())


def bicep(variant, infra=INFRA, **extra):
    """Resources of `bicep/main.bicep`, evaluated."""
    return bicep_eval.deploy(infra / "bicep/main.bicep", copy.deepcopy({**COMMON, **VARIANTS[variant], **extra}), WORLD)[0]


# What is no address, and what is wider than a site's own range.
BAD_RANGES = ["example.org", "203.0.113", "203.0.113.7.1", "999.999.999.999/99", "203.0.113.0/33", "2001:db8::/64", "0.0.0.0/0", "1.2.3.4/0", "128.0.0.0/1", "203.0.112.0/23"]

# What is no resource id of an Azure Monitor workspace.
BAD_WORKSPACES = [
    "amw-test",
    "https://amw-test.westeurope.prometheus.monitor.azure.com",
    "/subscriptions/s/resourceGroups/g/providers/Microsoft.OperationalInsights/workspaces/w",
    "/subscriptions/s/resourceGroups/g/providers/Microsoft.Monitor/accounts",
    "/subscriptions/s/resourceGroups/g/providers/Microsoft.Monitor/accounts/",
    "/subscriptions/s/resourceGroups//providers/Microsoft.Monitor/accounts/w",
    "/subscriptions/s/resourceGroups/g/providers/Microsoft.Monitor/accounts/w/x",
    "//subscriptions/s/resourceGroups/g/providers/Microsoft.Monitor/accounts",
    "x/subscriptions/s/resourceGroups/g/providers/Microsoft.Monitor/accounts/w",
]


class NoProvider(Exception):
    """Neither the registry's provider nor the schema-only one can be had."""


def offline_check():
    """The folder of the offline check, or None; a quick run does without it."""
    if os.environ.get("NIGHTREAD_INFRA_QUICK"):
        return None
    default = INFRA.parent.parent / "shared/tools/infra-check/check"
    path = Path(os.environ.get("NIGHTREAD_INFRA_CHECK", default))
    return path.parent if path.exists() else None


class Terraform:
    """Runs terraform on a copy of `infra`: with the schema-only provider where the offline check is, or else the registry's."""

    def __init__(self, infra, folder):
        Path(folder).mkdir(exist_ok=True)
        if os.environ.get("NIGHTREAD_INFRA_QUICK"):
            raise NoProvider("a quick run")
        if shutil.which("terraform") is None:
            raise NoProvider("terraform is not installed")
        self.root = Path(folder) / "infra"
        shutil.copytree(infra, self.root, ignore=shutil.ignore_patterns(".terraform*", "__pycache__", ".pytest_cache"))
        self.env = {**os.environ, "TF_CLI_CONFIG_FILE": "/dev/null", "CHECKPOINT_DISABLE": "1"}
        self.prefix = self.stub(Path(folder)) if offline_check() else []
        done = self.run("init", "-backend=false", "-input=false")
        if done.returncode != 0:
            raise NoProvider("terraform init: " + done.stderr.strip()[-300:])

    @staticmethod
    def stub(folder):
        import sys

        here, stub = offline_check(), folder / "stub"
        stub.mkdir()
        for source in (here / "stub").iterdir():
            (stub / source.name).write_bytes(source.read_bytes())
        compile_proto = [sys.executable, "-m", "grpc_tools.protoc", "-I.", "--python_out=.", "--grpc_python_out=.", "stubprov.proto"]
        subprocess.run(compile_proto, cwd=stub, check=True)
        return [sys.executable, str(stub / "serve.py"), str(here / "azurerm-5.10.0.schema.json"), "--"]

    def run(self, *arguments):
        command = [*self.prefix, "terraform", f"-chdir={self.root / 'terraform'}", *arguments]
        return subprocess.run(command, env=self.env, capture_output=True, text=True, check=False)

    def states(self, test_file="tests/fleet.tftest.hcl"):
        """Resources of each run of a test file, by address."""
        done = self.run("test", f"-filter={test_file}", "-json", "-verbose")
        states, problems = {}, []
        for line in done.stdout.splitlines():
            event = json.loads(line)
            if event["type"] == "test_state":
                states[event["@testrun"]] = dict(walk(event["test_state"]["root_module"]))
            elif event["type"] == "diagnostic":
                problems.append(event["@message"])
        if done.returncode != 0:
            raise AssertionError("\n".join(problems) or done.stderr)
        return states


def walk(module):
    for resource in module.get("resources", []):
        if resource["mode"] == "managed":
            yield resource["address"], {**resource["values"], "resource_type": resource["type"]}
    for child in module.get("child_modules", []):
        yield from walk(child)
