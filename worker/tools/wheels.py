"""Downloading one pinned wheel with whatever pip there is. Shared by the fetch scripts; standard library only."""

import hashlib
import importlib.util
import subprocess
import sys
import venv

PYTHON = "3.12"


class Failed(Exception):
    """What went wrong, in words for the person who ran the script."""


def pip_command(scratch):
    """A pip that runs: this Python's own, or one in a venv that goes away with the scratch folder."""
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip"]
    home = scratch / "venv"
    try:
        venv.create(home, with_pip=True)
    except (subprocess.CalledProcessError, OSError) as error:
        raise Failed(f"python3 has neither pip nor a working venv (Debian: python3-venv): {error}") from error
    return [str(home / "bin" / "python"), "-m", "pip"]


def download(requirement, wheel_platform, sha256, into):
    """Download the pinned wheel; pip refuses another digest, and so does the check after it.

    A platform of "any" takes a pure wheel; otherwise the wheel of CPython 3.12 is taken whatever the local Python is.
    """
    wanted = into / "requirements.txt"
    wanted.write_text(f"{requirement} --hash=sha256:{sha256}\n", encoding="utf-8")
    command = pip_command(into) + [
        "download", "--quiet", "--disable-pip-version-check", "--no-input", "--no-deps", "--require-hashes",
        "--only-binary", ":all:", "--dest", str(into), "--requirement", str(wanted),
    ]  # fmt: skip
    if wheel_platform != "any":
        command += [
            "--implementation", "cp", "--python-version", PYTHON, "--abi", "cp" + PYTHON.replace(".", ""),
            "--platform", wheel_platform,
        ]  # fmt: skip
    # pip's own words go to stderr: stdout carries the path alone.
    if subprocess.run(command, stdout=sys.stderr).returncode != 0:
        raise Failed(f"pip could not download {requirement} for {wheel_platform}")
    wheels = list(into.glob("*.whl"))
    if len(wheels) != 1:
        raise Failed(f"expected one wheel of {requirement}, found {len(wheels)}")
    found = hashlib.sha256(wheels[0].read_bytes()).hexdigest()
    if found != sha256:
        raise Failed(f"{wheels[0].name} has sha256 {found}, {sha256} is pinned")
    return wheels[0]
