"""Runs a program and measures it with everything that it starts: wall time, processor time, peak of memory.

Memory is the kernel's own peak of the program (VmHWM), or what it and all that it started hold together where that is
more, looked at ten times a second: of pages that several processes share each has its part (Pss). What `wait4` tells
(`ru_maxrss`) would be no less than this process's own size, of which the program is a fork. A program may be given a
bound: the kernel refuses it more (RLIMIT_DATA), and it is ended when all together pass it.
"""

import contextlib
import os
import resource
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

EVERY_SECONDS = 0.1
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


def share_kib(pid: int) -> int:
    """What a process holds, of shared pages its part; 0 of one that is gone."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)


def descendants(root: int) -> list[int]:
    """A process and all that descends from it, the process first."""
    found, waiting = [], [root]
    while waiting:
        pid = waiting.pop()
        found.append(pid)
        # Each thread has children of its own; threads and processes may go meanwhile.
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                waiting += map(int, children.read_text().split())
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
            pids = descendants(self.pid)
            together = sum(map(share_kib, pids)) if len(pids) > 1 else 0
            self.mib = max(self.mib, together / 1024, status(self.pid).get("VmHWM", 0) / 1024)
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
