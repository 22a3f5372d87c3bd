"""The CSV of truth beside what `nightread prepare` wrote.

It has a row for each file: `file`, one column for each reported label of the manifest with 1, 0 or nothing (not known),
and, where they are known, `patient` and `split` (`calibration`, `evaluation`, or nothing to leave the row out). The
labels of a softmax have one column with the name of the label, `class`; among several heads it bears the name of the
head's output.
"""

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nightread_models import description
from nightread_models.mistakes import Mistake, listed

FILE, PATIENT, SPLIT, CLASS = "file", "patient", "split", "class"
CALIBRATION, EVALUATION = "calibration", "evaluation"
ONES, ZEROS = ("1", "1.0"), ("0", "0.0")
# Lines of one kind of mistake that are told one by one.
TOLD = 5


@dataclass(frozen=True)
class Row:
    """A row of the CSV: which line it is, the file, whose it is, the part it goes to, and what is true of it."""

    line: int
    file: str
    patient: str
    split: str
    truth: tuple[float, ...]


def read_rows(path: Path, described: Mapping[str, Any]) -> tuple[list[Row], set[str]]:
    """The rows of the CSV, and which of the columns that may be missing it has. Raises Mistake."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, strict=True)
            header = [name.strip() for name in next(reader, [])]
            lines = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise Mistake(f"{path}: no CSV in UTF-8 ({error}): save it as one") from None
    _check_header(path, header, described)
    if not lines:
        raise Mistake(f"{path}: has a header and no rows: give one for each file")
    rows, problems = [], []
    for line, cells in lines:
        if len(cells) != len(header):
            problems.append(f"{path}: line {line} has {len(cells)} cells, the header {len(header)}: mend the row")
            continue
        row = dict(zip(header, (cell.strip() for cell in cells), strict=True))
        try:
            rows.append(_row(line, row, described))
        except Mistake as mistake:
            problems.append(f"{path}: line {line}: {mistake}")
    if problems:
        raise Mistake(*problems[:TOLD], *more_like_these(path, problems))
    return rows, {PATIENT, SPLIT} & set(header)


def more_like_these(path: Path, problems: Sequence[str]) -> list[str]:
    """A line for those of the problems that are not told one by one."""
    return [f"{path}: {len(problems) - TOLD} more like these"] if len(problems) > TOLD else []


def _check_header(path: Path, header: list[str], described: Mapping[str, Any]) -> None:
    problems = []
    if twice := sorted({name for name in header if header.count(name) > 1}):
        problems.append(f"{path}: the header has {listed(twice)} more than once: each column needs a name of its own")
    if FILE not in header:
        found = listed(header, 6) or "nothing"
        problems.append(f"{path}: no column {FILE!r} with the names of the files (comma-separated; found: {found})")
    elif lacking := [name for name in _columns(described) if name not in header]:
        what = "leave its cells empty where nothing is known"
        problems.append(f"{path}: no column for {listed(lacking, 30)}, which the manifest reports: add it, {what}")
    if problems:
        raise Mistake(*problems)


def _columns(described: Mapping[str, Any]) -> Iterator[str]:
    """The columns that the CSV must have beside `file`."""
    heads, reported = description.heads(described), set(description.reported_columns(described))
    for head in heads:
        if head.activation == "softmax":
            yield _class_column(head, heads)
        else:
            yield from (described["labels"][index]["name"] for index in head.columns if index in reported)


def _class_column(head: description.Head, heads: Sequence[description.Head]) -> str:
    return CLASS if len(heads) == 1 else head.logits


def _row(line: int, cells: Mapping[str, str], described: Mapping[str, Any]) -> Row:
    file, split = cells[FILE], cells.get(SPLIT, "")
    if not file:
        raise Mistake(f"{FILE!r} is empty: name the file")
    if split not in (CALIBRATION, EVALUATION, ""):
        raise Mistake(f"{SPLIT} {split!r} is neither {CALIBRATION!r} nor {EVALUATION!r} nor empty")
    patient = cells.get(PATIENT, file)
    if not patient:
        raise Mistake(f"{PATIENT!r} is empty: name whose file it is, or drop the column")
    return Row(line, file, patient, split, tuple(_truth(cells, described)))


def _truth(cells: Mapping[str, str], described: Mapping[str, Any]) -> list[float]:
    """The class where there is nothing else, else a number for each label of the manifest; NaN is not known."""
    labels, heads = described["labels"], description.heads(described)
    values = [float("nan")] * len(labels)
    for head in heads:
        if head.activation == "softmax":
            column = _class_column(head, heads)
            found = _class_of(cells[column], column, [labels[index].get("name", "") for index in head.columns])
            if len(heads) == 1:
                return [found]
            for place, index in enumerate(head.columns):
                values[index] = float("nan") if found < 0 else float(place == found)
            continue
        for index in head.columns:
            if not labels[index].get("suppressed", False):
                values[index] = _number(cells[labels[index]["name"]], labels[index]["name"])
    return values


def _class_of(cell: str, column: str, names: list[str]) -> float:
    """The place of a class among the names; -1 where it is not known."""
    if not cell:
        return -1.0
    if cell not in names:
        raise Mistake(f"{column} {cell!r} is no label of the manifest ({listed(names, 6)})")
    return float(names.index(cell))


def _number(cell: str, column: str) -> float:
    if cell in ONES:
        return 1.0
    if cell in ZEROS:
        return 0.0
    if not cell:
        return float("nan")
    raise Mistake(f"{column} is {cell!r}: write 1, 0, or nothing where it is not known")
