"""Runs the notebooks on small inputs, and holds what they find against the documents that the program wrote.

    run.py WORK LABELLED

LABELLED: `yes` reads eight images of the test data with their labels, and a broken one; `no` reads the samples. NIGHTREAD
names the program. Fails with the first cell that fails.
"""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import nibabel as nib

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "models" / part) for part in ("tools", "notebooks")]

import driver
import render_notebooks as notebooks

MAPS = ROOT / "models" / "fmri-networks-demo" / "maps.nii.gz"
LABELLED = 8
SAMPLES = 4
ENGINES = ("PyTorch", "OpenVINO", "Intel Extension for PyTorch")
CELL_SECONDS = 300


def documents(results, precision):
    """Every document of a precision below the folder, read anew."""
    for path in results.rglob("*.json"):
        document = json.loads(path.read_bytes())
        if document.get("schema") == "nightread.result.v2" and document["model"]["precision"] == precision:
            yield document


def run(name, work, inputs):
    """Executes; gives the summary that the notebook wrote, and the folder of its results."""
    environment = {
        "NOTEBOOK_OUT": str(work / "out"), "BENCH_IMAGES": "4", "BENCH_BATCHES": "4",
        # The suite knows no PyTorch, also where an environment of the benches lies about.
        "BENCH_ENVIRONMENTS": str(work / "no environments"),
        # Measuring how to split the cores takes longer than all the rest.
        "NIGHTREAD_ENGINE_SESSIONS": "1", "NIGHTREAD_ENGINE_INTRA_THREADS": "1", "NIGHTREAD_ENGINE_DECODE_THREADS": "1",
    }  # fmt: skip
    notebook = notebooks.execute(name, environment | inputs, CELL_SECONDS)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    told = "".join(output.get("text", "") for output in outputs)
    complaints = [output["text"] for output in outputs if output.get("name") == "stderr"]
    assert not complaints, complaints
    for engine in ENGINES:
        assert f"{engine}: not installed here" in told, told
    figures = sum("image/png" in output.get("data", {}) for output in outputs)
    out = work / "out" / name
    summary = json.loads((out / "summary.json").read_text())
    print(f"{name}: {figures} figures, {summary}")
    assert summary["engines"] == [], summary
    return summary, out / "results", figures


def chest_x_rays(work, labelled):
    """Findings, failures and flips are those of the documents."""
    inputs = {}
    if labelled:
        inputs = notebooks.labelled(LABELLED, work / "xrays")
        (Path(inputs["XRAYS"]) / "cut.jpeg").write_bytes(b"\xff\xd8\xff\xe0 cut")
    summary, results, figures = run("chest-x-rays", work, inputs)
    fp32 = {document["study"]["name"]: document for document in documents(results, "fp32")}
    int8 = {document["study"]["name"]: document for document in documents(results, "int8")}
    findings = {
        precision: {
            (name, finding["label"]): finding["positive"]
            for name, document in read.items()
            for finding in document.get("findings") or []
        }
        for precision, read in (("fp32", fp32), ("int8", int8))
    }
    assert summary["studies"] == len(fp32) == (LABELLED + 1 if labelled else SAMPLES), summary
    assert summary["failed"] == sum(document["status"] == "failed" for document in fp32.values()) == int(labelled)
    assert summary["findings"] == len(findings["fp32"]) == summary["studies"] - summary["failed"], summary
    assert summary["positive"] == sum(findings["fp32"].values()) > 0, summary
    assert summary["compared with INT8"] == len(findings["int8"]), summary
    assert summary["flips"] == sum(findings["int8"][key] != value for key, value in findings["fp32"].items()), summary
    assert summary["judged"] is labelled and figures == 3, summary


def brain_networks(work):
    """Components, and which of them are named as they were made, are those of the documents."""
    scan = work / "simulated.nii.gz"
    command = [os.environ["NIGHTREAD"], "simulate-scan", "--networks", MAPS, "--seed", "3", "--out", scan]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    summary, results, figures = run("brain-networks", work, {"SCAN": str(scan)})
    origin = json.loads(MAPS.with_name("maps.labels.json").read_text())["components"]
    labels = {}
    for precision in ("fp32", "int8"):
        (document,) = documents(results, precision)
        labels[precision] = [component["label"] for component in document["components"]]
    right = {
        precision.upper(): sum(a == b for a, b in zip(named, origin, strict=True) if b is not None)
        for precision, named in labels.items()
    }
    assert summary["components"] == nib.load(MAPS).shape[3] == len(labels["fp32"]), summary
    assert summary["of networks"] == len(origin) - Counter(labels["fp32"])["NOISE"], summary
    assert summary["volumes"] == nib.load(scan).shape[3], summary
    assert summary["changed"] == sum(a != b for a, b in zip(labels["fp32"], labels["int8"], strict=True)), summary
    assert summary["known"] == sum(name is not None for name in origin), summary
    assert summary["right"] == right and min(right.values()) >= 18, (summary, right)
    assert figures == 4, figures


def an_old_table_is_never_read(work):
    """Where the program cannot read, its own words are raised, and the table of an earlier run is gone."""
    table, scan = work / "old.parquet", work / "simulated.nii.gz"
    table.write_bytes(b"of another run")
    command = ["process", scan, "--out", work / "nowhere", "--table", table]
    try:
        driver.nightread(*command, makes=table, NIGHTREAD_MODELS_RUNTIME=str(work / "no library"))
    except RuntimeError as error:
        assert "no library" in str(error) and not table.exists(), error
    else:
        raise AssertionError("the table of an earlier run was taken for a new one")


def main():
    work, labelled = Path(sys.argv[1]).resolve(), sys.argv[2] == "yes"
    chest_x_rays(work, labelled)
    brain_networks(work)
    an_old_table_is_never_read(work)


if __name__ == "__main__":
    main()
