"""What both notebooks share: running the program, finding files of a result, measuring engines."""

import importlib.metadata
import json
import os
import subprocess
import sys
from pathlib import Path
from shutil import which
from typing import Any

import pandas as pd

ROOT = Path(__file__).resolve().parents[2]
INFERENCE = ROOT / "worker" / "benches" / "inference.py"
TIME_MODEL = ROOT / "target" / "release" / "time_model"
# What `make bench` installs, and the environment that each is in.
ENGINES = {
    "PyTorch": ("venv-bench", "torch"),
    "OpenVINO": ("venv-bench", "openvino"),
    "Intel Extension for PyTorch": ("venv-bench-ipex", "intel_extension_for_pytorch"),
}
COLUMNS = ["engine", "ms", "low", "high", "times as fast as PyTorch"]


def binary() -> Path:
    """The program: `NIGHTREAD`, else this checkout's release build, else the one in PATH.

    Raises FileNotFoundError where there is none.
    """
    named, built, found = os.environ.get("NIGHTREAD"), ROOT / "target" / "release" / "nightread", which("nightread")
    if named:
        return Path(named).resolve()
    if built.exists():
        return built
    if found:
        return Path(found)
    raise FileNotFoundError("no nightread: run `make build`, or name the program in NIGHTREAD")


def nightread(*arguments: str | Path, makes: Path | None = None, quiet: bool = False, **environment: str) -> str:
    """Runs the program and gives its standard output; shows the command, and what it tells unless `quiet`.

    Exit status 1 says that some inputs have no good result, or that a limit was passed: what it tells is shown. Raises
    RuntimeError with the program's own words for wrong use, where it ends otherwise, where it does not write `makes`
    (an older file goes first), and where a quiet one tells nothing.
    """
    words = [str(word) for word in arguments]
    print("$", *(f"{name}={value}" for name, value in environment.items()), "nightread", *map(short, words))
    if makes:
        makes.unlink(missing_ok=True)
    variables = os.environ | {"ORT_DISABLE_TELEMETRY": "1"} | environment
    ran = subprocess.run([binary(), *words], capture_output=True, text=True, cwd=ROOT, env=variables)
    if ran.returncode not in (0, 1) or (makes and not makes.exists()) or (quiet and not ran.stdout):
        raise RuntimeError(f"nightread ended with {ran.returncode}: {ran.stderr.strip() or ran.stdout.strip()}")
    if not quiet:
        print(short(ran.stdout + ran.stderr).strip())
    elif ran.returncode:
        print(short(ran.stderr).strip())
    return ran.stdout


def short(text: str) -> str:
    """Without the path of the checkout."""
    return text.replace(f"{ROOT}/", "")


def needed(path: str | Path, made_by: str) -> Path:
    """The whole path. Raises FileNotFoundError that says what makes it where it is not there."""
    whole = Path(path).resolve()
    if not whole.exists():
        raise FileNotFoundError(f"{whole} is not there: {made_by}")
    return whole


def listed(table: pd.DataFrame, results: Path, file: Path) -> str:
    """Writes the documents of a table's studies to `file`, and gives the word by which commands take the list."""
    documents = table["document_path"].drop_duplicates()
    file.write_text("".join(f"{results / path}\n" for path in documents))
    return f"@{file}"


def artefacts(study: pd.Series, results: Path) -> pd.DataFrame:
    """Files beside a study's document: `kind`, `media_type`, `path` (whole)."""
    found = pd.DataFrame(json.loads(study["artefacts"]))
    found["path"] = [results / path for path in found["path"]]
    return found


def warnings(table: pd.DataFrame) -> pd.DataFrame:
    """How many studies have which warning, and its words in one of them."""
    studies = table.drop_duplicates("document_path")
    found = [warning for text in studies["warnings"].dropna() for warning in json.loads(text)]
    if not found:
        return pd.DataFrame(columns=["studies", "message"])
    return pd.DataFrame(found).groupby("code")["message"].agg(studies="size", message="first")


def bench(model: str, count: int) -> pd.DataFrame:
    """`nightread bench --bulk` of both precisions: studies a second, and milliseconds of processor time for each."""
    rows = {}
    for precision in ("fp32", "int8"):
        command = ["bench", "--bulk", str(count), "--model", model, "--precision", precision, "--format", "json"]
        told = json.loads(nightread(*command, quiet=True))
        bulk = told["bulk"]
        rows[f"Nightread, {precision.upper()}"] = {
            "a second": bulk["per_second"],
            "processor ms, inference": bulk["inference_cpu_ms"],
            "processor ms, decoding": bulk["decode_cpu_ms"],
            "sessions": bulk["sessions"],
            "what": told["what"],
        }
    machine = told["machine"]
    print(f"{machine['processor']}, {machine['cores']} cores, {' '.join(machine['instructions'])}")
    return pd.DataFrame(rows).T


def environments() -> Path:
    """Where the engines' environments lie: `BENCH_ENVIRONMENTS`, else where `make bench` makes them."""
    return Path(os.environ.get("BENCH_ENVIRONMENTS", ROOT / ".cache"))


def has(environment: str, module: str) -> bool:
    """Whether the environment is there and has the module; nothing is imported."""
    python = environments() / environment / "bin" / "python"
    look = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({module!r}) is None)"
    return python.exists() and subprocess.run([python, "-c", look]).returncode == 0


def engines(network: str, turns: int = 3) -> pd.DataFrame:
    """Milliseconds for a batch by every engine that is installed here, by `worker/benches/inference.py`.

    `network` is densenet (one image) or resnet (eight components). Has COLUMNS, and no row where the comparison cannot
    run. What is not installed is said by name. Raises RuntimeError with the comparison's own words when it fails.
    """
    present = {name: has(*where) for name, where in ENGINES.items()}
    present["Nightread's own timer"] = TIME_MODEL.exists()
    for name in (name for name, there in present.items() if not there):
        print(f"{name}: not installed here. `make bench` brings it.")
    if not (present["PyTorch"] and present["OpenVINO"] and present["Nightread's own timer"]):
        return pd.DataFrame(columns=COLUMNS)
    work = ROOT / ".cache" / "bench"
    told = work / f"{network}.json"
    command: list[str | Path] = [environments() / "venv-bench" / "bin" / "python", INFERENCE, "--work", work]
    command += ["--network", network, "--pairs", str(turns), "--json", told]
    command += ["--ipex-python", environments() / "venv-bench-ipex" / "bin" / "python"]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    if ran.returncode:
        raise RuntimeError(f"{short(str(INFERENCE))} ended with {ran.returncode}: {ran.stderr.strip()}")
    rows = [row for row in json.loads(told.read_text()) if row["threads"] == 1]
    for row in rows:
        if row["ms"] is None:
            print(f"{row['engine']}: failed; its log lies in {short(str(work / network))}")
    rows = [row for row in rows if row["ms"] is not None]
    return pd.DataFrame([[row["engine"], row["ms"][1], row["ms"][0], row["ms"][2], row["ratio"]] for row in rows],
                        columns=COLUMNS)  # fmt: skip


def versions() -> str:
    """Of the program and of what draws."""
    told = subprocess.run([binary(), "--version"], capture_output=True, text=True, check=True).stdout.strip()
    parts = [f"{name} {importlib.metadata.version(name)}" for name in ("pandas", "pyarrow", "matplotlib")]
    return ", ".join([told, f"Python {sys.version.split()[0]}", *parts])


def take_away(figures: dict[str, Any], folder: Path) -> pd.Series:
    """Writes `folder/summary.json`, and gives the figures to look at."""
    (folder / "summary.json").write_text(json.dumps(figures, indent=2) + "\n")
    return pd.Series(figures, name="figure")
