"""Which images a long comparison takes, and in which order: what was read when it must end is a fair sample."""

import random
import time
from collections.abc import Iterator, Sequence
from pathlib import Path


def ordered(paths: Sequence[Path], every: int, seed: int, *, rest: bool) -> tuple[list[Path], list[Path]]:
    """The paths in the order in which they are taken, and all of them in an order that `every` has no part in.

    The first of each folder leads both. In the former come each `every`-th of each folder, then, if `rest`, the others;
    each part in the order of the seed.
    """
    folders: dict[Path, list[Path]] = {}
    for path in sorted(paths):
        folders.setdefault(path.parent, []).append(path)
    first = [group[0] for group in folders.values()]
    others = [path for group in folders.values() for path in group[1:]]
    random.Random(seed).shuffle(others)
    each = {path for group in folders.values() for path in group[::every]}
    taken = first + [path for path in others if path in each]
    if rest:
        taken += [path for path in others if path not in each]
    return taken, first + others


def portions(paths: Sequence[Path], size: int, end: float | None) -> Iterator[Sequence[Path]]:
    """`size` paths at a time; none are begun after `end`, on the clock of `time.monotonic`, but for the first."""
    for at in range(0, len(paths), size):
        if at and end is not None and time.monotonic() > end:
            return
        yield paths[at : at + size]
