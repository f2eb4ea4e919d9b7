"""Waves found or missed, and limits of agreement, on tables small enough to count by hand."""

import numpy as np
import pandas as pd
import pytest

from ecglib.evaluation.agreement import TIMES, detection, intervals, limits_of_agreement


def waves(ecg_id: int, r: list[float], p: bool = True) -> pd.DataFrame:
    shifts = dict(zip(TIMES, (-0.2, -0.15, -0.1, -0.05, 0, 0.05, 0.3, 0.4), strict=True))
    table = pd.DataFrame({name: np.array(r) + shift for name, shift in shifts.items()}).assign(ecg_id=ecg_id)
    return table if p else table.assign(p_on=np.nan, p_peak=np.nan, p_off=np.nan)


def test_all_found_is_one():
    table = detection(waves(1, [1, 2, 3]), waves(1, [1, 2, 3]))
    assert (table[["sensitivity", "ppv"]] == 1).all().all()
    assert (table[["n_true", "n_found"]] == 3).all().all()


def test_missed_and_invented_waves_are_counted():
    table = detection(waves(1, [1, 2, 2.5]), waves(1, [1, 2, 3, 4]))
    assert table.loc["QRS", "sensitivity"] == 0.5  # 1 and 2 of four
    assert table.loc["QRS", "ppv"] == pytest.approx(2 / 3)


def test_what_lies_outside_of_the_marked_span_counts_neither_way():
    table = detection(waves(1, [0.1, 1, 2, 9]), waves(1, [1, 2]))
    assert table.loc["QRS", ["sensitivity", "ppv"]].tolist() == [1, 1]


def test_a_wave_invented_where_none_is_lowers_ppv_alone():
    table = detection(waves(1, [1, 2]), waves(1, [1, 2], p=False))
    assert np.isnan(table.loc["P", "sensitivity"]) and table.loc["P", "ppv"] == 0


def test_a_record_without_any_mark_of_ours_is_missed_whole():
    true = pd.concat([waves(1, [1, 2]), waves(2, [1, 2])])
    assert detection(waves(1, [1, 2]), true).loc["QRS", "sensitivity"] == 0.5


def test_150_ms_is_near_and_more_is_not():
    for shift, hit in ((0.149, 1.0), (0.151, 0.0)):
        assert detection(waves(1, [1 + shift, 5 + shift]), waves(1, [1, 5])).loc["QRS", "sensitivity"] == hit


def test_intervals_are_medians_over_beats():
    table = waves(7, [1, 2, 3])
    table.loc[0, "qrs_off"] += 0.5
    found = intervals(table)
    assert found.loc[7].to_dict() == pytest.approx({"p_ms": 100, "pr_ms": 150, "qrs_ms": 100, "qt_ms": 450})


def test_limits_of_agreement_by_hand():
    found = limits_of_agreement(pd.Series([1.0, 2, 3, np.nan]), pd.Series([0.0, 2, 5, 1]))
    assert found == pytest.approx({"n": 3, "bias": -1 / 3, "sd": np.std([1, 0, -2], ddof=1),
                                   "low": -1 / 3 - 1.96 * np.std([1, 0, -2], ddof=1),
                                   "high": -1 / 3 + 1.96 * np.std([1, 0, -2], ddof=1)})  # fmt: skip


def test_one_record_has_no_limits():
    assert np.isnan(limits_of_agreement(pd.Series([1.0]), pd.Series([1.0]))["sd"])
