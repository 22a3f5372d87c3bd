"""Fixtures: each mocked Terraform run is done once for all tests."""

import pytest

import broker
import facts_bicep
import facts_terraform
import fleet


@pytest.fixture(scope="session")
def terraform(tmp_path_factory):
    """Terraform with a provider; tests that need it say by name that they were skipped."""
    try:
        return fleet.Terraform(fleet.INFRA, tmp_path_factory.mktemp("terraform"))
    except fleet.NoProvider as reason:
        pytest.skip(f"SKIPPED: terraform: {reason}")


@pytest.fixture(scope="session")
def terraform_facts(terraform):
    return {run: facts_terraform.facts(state) for run, state in terraform.states().items()}


@pytest.fixture(scope="session")
def bicep_facts():
    return {variant: facts_bicep.facts(fleet.bicep(variant)) for variant in fleet.VARIANTS}


@pytest.fixture(scope="session")
def rabbitmq(tmp_path_factory):
    """One broker for all tests: to start a node takes longer than they do."""
    yield from broker.start(tmp_path_factory.mktemp("rabbitmq"))
