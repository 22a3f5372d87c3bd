"""What the worker's gate of bf16 is held against is what `quantise.judge` gives today."""

import json

import pytest

import gate_golden


@pytest.mark.parametrize("number", [1, 3])
def test_the_golden_numbers_are_those_of_judge(number: int) -> None:
    """One with AUC, one with accuracy; the worker's own test reads the same file."""
    cases = json.loads(gate_golden.GOLDEN.read_text(encoding="utf-8"))
    kind, bits = gate_golden.CASES[number]
    assert cases[number] == gate_golden.case(kind, bits, number)
    assert not cases[0]["reasons"] and any(case["reasons"] for case in cases), "one passes and one does not"
