"""Beats: found where cardiologists and virtual hearts have them; flat and impossible records said, not guessed."""

import numpy as np
import pytest

from ecglib.errors import InputError
from ecglib.signals.beats import find_beats, rhythm_table
from ecglib.signals.load import load_cohort

TOLERANCE_S = 0.15


def sensitivity_and_ppv(cohort, within_annotated_span: bool) -> tuple[float, float]:
    found = true = matched_true = matched_found = 0
    for k, ecg_id in enumerate(cohort.table["ecg_id"]):
        truth = cohort.waves.loc[cohort.waves["ecg_id"] == ecg_id, "r"].dropna().to_numpy()
        beats = find_beats(cohort.x[k], cohort.fs)
        if within_annotated_span:
            beats = beats[(beats > truth.min() - TOLERANCE_S) & (beats < truth.max() + TOLERANCE_S)]
        distance = np.abs(beats[:, None] - truth)
        found, true = found + len(beats), true + len(truth)
        matched_true += (distance.min(axis=0, initial=np.inf) < TOLERANCE_S).sum()
        matched_found += (distance.min(axis=1, initial=np.inf) < TOLERANCE_S).sum()
    return matched_true / true, matched_found / found


def test_beats_of_real_records_are_where_cardiologists_marked_them(shared):
    sensitivity, ppv = sensitivity_and_ppv(load_cohort("ludb", root=shared / "data" / "ludb"), True)
    assert sensitivity > 0.995 and ppv > 0.995


def test_beats_of_virtual_patients_are_where_their_hearts_beat():
    cohort = load_cohort("virtual", n=60, seed=3)
    sensitivity, ppv = sensitivity_and_ppv(cohort, False)
    assert sensitivity > 0.99 and ppv > 0.99
    measured = rhythm_table(cohort.x, cohort.fs)
    assert np.median(np.abs(measured["heart_rate"] - cohort.table["heart_rate"])) < 1


def test_the_same_beats_at_100_and_500_hz_away_from_the_ends(shared):
    slow, fast = (load_cohort("ludb", root=shared / "data" / "ludb", fs=fs, n=20) for fs in (100, 500))
    for x, y in zip(slow.x, fast.x, strict=True):
        a, b = (beats[(beats > 0.2) & (beats < 9.8)] for beats in (find_beats(x, 100), find_beats(y, 500)))
        assert len(a) == len(b) and np.abs(a - b).max() < 0.03


def test_a_flat_record_has_no_beats_and_no_rate():
    table = rhythm_table(np.zeros((1, 12, 1000)), 100)
    assert table["n_beats"].tolist() == [0]
    assert table[["heart_rate", "rr_cv"]].isna().all(axis=None)


@pytest.mark.parametrize("x", [np.zeros(1000), np.full((12, 1000), np.nan), np.zeros((12, 100))])
def test_impossible_signals_are_refused(x):
    with pytest.raises(InputError, match="expected finite"):
        find_beats(x, 100)
