"""Runs a program and measures it with everything that it starts: wall time, processor time, peak of memory.

Memory is what is resident, summed over the program and what it started, looked at twenty times a second; of the program
itself the kernel's own peak (VmHWM) counts. What `wait4` tells (`ru_maxrss`) would be no less than this process's own
size, of which the program is a fork. Pages that two processes share are counted for both. A program may be given a
bound: the kernel refuses it more (RLIMIT_DATA), and it is ended when all together pass it.
"""

import os
import resource
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

EVERY_SECONDS = 0.05
MIB = 1 << 20


@dataclass
class Measured:
    """One run."""

    seconds: float
    # Of the program and of those that it waited for.
    processor: float
    mib: float
    # Why there is no result: the last word on standard error, or the bound that was passed.
    ended: str = ""
    printed: str = ""


def status(pid: int) -> dict[str, int]:
    """Numbers of /proc/PID/status; KiB where they have a unit. Nothing of a process that is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return {}
    found = {}
    for line in lines:
        name, _, value = line.partition(":")
        if (first := value.split()[:1]) and first[0].isdigit():
            found[name] = int(first[0])
    return found


def descendants(root: int) -> list[int]:
    """A process and all that descends from it."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            children.setdefault(status(int(entry.name)).get("PPid", 0), []).append(int(entry.name))
    found, waiting = [], [root]
    while waiting:
        pid = waiting.pop()
        found.append(pid)
        waiting += children.get(pid, [])
    return found


class Watch(threading.Thread):
    """Looks at a process and its descendants until they end; ends them when they pass the bound."""

    def __init__(self, pid: int, bound_mib: float) -> None:
        super().__init__(daemon=True)
        self.pid, self.bound, self.mib, self.passed = pid, bound_mib, 0.0, False
        self.done = threading.Event()

    def run(self) -> None:
        """The loop."""
        while not self.done.wait(EVERY_SECONDS):
            rows = [status(pid) for pid in descendants(self.pid)]
            together = sum(row.get("VmRSS", 0) for row in rows)
            self.mib = max(self.mib, together / 1024, rows[0].get("VmHWM", 0) / 1024)
            if self.mib > self.bound and not self.passed:
                self.passed = True
                # Of its own session: nobody else is in the group.
                os.killpg(self.pid, signal.SIGKILL)


def measure(
    command: Sequence[str | Path],
    log: Path,
    *,
    environment: dict[str, str] | None = None,
    bound_gib: float | None = None,
) -> Measured:
    """Runs a program to its end; its standard error goes to `log`."""
    bound = None if bound_gib is None else int(bound_gib * 1024 * MIB)

    def bounded() -> None:
        if bound is not None:
            resource.setrlimit(resource.RLIMIT_DATA, (bound, bound))

    began = time.perf_counter()
    process = subprocess.Popen(
        [str(part) for part in command],
        stdout=subprocess.PIPE,
        stderr=log.open("w"),
        env=os.environ | (environment or {}),
        start_new_session=True,
        preexec_fn=bounded,
    )
    # By now it is the program and no fork of this one any more.
    watch = Watch(process.pid, float("inf") if bound is None else bound / MIB)
    watch.start()
    assert process.stdout is not None
    printed = process.stdout.read().decode()
    _, state, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    watch.done.set()
    watch.join()
    process.returncode = os.waitstatus_to_exitcode(state)
    found = Measured(seconds, usage.ru_utime + usage.ru_stime, watch.mib, printed=printed)
    if watch.passed:
        found.ended = f"passed {bound_gib:g} GiB"
    elif process.returncode:
        found.ended = last_word(log, process.returncode)
    return found


def last_word(log: Path, code: int) -> str:
    """The last line that a program wrote before it failed."""
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return f"ended with {code}: {lines[-1].strip() if lines else 'no word'}"
