"""Each mistake in items or their truth ends `quantise.py` in one line, before anything is quantised."""

import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from quantise_cases import LABELS, SHAPE, Case, Mistakes, ends_in_a_line, first, has

import quantise


def pickled(case: Case) -> None:
    """An object in place of numbers."""
    case.arrays[first(case)] = np.array({"a": 1}, dtype=object)


def damaged(case: Case) -> None:
    """One bit of the first array is wrong."""
    path = case.work / "whole.npz"
    np.savez(path, **case.arrays)
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        at = archive.getinfo(archive.namelist()[0]).header_offset
    content[at + 300] ^= 0xFF
    case.archive = bytes(content)


def saved(**arrays: np.ndarray) -> Callable[[Case], None]:
    """In place of both files an archive with these arrays beside those of 300 and 100 items."""

    def change(case: Case) -> None:
        values = np.stack(list(case.arrays.values()))
        truth = np.random.default_rng(0).integers(0, 2, (100, 3))
        whole = {"calibration": values[:300], "evaluation": values[300:], "truth": truth, "groups": np.arange(100)}
        kept = {name: array for name, array in (whole | arrays).items() if array is not None}
        np.savez(case.work / "old.npz", **kept)
        case.arguments = ["--items", str(case.work / "old.npz")]

    return change


def one_array(case: Case) -> None:
    """What `numpy.save` writes."""
    with (case.work / "one.npy").open("wb") as file:
        np.save(file, np.zeros(SHAPE, np.float32))
    case.archive = (case.work / "one.npy").read_bytes()


def change_array(value: Any) -> Callable[[Case], None]:
    """Puts another array in place of the first."""
    return lambda case: case.arrays.update({first(case): value})


def fewer(calibration: int, evaluation: int) -> Callable[[Case], None]:
    """Leaves so many rows in each part."""

    def change(case: Case) -> None:
        parts = {"calibration": calibration, "evaluation": evaluation}
        for row in case.rows:
            parts[row[2]] -= 1
            if parts[row[2]] < 0:
                row[2] = ""

    return change


def scaled(case: Case) -> None:
    """Values from 0 to 255."""
    case.arrays = {name: array * 255 for name, array in case.arrays.items()}


def flat(case: Case) -> None:
    """Values from 0 to 1, for a network that takes 2048 steps."""
    case.described["input"]["value_range"] = [-1024.0, 1024.0]


ITEMS: Mistakes = {
    "no archive": (has("archive_gone", True), ["prepared.npz", "No such file", "whether the path is right"]),
    "archive is words": (has("archive", b"words"), ["prepared.npz: no .npz archive", "nightread prepare"]),
    "archive cut off": (has("archive", b"PK\x03\x04 cut off"), ["no .npz archive", "nightread prepare"]),
    "one array": (one_array, ["one array, where", "nightread prepare"]),
    "no arrays": (lambda case: case.arrays.clear(), ["holds no arrays", "nightread prepare"]),
    "objects": (pickled, ["0000.png: cannot be read", "write the archive anew"]),
    "damaged": (damaged, ["0000.png: cannot be read", "write the archive anew"]),
    "another shape": (change_array(np.zeros((1, 9, 9), np.float32)), ["0000.png (float32 [1, 9, 9])", "[1, 8, 8]"]),
    "another type": (change_array(np.zeros(SHAPE)), ["0000.png (float64 [1, 8, 8])", "prepare them for this model"]),
    "NaN": (change_array(np.full(SHAPE, np.nan, np.float32)), ["NaN or infinite values: /data/xrays/site0/0000.png"]),
    "bytes": (scaled, ["values from 0", "value_range is [0.0, 1.0]", "prepare them for this model"]),
    "another scale": (flat, ["value_range is [-1024.0, 1024.0]", "prepare them for this model"]),
    "no truth": (
        lambda case: case.arguments.extend(["--items", str(case.work / "prepared.npz")]),
        ["no array calibration, evaluation, truth, groups", "--truth"],
    ),
    "truth alone": (lambda case: case.arguments.extend(["--truth", "x.csv"]), ["--truth belongs to --items"]),
    "old form: narrow": (saved(truth=np.zeros((100, 2))), ["2 columns, the manifest 3 labels: add Rare"]),
    "old form: wide": (saved(truth=np.zeros((100, 4))), ["4 columns, the manifest 3 labels", "drop"]),
    "old form: flat": (saved(truth=np.zeros(100)), ["truth is [100], not (items, labels)", "Opacity, Effusion, Rare"]),
    "old form: words": (saved(truth=np.array([["a"]] * 100)), ["truth is <U1 [100, 1]", "write it as float32"]),
    "old form: 2": (saved(truth=np.full((100, 3), 2)), ["truth has values other than 0 and 1", "NaN"]),
    "old form: lengths": (saved(groups=np.arange(99)), ["100, 100 and 99 items", "one of every item"]),
    "old form: no groups": (saved(groups=None), ["no array groups"]),
    "old form: few": (saved(calibration=np.zeros((9, *SHAPE), np.float32)), ["calibration: 9 items, 300 are needed"]),
    "old form: shape": (
        saved(evaluation=np.zeros((100, 1, 9, 9), np.float32)), ["evaluation[0] (float32 [1, 9, 9])", "[1, 8, 8]"]
    ),
    "old form: one patient": (saved(groups=np.zeros(100)), ["all items are of one patient"]),
    "few to calibrate": (fewer(299, 100), ["calibration: 299 items, 300 are needed", "prepare more"]),
    "few to evaluate": (fewer(300, 99), ["evaluation: 99 items, 100 are needed", "prepare more"]),
    "no data set": (
        lambda case: case.arguments.extend(["--data", str(case.work)]), ["to calibrate on", "--items and --truth"]
    ),
}  # fmt: skip


def add_row(*cells: str) -> Callable[[Case], None]:
    """Appends a row to the CSV."""
    return lambda case: case.rows.append(list(cells))


def rename(before: str, after: str) -> Callable[[Case], None]:
    """Gives a column another name."""
    return lambda case: case.header.__setitem__(case.header.index(before), after)


def cell(row: int, column: str, value: str) -> Callable[[Case], None]:
    """Sets a cell."""
    return lambda case: case.rows[row].__setitem__(case.header.index(column), value)


def unknown_truth(case: Case) -> None:
    """Nothing is known of any file."""
    for name in LABELS:
        case.column(name, "")


def one_kind(case: Case) -> None:
    """No label is ever there."""
    for name in LABELS:
        case.column(name, "0")


def short_names(case: Case) -> None:
    """Names that two folders share."""
    case.arrays["/data/xrays/site1/0000.png"] = case.arrays[first(case)]
    case.column("file", lambda number: case.rows[number][0].rsplit("/", 1)[1])
    case.rows.append(["/data/xrays/site1/0000.png", "p0", "calibration", "0", "0", "0"])


def classes(case: Case) -> None:
    """A softmax, whose truth is one column."""
    case.described["output"]["activation"] = "softmax"
    case.header = ["file", "split", "class"]
    case.rows = [[row[0], row[2], LABELS[number % 3]] for number, row in enumerate(case.rows)]


def class_unknown(case: Case) -> None:
    """A class that the manifest does not have."""
    classes(case)
    case.rows[310][2] = "Pneumothorax"


def one_class(case: Case) -> None:
    """Every file is of one class."""
    classes(case)
    case.column("class", LABELS[0])


def no_class(case: Case) -> None:
    """The column of classes under another name."""
    classes(case)
    case.header[2] = "label"


TRUTHS: Mistakes = {
    "no rows": (lambda case: case.rows.clear(), ["truth.csv: has a header and no rows"]),
    "empty CSV": (has("truth", b""), ["no column 'file'", "found: nothing"]),
    "not UTF-8": (has("truth", b"file,Opacit\xe9\n"), ["no CSV in UTF-8", "save it as one"]),
    "a spreadsheet": (has("truth", b"PK\x03\x04\xff\xfe"), ["no CSV in UTF-8"]),
    "semicolons": (has("truth", b"file;Opacity;Effusion;Rare\na;1;0;0\n"), ["no column 'file'", "comma-separated"]),
    "no file": (rename("file", "image"), ["no column 'file'", "found: image, patient"]),
    "narrow truth": (rename("Rare", "Rarer"), ["no column for Rare", "add it"]),
    "twice": (rename("Rare", "Opacity"), ["Opacity more than once", "name of its own"]),
    "short row": (add_row("a.png", "p"), ["line 402 has 2 cells, the header 6"]),
    "a word": (cell(5, "Rare", "yes"), ["truth.csv: line 7: Rare is 'yes'", "write 1, 0, or nothing"]),
    "uncertain": (cell(5, "Opacity", "-1"), ["line 7: Opacity is '-1'", "nothing where it is not known"]),
    "no name": (cell(5, "file", ""), ["line 7: 'file' is empty"]),
    "no patient": (cell(5, "patient", ""), ["line 7: 'patient' is empty"]),
    "unknown part": (cell(5, "split", "train"), ["line 7: split 'train' is neither"]),
    "same file": (cell(5, "file", "/data/xrays/site0/0000.png"), ["line 7", "the file of line 2 already", "no row in"]),
    "a file too many": (add_row("b.png", "p", "", "0", "0", "0"), ["1 files", "no array in", "b.png", "--leave-out"]),
    "a row too few": (lambda case: case.rows.pop(), ["1 arrays", "no row in", "0399.png", "--leave-out"]),
    "other folder": (
        lambda case: case.column("file", lambda number: f"elsewhere/{number}.png"), ["400 files", "400 arrays"]
    ),
    "two ends": (short_names, ["'0000.png' is the end of 2 names", "give more of its path"]),
    "patient in both": (cell(300, "patient", "p3"), ["p3: in calibration and in evaluation", "one of the two"]),
    "no positives at all": (one_kind, ["no label has positives and negatives", "Opacity (no positives)", "add items"]),
    "nothing known": (unknown_truth, ["no label has positives and negatives", "Opacity (no truth)"]),
    "unknown class": (class_unknown, ["line 312: class 'Pneumothorax' is no label", "Opacity, Effusion, Rare"]),
    "one class": (one_class, ["one class or none (Opacity)", "add items of others"]),
    "no class column": (no_class, ["no column for class", "add it"]),
}  # fmt: skip


@pytest.mark.parametrize("name", [*ITEMS, *TRUTHS])
def test_a_mistake_ends_in_a_line(
    name: str, case: Case, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of the tables above: what is done, and what the line says."""
    ends_in_a_line(case, (ITEMS | TRUTHS)[name], capsys, monkeypatch)


def test_what_is_left_out_is_told(case: Case, capsys: pytest.CaptureFixture[str]) -> None:
    """A label without positives is named and left out of the mean; `--leave-out` names the files that it leaves out."""
    case.column("Rare", "0")
    case.rows.append(["absent.png", "p", "", "1", "0", "1"])
    case.arrays["/data/xrays/more.png"] = case.arrays[first(case)]
    arguments = case.write()
    assert quantise.main([*arguments, "--leave-out"]) in (0, 1)
    told = capsys.readouterr().out
    assert "left out: 1 files" in told and "absent.png" in told
    assert "left out: 1 arrays" in told and "more.png" in told
    assert "300 items to calibrate on, 100 of 50 patients to judge by" in told
    assert "AUC is the mean over 2 of 3 labels, left out: Rare (no positives)" in told
