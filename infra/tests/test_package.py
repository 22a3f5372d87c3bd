"""The packaging scripts, tried with a program of this machine in place of the worker; `make package-test` tries the worker itself."""

import gzip
import hashlib
import json
import runpy
import os
import re
import shutil
import subprocess
import tarfile

import pytest

import fleet
from broker import BINARY

PACKAGE = fleet.INFRA / "package"
pytestmark = pytest.mark.skipif(shutil.which("readelf") is None, reason="SKIPPED: packaging: readelf (binutils) is not installed")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """What a release is made of: a program, a library with its licence, one model with weights and one without."""
    folder = tmp_path_factory.mktemp("inputs")
    (folder / "runtime").mkdir()
    library = subprocess.run(["sh", "-c", "ldconfig -p | grep -m1 'libz.so.1 ' | sed 's/.*=> //'"], capture_output=True, text=True, check=True).stdout.strip()
    shutil.copy(library, folder / "runtime/libonnxruntime.so.1.0.0")
    (folder / "runtime/LICENSE").write_text("licence\n")
    for name, weights in (("good", True), ("bare", False)):
        model = folder / "models" / name
        model.mkdir(parents=True)
        (model / "manifest.toml").write_text(f'name = "{name}"\nversion = "1.0.0"\n[weights.fp32]\nfile = "model.fp32.onnx"\ndata = [{{ file = "more.bin" }}]\n')
        (model / "other.onnx").write_bytes(b"not named")
        (model / "train.py").write_text("pass\n")
        if weights:
            (model / "model.fp32.onnx").write_bytes(b"weights")
            (model / "more.bin").write_bytes(b"more weights")
    return ["--binary", "/bin/true", "--runtime", str(folder / "runtime"), "--models", str(folder / "models"), "--version", "1.2.3"]


def run(*command, **options):
    return subprocess.run([str(c) for c in command], capture_output=True, text=True, check=False, **options)


@pytest.fixture(scope="module", autouse=True)
def crates(tmp_path_factory):
    """Cargo is asked once, because it waits for every other cargo on the machine; without cargo the lock file is read."""
    if shutil.which("cargo") is None:
        yield
        return
    saved = tmp_path_factory.mktemp("cargo") / "metadata.json"
    command = ["cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", "x86_64-unknown-linux-gnu"]
    saved.write_bytes(subprocess.run(command, cwd=fleet.INFRA.parent, check=True, capture_output=True).stdout)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NIGHTREAD_CARGO_METADATA", str(saved))
        yield


@pytest.fixture(scope="module")
def archive(inputs, tmp_path_factory):
    out = tmp_path_factory.mktemp("dist")
    done = run(PACKAGE / "build-archive", *inputs, "--out", out)
    assert done.returncode == 0, done.stderr
    [made] = out.glob("*.tar.gz")
    return made


def test_the_archive_is_the_same_for_the_same_inputs(inputs, archive, tmp_path):
    assert run(PACKAGE / "build-archive", *inputs, "--out", tmp_path).returncode == 0
    assert (tmp_path / archive.name).read_bytes() == archive.read_bytes()
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    assert (archive.parent / f"{archive.name}.sha256").read_text() == f"{digest}  {archive.name}\n"


def test_the_archive_holds_what_runs_and_no_scripts_of_training(archive):
    with tarfile.open(archive) as tar:
        members = {m.name.split("/", 1)[1]: m for m in tar.getmembers() if "/" in m.name}
    assert {"bin/nightread", "lib/libonnxruntime.so.1.0.0", "share/nightread/models/good/model.fp32.onnx", "share/nightread/models/good/more.bin", "install", "SHA256SUMS", "sbom.cdx.json", "systemd/nightread.service"} <= members.keys()
    assert not any(name.endswith(".py") or "/bare/" in name or "other" in name for name in members)
    assert all(m.uid == m.gid == 0 and not m.mode & 0o022 for m in members.values())


def test_the_bill_of_materials_names_crates_libraries_and_models(archive):
    bill = json.loads((archive.parent / archive.name.replace(".tar.gz", ".sbom.cdx.json")).read_text())
    kinds = {c["type"] for c in bill["components"]}
    names = {c["name"] for c in bill["components"]}
    assert bill["bomFormat"] == "CycloneDX" and kinds == {"library", "machine-learning-model"}
    assert {"tokio", "libonnxruntime.so.1.0.0", "good/model.fp32.onnx"} <= names
    purls = {c["name"]: c.get("purl") for c in bill["components"]}
    assert purls["libonnxruntime.so.1.0.0"] == "pkg:pypi/onnxruntime@1.0.0"
    models = {c["name"]: c["hashes"] for c in bill["components"] if c["type"] == "machine-learning-model"}
    digest = {name: [{"alg": "SHA-256", "content": hashlib.sha256(content).hexdigest()}] for name, content in (("model.fp32.onnx", b"weights"), ("more.bin", b"more weights"))}
    assert models == {f"good/{name}": hashes for name, hashes in digest.items()}


def test_openvino_is_named_as_advisories_name_it():
    module = runpy.run_path(str(PACKAGE / "sbom"))
    names = {"libonnxruntime.so.1.24.1", "libonnxruntime_providers_openvino.so", "libopenvino.so.2541", "libopenvino_intel_cpu_plugin.so", "libtbb.so.12"}
    purls = {name: module["upstream"](name, names).get("purl") for name in names}
    assert {purls[name] for name in names if "onnxruntime" in name} == {"pkg:pypi/onnxruntime-openvino@1.24.1"}
    assert {purls[name] for name in names if "libopenvino" in name} == {"pkg:github/openvinotoolkit/openvino@2025.4.1"}
    assert purls["libtbb.so.12"] is None, "its name tells no version"


def test_the_bill_of_materials_is_cyclonedx(archive):
    """Held to the published schema, by the library that comes with checkov."""
    validation = pytest.importorskip("cyclonedx.validation.json", reason="SKIPPED: schema of the bill of materials: cyclonedx-python-lib is not installed")
    from cyclonedx.schema import SchemaVersion

    text = (archive.parent / archive.name.replace(".tar.gz", ".sbom.cdx.json")).read_text()
    validator = validation.JsonStrictValidator(SchemaVersion.V1_5)
    assert validator.validate_str(text) is None
    assert validator.validate_str(text.replace('"type": "library"', '"type": "thing"')) is not None


def unpack(archive, folder):
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    [top] = folder.iterdir()
    return top


def test_it_installs_into_another_root_beside_earlier_releases(archive, tmp_path):
    top, root = unpack(archive, tmp_path / "unpacked"), tmp_path / "root"
    for _ in range(2):
        done = run(top / "install", "--root", root)
        assert done.returncode == 0, done.stderr
    (top / "VERSION").write_text("1.2.4\n")
    sums = [line for line in (top / "SHA256SUMS").read_text().splitlines() if not line.endswith("./VERSION")]
    sums.append(hashlib.sha256(b"1.2.4\n").hexdigest() + "  ./VERSION")
    (top / "SHA256SUMS").write_text("\n".join(sums) + "\n")
    (root / "etc/nightread/worker.toml").write_text("# mine\n")
    assert run(top / "install", "--root", root).returncode == 0
    assert {p.name for p in (root / "opt/nightread/releases").iterdir()} == {"1.2.3", "1.2.4"}
    assert os.readlink(root / "opt/nightread/current") == "releases/1.2.4"
    assert (root / "etc/nightread/worker.toml").read_text() == "# mine\n", "settings are the operator's"
    assert (root / "etc/passwd").read_text().count("nightread") == 1
    unit = (root / "etc/systemd/system/nightread.service").read_text()
    assert "ExecStart=/opt/nightread/current/bin/nightread run " in unit and "@" not in re.sub(r"@system-service|OnCalendar.*", "", unit)


def test_a_damaged_archive_is_not_installed(archive, tmp_path):
    top = unpack(archive, tmp_path / "unpacked")
    (top / "share/nightread/models/good/model.fp32.onnx").write_bytes(b"other weights")
    assert run(top / "install", "--root", tmp_path / "root").returncode != 0
    assert not (tmp_path / "root/opt").exists()


def test_a_program_that_wants_a_newer_glibc_is_refused(inputs, tmp_path):
    assert run(PACKAGE / "check-glibc", "/bin/true").returncode == 0
    old = {**os.environ, "MAX_GLIBC": "2.2"}
    done = run(PACKAGE / "check-glibc", "/bin/true", env=old)
    assert done.returncode == 1 and "newer than 2.2" in done.stderr
    for build in ("build-archive", "build-deb"):
        assert run(PACKAGE / build, *inputs, "--out", tmp_path, env=old).returncode != 0
    assert not list(tmp_path.iterdir())
    assert run(PACKAGE / "check-glibc", PACKAGE / "install").returncode == 1, "not a program at all"


@pytest.mark.parametrize(("option", "value"), [("--version", "one"), ("--runtime", "/nowhere"), ("--models", "/nowhere"), ("--binary", "/nowhere")])
def test_wrong_inputs_are_refused(inputs, option, value, tmp_path):
    wrong = list(inputs)
    wrong[wrong.index(option) + 1] = value
    assert run(PACKAGE / "build-archive", *wrong, "--out", tmp_path).returncode != 0


def test_the_debian_package(inputs, tmp_path):
    if shutil.which("dpkg-deb") is None:
        pytest.skip("SKIPPED: Debian package: dpkg-deb is not installed")
    done = run(PACKAGE / "build-deb", *inputs, "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    [package] = tmp_path.glob("*.deb")
    fields = run("dpkg-deb", "--field", package, "Package", "Version", "Depends").stdout
    libraries = run(PACKAGE / "check-glibc", "/bin/true", inputs[inputs.index("--runtime") + 1] + "/libonnxruntime.so.1.0.0").stdout.split()
    assert "Package: nightread" in fields and "Version: 1.2.3" in fields and f"libc6 (>= {libraries[1]})" in fields
    run("dpkg-deb", "--raw-extract", package, tmp_path / "tree")
    tree = tmp_path / "tree"
    assert os.readlink(tree / "usr/bin/nightread") == "../lib/nightread/bin/nightread"
    assert "ExecStart=/usr/lib/nightread/bin/nightread run " in (tree / "usr/lib/systemd/system/nightread.service").read_text()
    assert (tree / "DEBIAN/conffiles").read_text() == "/etc/nightread/worker.toml\n"
    for name in ("man/man1", "bash-completion/completions/nightread", "zsh/vendor-completions/_nightread", "fish/vendor_completions.d/nightread.fish"):
        assert (tree / "usr/share" / name).exists(), name
    assert all(line.split()[1] == "root/root" for line in run("dpkg-deb", "--contents", package).stdout.splitlines())


def test_a_release_has_manual_pages_and_completions(inputs, tmp_path):
    if not BINARY.exists():
        pytest.skip(f"SKIPPED: manual pages: {BINARY} is not built")
    real = [str(BINARY) if value == "/bin/true" else value for value in inputs]
    done = run(PACKAGE / "stage", *real, "--prefix", "/opt/nightread/current", "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    pages = {page.name: gzip.decompress(page.read_bytes()).decode() for page in (tmp_path / "share/man/man1").iterdir()}
    assert {"nightread.1.gz", "nightread-process.1.gz", "nightread-dead-list.1.gz"} <= pages.keys()
    assert all("medical device" in page for page in pages.values())
    for script in ("bash-completion/completions/nightread", "zsh/vendor-completions/_nightread", "fish/vendor_completions.d/nightread.fish"):
        assert "announce" in (tmp_path / "share" / script).read_text(), script
