"""What a user gave that cannot be worked with, in words."""

from collections.abc import Iterable, Sequence

SHOWN = 3


class Mistake(ValueError):
    """One line for each problem: what, where, and how to mend it."""

    def __init__(self, *lines: str) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


def listed(names: Iterable[object], shown: int = SHOWN) -> str:
    """`a, b, c and 4 more`."""
    every: Sequence[str] = [str(name) for name in names]
    more = f" and {len(every) - shown} more" if len(every) > shown else ""
    return ", ".join(every[:shown]) + more


def first_line(error: BaseException) -> str:
    """The first line of an error's own words that says anything; its type where there are none."""
    lines = (line.strip() for line in str(error).splitlines())
    return next((line for line in lines if line), type(error).__name__)
