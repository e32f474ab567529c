"""Tests of lists of seeds."""

import pytest

from rl_lab.errors import LabError
from rl_lab.experiment.seed_list import parse_seeds


@pytest.mark.parametrize(
    ("text", "seeds"), [("1..3", [1, 2, 3]), ("4", [4]), ("1,5,2", [1, 5, 2]), ("7..8, 1", [7, 8, 1]), ("0..0", [0])]
)
def test_parse_seeds_accepts_ranges_and_lists(text: str, seeds: list[int]):
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize("text", ["", "a", "1-3", "3..1", "1,1", "1..3,2", "-1", "1.5", "1..10000000000", "2147483648"])
def test_parse_seeds_raises_for_other_texts(text: str):
    with pytest.raises(LabError, match="seeds is"):
        parse_seeds(text)
