"""Utility: no test patient is trained on, all that is chosen is chosen on fold 9, and fast scores are the slow ones."""

from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from ecglib.errors import InputError
from ecglib.evaluation.utility import (
    Cell,
    Features,
    Linear,
    augmented,
    draw_fraction,
    draw_weights,
    macro_auroc,
    macro_draws,
    paired_difference,
    run_cell,
    scores,
    verdict,
    with_interval,
)
from ecglib.evaluation.utility.grid import oversampled
from ecglib.evaluation.utility.linear import youden
from ecglib.evaluation.utility.scores import calibration_curve, weighted_auroc
from ecglib.signals import load_cohort, superclasses, to_eight_leads

K, F = 5, 12


def drawn(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Features (n, 12) and classes (n, 5) that five of them speak of."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, F)).astype(np.float32)
    return x, (x[:, :K] + 0.7 * rng.standard_normal((n, K)) > 0.5).astype(np.float32)


@cache
def data(copies: int = 3) -> Features:
    parts = [drawn(n, seed) for seed, n in enumerate((120, 60, 80))]
    codes = [{"NORM": 100.0} if y[0] else {"IMI": 100.0} if y[1] else {"LVH": 100.0} for y in parts[0][1]]
    table = pd.DataFrame({"patient_id": np.arange(120) // 2, "scp_codes": codes})
    more = [[drawn(120, 10 * kind + k)[0] for k in range(copies)] for kind in (1, 2)]
    return Features(*(x for x, _ in parts), *(y for _, y in parts), table, np.arange(80) // 2, *more)


class TestFractions:
    @given(st.floats(0.005, 1), st.integers(0, 50))
    @settings(max_examples=40, deadline=None)
    def test_whole_patients_at_least_one(self, fraction, seed):
        table = data().table
        rows = draw_fraction(table, fraction, seed)
        patients = set(table["patient_id"].iloc[rows])
        assert len(patients) == int(np.ceil(round(fraction * 60, 6)))
        assert set(np.flatnonzero(table["patient_id"].isin(patients))) == set(rows)

    @given(st.integers(0, 50))
    @settings(max_examples=20, deadline=None)
    def test_a_smaller_fraction_is_a_part_of_a_larger_one(self, seed):
        small, large = (set(draw_fraction(data().table, fraction, seed)) for fraction in (0.1, 0.5))
        assert small < large

    def test_seeds_differ_and_repeat(self):
        first, again, other = (draw_fraction(data().table, 0.2, seed) for seed in (0, 0, 1))
        assert np.array_equal(first, again) and not np.array_equal(first, other)


class TestNoLeak:
    def cells(self):
        return [Cell("all", 0.5, "real", 0, 1), Cell("all", 0.5, "class weights", 0, 1),
                Cell("all", 0.5, "oversampling", 0, 1), Cell("all", 0.5, "augmentation", 2, 1),
                Cell("all", 0.5, "synthetic", 2, 1), Cell("all", 0.5, "synthetic only", 1, 1)]  # fmt: skip

    def test_records_outside_the_fraction_change_nothing(self):
        rows = draw_fraction(data().table, 0.5, 1)
        left_out = np.setdiff1d(np.arange(120), rows)
        spoiled = {name: np.array(getattr(data(), name)) for name in ("train", "y_train")}
        spoiled["train"][left_out] = 99
        spoiled["y_train"][left_out] = 1 - spoiled["y_train"][left_out]
        copies = {name: [np.array(c) for c in getattr(data(), name)] for name in ("synthetic", "augmented")}
        for each in [*copies["synthetic"], *copies["augmented"]]:
            each[left_out] = np.nan
        other = replace(data(), **spoiled, **copies)
        for cell in self.cells():
            assert np.array_equal(run_cell(cell, data())[1], run_cell(cell, other)[1]), cell

    def test_labels_of_fold_10_change_no_probability_and_no_verdict(self):
        other = replace(data(), y_test=1 - data().y_test)
        for cell in self.cells():
            first, second = run_cell(cell, data()), run_cell(cell, other)
            assert np.array_equal(first[1], second[1]) and first[0]["strength"] == second[0]["strength"]
            assert first[0]["auroc"] == pytest.approx(1 - second[0]["auroc"])

    def test_thresholds_and_strength_are_of_fold_9(self):
        x, y = drawn(120, 0)
        x9, y9 = drawn(60, 1)
        model = Linear.fit(x, y, x9, y9)
        chance = model.probabilities(x9)
        assert model.thresholds.tolist() == [youden(y9[:, k], chance[:, k]) for k in range(K)]
        of_strength = {c: macro_auroc(y9, Linear.fit(x, y, x9, y9, strengths=(c,)).probabilities(x9))
                       for c in (1e-3, 1e-2, 1e-1)}  # fmt: skip
        assert of_strength[model.strength] == max(of_strength.values())

    def test_synthetic_only_sees_no_real_record(self):
        other = replace(data(), train=np.full_like(data().train, 7))
        cell = Cell("all", 0.5, "synthetic only", 2, 0)
        assert np.array_equal(run_cell(cell, data())[1], run_cell(cell, other)[1])
        row = run_cell(cell, data())[0]
        assert row["n_real"] == 0 and row["n_added"] == 2 * len(draw_fraction(data().table, 0.5, 0))

    def test_a_copy_that_was_not_made_is_refused(self):
        holed = [np.array(c) for c in data().synthetic]
        holed[0][:] = np.nan
        with pytest.raises(InputError, match="no copy"):
            run_cell(Cell("fraction", 0.5, "synthetic", 1, 0), replace(data(), synthetic=holed))
        with pytest.raises(InputError, match="there are 3 copies"):
            run_cell(Cell("all", 0.5, "synthetic", 5, 0), data())

    @pytest.mark.parametrize("bad", [("some", 0.5, "real", 0, 0), ("all", 0.5, "reel", 0, 0), ("all", 0, "real", 0, 0),
                                     ("all", 1.5, "real", 0, 0), ("all", 0.5, "real", 2, 0),
                                     ("all", 0.5, "synthetic", 0, 0)])  # fmt: skip
    def test_cells_that_make_no_sense_are_refused(self, bad):
        with pytest.raises(InputError):
            Cell(*bad)


class TestLinear:
    def test_it_is_scikit_learns_regression(self):
        x, y = drawn(150, 3)
        x9, y9 = drawn(40, 4)
        ours = Linear.fit(x, y, x9, y9, strengths=(0.05,)).probabilities(x9)
        z, z9 = ((each - x.mean(axis=0)) / x.std(axis=0) for each in (x, x9))
        for k in range(K):
            theirs = LogisticRegression(C=0.05, tol=1e-6, max_iter=1000).fit(z, y[:, k]).predict_proba(z9)[:, 1]
            assert ours[:, k] == pytest.approx(theirs, abs=5e-3)

    def test_a_class_that_nobody_has_gets_a_constant(self):
        x, y = drawn(50, 3)
        y[:, 2], y[:, 3] = 0, 1
        chance = Linear.fit(x, y, *drawn(40, 4)).probabilities(drawn(10, 5)[0])
        assert np.ptp(chance[:, 2]) == 0 and 0 < chance[0, 2] < 0.05
        assert np.ptp(chance[:, 3]) == 0 and 0.95 < chance[0, 3] < 1

    def test_empty_or_misfit_sets_are_refused(self):
        x, y = drawn(20, 0)
        for bad in ((x[:0], y[:0], x, y), (x, y, x[:0], y[:0]), (x, y[:5], x, y), (x, y, x[:, :3], y)):
            with pytest.raises(InputError):
                Linear.fit(*bad)


class TestScores:
    @given(st.integers(0, 10_000), st.integers(2, 40), st.booleans())
    @settings(max_examples=60, deadline=None)
    def test_weighted_auroc_is_that_of_the_records_themselves(self, seed, n, ties):
        rng = np.random.default_rng(seed)
        y = (rng.random(n) < 0.4).astype(float)
        score = rng.integers(0, 4, n).astype(float) if ties else rng.random(n)
        weights = rng.integers(0, 4, (3, n)).astype(float)
        fast = weighted_auroc(y, score, weights)
        for row, value in zip(weights, fast, strict=True):
            again = np.repeat(np.arange(n), row.astype(int))
            if len(again) and 0 < y[again].sum() < len(again):
                assert value == pytest.approx(roc_auc_score(y[again], score[again]))
            else:
                assert np.isnan(value)

    def test_macro_draws_with_every_record_once_is_macro_auroc(self):
        x, y = drawn(60, 8)
        assert macro_draws(y, x[:, :K], np.ones((1, 60)))[0] == pytest.approx(macro_auroc(y, x[:, :K]))

    def test_an_interval_holds_its_value_and_is_absent_where_nothing_can_be_drawn(self):
        x, y = drawn(60, 8)
        chance = 1 / (1 + np.exp(-x[:, :K]))
        found = with_interval(y, chance, chance > 0.5, tuple("ABCDE"), np.arange(60) // 2)
        assert found["auroc_low"] < found["auroc"] < found["auroc_high"]
        assert {**scores(y, chance, chance > 0.5, tuple("ABCDE"))}.items() <= found.items()
        nobody = with_interval(0 * y, chance, chance > 0.5, tuple("ABCDE"), np.arange(60))
        assert np.isnan([nobody["auroc"], nobody["auroc_low"]]).all()

    def test_patients_are_drawn_whole(self):
        patients = np.array([1, 1, 2, 3, 3, 3, 4])
        weights = draw_weights(patients, draws=200)
        for patient in (1, 2, 3, 4):
            of_patient = weights[:, patients == patient]
            assert (of_patient == of_patient[:, :1]).all()
        assert (weights[:, [0, 2, 3, 6]].sum(axis=1) == 4).all()
        with pytest.raises(InputError, match="two"):
            draw_weights(np.zeros(5))

    def test_perfect_and_uninformed(self):
        y = np.eye(K).repeat(20, axis=0)
        names = tuple("ABCDE")
        perfect = scores(y, y * 0.98 + 0.01, y > 0.5, names)
        assert perfect["auroc"] == perfect["f1"] == perfect["auprc"] == 1 and perfect["ece"] < 0.011
        flat = scores(y, np.full_like(y, 0.2), y > 2, names)
        assert flat["auroc"] == 0.5 and flat["ece"] == pytest.approx(0) and flat["brier"] == pytest.approx(0.16)

    def test_a_class_of_one_kind_is_left_out_not_counted_as_zero(self):
        x, y = drawn(60, 8)
        full = scores(y, 1 / (1 + np.exp(-x[:, :K])), x[:, :K] > 0, tuple("ABCDE"))
        y[:, 4] = 0
        part = scores(y, 1 / (1 + np.exp(-x[:, :K])), x[:, :K] > 0, tuple("ABCDE"))
        assert np.isnan(part["auroc E"]) and np.isfinite(part["auroc"])
        assert part["auroc"] == pytest.approx(np.mean([full[f"auroc {name}"] for name in "ABCD"]))

    def test_calibration_bins(self):
        curve = calibration_curve(np.array([0, 1, 1, 1.0]), np.array([0.05, 0.05, 0.95, 1.0]))
        assert curve[0].tolist() == [0.05, 0.5, 2] and curve[9].tolist() == [0.975, 1, 2] and np.isnan(curve[4, 0])

    def test_a_difference_is_paired(self):
        rng = np.random.default_rng(0)
        theirs = 0.8 + 0.05 * rng.standard_normal((5, 1000))
        value, low, high = paired_difference(theirs + 0.01, theirs)
        assert value == pytest.approx(0.01) and high - low < 1e-9
        value, low, high = paired_difference(theirs + np.arange(5)[:, None] / 100, theirs)
        assert low < 0.02 < high, "seeds vary in the interval"

    @pytest.mark.parametrize(("low", "high", "word"), [
        (-0.01, 0.015, "comparable"), (0.001, 0.019, "comparable"), (0.001, 0.05, "better"), (-0.05, -0.001, "worse"),
        (-0.03, 0.001, "undecided"), (-0.02, 0.0, "undecided"),
    ])  # fmt: skip
    def test_verdicts(self, low, high, word):
        assert verdict(low, high) == word


class TestOthersWays:
    def test_oversampling_makes_sets_equally_frequent(self):
        table = data().table
        big = pd.concat([table] * 40, ignore_index=True)
        rows = oversampled(big, 0)
        names = big["scp_codes"].iloc[rows].map(lambda codes: "".join(sorted(superclasses(codes))))
        assert len(rows) == len(big) and names.value_counts(normalize=True).to_numpy() == pytest.approx(1 / 3, abs=0.04)

    def test_augmented_records_are_the_same_hearts(self):
        cohort = load_cohort("virtual", n=20, seed=2, population="teaching")
        x, y = to_eight_leads(np.asarray(cohort.x[:])), augmented(cohort, 0).x
        assert y.shape == x.shape and not np.array_equal(y, augmented(cohort, 1).x)
        assert np.array_equal(y, augmented(cohort, 0).x)
        for a, b in zip(x, y, strict=True):
            spectrum = [np.fft.rfft(s - s.mean(axis=-1, keepdims=True)) for s in (a, b)]
            likeness = np.fft.irfft(spectrum[0].conj() * spectrum[1]).sum(axis=0)  # over circular shifts
            shift = int(likeness.argmax())
            assert min(shift, 1000 - shift) <= 50
            assert np.corrcoef(np.roll(a, shift, axis=-1).ravel(), b.ravel())[0, 1] > 0.8
