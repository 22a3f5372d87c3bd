"""Documents a second to Parquet: a plain loop (json and pandas) against `table_speed`, and against the binary where one is named.

    python worker/benches/table.py --count 1000000 --work .cache/table --speed target/release/table_speed [--binary target/release/nightread]

The documents are read once beforehand, so that all of them are cached where memory has room. Prints a line of JSON for each.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

LOOP = """
import json, sys, resource, time
from pathlib import Path
import pandas as pd
started = time.perf_counter()
rows = []
for path in Path(sys.argv[1]).rglob("*.json"):
    document = json.loads(path.read_bytes())
    head = {f"{part}_{key}": value for part in ("study", "model", "input", "timing_ms", "error")
            for key, value in (document.get(part) or {}).items()}
    head |= {"status": document["status"], "read_at": document["read_at"],
             "warnings": " ".join(warning["code"] for warning in document["warnings"])}
    for finding in document.get("findings") or [{}]:
        rows.append(head | finding)
pd.DataFrame(rows).to_parquet(sys.argv[2])
usage = resource.getrusage(resource.RUSAGE_SELF)
documents = sum(1 for _ in Path(sys.argv[1]).rglob("*.json"))
seconds = time.perf_counter() - started
print(json.dumps({"documents": documents, "seconds": seconds, "documents_per_second": documents / seconds,
                  "cpu_seconds": usage.ru_utime + usage.ru_stime, "peak_mib": usage.ru_maxrss / 1024}))
"""


def watched(child):
    """The high-water mark of a child's resident memory, in MiB, read while it runs."""
    peak = 0.0
    while child.poll() is None:
        try:
            with open(f"/proc/{child.pid}/status", encoding="ascii") as status:
                for line in status:
                    if line.startswith("VmHWM:"):
                        peak = max(peak, int(line.split()[1]) / 1024)
        except OSError:
            break
        time.sleep(0.05)
    return round(peak, 1)


def timed(name, command):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        peak = watched(child)
        out, err = child.communicate()
    if child.returncode != 0:
        raise SystemExit(f"{name}: {err}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    facts = {"name": name, "peak_mib": peak, "wall_seconds": round(time.perf_counter() - started, 2), "cpu_seconds": round(cpu, 2)}
    try:
        facts |= {"said": json.loads(out)}
    except ValueError:
        facts |= {"said": err.strip()}
    print(json.dumps(facts), flush=True)
    return facts


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--loop-count", type=int, default=50_000, help="the plain loop holds all rows in memory")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--speed", required=True)
    parser.add_argument("--binary")
    asked = parser.parse_args()
    many, some = asked.work / f"documents-{asked.count}", asked.work / f"documents-{asked.loop_count}"
    for folder, count in ((many, asked.count), (some, asked.loop_count)):
        if not folder.exists():
            subprocess.run([asked.speed, "make", str(count), folder], check=True)
    for path in many.rglob("*.json"):
        with open(path, "rb") as file:
            file.read()
    cores = str(len(os.sched_getaffinity(0)))
    for threads in sorted({"1", cores}):
        timed(f"long, {threads} threads", [asked.speed, "read", many, asked.work / "long.parquet", threads])
    timed(f"wide, {cores} threads", [asked.speed, "read", many, asked.work / "wide.parquet", cores, "wide"])
    if asked.binary:
        for form in ("--long", "--wide"):
            out = asked.work / "binary.parquet"
            facts = timed(f"nightread results table {form}", [asked.binary, "results", "table", many, form, "--out", out])
            rate = asked.count / facts["cpu_seconds"]
            print(json.dumps({"documents_per_cpu_second": round(rate), "peak_mib": facts["peak_mib"]}))
    ours = timed("long, same documents as the loop", [asked.speed, "read", some, asked.work / "some.parquet", "1"])
    loop = timed("json and pandas", [sys.executable, "-c", LOOP, some, asked.work / "loop.parquet"])
    print(json.dumps({"ratio_of_processor_time": round(loop["cpu_seconds"] / ours["cpu_seconds"], 1)}))


if __name__ == "__main__":
    main()
