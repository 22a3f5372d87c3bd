"""Runs the notebooks and writes them as pages of the documentation: Markdown, and a small PNG for each figure.

    render_notebooks.py [--out worker/docs/notebooks] [--labelled 40]

Needs models/notebooks/requirements.txt and a built `nightread`. With `--labelled` the X-rays are so many images of the
test data (NIGHTREAD_TEST_DATA) that the demonstration's training did not see, with labels; without, those of
`make samples`.
"""

import argparse
import csv
import io
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

import nbformat
import PIL.Image
from nbclient import NotebookClient
from nbconvert import MarkdownExporter
from traitlets.config import Config

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = ROOT / "models" / "notebooks"
NAMES = ("chest-x-rays", "brain-networks")
CREDIT = (
    "> The X-rays of this page are {count} images of Kermany D., Zhang K., Goldbaum M., *Labeled Optical Coherence "
    "Tomography (OCT) and Chest X-Ray Images for Classification*, Mendeley Data, "
    "[doi:10.17632/rscbjbr9sj](https://doi.org/10.17632/rscbjbr9sj), CC BY 4.0. Training did not see them."
)
NOTE = (
    "> Made by `models/tools/render_notebooks.py` from `models/notebooks/{name}.ipynb`. `make notebooks` opens it.\n"
    "> Times are of the machine that made the page, which had other work too.\n"
)


def labelled(count: int, folder: Path) -> dict[str, str]:
    """Copies `count` images, half with pneumonia, each of another patient, into `folder`; writes their labels.

    Gives the notebook's environment. Raises FileNotFoundError where the test data is not there.
    """
    sys.path.insert(0, str(ROOT / "models" / "lib"))
    from nightread_models import radiograph

    images = radiograph.halves(radiograph.kermany(radiograph.data_folder(), "val"))[1]
    patients = {image.patient: image for image in images}
    chosen = []
    for positive in (False, True):
        alike = [image for image in patients.values() if image.positive == positive]
        chosen += alike[:: max(1, len(alike) // (count // 2))][: count // 2]
    (folder / "images").mkdir(parents=True)
    with (folder / "truth.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["study", "patient", "Pneumonia"])
        for image in chosen:
            shutil.copy(image.path, folder / "images")
            rows.writerow([image.path.name, image.patient, int(image.positive)])
    return {"XRAYS": str(folder / "images"), "XRAYS_TRUTH": str(folder / "truth.csv")}


def execute(name: str, environment: dict[str, str], timeout_s: int = 1800) -> nbformat.NotebookNode:
    """The notebook with its outputs. Raises nbclient's CellExecutionError for the first cell that fails."""
    notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    client = NotebookClient(notebook, timeout=timeout_s, resources={"metadata": {"path": str(NOTEBOOKS)}})
    client.execute(env=os.environ | environment)
    return notebook


def page(name: str, notebook: nbformat.NotebookNode, note: str, hidden: dict[str, str]) -> tuple[str, dict[str, bytes]]:
    """Markdown of the page, and its images by their path beside it. `hidden` are words for this machine's paths."""
    # Tables as text: pandas' HTML has styles of its own in it.
    config = Config({"NbConvertBase": {"display_data_priority": ["image/png", "text/markdown", "text/plain"]}})
    text, resources = MarkdownExporter(config=config).from_notebook_node(
        notebook, resources={"unique_key": name, "output_files_dir": f"{name}_files"}
    )
    text = text.replace("](../../worker/docs/", "](../")
    for path, word in hidden.items():
        text = text.replace(path, word)
    heading, _, rest = text.partition("\n\n")
    text = re.sub(r"[ \t]+$", "", f"{heading}\n\n{note}\n{rest}", flags=re.MULTILINE)
    # A figure is of what its heading says.
    parts = re.split(r"^(?=## )", text, flags=re.MULTILINE)
    text = "".join(part.replace("![png]", f"![Figure: {part.splitlines()[0].lstrip('# ')}]") for part in parts)
    text = re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"
    return text, {path: small(image) for path, image in resources["outputs"].items()}


def small(png: bytes) -> bytes:
    """The image without its opaque alpha, packed well; every colour stays."""
    out = io.BytesIO()
    PIL.Image.open(io.BytesIO(png)).convert("RGB").save(out, "PNG", optimize=True)
    return out.getvalue()


def main() -> None:
    """Runs both, writes both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "worker" / "docs" / "notebooks")
    parser.add_argument("--labelled", type=int, default=0, metavar="COUNT", help="images with labels; 0: the samples")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for name in NAMES:
        note = NOTE.format(name=name)
        with tempfile.TemporaryDirectory() as temporary:
            work = Path(temporary).resolve()
            environment = {"NOTEBOOK_OUT": str(work / "out")}
            if name == "chest-x-rays" and options.labelled:
                environment |= labelled(options.labelled, work / "xrays")
                note += ">\n" + CREDIT.format(count=options.labelled) + "\n"
            notebook = execute(name, environment)
            hidden = {f"{work}/xrays/images": "xrays", f"{work}/xrays/truth.csv": "truth.csv", f"{work}/out": "out"}
        text, images = page(name, notebook, note, hidden)
        shutil.rmtree(options.out / f"{name}_files", ignore_errors=True)
        (options.out / f"{name}.md").write_text(text)
        for path, content in images.items():
            (options.out / path).parent.mkdir(exist_ok=True)
            (options.out / path).write_bytes(content)
        print(f"{options.out / name}.md: {len(images)} images, {sum(map(len, images.values())) / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
