"""What the project takes from others at build time: actions, base images, tools, and how it is pinned."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

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
