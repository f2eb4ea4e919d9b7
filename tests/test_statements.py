"""The 71 statements and their groups, beside PTB-XL's own table."""

from pathlib import Path

import pandas as pd
import pytest

from ecglib.errors import InputError
from ecglib.signals import STATEMENTS, in_group, labels_of, superclasses


@pytest.mark.parametrize(
    ("level", "count"),
    [("superclass", 5), ("subclass", 23), ("diagnostic", 44), ("form", 19), ("rhythm", 12), ("all", 71)],
)
def test_levels_have_as_many_labels_as_published(level: str, count: int) -> None:
    assert len(labels_of(STATEMENTS.index, level)) == count


def test_labels_of_one_record() -> None:
    codes = {"IMI": 80.0, "NDT": 100.0, "PVC": 100.0, "SR": 0.0}
    assert {level: labels_of(codes, level) for level in ("superclass", "subclass", "diagnostic", "form", "rhythm")} == {
        "superclass": {"MI", "STTC"}, "subclass": {"IMI", "STTC"}, "diagnostic": {"IMI", "NDT"},
        "form": {"NDT", "PVC"}, "rhythm": {"SR"}}  # fmt: skip
    assert labels_of(codes, "superclass") == superclasses(codes) and labels_of({}, "all") == set()


def test_wrong_levels_and_statements_are_named() -> None:
    for group in ("diagnostic", "Rhythm"):
        with pytest.raises(InputError, match="choose one of diagnosis, form, rhythm"):
            in_group(group)
    with pytest.raises(InputError, match="level='rhytm' is not known: did you mean rhythm"):
        labels_of({"SR": 0.0}, "rhytm")
    with pytest.raises(InputError, match="statement='AFIBB' is not known: did you mean AFIB"):
        labels_of({"AFIBB": 0.0}, "all")


def test_they_are_ptb_xls(shared: Path) -> None:
    real = pd.read_csv(shared / "data" / "ptb-xl-metadata" / "scp_statements.csv", index_col=0, keep_default_na=False)
    assert list(real.index) == list(STATEMENTS.index)
    for level, column in (("diagnostic", "diagnostic"), ("form", "form"), ("rhythm", "rhythm")):
        assert labels_of(real.index, level) == set(real.index[real[column].astype(str) == "1.0"])
    assert (real["diagnostic_class"] == STATEMENTS["superclass"]).all()
    assert (real["diagnostic_subclass"] == STATEMENTS["subclass"]).all()
    both = labels_of(real.index, "diagnostic") & labels_of(real.index, "form")
    assert both == {"NDT", "NST_", "DIG", "LNGQT"} and both <= set(in_group("form"))
