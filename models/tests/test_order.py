"""Which images a long comparison takes: every folder's, the same ones each time, and no more after its end."""

import time
from pathlib import Path

from order import ordered, portions

PATHS = [Path(folder) / f"{number:02}.png" for folder in "ab" for number in range(20)] + [Path("c/only.dcm")]
FIRST = [Path("a/00.png"), Path("b/00.png"), Path("c/only.dcm")]


def test_each_fifth_of_each_folder_and_no_other() -> None:
    """The first of each folder leads; a folder of one image is there."""
    taken, _ = ordered(PATHS[::-1], 5, 1, rest=False)
    assert taken[:3] == FIRST
    assert sorted(taken) == sorted([*PATHS[0:20:5], *PATHS[20:40:5], PATHS[40]])


def test_the_rest_follows_in_the_order_of_the_seed() -> None:
    """Each path once, mixed over the folders, and the same again for the same seed alone."""
    taken, _ = ordered(PATHS, 5, 1, rest=True)
    chosen, _ = ordered(PATHS, 5, 1, rest=False)
    assert taken[: len(chosen)] == chosen
    assert sorted(taken) == sorted(PATHS)
    rest = taken[len(chosen) :]
    assert rest != sorted(rest)
    assert taken == ordered(PATHS[::-1], 5, 1, rest=True)[0]
    assert taken != ordered(PATHS, 5, 2, rest=True)[0]


def test_what_weights_are_settled_on_is_the_same_whatever_is_taken() -> None:
    """The second list has all paths, the first of each folder before them."""
    _, all_of_1 = ordered(PATHS, 1, 1, rest=False)
    _, all_of_9 = ordered(PATHS, 9, 1, rest=True)
    assert all_of_1 == all_of_9
    assert all_of_1[:3] == FIRST and sorted(all_of_1) == sorted(PATHS)


def test_portions_stop_at_their_end_and_not_before() -> None:
    """Without an end all paths come; after it the first portion alone, so that a run always tells something."""
    assert [len(one) for one in portions(PATHS, 16, None)] == [16, 16, 9]
    assert [len(one) for one in portions(PATHS, 16, time.monotonic() + 3600)] == [16, 16, 9]
    assert list(portions(PATHS, 16, time.monotonic() - 1)) == [PATHS[:16]]
