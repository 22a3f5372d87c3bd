"""The container image, built and run by `package/test-image`; and that script sees an image that is wrong.

What buildah, podman or the kernel of this machine do not allow is SKIPPED by name, by the script and here.
"""

import os
import re
import subprocess
import tarfile

import pytest

import broker
import fleet

if os.environ.get("NIGHTREAD_INFRA_QUICK"):
    pytest.skip("SKIPPED: the image, built and run: a quick run", allow_module_level=True)

PACKAGE = fleet.INFRA / "package"
DOCKERFILE = fleet.INFRA / "docker/Dockerfile"
SAMPLE = fleet.INFRA.parent / ".cache/samples/RG1_UNCR.dcm"


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """A release with the worker itself, and with the model of X-rays alone."""
    runtime = broker.runtime()
    if not broker.BINARY.exists() or runtime is None or not SAMPLE.exists():
        pytest.skip("SKIPPED: the image: needs `make build runtime samples`")
    folder = tmp_path_factory.mktemp("release")
    models = folder / "models"
    models.mkdir()
    (models / "cxr-pneumonia-demo").symlink_to(fleet.INFRA.parent / "models/cxr-pneumonia-demo")
    command = [PACKAGE / "build-archive", "--binary", broker.BINARY, "--runtime", os.path.dirname(runtime), "--models", models, "--version", "1.2.3", "--out", folder / "dist"]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    [made] = (folder / "dist").glob("*.tar.gz")
    return made


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """The base is made once for all tests."""
    return tmp_path_factory.mktemp("image")


def tried(archive, work, dockerfile=DOCKERFILE):
    env = {**os.environ, "TEST_IMAGE_WORK": str(work), "TEST_IMAGE_DOCKERFILE": str(dockerfile)}
    return subprocess.run([str(PACKAGE / "test-image"), str(archive), str(SAMPLE)], env=env, capture_output=True, text=True, check=False)


def skip_if_told(done):
    told = re.search(r"SKIPPED: .*", done.stdout)
    if told:
        pytest.skip(told[0])


def test_the_image_reads_answers_and_drains_without_rights(archive, work):
    done = tried(archive, work)
    assert done.returncode == 0, done.stdout + done.stderr
    skip_if_told(done)
    assert "/healthz answers, and it drains on SIGTERM" in done.stdout and "user 990, no capabilities" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("test-image: passed")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("USER 990:990", "USER root", "no user but 990:990"),
        ("EXPOSE 8080", "EXPOSE 8081", "port 8080"),
        ("STOPSIGNAL SIGTERM", "STOPSIGNAL SIGKILL", "SIGTERM"),
        ("VOLUME /var/cache/nightread", "VOLUME /var/cache", "room at"),
        ('CMD ["run"]', 'CMD ["relay"]', "nightread run"),
        ("    ORT_DISABLE_TELEMETRY=1", "    ORT_DISABLE_TELEMETRY=0", "no telemetry"),
    ],
)
def test_an_image_that_is_described_otherwise_is_seen(archive, work, old, new, words, tmp_path):
    text = DOCKERFILE.read_text()
    assert old in text
    changed = tmp_path / "Dockerfile"
    # Nothing is fetched for it: what it would install is of no matter to how it describes itself.
    quick = re.sub(r"^RUN apt-get update .*?(?=groupadd)", "RUN ", text.replace(old, new, 1), flags=re.S | re.M)
    changed.write_text(quick)
    done = tried(archive, work, changed)
    skip_if_told(done)
    assert done.returncode == 1 and words in done.stderr, done.stdout + done.stderr


def test_a_release_that_was_damaged_makes_no_image(archive, work, tmp_path):
    damaged = tmp_path / archive.name
    damaged.write_bytes(archive.read_bytes()[:-1] + b"x")
    (tmp_path / f"{archive.name}.sha256").write_text((archive.parent / f"{archive.name}.sha256").read_text())
    with tarfile.open(archive) as sound:
        assert sound.next() is not None
    done = tried(damaged, work)
    skip_if_told(done)
    assert done.returncode == 1 and "does not build" in done.stderr
