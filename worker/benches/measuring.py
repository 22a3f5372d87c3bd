"""What both comparisons share: the machine in words, processes that measure on demand, medians with their spread."""

import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
BINARY = ROOT / "target" / "release" / "nightread"
FETCH_RUNTIME = ROOT / "worker" / "tools" / "fetch-runtime"
# Long enough for the threads of the one before to stop spinning.
PAUSE = 0.05


def machine() -> str:
    """Processor, what of its instructions matters here and is not hidden, cores, load, versions of what runs."""
    facts: dict[str, str] = {}
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        facts.setdefault(name.strip(), value.strip())
    wanted = ("avx2", "avx512f", "avx_vnni", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16")
    flags = [flag for flag in wanted if flag in facts.get("flags", "").split()]
    if "avx2_only" in os.environ.get("LD_PRELOAD", ""):
        flags = [*flags[:1], "(anything newer hidden from all)"]
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    family = f"family {facts.get('cpu family')} model {facts.get('model')}"
    name = f"{facts.get('model name', 'unknown processor')} ({family})"
    return f"{name}, {os.cpu_count()} cores, {' '.join(flags) or 'no AVX2'}; load averages {load}\n{versions()}"


def versions() -> str:
    """Of Nightread, of the library it loads, and of everything it is compared with."""
    told = subprocess.run([BINARY, "--version"], stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT)
    libraries = [
        Path(subprocess.run([FETCH_RUNTIME, kind], stdout=subprocess.PIPE, text=True, check=True).stdout.strip())
        for kind in ("cpu", "openvino")
    ]
    names = ("torch", "torchvision", "torchxrayvision", "openvino", "numpy", "scikit-image")
    others = [f"{name} {importlib.metadata.version(name)}" for name in names]
    found = f"{told.stdout.strip()} with ONNX Runtime {' and '.join(library.parent.name for library in libraries)}"
    return ", ".join([found, f"Python {platform.python_version()}", *others])


def quartiles(values: list[float]) -> tuple[float, float, float]:
    """Lower quartile, median, upper quartile."""
    if len(values) < 2:
        return values[0], values[0], values[0]
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


def processor_seconds(pid: int) -> float:
    """What all threads of a process have used so far, to the nanosecond where the kernel says so."""
    total = 0
    for task in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        try:
            total += int(task.read_text().split()[0])
        except (OSError, IndexError):
            continue
    return total / 1e9


class Contender:
    """A process that answers each line on its standard input with the milliseconds of one measurement."""

    def __init__(self, name: str, command: list[str | Path], threads: int, log: Path) -> None:
        self.name, self.log = name, log
        self.wall: list[float] = []
        self.processor: list[float] = []
        self.failure = ""
        environment = os.environ | {"OMP_NUM_THREADS": str(threads), "RUST_LOG": "error"}
        # A tuning for other processors' old OpenBLAS has no place here.
        for name_ in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
            environment.pop(name_, None)
        self.process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log.open("w"),
            env=environment,
            text=True,
            cwd=ROOT,
        )
        first = self.answer()
        self.logits = json.loads(first)["logits"] if first else []

    def answer(self) -> str:
        """One line; an empty one, and why in `failure`, when the process is gone."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line and not self.failure:
            code = self.process.wait()
            told = self.log.read_text().strip().splitlines()
            self.failure = f"ended with {code}: {told[-1] if told else 'no word'}"
            print(f"{self.name}: {self.failure}", file=sys.stderr)
        return line

    def measure(self) -> None:
        """One run to warm what the others have cooled, one that counts."""
        if self.failure:
            return
        assert self.process.stdin is not None
        time.sleep(PAUSE)
        for counts in (False, True):
            before = processor_seconds(self.process.pid)
            try:
                self.process.stdin.write("\n")
                self.process.stdin.flush()
            except BrokenPipeError:
                pass
            line = self.answer()
            if not line:
                return
            if counts:
                self.wall.append(float(line))
                self.processor.append((processor_seconds(self.process.pid) - before) * 1e3)

    def close(self) -> None:
        """Ends it by closing its standard input."""
        if self.process.stdin is not None:
            self.process.stdin.close()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()


def table(header: list[str], rows: list[list[Any]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)
