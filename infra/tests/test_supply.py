"""What the project takes from others at build time: actions, base images, tools, and how it is pinned."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

import fleet

ROOT = fleet.INFRA.parent
WORKFLOWS = ROOT / ".github/workflows"
DOCKERFILE = fleet.INFRA / "docker/Dockerfile"


def tool(name, *arguments):
    """A tool of requirements.txt, from the environment that runs the tests."""
    path = Path(sys.executable).parent / name
    command = str(path) if path.exists() else shutil.which(name)
    assert command, f"{name} is in tests/requirements.txt and is not installed"
    return subprocess.run([command, *map(str, arguments)], capture_output=True, text=True, check=False, env={**os.environ, "NO_COLOR": "1"})


def unpinned(text):
    """Actions that are not named by a commit, with the release beside it for people."""
    return [use for use in re.findall(r"uses: (.*)", text) if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+(\.\d+)*", use)]


def test_every_action_is_pinned_to_a_commit():
    found = [w for w in WORKFLOWS.glob("*.yml")]
    assert found and [use for w in found for use in unpinned(w.read_text())] == []
    assert unpinned("      - uses: actions/checkout@v4\n") == ["actions/checkout@v4"]


def test_zizmor_finds_nothing_in_the_workflows(tmp_path):
    done = tool("zizmor", "--offline", "--no-progress", WORKFLOWS)
    assert done.returncode == 0, done.stdout[-3000:]
    (tmp_path / "bad.yml").write_text("on: push\njobs:\n  x:\n    runs-on: ubuntu-latest\n    steps:\n      - uses: actions/checkout@v4\n      - run: echo ${{ github.event.head_commit.message }}\n")
    assert tool("zizmor", "--offline", "--no-progress", tmp_path / "bad.yml").returncode != 0


def test_hadolint_finds_nothing_in_the_dockerfile(tmp_path):
    done = tool("hadolint", DOCKERFILE)
    assert done.returncode == 0, done.stdout
    (tmp_path / "Dockerfile").write_text("FROM debian\nRUN cd /tmp\n")
    assert tool("hadolint", tmp_path / "Dockerfile").returncode != 0


def test_the_base_of_the_image_is_named_by_its_digest():
    text = DOCKERFILE.read_text()
    [base] = re.findall(r"^ARG BASE=(.*)$", text, re.M)
    assert re.fullmatch(r"debian:bookworm-slim@sha256:[0-9a-f]{64}", base)
    assert set(re.findall(r"^FROM (\S+)", text, re.M)) == {"${BASE}"}


RELEASE = WORKFLOWS / "release.yml"


def release_findings(workflow):
    """What a release lacks, or may more than it needs."""
    # YAML reads the word `on` as a truth.
    if workflow.get("on", workflow.get(True)) != {"push": {"tags": ["v[0-9]+.[0-9]+.[0-9]+"]}}:
        yield "it is made of something else than a tag"
    if workflow["permissions"] != {"contents": "read"}:
        yield "every job may more than read"
    jobs = workflow["jobs"]
    rights = {name: job.get("permissions", {}) for name, job in jobs.items()}
    if rights != {"build": {}, "provenance": {"id-token": "write", "attestations": "write"}, "publish": {"contents": "write", "packages": "write"}}:
        yield "a job has other rights than its own"
    if jobs["build"]["runs-on"] != "ubuntu-22.04":
        yield "it is built with a newer C library than the workers have"
    said = {name: "\n".join(step.get("run", "") + step.get("uses", "") + str(step.get("with", "")) for step in job["steps"]) for name, job in jobs.items()}
    for job, what, words in (
        ("build", "archive and Debian package", "make package deb"),
        ("build", "test of them", "infra/package/test-package"),
        ("build", "image", "infra/docker/Dockerfile"),
        ("build", "test of the image", "infra/package/test-image"),
        ("build", "checksums", ">SHA256SUMS"),
        ("provenance", "provenance of every file", "'subject-checksums': 'dist/SHA256SUMS'"),
        ("publish", "check of the checksums", "sha256sum --check"),
        ("publish", "draft", "--draft"),
    ):
        if words not in said[job]:
            yield f"no {what}"


def test_a_release_has_all_of_its_parts_and_no_more_rights():
    text = RELEASE.read_text()
    assert list(release_findings(yaml.safe_load(text))) == []
    for old, new, words in (
        ("make package deb", "make package", "no archive and Debian"),
        ("subject-checksums", "subject-path", "no provenance"),
        ("infra/package/test-image", "echo", "no test of the image"),
        ("ubuntu-22.04", "ubuntu-24.04", "newer C library"),
        ("permissions:\n  contents: read", "permissions: write-all", "may more"),
        ("      packages: write", "      packages: write\n      actions: write", "other rights"),
    ):
        assert old in text
        assert any(words in finding for finding in release_findings(yaml.safe_load(text.replace(old, new, 1)))), old
