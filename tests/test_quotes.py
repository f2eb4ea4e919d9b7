"""What chapter 09 says in words are the numbers of the committed table: a row that is measured anew changes both."""

from __future__ import annotations

import json

import pytest

from ecglib import ablations

QUOTED = [("virtual", name) for name in (
    "mel-v5", "mel-v6", "mel-differences", "plain-mel-short", "plain-mel-weighted", "plain-mel-differences",
    "plain-mel-differences-0.5", "sssd-mel-x0", "sssd-2x-mel-x0", "sssd-4x-mel-x0")]  # fmt: skip
QUOTED += [("folder", "default"), ("folder", "plain-mel-short")]


@pytest.fixture(scope="module")
def text() -> str:
    cells = json.loads((ablations.ROOT / "notebooks" / "09_ablations.ipynb").read_text(encoding="utf-8"))["cells"]
    return "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")


def in_words(percents: list[float]) -> str:
    """``[-35.2, 0.3, 7.6]`` as the chapter writes it: ``−35, 0 and +8 %``."""
    words = [f"{round(value):+d}".replace("-", "−").replace("+0", "0") for value in percents]
    return f"{', '.join(words[:-1])} and {words[-1]} %"


def test_numbers_in_words() -> None:
    assert in_words([-35.2, 0.3, 7.6]) == "−35, 0 and +8 %"
    assert in_words([-0.4, -0.6, 100]) == "0, −1 and +100 %"


@pytest.mark.parametrize(("cohort", "variant"), QUOTED)
def test_changes_of_the_correlation_error_are_the_tables(text: str, cohort: str, variant: str) -> None:
    table = ablations.results().query("preset == 'quick' and metric == 'ilce' and key == 'mean'")
    rows = table[(table["cohort"] == cohort) & (table["variant"] == variant)].sort_values("seed")
    assert rows["seed"].tolist() == [0, 1, 2]
    change = 100 * rows["difference"] / (rows["value"] - rows["difference"])
    assert in_words(change.tolist()) in text.replace("**", "")
