"""Features of lead II: against slow forms and signals of known answer; the second paper's selection, with counts."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from cohorts import random_cohort
from sklearn.metrics import roc_auc_score

from ecglib.errors import InputError
from ecglib.evaluation.lead_two import FEATURES, _aligned, lead_two, lead_two_features, sample_entropy
from ecglib.evaluation.selection import select_second_paper
from ecglib.signals import LEADS_8, LEADS_12, Cohort, load_cohort, to_eight_leads

FS, SECONDS = 100, 10


def slow_sample_entropy(x: np.ndarray, m: int, r: float) -> float:
    near, n, counts = r * x.std(), len(x) - m, [0, 0]
    for i in range(n):
        for j in range(n):
            if i != j:
                distance = np.abs(x[i : i + m] - x[j : j + m]).max()
                counts[0] += distance < near
                counts[1] += max(distance, abs(x[i + m] - x[j + m])) < near
    return -np.log(counts[1] / counts[0])


class TestSampleEntropy:
    @pytest.mark.parametrize(("m", "r"), [(2, 0.2), (1, 0.3), (3, 0.5)])
    def test_equals_the_slow_form(self, m, r):
        x = np.cumsum(np.random.default_rng(0).standard_normal(120))
        assert sample_entropy(x, m, r) == pytest.approx(slow_sample_entropy(x, m, r))

    def test_of_white_noise_is_known(self):
        """The chance that two normal numbers lie within 0.2: erf(0.1) = 0.1125, so the entropy is 2.185."""
        values = [sample_entropy(np.random.default_rng(seed).standard_normal(1000)) for seed in range(6)]
        assert np.mean(values) == pytest.approx(2.185, abs=0.1)

    def test_what_repeats_itself_has_little_of_it(self):
        assert sample_entropy(np.sin(np.arange(1000) * 2 * np.pi / 80)) < 0.2

    def test_gain_and_offset_change_nothing(self):
        x = np.random.default_rng(1).standard_normal(300)
        assert sample_entropy(5 * x - 3) == pytest.approx(sample_entropy(x))

    @pytest.mark.parametrize("x", [np.zeros(100), np.array([1.0, 2, 3]), np.array([])])
    def test_not_known(self, x):
        assert np.isnan(sample_entropy(x))


def beats(rr_s: list[float], *, p_mv: float = 0.15, f_mv: float = 0.0) -> Cohort:
    """One record: spikes of 1 mV at given intervals, P waves 160 ms before them, f waves of 6 Hz; all leads alike."""
    time, x = np.arange(FS * SECONDS) / FS, np.zeros(FS * SECONDS)
    for at in np.cumsum([0.5, *rr_s]):
        x += np.exp(-(((time - at) / 0.015) ** 2)) + p_mv * np.exp(-(((time - at + 0.16) / 0.03) ** 2))
    x += f_mv * np.sin(2 * np.pi * 6 * time) + 0.002 * np.random.default_rng(0).standard_normal(len(time))
    eight = np.tile(x, (1, 8, 1)).astype(np.float32)
    return Cohort(eight, FS, LEADS_8, pd.DataFrame({"ecg_id": [1], "scp_codes": [{"SR": 0}]}))


def features(cohort: Cohort) -> dict[str, float]:
    return dict(zip(FEATURES, lead_two_features(cohort)[0], strict=True))


class TestFeatures:
    def test_intervals_by_hand(self):
        """Intervals of 0.8 and 1.0 s in turn: SD of ten of them, and successive differences of 200 ms each."""
        rr = [0.8, 1.0] * 5
        found = features(beats(rr))
        assert found["sdnn_ms"] == pytest.approx(np.std(rr, ddof=1) * 1e3, abs=4)
        assert found["rmssd_ms"] == pytest.approx(200, abs=6)
        assert found["rmssd_over_rr"] == pytest.approx(200 / 900, abs=0.01)
        assert found["rr_cv"] == pytest.approx(np.std(rr, ddof=1) / 0.9, abs=0.01)

    def test_p_waves_and_f_waves_are_told_apart(self):
        sinus, fibrillating = features(beats([0.8] * 11)), features(beats([0.75, 0.9, 0.7] * 4, p_mv=0, f_mv=0.08))
        assert sinus["p_correlation"] > 0.95 > fibrillating["p_correlation"] + 0.3
        assert sinus["f_wave_share"] < 0.4 < 0.8 < fibrillating["f_wave_share"]
        assert sinus["template_correlation"] > 0.95

    def test_beats_are_put_where_their_complexes_fit(self):
        signal = lead_two(beats([0.75, 0.9, 0.7] * 4))[0]
        right = np.array([50, 125, 215, 285, 360, 450, 520])
        moved = right + np.array([0, 1, -1, 2, 0, -2, 0])
        np.testing.assert_array_equal(_aligned(signal, moved), right)

    def test_gain_changes_nothing(self):
        cohort = beats([0.8] * 11)
        louder = replace(cohort, x=2 * cohort.x)
        np.testing.assert_allclose(lead_two_features(louder), lead_two_features(cohort), rtol=1e-4)

    def test_leads_and_rates_do_not_matter(self):
        cohort = random_cohort(3, n_times=1000)
        eight = replace(cohort, x=to_eight_leads(cohort.x), leads=LEADS_8)
        np.testing.assert_allclose(lead_two(eight), lead_two(cohort), atol=1e-5)
        mixed = replace(cohort, x=cohort.x[:, ::-1], leads=LEADS_12[::-1])
        np.testing.assert_array_equal(lead_two(mixed), lead_two(cohort))
        assert lead_two(random_cohort(2, n_times=5000, fs=500)).shape == (2, 1000)

    def test_too_few_beats_or_no_lead_two(self):
        flat = replace(beats([]), x=np.zeros((1, 8, 1000), np.float32))
        assert np.isnan(lead_two_features(flat)).all()
        with pytest.raises(InputError, match="expected at least 100 Hz"):
            lead_two_features(random_cohort(1, fs=50))
        some = replace(beats([0.8]), x=np.zeros((1, 2, 1000), np.float32), leads=("I", "V1"))
        with pytest.raises(InputError, match="expected II"):
            lead_two_features(some)


@pytest.fixture(scope="module")
def virtual() -> Cohort:
    return load_cohort("virtual", n=160, seed=4)


class TestSelection:
    def test_fibrillation_differs_in_every_feature(self, virtual):
        fibrillating, sinus = virtual.has("AFIB"), virtual.has("SR")
        both = fibrillating ^ sinus
        values, truth = lead_two_features(virtual.select(both)), fibrillating[both]
        assert 5 <= truth.sum() < len(truth) - 20
        for name, column in zip(FEATURES, values.T, strict=True):
            area = roc_auc_score(truth[np.isfinite(column)], column[np.isfinite(column)])
            assert max(area, 1 - area) > 0.7, name

    def test_what_is_kept_keeps_the_rules_and_everyone_is_counted(self, virtual):
        kept, counts = select_second_paper(virtual)
        of = pd.DataFrame(lead_two_features(kept), columns=list(FEATURES))
        fibrillating = kept.has("AFIB")
        assert (of.loc[fibrillating, ["sdnn_ms", "rmssd_ms"]] > 50).all(axis=None)
        assert (of.loc[~fibrillating, "sample_entropy"] < 0.5).all()
        assert (of.loc[~fibrillating, "template_correlation"] > 0.12).all()
        healthy = virtual.has("NORM") & virtual.has("SR") & ~virtual.has("AFIB")
        total = counts.groupby("class")["n"].sum()
        assert total["AFIB"] == virtual.has("AFIB").sum() and total["healthy"] == healthy.sum()
        by_reason = counts[counts["reason"] == "kept"].set_index("class")["n"]
        assert by_reason["AFIB"] == fibrillating.sum() and by_reason["healthy"] == (~fibrillating).sum()

    def test_regular_fibrillation_and_flat_records_are_lost_and_counted(self):
        regular = beats([0.8] * 11)
        table = pd.DataFrame({"ecg_id": [1, 2, 3], "scp_codes": [{"AFIB": 0}, {"NORM": 100, "SR": 0}, {"IMI": 100}]})
        x = np.concatenate([regular.x, 0 * regular.x, regular.x])
        kept, counts = select_second_paper(replace(regular, x=x, table=table))
        assert len(kept) == 0
        lost = counts[counts["n"] > 0].set_index("class")["reason"].to_dict()
        assert lost == {"AFIB": "SDNN not above 50 ms", "healthy": "no four beats in lead II"}
