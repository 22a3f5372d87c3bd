"""Items for calibration and evaluation from what `nightread prepare` wrote, and a CSV of truth (`truth.py`).

Without a column `split` the patients are dealt out by seed.
"""

import posixpath
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nightread_models import description, radiograph
from nightread_models.evaluation import Items, array_of, open_archive
from nightread_models.mistakes import Mistake, listed
from nightread_models.truth import CALIBRATION, EVALUATION, PATIENT, SPLIT, TOLD, Row, more_like_these, read_rows


class Arrays:
    """Arrays of an .npz archive by name, (n, *item_shape), read when they are asked for."""

    def __init__(self, archive: Mapping[str, NDArray[Any]], path: Path, names: Sequence[str]) -> None:
        self.archive, self.path, self.names = archive, path, names

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, rows: slice) -> NDArray[np.float32]:
        return np.stack([self.array(name) for name in self.names[rows]])

    def array(self, name: str) -> NDArray[Any]:
        """One of them. Raises Mistake for one that is broken."""
        return array_of(self.archive, self.path, name)


def items(
    archive_path: Path, truth_path: Path, described: Mapping[str, Any], *, count: int, seed: int, leave_out: bool
) -> tuple[Items, list[str]]:
    """The items, and what there is to say of how they were chosen.

    `count` items to calibrate on are dealt out by `seed` where the CSV has no `split`. With `leave_out`, files that
    only one of archive and CSV has are left out. Raises Mistake for whatever is wrong with either.
    """
    rows, columns = read_rows(truth_path, described)
    archive = open_archive(archive_path)
    keys, notes = match(archive_path, truth_path, list(archive), rows, leave_out=leave_out)
    rows = [row for row in rows if row.line in keys]
    if PATIENT not in columns:
        what = "each file counts as a patient's own, though some may be of one"
        notes.append(f"{truth_path} has no column {PATIENT!r}: {what}")
    if SPLIT in columns:
        chosen = given_split(truth_path, rows)
    else:
        chosen = dealt_split(rows, count, seed)
        notes.append(f"dealt out by seed {seed}: {SPLIT!r} in {truth_path} would say which items training saw")
    calibration, evaluation = ([row for row in rows if row.line in chosen[part]] for part in (CALIBRATION, EVALUATION))
    arrays = Arrays(archive, archive_path, [keys[row.line] for row in calibration])
    width = 1 if description.by_class(described) else len(described["labels"])
    truth = np.array([row.truth for row in evaluation], np.float64).reshape(len(evaluation), width)
    if description.by_class(described):
        truth = truth[:, 0].astype(np.int64)
    found = Items(
        arrays,
        radiograph.list_digest(arrays.array(name).tobytes() for name in arrays.names),
        Arrays(archive, archive_path, [keys[row.line] for row in evaluation]),
        truth,
        np.array([row.patient for row in evaluation], dtype=np.str_),
    )
    return found, notes


def match(
    archive_path: Path, truth_path: Path, keys: list[str], rows: list[Row], *, leave_out: bool
) -> tuple[dict[int, str], list[str]]:
    """Line of a row -> name of its array, by the whole path or by an end of it that only one array has.

    With what there is to say of those left out. Raises Mistake.
    """
    ends = _ends(keys)
    found: dict[int, str] = {}
    problems, absent = [], []
    taken: dict[str, Row] = {}
    for row in rows:
        fitting = ends.get(posixpath.normpath(row.file), [])
        at = f"{truth_path}: line {row.line}: {row.file!r} is"
        if not fitting:
            absent.append(row.file)
        elif len(fitting) > 1:
            several = f"the end of {len(fitting)} names in {archive_path} ({listed(fitting, 2)})"
            problems.append(f"{at} {several}: give more of its path")
        elif before := taken.get(fitting[0]):
            problems.append(f"{at} the file of line {before.line} already: keep one row for each file")
        else:
            taken[fitting[0]] = row
            found[row.line] = fitting[0]
    surplus = [key for key in keys if key not in taken]
    differing = []
    if absent:
        what = f"{len(absent)} files of {truth_path} have no array in {archive_path}: {listed(absent)}"
        differing.append((what, "prepare them, or take the rows out"))
    if surplus:
        what = f"{len(surplus)} arrays of {archive_path} have no row in {truth_path}: {listed(surplus)}"
        differing.append((what, "add rows, or prepare fewer files"))
    if not leave_out or not found:
        problems += [f"{what}; {mend}, or leave such out by --leave-out" for what, mend in differing]
    if problems:
        raise Mistake(*problems[:TOLD], *more_like_these(truth_path, problems))
    return found, [f"left out: {what}" for what, _ in differing]


def _ends(keys: list[str]) -> dict[str, list[str]]:
    """Paths and the ends of paths -> the names that end so; a whole path stands for itself alone."""
    ends: dict[str, list[str]] = defaultdict(list)
    for key in keys:
        parts = posixpath.normpath(key).split("/")
        for start in range(1, len(parts)):
            ends["/".join(parts[start:])].append(key)
    return ends | {posixpath.normpath(key): [key] for key in keys}


def given_split(path: Path, rows: list[Row]) -> dict[str, set[int]]:
    """Lines of both parts, as the CSV has them. Raises Mistake where a patient is in both."""
    parts = {part: [row for row in rows if row.split == part] for part in (CALIBRATION, EVALUATION)}
    both = {row.patient for row in parts[CALIBRATION]} & {row.patient for row in parts[EVALUATION]}
    if both:
        what = "items of one patient are too alike to judge by. Put each into one of the two"
        raise Mistake(f"{path}: {listed(sorted(both))}: in {CALIBRATION} and in {EVALUATION}: {what}")
    return {part: {row.line for row in members} for part, members in parts.items()}


def dealt_split(rows: list[Row], count: int, seed: int) -> dict[str, set[int]]:
    """Lines of both parts: patients in random order go to the calibration until it has `count` items."""
    of_patient: dict[str, list[int]] = defaultdict(list)
    for row in rows:
        of_patient[row.patient].append(row.line)
    parts: dict[str, set[int]] = {CALIBRATION: set(), EVALUATION: set()}
    names = sorted(of_patient)
    for place in np.random.default_rng(seed).permutation(len(names)):
        part = CALIBRATION if len(parts[CALIBRATION]) < count else EVALUATION
        parts[part].update(of_patient[names[place]])
    return parts
