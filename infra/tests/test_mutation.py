"""The checkers catch what they are there for: every property is renamed once, and required ones are dropped, in both languages.

Needs the offline check (NIGHTREAD_INFRA_CHECK); without it the compilers themselves are asked in the workflow of the project.
"""

import importlib.util
import json
import re
import shutil
import subprocess
import sys

import pytest
import tree_sitter
import tree_sitter_bicep
import tree_sitter_hcl

import fleet

BICEP = tree_sitter.Parser(tree_sitter.Language(tree_sitter_bicep.language()))
HCL = tree_sitter.Parser(tree_sitter.Language(tree_sitter_hcl.language()))

# Values whose keys Azure's types leave open. The parity test reads those of `features`, `allOf` and `metadata` (of KEDA) by their names.
FREE = ("settings", "userAssignedIdentities", "features", "allOf", "metadata")
# Objects that reach a resource through an expression which the offline check does not follow; bicep build does.
THROUGH_EXPRESSIONS = {"autoscale.bicep": ("backlogRules", "backlogProfiles", "fixedProfiles"), "monitoring.bicep": ("queueAlerts",), "scale-set.bicep": ("payAsYouGoPrice", "terminateNotice")}


@pytest.fixture(scope="module")
def check():
    folder = fleet.offline_check()
    if folder is None:
        pytest.skip("SKIPPED: mutation: the offline check is not here (NIGHTREAD_INFRA_CHECK)")

    def load(name):
        spec = importlib.util.spec_from_file_location(name, folder / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    bicep, terraform = load("bicep_check"), load("tf_check")
    types = bicep.TypesJson([str(p) for p in (folder / "types").glob("*.json")])
    providers = json.loads((folder / "azurerm-5.10.0.schema.json").read_text())["provider_schemas"]

    def bicep_findings(path):
        errors = bicep.Err()
        bicep.Checker(str(path), types, errors).run()
        return list(errors)

    schema = next(iter(providers.values()))

    def terraform_findings(path):
        errors = []
        for block in terraform.body(HCL.parse(path.read_bytes()).root_node).children:
            label = terraform.lbl(block) if block.type == "block" else [""]
            if label[0] == "resource":
                known = schema["resource_schemas"].get(label[1])
                terraform.check(terraform.body(block), known["block"], label[1], path.name, errors, True) if known else errors.append(f"unknown {label[1]}")
        return errors

    return bicep_findings, terraform_findings


@pytest.fixture
def copy(tmp_path):
    for folder in ("bicep", "terraform", "shared"):
        shutil.copytree(fleet.INFRA / folder, tmp_path / folder, ignore=shutil.ignore_patterns(".terraform*"))
    return tmp_path


def descend(node):
    yield node
    for child in node.children:
        yield from descend(child)


def enclosing(node, kind):
    while node is not None and node.type != kind:
        node = node.parent
    return node


def name_of(declaration):
    return next(c for c in declaration.children if c.type == "identifier").text.decode()


def bicep_properties(path):
    """(property node, key node) of each property that belongs to a resource of Azure."""
    skipped_variables = THROUGH_EXPRESSIONS.get(path.name, ())
    for node in descend(BICEP.parse(path.read_bytes()).root_node):
        if node.type != "object_property":
            continue
        declaration = enclosing(node, "resource_declaration") or enclosing(node, "variable_declaration")
        if declaration is None or enclosing(node, "module_declaration") is not None:
            continue
        if declaration.type == "variable_declaration" and name_of(declaration) in skipped_variables:
            continue
        if any(c.type == "existing" for c in declaration.children):
            continue
        outer, free = node.parent, False
        while outer is not None and outer.id != declaration.id:
            free |= outer.type == "object_property" and outer.children[0].text.decode().strip("'") in FREE
            outer = outer.parent
        if not free:
            yield node, node.children[0]


def test_every_renamed_property_of_the_bicep_is_caught(check, copy):
    bicep_findings, _ = check
    missed, tried = [], 0
    for path in sorted((copy / "bicep").rglob("*.bicep")):
        source = path.read_bytes()
        assert bicep_findings(path) == []
        for node, key in bicep_properties(path):
            tried += 1
            word = key.text.decode().strip("'")
            renamed = f"'{word}X'" if key.type == "string" else f"{word}X"
            path.write_bytes(source[: key.start_byte] + renamed.encode() + source[key.end_byte :])
            if not bicep_findings(path):
                missed.append(f"{path.name}:{node.start_point[0] + 1} {word}")
        path.write_bytes(source)
    assert tried > 500 and missed == []


def test_what_the_bicep_requires_is_missed(check, copy):
    bicep_findings, _ = check
    drops = [("identity.bicep", "tenantId: "), ("identity.bicep", "name: 'standard'"), ("network.bicep", "priority: 100"), ("network.bicep", "protocol: 'Tcp'"), ("storage.bicep", "kind: 'StorageV2'"),
             ("storage.bicep", "principalId: "), ("storage.bicep", "roleDefinitionId: "), ("storage.bicep", "level: 'CanNotDelete'"), ("storage.bicep", "defaultAction: 'Deny'"), ("autoscale.bicep", "profiles: "),
             ("monitoring.bicep", "evaluationFrequency: "), ("monitoring.bicep", "groupShortName: "), ("monitoring.bicep", "criterionType: "), ("events.bicep", "endpointType: 'StorageQueue'"), ("events.bicep", "location: location")]
    for file, line in drops:
        path = copy / "bicep/modules" / file
        source = path.read_text()
        changed, count = re.subn(rf"^ *{re.escape(line)}.*\n", "", source, count=1, flags=re.M)
        assert count == 1, f"{file} no longer says {line}"
        path.write_text(changed)
        assert bicep_findings(path), f"{file} without {line}"
        path.write_text(source)
    for path in sorted((copy / "bicep/modules").glob("*.bicep")):
        source = path.read_text()
        for match in re.finditer(r"^resource (?!.* existing = ).*\n(?: +//.*\n| +parent: .*\n)*(  name: .*\n)", source, re.M):
            path.write_text(source[: match.start(1)] + source[match.end(1) :])
            assert bicep_findings(path), f"{path.name}: {match.group(0)[:60]} without its name"
        path.write_text(source)


def test_every_renamed_argument_of_the_terraform_is_caught(check, copy):
    _, terraform_findings = check
    missed, tried = [], 0
    for path in sorted((copy / "terraform/modules").rglob("*.tf")):
        source = path.read_bytes()
        spots = []
        for node in descend(HCL.parse(source).root_node):
            block = enclosing(node, "block")
            top = block
            while top is not None and enclosing(top.parent, "block") is not None:
                top = enclosing(top.parent, "block")
            if top is None or top.children[0].text != b"resource" or enclosing(node, "object") is not None:
                continue
            if node.type == "attribute" and block.children[0].text not in (b"lifecycle", b"dynamic"):
                if not (block is top and node.children[0].text in (b"count", b"for_each")):
                    spots.append(node.children[0])
            elif node.type == "block" and node is not top and node.children[0].text not in (b"lifecycle", b"content"):
                label = node.children[1] if node.children[0].text == b"dynamic" else node.children[0]
                spots.append(label)
        for spot in {(s.start_byte, s.end_byte): s for s in spots}.values():
            tried += 1
            word = spot.text.decode().strip('"')
            renamed = f'"{word}x"' if spot.text.startswith(b'"') else f"{word}x"
            path.write_bytes(source[: spot.start_byte] + renamed.encode() + source[spot.end_byte :])
            if not terraform_findings(path):
                missed.append(f"{path.parent.name}/{path.name}:{spot.start_point[0] + 1} {word}")
        path.write_bytes(source)
    assert tried > 300 and missed == []


def test_what_the_terraform_requires_is_missed(check, copy):
    _, terraform_findings = check
    tried = 0
    for path in sorted((copy / "terraform/modules").rglob("*.tf")):
        source = path.read_text()
        for match in re.finditer(r"^  (?:name|location|scope|principal_id|subnet_id|storage_account_id|target_resource_id) +=.*\n", source, re.M):
            top = source[: match.start()].rfind("\nresource ")
            if top < 0 or "\n}" in source[top + 1 : match.start()]:
                continue
            path.write_text(source[: match.start()] + source[match.end() :])
            kind = re.match(r'\nresource "azurerm_(\w+)"', source[top:]).group(1)
            tried += 1
            # A role assignment may go without a name, and so may an association.
            if not (kind in ("role_assignment", "monitor_data_collection_rule_association") and match.group(0).split()[0] == "name"):
                assert terraform_findings(path), f"{path.parent.name}: {kind} without {match.group(0).strip()}"
        path.write_text(source)
    assert tried > 50


POLICY_MUTATIONS = [
    ("bicep/modules/scale-set.bicep", "overprovision: false", "overprovision: true", "CKV_NIGHTREAD_1"),
    ("bicep/modules/scale-set.bicep", "maxSurge: true", "maxSurge: false", "CKV_NIGHTREAD_3"),
    ("bicep/modules/scale-set.bicep", "primary: true\n                    subnet", "primary: true\n                    publicIPAddressConfiguration: {\n                      name: 'p'\n                    }\n                    subnet", "CKV_NIGHTREAD_2"),
    ("bicep/modules/storage.bicep", "allowSharedKeyAccess: false", "allowSharedKeyAccess: true", "CKV_NIGHTREAD_4"),
    ("bicep/modules/network.bicep", "defaultOutboundAccess: false", "defaultOutboundAccess: true", "CKV_NIGHTREAD_5"),
    ("terraform/modules/scale_set/main.tf", "overprovision               = false", "overprovision               = true", "CKV_NIGHTREAD_1"),
    ("terraform/modules/scale_set/main.tf", "maximum_surge_instances_enabled = true", "maximum_surge_instances_enabled = false", "CKV_NIGHTREAD_3"),
    ("terraform/modules/scale_set/main.tf", "      subnet_id = var.subnet_id\n", '      subnet_id = var.subnet_id\n      public_ip_address {\n        name = "p"\n      }\n', "CKV_NIGHTREAD_2"),
    ("terraform/modules/storage/main.tf", "shared_access_key_enabled         = false", "shared_access_key_enabled         = true", "CKV_NIGHTREAD_4"),
    ("terraform/modules/network/main.tf", "default_outbound_access_enabled = false", "default_outbound_access_enabled = true", "CKV_NIGHTREAD_5"),
]


def test_the_policies_of_the_project_can_fail(copy):
    """All mutations of both languages in one run, because checkov takes long to start."""
    checkov = shutil.which("checkov", path=str(fleet.Path(sys.executable).parent)) or shutil.which("checkov")
    if checkov is None:
        pytest.skip("SKIPPED: policies: checkov is not installed")
    ids = ",".join(sorted({i for *_, i in POLICY_MUTATIONS}))
    for file, old, new, _ in POLICY_MUTATIONS:
        path = copy / file
        assert old in path.read_text(), f"{file} no longer says {old}"
        path.write_text(path.read_text().replace(old, new, 1))
    command = [checkov, "-d", str(copy), "--framework", "bicep", "terraform", "--skip-download", "--output", "json", "--external-checks-dir", str(fleet.INFRA / "tests/policies"), "--check", ids]
    reports = json.loads(subprocess.run(command, capture_output=True, text=True, check=False).stdout)
    failed = {(report["check_type"], finding["check_id"]) for report in reports for finding in report["results"]["failed_checks"]}
    assert failed == {("bicep" if file.startswith("bicep") else "terraform", i) for file, _, _, i in POLICY_MUTATIONS}
