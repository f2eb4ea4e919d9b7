"""Claims: each finding is read from a table; README's table is the same as the files'; what is absent is said to be."""

import numpy as np
import pandas as pd
import pytest

from ecglib.ablations import BASELINE
from ecglib.claims import (
    CLAIMS,
    MARKS,
    NOT_YET,
    TABLES,
    Finding,
    as_markdown,
    in_short,
    published_and_here,
    write_readme,
)
from ecglib.errors import InputError
from ecglib.figures import published_beside
from ecglib.runs import ROOT


def test_readme_is_what_the_tables_say():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = text.split(MARKS[0])[1].split(MARKS[1])[0].strip()
    assert shown == as_markdown(), "run: .venv/bin/python -m ecglib results"


def test_readme_tells_many_findings_by_their_ends(tmp_path):
    rows = pd.DataFrame([(f"mel-{k}", 0.2 + 0.01 * k, 0.01 * k) for k in range(6)],
                        columns=["variant", "value", "difference"])  # fmt: skip
    rows = rows.assign(cohort="virtual", preset="quick", metric="ilce", key="mean", floor=0.02, seed=0,
                       difference_low=-0.1, difference_high=0.1)  # fmt: skip
    for n, said in ((2, 2), (6, 1)):
        rows[:n].to_csv(tmp_path / "ablations.csv", index=False)
        lines = [line for line in as_markdown(tmp_path).splitlines() if "mel-0" in line or "mel-1" in line]
        assert len(lines) == said
    assert "6 findings, from mel-0: +0 % (-50 … +50) to mel-5: +25 % (-50 … +50)" in lines[0]


def test_published_values_are_those_of_the_page_of_differences():
    text = (ROOT / "book" / "differences.md").read_text(encoding="utf-8")
    for number in ("74", "70", "4–8", "0.80", "0.91"):
        assert any(number in claim.published for claim in CLAIMS) and number in text


def test_nothing_measured_is_said(tmp_path):
    table = published_and_here(tmp_path)
    assert (table["here"] == NOT_YET).all() and len(table) == len(CLAIMS)


def test_an_empty_table_is_none(tmp_path):
    (tmp_path / "ablations.csv").write_text("# command: make ablations\nvariant,cohort,preset,seed,metric,key,value\n")
    assert (published_and_here(tmp_path)["here"] == NOT_YET).all()


def test_correlation_error_by_hand(tmp_path):
    rows = pd.DataFrame([(name, seed, value) for name, values in ((BASELINE, (0.2, 0.4)), ("mel-v6", (0.1, 0.3)))
                         for seed, value in enumerate(values)], columns=["variant", "seed", "value"])  # fmt: skip
    rows = rows.assign(cohort="virtual", preset="quick", metric="ilce", key="mean", floor=0.02, difference=-0.1)
    rows.to_csv(tmp_path / "ablations.csv", index=False)
    row = published_and_here(tmp_path).iloc[0]
    assert row["here"] == "mel-v6: -38 % (-50 … -25)" and row["on"] == "virtual, quick, 2 seeds"


def test_privacy_is_the_papers_metric_against_the_same_baseline(tmp_path):
    rows = pd.DataFrame([(BASELINE, 0.5), ("default", 0.51)], columns=["variant", "value"])
    rows.assign(seed=0, cohort="virtual", preset="quick", metric="mir", key="f1 beats", floor=np.nan,
                difference=0.01, difference_low=-0.01, difference_high=0.03,
                ).to_csv(tmp_path / "ablations.csv", index=False)  # fmt: skip
    found = published_and_here(tmp_path).set_index("claim").loc["privacy metrics against the baseline"]
    assert found["here"] == "MIR F1, default: +2 % (-2 … +6)" and found["on"].startswith("virtual, quick, 1 seed")


def test_what_has_no_baseline_to_be_compared_with_is_no_finding(tmp_path):
    """Samples that are noise have no beats, so that a metric of beats has no value there, and no difference from it."""
    rows = pd.DataFrame([("default", 0.51, 0.01), ("sssd-mel-x0", 0.53, np.nan)],
                        columns=["variant", "value", "difference"])  # fmt: skip
    rows.assign(seed=0, cohort="virtual", preset="quick", metric="mir", key="f1 beats", floor=np.nan,
                difference_low=-0.01, difference_high=0.03).to_csv(tmp_path / "ablations.csv", index=False)  # fmt: skip
    found = published_and_here(tmp_path)
    found = found[found["claim"] == "privacy metrics against the baseline"]
    assert found["here"].tolist() == ["MIR F1, default: +2 % (-2 … +6)"]


def test_demographics_are_paired_by_seed(tmp_path):
    rows = pd.DataFrame([("labels", 0, -4.0), ("labels", 1, -2.0), ("labels-age-sex", 0, -3.5),
                         ("labels-age-sex", 2, 9.0)],
                        columns=["variant", "seed", "value"])  # fmt: skip
    rows.assign(cohort="virtual", preset="quick", metric="paired_measures", key="snr_db", floor=-3.0).to_csv(
        tmp_path / "ablations.csv", index=False)
    found = published_and_here(tmp_path)
    found = found[found["claim"] == "demographic conditioning: the paper's SNR"]
    assert found[["here", "on"]].to_numpy().tolist() == [["labels-age-sex: +0.50 dB", "virtual, quick, 1 seed"]]


def test_each_row_of_the_committed_tables_can_be_drawn():
    for claim in CLAIMS:
        for finding in claim.find(TABLES):
            assert np.isfinite([finding.value, finding.low, finding.high]).all() and finding.low <= finding.high
            assert (TABLES / finding.table).read_text(encoding="utf-8").startswith("# command: ")


def test_the_figure_has_a_panel_a_claim_and_a_star_where_a_value_was_published():
    few = [Finding("one: 1", "here", "a.csv", 1.0, 0.5, 1.5, 2.0), Finding("two: 3", "there", "a.csv", 3.0, 2.0, 4.0)]
    figure = published_beside({"first": few, "second": few[1:], "empty": [Finding(NOT_YET, "", "")]})
    assert [panel.get_title(loc="left") for panel in figure.axes] == ["first", "second"]
    stars = [line for line in figure.axes[0].get_lines() if line.get_marker() == "*"]
    assert stars[0].get_xdata()[0] == 2.0 and np.isnan(stars[1].get_xdata()[0])
    with pytest.raises(InputError, match="make ablations"):
        published_beside({"empty": []})


def test_one_wild_finding_leaves_room_for_the_others():
    """Of −51 % beside +896 % (to +1437) a linear axis shows a dot on the star of −74 %."""
    tame, wild = (Finding("a", "virtual", "x.csv", value, low, high, -74.0)
                  for value, low, high in ((-51.0, -71.0, -34.0), (896.0, 322.0, 1437.0)))  # fmt: skip
    alone, both = published_beside({"tame": [tame], "both": [tame, wild]}).axes
    assert alone.get_xscale() == "linear" and both.get_xscale() == "symlog"
    place = both.transData.transform([(-74, 0), (-51, 0), (896, 0)])[:, 0]
    assert (place[1] - place[0]) > 0.05 * (place[2] - place[0])


def test_marks_that_are_gone_are_an_error(tmp_path):
    (tmp_path / "README.md").write_text("no marks")
    with pytest.raises(InputError, match="has not one"):
        write_readme(tmp_path / "README.md")


def test_writing_twice_changes_nothing(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{MARKS[0]}\nold\n{MARKS[1]}\nafter\n")
    assert write_readme(readme, tmp_path) and not write_readme(readme, tmp_path)
    assert readme.read_text().startswith("before\n") and readme.read_text().endswith("after\n")
    assert NOT_YET in readme.read_text() and "old" not in readme.read_text()


def test_many_findings_in_short_are_the_smallest_and_the_largest():
    found = [Finding(f"{value:+d} %", "", "", value=value) for value in (3, -5, 8)]
    assert in_short(found) == "3 findings, from -5 % to +8 %"
    assert in_short(found[:2]) == "+3 %; -5 %" and in_short([]) == NOT_YET
