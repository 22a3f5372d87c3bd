"""The system calls that a unit's filter lets through, and those that a traced program made."""

import re
import shutil
import subprocess


def groups():
    """Every group of `systemd-analyze syscall-filter`, as it lists them."""
    listed, name = {}, None
    for line in subprocess.run(["systemd-analyze", "syscall-filter", "--no-pager"], capture_output=True, text=True, check=True).stdout.splitlines():
        entry = line.strip()
        if re.match(r"^@", line):
            name = entry
            listed[name] = set()
        elif entry and not entry.startswith("#") and name:
            listed[name].add(entry)
    return listed


def allowed(filters):
    """System calls of the groups and names in a `SystemCallFilter=` that allows."""
    listed, found, todo = groups(), set(), list(filters)
    while todo:
        entry = todo.pop()
        if entry.startswith("@"):
            todo += listed.pop(entry, ())
        else:
            found.add(entry)
    return found


def tracer(trace):
    """The start of a command whose system calls go to `trace`; the command itself keeps its process id. None without strace."""
    return ["strace", "-D", "-f", "-qq", "-e", "signal=none", "-o", str(trace)] if shutil.which("strace") else None


def made(trace, program):
    """Names of the calls after `program` was started, of all its processes and threads."""
    lines = trace.read_text(errors="replace").splitlines()
    start = next(n for n, line in enumerate(lines) if "execve(" in line and program in line)
    return set(re.findall(r"^\d+ +(?:<\.\.\. )?([a-z0-9_]+)(?:\(| resumed>)", "\n".join(lines[start + 1 :]), re.M))
