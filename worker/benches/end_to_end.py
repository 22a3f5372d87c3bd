"""End to end: announcements of 16-bit 2000 x 2000 PNG files in, JSON documents stored, images per second.

Against Nightread's service and `nightread process` stand plain Python workers on the same broker, one single-threaded
process for each core, with PyTorch and with OpenVINO. All services run all the time and idle while they are not asked;
each round asks every one for the same images, in another order each time. The clock runs from the first announcement
until the last document is in its folder; `nightread process` tells its own time.
"""

import argparse
import json
import os
import resource
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pika
from measuring import BINARY, ROOT, machine, processor_seconds, quartiles, table
from skimage.io import imread
from skimage.transform import resize

PARTS = ROOT / "target" / "release" / "parts"
PATIENCE = 600.0
DISTINCT = 4


def images(source: Path, folder: Path, count: int) -> list[Path]:
    """2000 x 2000 16-bit PNGs that pack like radiographs: a real one enlarged, with a 12-bit detector's own noise.

    Only a few differ: nobody keeps what was read before, and packing them takes longer than reading.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number:03}.png" for number in range(count)]
    missing = [number for number, path in enumerate(paths) if not path.exists()]
    if missing:
        pixels = resize(imread(source).astype(np.float64), (2000, 2000), preserve_range=True) / 16
    for number in missing:
        if number >= DISTINCT:
            os.link(paths[number % DISTINCT], paths[number])
            continue
        noisy = np.round(pixels + np.random.default_rng(number).normal(0, 4, pixels.shape)).clip(0, 4095)
        part = paths[number].with_suffix(".part.png")
        iio.imwrite(part, (noisy.astype(np.uint32) * 65535 // 4095).astype(np.uint16))
        part.rename(paths[number])
    return paths


def wait(what: str, condition: Callable[[], bool]) -> None:
    """Until it holds; SystemExit after ten minutes."""
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            raise SystemExit(f"gave up waiting for {what}")
        time.sleep(0.02)


def documents(folder: Path) -> int:
    """Finished documents anywhere below."""
    return sum(name.endswith(".json") and not name.startswith(".") for _, _, names in os.walk(folder) for name in names)


class Service:
    """Processes that read from a queue of their own, and where their results go."""

    def __init__(self, name: str, url: str, folder: Path) -> None:
        self.name, self.url, self.folder = name, url, folder
        self.processes: list[subprocess.Popen[str]] = []
        self.rates: list[float] = []
        self.costs: list[float] = []
        for part in ("incoming", "results"):
            (folder / part).mkdir(parents=True)

    def announce(self, names: list[str]) -> None:
        """One message for each."""
        raise NotImplementedError

    def round(self, files: list[Path], number: int) -> None:
        """New names for the images, so that no result is there yet; then the clock."""
        names = [f"{number}-{path.name}" for path in files]
        for path, name in zip(files, names, strict=True):
            os.link(path, self.folder / "incoming" / name)
        before = documents(self.folder / "results")
        used = sum(processor_seconds(process.pid) for process in self.processes)
        began = time.perf_counter()
        self.announce(names)
        wait(f"{self.name} to read", lambda: documents(self.folder / "results") >= before + len(names))
        seconds = time.perf_counter() - began
        # A thread that ended meanwhile would take its time with it: the pools are fixed, none does.
        used = sum(processor_seconds(process.pid) for process in self.processes) - used
        self.rates.append(len(names) / seconds)
        self.costs.append(1e3 * used / len(names))
        for name in names:
            (self.folder / "incoming" / name).unlink()

    def publish(self, exchange: str, key: str, bodies: list[str]) -> None:
        """Over a connection of its own, confirmed: a quorum queue may lose what was sent just before a channel closes."""
        connection = pika.BlockingConnection(pika.URLParameters(self.url))
        channel = connection.channel()
        channel.confirm_delivery()
        for body in bodies:
            channel.basic_publish(exchange, key, body.encode(), pika.BasicProperties(delivery_mode=2))
        connection.close()

    def end(self) -> None:
        """Ends its processes."""
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.wait(60)


class Nightread(Service):
    """`nightread run`."""

    def __init__(self, precision: str, url: str, folder: Path) -> None:
        super().__init__(f"Nightread service, {precision.upper()}", url, folder)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        environment = os.environ | {
            "NIGHTREAD_BROKER_URL": url,
            "NIGHTREAD_MODELS_DIR": str(ROOT / "models"),
            "NIGHTREAD_MODELS_PRECISION": precision,
            "NIGHTREAD_STORAGE_KIND": "folder",
            "NIGHTREAD_STORAGE_FOLDER": str(folder),
            "NIGHTREAD_HTTP_LISTEN": f"127.0.0.1:{port}",
        }
        subprocess.run([BINARY, "topology"], env=environment, check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
        log = (folder / "log").open("w")
        self.processes = [
            subprocess.Popen([BINARY, "run"], env=environment, cwd=ROOT, stdout=log, stderr=log, text=True)
        ]

        def ready() -> bool:
            if self.processes[0].poll() is not None:
                raise SystemExit(f"{self.name} ended: {(folder / 'log').read_text()[-2000:]}")
            try:
                return urllib.request.urlopen(f"http://127.0.0.1:{port}/ready", timeout=5).status == 200
            except OSError:
                return False

        wait(f"{self.name} to be ready", ready)

    def announce(self, names: list[str]) -> None:
        """In the native form."""
        self.publish("nightread", "job.ingest", [json.dumps({"blob": f"incoming/{name}"}) for name in names])


class Python(Service):
    """`python_worker.py`, one for each core."""

    QUEUE = "images"

    def __init__(self, kind: str, url: str, folder: Path) -> None:
        name = {"torch": "PyTorch", "openvino": "OpenVINO"}[kind]
        super().__init__(f"Python workers, TorchXRayVision + {name}, FP32", url, folder)
        connection = pika.BlockingConnection(pika.URLParameters(url))
        connection.channel().queue_declare(self.QUEUE, durable=True)
        connection.close()
        threads = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
        command = [sys.executable, Path(__file__).with_name("python_worker.py"), kind, url, self.QUEUE]
        self.processes = [
            subprocess.Popen(
                [*map(str, command), folder / "incoming", folder / "results"],
                env=os.environ | threads, stdout=subprocess.PIPE, text=True, cwd=ROOT,
            )
            for _ in os.sched_getaffinity(0)
        ]  # fmt: skip
        for process in self.processes:
            assert process.stdout is not None
            if not process.stdout.readline():
                raise SystemExit(f"{self.name} ended before it was ready")

    def announce(self, names: list[str]) -> None:
        """The name alone."""
        self.publish("", self.QUEUE, names)


class Process:
    """`nightread process` on the folder of images, started anew each time."""

    def __init__(self, precision: str, folder: Path) -> None:
        self.name, self.precision, self.folder = f"nightread process, {precision.upper()}", precision, folder
        self.rates: list[float] = []
        self.costs: list[float] = []

    def round(self, files: list[Path], number: int) -> None:
        """Its own seconds, which hold the loading of the model."""
        out = self.folder / str(number)
        command = [BINARY, "process", "--format", "json", "--models", ROOT / "models", "--out", out, *files]
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        environment = os.environ | {"NIGHTREAD_MODELS_PRECISION": self.precision}
        ran = subprocess.run(command, env=environment, cwd=ROOT, stdout=subprocess.PIPE, check=True)
        now = resource.getrusage(resource.RUSAGE_CHILDREN)
        used_seconds = now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime
        self.rates.append(len(files) / json.loads(ran.stdout)["summary"]["seconds"])
        self.costs.append(1e3 * used_seconds / len(files))
        shutil.rmtree(out)

    def end(self) -> None:
        """Nothing runs on."""


def main() -> None:
    """Starts everything, runs the rounds, prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for images and results")
    parser.add_argument("--data", type=Path, required=True, help="folder with xray/png16")
    parser.add_argument("--images", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    source = options.data / "xray" / "png16" / "RG1_UNCR_MONO2_fullrange_16bit.png"
    if not source.exists():
        raise SystemExit(f"SKIPPED: end to end: no {source}")
    work = options.work.resolve()
    files = images(source, work / "images", options.images)
    shutil.rmtree(work / "services", ignore_errors=True)
    # Node.js handles faults of its own: nothing is hidden from the servers, which do not count.
    shown = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    broker = subprocess.Popen([PARTS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=shown)
    contenders: list[Service | Process] = []
    try:
        assert broker.stdout is not None
        line = broker.stdout.readline()
        if not line:
            raise SystemExit("SKIPPED: end to end: RabbitMQ or Azurite is missing")
        url = line.split("'")[1]
        for number, kind in enumerate(("torch", "openvino")):
            contenders.append(Python(kind, f"{url}/t{number}", work / "services" / kind))
        for number, precision in enumerate(("fp32", "int8"), start=2):
            contenders.append(Nightread(precision, f"{url}/t{number}", work / "services" / precision))
        contenders += [Process(precision, work / "services" / "process") for precision in ("fp32", "int8")]
        size = sum(path.stat().st_size for path in files) / len(files) / 1e6
        print(f"{machine()}\n{len(files)} images of {size:.1f} MB, {options.rounds} rounds, medians (quartiles)")
        generator = np.random.default_rng(0)
        # The first round warms and is thrown away.
        for number in range(options.rounds + 1):
            for index in generator.permutation(len(contenders)):
                contenders[index].round(files, number)
            if number == 0:
                for contender in contenders:
                    contender.rates.clear()
                    contender.costs.clear()
    finally:
        for contender in contenders:
            contender.end()
        broker.stdin.close()
        broker.wait(60)
    torch, openvino = contenders[:2]
    rows = []
    for contender in contenders:
        low, middle, high = quartiles(contender.rates)
        over = [
            f"{quartiles([a / b for a, b in zip(contender.rates, other.rates, strict=True)])[1]:.2f}"
            for other in (torch, openvino)
        ]
        cost = f"{quartiles(contender.costs)[1]:.0f}"
        rows.append([contender.name, f"{middle:.1f} ({low:.1f} to {high:.1f})", *over, cost])
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"load averages at the end {load}\n")
    header = ["", "images a second", "times PyTorch workers", "times OpenVINO workers", "ms of processor an image"]
    print(table(header, rows))


if __name__ == "__main__":
    main()
