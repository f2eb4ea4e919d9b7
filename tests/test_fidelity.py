"""Fidelity metrics: values by hand, slow form against fast form, invariances, refusals, response card."""

from dataclasses import replace

import numpy as np
import pytest
from cohorts import ludb, random_cohort
from scipy.signal import periodogram

from ecglib.evaluation import CORRUPTIONS, Comparison, evaluate, response_card
from ecglib.evaluation.fidelity import (
    INDEPENDENT,
    PAIRS,
    correlations,
    ilce,
    ilce_by_class,
    ilce_distributional,
    ilce_paired,
    log_spectral_distance,
    paired_measures,
    power_spectra,
    ssim,
    template_snr,
    template_snr_db,
)
from ecglib.evaluation.fidelity.features import mmd2_of_divisions
from ecglib.evaluation.response import leads_mixed, white_noise
from ecglib.signals import LEADS_8, LEADS_12, to_eight_leads


def paired(real, synthetic):
    return replace(synthetic, table=synthetic.table.assign(source_ecg_id=real.table["ecg_id"].to_numpy()))


def values(metric, real, synthetic):
    return metric(Comparison(real, synthetic))


@pytest.fixture(scope="module")
def real():
    return random_cohort(24)


@pytest.fixture(scope="module")
def synthetic(real):
    return paired(real, random_cohort(24, seed=1, first_id=1001))


METRICS = (ilce, ilce_paired, log_spectral_distance)


class TestContract:
    """Exact values for three metrics that can have them; `test_metric_contract` holds for all."""

    @pytest.mark.parametrize("metric", METRICS)
    def test_identity_is_zero(self, real, metric):
        assert set(values(metric, real, paired(real, real)).values()) == {0.0}

    @pytest.mark.parametrize("metric", METRICS)
    def test_order_of_records_is_nothing(self, real, synthetic, metric):
        rng = np.random.default_rng(0)
        shuffled = values(metric, real.select(rng.permutation(24)), synthetic.select(rng.permutation(24)))
        assert shuffled == pytest.approx(values(metric, real, synthetic), abs=1e-12)

    @pytest.mark.parametrize("metric", METRICS)
    def test_few_records_are_refused(self, real, synthetic, metric):
        row = evaluate(Comparison(real.select(range(7)), synthetic.select(range(7))), [metric]).iloc[0]
        assert np.isnan(row.value) and row.reason.startswith("not computed because it needs at least 8")

    @pytest.mark.parametrize("metric", METRICS)
    def test_row_is_whole(self, real, synthetic, metric):
        train = random_cohort(60, seed=3, first_id=501)
        table = evaluate(Comparison(real, synthetic, train=train), [metric], resamples=50)
        assert np.isfinite(table[["value", "ci_low", "ci_high", "floor"]]).all(axis=None)
        assert (table.ci_low <= table.value).all() and (table.value <= table.ci_high).all()
        assert (table.n == 24).all() and (table.reason == "").all()

    @pytest.mark.parametrize("metric", METRICS)
    def test_docstring(self, metric):
        assert "Equation:" in metric.__doc__ and "Source:" in metric.__doc__ and ".. math::" in metric.__doc__


class TestCorrelations:
    def test_pairs(self):
        assert len(PAIRS) == 66 and INDEPENDENT.sum() == 28 and PAIRS[0] == ("I", "II")

    def test_equal_numpy(self, real):
        fast = correlations(real)
        for k in (0, 7):
            slow = np.corrcoef(real.x[k].astype(float))
            np.testing.assert_allclose(fast[k], [slow[LEADS_12.index(a), LEADS_12.index(b)] for a, b in PAIRS])

    def test_lead_order_and_eight_leads(self, real):
        reversed_leads = replace(real, x=real.x[:, ::-1], leads=LEADS_12[::-1])
        np.testing.assert_allclose(correlations(reversed_leads), correlations(real))
        eight = replace(real, x=to_eight_leads(real.x), leads=LEADS_8)
        np.testing.assert_allclose(correlations(eight), correlations(real), atol=1e-5)

    def test_blocks(self):
        many = random_cohort(300, n_times=50)
        np.testing.assert_array_equal(correlations(many)[-3:], correlations(many.select([297, 298, 299])))

    def test_flat_lead_is_nan(self, real):
        x = real.x.copy()
        x[0, 6] = 0.4
        undefined = np.isnan(correlations(replace(real, x=x)))
        assert undefined[0].sum() == 11 and not undefined[1:].any()
        assert all("V1" in pair for pair, nan in zip(PAIRS, undefined[0], strict=True) if nan)


class TestIlce:
    def test_by_hand(self, real):
        turned = replace(real, x=real.x * np.array([1] * 6 + [-1] + [1] * 5, np.float32)[:, None])  # V1 upside down
        mean = correlations(real).mean(axis=0)
        with_v1 = np.array(["V1" in pair for pair in PAIRS])
        found = values(ilce, real, turned)
        assert found["mean"] == pytest.approx(2 * np.abs(mean[with_v1]).sum() / 66)
        assert found["independent"] == pytest.approx(2 * np.abs(mean[with_v1 & INDEPENDENT]).sum() / 28)
        assert found["max"] == pytest.approx(2 * np.abs(mean[with_v1]).max())

    def test_paired_slow_form(self, real, synthetic):
        errors = []
        for k in range(24):
            a, b = np.corrcoef(real.x[k].astype(float)), np.corrcoef(synthetic.x[k].astype(float))
            errors.append([abs(a - b)[i, j] for i in range(12) for j in range(i)])
        found = values(ilce_paired, real, synthetic)
        assert found == pytest.approx({"mean": np.mean(errors), "max": np.mean(np.max(errors, axis=1))})

    def test_population_is_at_most_paired(self, real, synthetic):
        assert values(ilce, real, synthetic)["mean"] <= values(ilce_paired, real, synthetic)["mean"]

    def test_flat_leads_are_counted_not_zeroed(self, real, synthetic):
        x = synthetic.x.copy()
        x[:3, 6] = 0
        table = evaluate(Comparison(real, replace(synthetic, x=x)), [ilce, ilce_paired], resamples=20)
        assert np.isfinite(table.value).all()
        assert table.reason.str.contains("flat leads left out in 0 of 24 real and 3 of 24 synthetic").all()
        others = correlations(replace(synthetic, x=x))[3:]
        v1 = PAIRS.index(("V1", "V2"))
        assert np.nanmean(correlations(replace(synthetic, x=x))[:, v1]) == pytest.approx(others[:, v1].mean())

    def test_all_flat(self, real, synthetic):
        nothing = replace(synthetic, x=np.zeros_like(synthetic.x))
        table = evaluate(Comparison(real, nothing), METRICS)
        assert table.value.isna().all() and table.reason.str.startswith("not computed because").all()

    def test_lead_that_is_always_flat(self, real, synthetic):
        x = synthetic.x.copy()
        x[:, 6] = 0
        table = evaluate(Comparison(real, replace(synthetic, x=x)), [ilce, log_spectral_distance], resamples=0)
        assert table.reason.str.contains("11 of 66 pairs left out|1 of 12 leads left out").all()
        assert "V1" not in set(table.key)

    def test_no_partner_no_paired_metric(self, real):
        row = evaluate(Comparison(real, random_cohort(24, seed=1)), [ilce_paired]).iloc[0]
        assert "source_ecg_id" in row.reason and np.isnan(row.value)
        partly = paired(real, random_cohort(24, seed=1))
        partly.table.loc[:3, "source_ecg_id"] = -1
        row = evaluate(Comparison(real, partly), [ilce_paired], resamples=0).iloc[0]
        assert row.n == 20 and "4 synthetic records left out: no partner" in row.reason

    def test_other_leads(self, real):
        two = replace(real, x=real.x[:, :2], leads=LEADS_12[:2])
        assert "twelve leads" in evaluate(Comparison(two, two), [ilce]).reason[0]

    def test_floor_falls_with_n(self):
        floors = [evaluate(Comparison(c, c), [ilce], resamples=0).floor[0]
                  for c in (random_cohort(n, n_times=100) for n in (16, 400))]  # fmt: skip
        assert floors[1] < floors[0] / 2


class TestLogSpectralDistance:
    def test_gain_in_decibels(self, real):
        doubled = replace(real, x=2 * real.x)
        assert set(values(log_spectral_distance, real, doubled)) == {"mean", *LEADS_12}
        assert values(log_spectral_distance, real, doubled)["V3"] == pytest.approx(20 * np.log10(2))

    def test_welch_by_hand(self, real):
        record = real.x[0, 1].astype(float)
        parts = [record[k : k + 256] for k in range(0, 500 - 255, 128)]
        hz, power = periodogram(np.stack(parts), 100, window="hann", detrend="constant")
        expected = power.mean(axis=0)[(hz >= 0.5) & (hz <= 40)]
        np.testing.assert_allclose(power_spectra(real)[0, 1], expected, rtol=1e-10)

    def test_slow_form(self, real, synthetic):
        p, q = power_spectra(real)[:, 4].mean(0), power_spectra(synthetic)[:, 4].mean(0)
        slow = np.sqrt(np.mean([(10 * np.log10(a) - 10 * np.log10(b)) ** 2 for a, b in zip(p, q, strict=True)]))
        assert values(log_spectral_distance, real, synthetic)["aVL"] == pytest.approx(slow)

    @pytest.mark.parametrize("change", [{"n_times": 200}, {"fs": 50}])
    def test_short_or_slow_records(self, change):
        cohort = random_cohort(10, **change)
        reason = evaluate(Comparison(cohort, cohort), [log_spectral_distance]).reason[0]
        assert reason.startswith("not computed because it needs 256 samples at 80 Hz or faster")


SEES = {
    "ilce": {"white_noise", "leads_mixed", "ra_la_swap", "mode_collapse"},
    "log_spectral_distance": {"white_noise", "smoothing_90_ms", "gain_2", "near_zeros", "mode_collapse"},
}
BLIND = {
    "ilce": {"exact_copies", "gain_2", "time_reversal", "phase_randomisation", "near_zeros"},
    "log_spectral_distance": {"exact_copies", "leads_mixed", "time_reversal"},
}


class TestResponseCard:
    @staticmethod
    def check(cohort):
        card = response_card(cohort, METRICS)
        assert set(card.corruption) == {corrupt.__name__ for corrupt in CORRUPTIONS}
        means = card[card.key == "mean"].set_index(["metric", "corruption"])
        for metric in ("ilce", "log_spectral_distance"):
            ratio = (means.value / means.floor)[metric]
            assert {name for name in SEES[metric] if ratio[name] < 1.1} == set()
            assert {name for name in BLIND[metric] if ratio[name] > 1} == set()
        assert means.value["ilce_paired", "exact_copies"] == 0

    def test_signs(self):
        self.check(random_cohort(150, n_times=512))

    def test_signs_on_real_records(self):
        self.check(ludb(120, fs=100))

    def test_eight_leads(self):
        card = response_card(random_cohort(16, leads=LEADS_8), [ilce])
        assert card.value.notna().all()
        swap = card[(card.corruption == "ra_la_swap") & (card.key == "independent")].value.iloc[0]
        assert swap > 0.1

    def test_same_seed_same_card(self, real):
        first, again = (response_card(real, [ilce], seed=2, corruptions=[white_noise, leads_mixed]) for _ in range(2))
        assert first.equals(again) and first.corruption.tolist() == ["white_noise"] * 3 + ["leads_mixed"] * 3


def test_real_records_floor():
    cohort = ludb(60, fs=100)
    a, b = cohort.select(range(30)), cohort.select(range(30, 60))
    table = evaluate(Comparison(a, paired(a, b)), METRICS, resamples=50).set_index(["metric", "key"])
    assert 0.02 < table.value["ilce", "mean"] < 0.2  # other patients, same device
    assert table.value["ilce_paired", "mean"] > 2 * table.value["ilce", "mean"]


class TestDistributions:
    def test_the_distance_of_distributions_is_at_least_that_of_means(self, real, synthetic):
        assert values(ilce_distributional, real, synthetic)["mean"] >= values(ilce, real, synthetic)["mean"] - 1e-9

    def test_one_pair_by_hand(self, real, synthetic):
        a, b = (np.sort(correlations(cohort)[:, 0]) for cohort in (real, synthetic))
        by_hand = np.abs(a - b).mean()  # of equally many values: between order statistics
        all_pairs = [np.abs(np.sort(x) - np.sort(y)).mean()
                     for x, y in zip(correlations(real).T, correlations(synthetic).T, strict=True)]  # fmt: skip
        assert all_pairs[0] == pytest.approx(by_hand)
        assert values(ilce_distributional, real, synthetic)["mean"] == pytest.approx(np.mean(all_pairs))

    def test_a_collapse_to_the_mean_is_seen_here_and_not_in_the_means(self, real):
        middle = real.select([int(np.abs(correlations(real) - correlations(real).mean(axis=0)).sum(axis=1).argmin())])
        same = replace(real, x=np.repeat(np.asarray(middle.x[:]), len(real), axis=0))
        means, spread = values(ilce, real, same), values(ilce_distributional, real, same)
        assert spread["mean"] > 1.2 * means["mean"]

    def test_by_class_is_ilce_among_that_class(self):
        real, synthetic = random_cohort(60), random_cohort(60, seed=1)
        a, b = (cohort.select(cohort.has("IMI")) for cohort in (real, synthetic))
        assert values(ilce_by_class, real, synthetic)["MI"] == pytest.approx(values(ilce, a, b)["mean"])


class TestBeats:
    """A record of identical beats with noise of known size."""

    @staticmethod
    def shape(time: np.ndarray) -> np.ndarray:
        """An R wave and a smaller S wave: one steepest place, as in a heart."""
        return np.exp(-0.5 * (time / 0.02) ** 2) - 0.8 * np.exp(-0.5 * ((time - 0.05) / 0.015) ** 2)

    def cohort(self, noise: float):
        cohort = random_cohort(8, n_times=1000)
        time = np.arange(1000) / 100
        beat = self.shape((time % 0.9) - 0.45)
        gains = np.linspace(-1, 1, 12)[:, None] + 0.05
        x = gains * beat + noise * np.random.default_rng(0).standard_normal((8, 12, 1000))
        return replace(cohort, x=x.astype(np.float32))

    def test_ten_times_the_noise_is_20_db_less(self):
        quiet, loud = (np.median(template_snr_db(self.cohort(noise))) for noise in (0.003, 0.03))
        assert quiet - loud == pytest.approx(20, abs=4)

    def test_value_by_hand(self):
        assert np.median(template_snr_db(self.cohort(0.03))) == pytest.approx(self.expected_db(0.03), abs=1.5)

    def expected_db(self, noise: float) -> float:
        window = (np.arange(65) - 25) / 100
        beat = self.shape(window)
        gains = np.linspace(-1, 1, 12) + 0.05
        return 10 * np.log10((gains**2).mean() * beat.var() / noise**2)

    def test_flat_records_have_none(self):
        flat = replace(self.cohort(0.0), x=np.zeros((8, 12, 1000), np.float32))
        assert np.isnan(template_snr_db(flat)).all()

    def test_difference_has_the_sign_of_what_happened(self):
        cleaner = template_snr(Comparison(self.cohort(0.03), self.cohort(0.006)))
        assert cleaner["difference"] > 10 and cleaner["distance"] == pytest.approx(cleaner["difference"], abs=1.0)


class TestPaperOnesPairs:
    """MIDT-ECG's measures, beside their obvious forms."""

    @staticmethod
    def pair(n=12):
        real = random_cohort(n, n_times=1000)
        return real, paired(real, random_cohort(n, seed=9, n_times=1000))

    def test_snr_and_rmse_by_hand(self):
        real, synthetic = self.pair()
        x, y = (np.asarray(c.x[:], np.float64) for c in (real, synthetic))
        snr = 10 * np.log10((x**2).sum(-1) / ((x - y) ** 2).sum(-1))
        found = values(paired_measures, real, synthetic)
        assert found["snr_db"] == pytest.approx(snr.mean(), rel=1e-6)
        assert found["rmse_mv"] == pytest.approx(np.sqrt(((x - y) ** 2).mean(-1)).mean(), rel=1e-6)
        pearson = [abs(np.corrcoef(a, b)[0, 1]) for p, q in zip(x, y, strict=True) for a, b in zip(p, q, strict=True)]
        assert found["abs_pearson"] == pytest.approx(np.mean(pearson), rel=1e-6)

    def test_all_zeros_score_0_db_and_beat_another_heart(self):
        real, synthetic = self.pair()
        zeros = replace(synthetic, x=np.zeros_like(synthetic.x))
        silence = evaluate(Comparison(real, zeros), [paired_measures], resamples=0).set_index("key")["value"]
        assert silence["snr_db"] == pytest.approx(0, abs=1e-9)
        assert values(paired_measures, real, synthetic)["snr_db"] < -1
        assert np.isnan(silence["abs_pearson"])

    def test_ssim_of_itself_is_one_and_of_noise_is_small(self):
        rng = np.random.default_rng(0)
        a, b = rng.standard_normal((2, 3, 20, 20)), rng.standard_normal((2, 3, 20, 20))
        assert ssim(a, a) == pytest.approx([1, 1])
        assert np.abs(ssim(a, b)).max() < 0.2

    def test_partners_are_by_name_not_by_place(self):
        real, synthetic = self.pair()
        order = np.random.default_rng(1).permutation(len(real))
        assert values(paired_measures, real, synthetic.select(order)) == pytest.approx(
            values(paired_measures, real, synthetic))  # fmt: skip


class TestDivisions:
    def test_slow_form(self):
        rng = np.random.default_rng(0)
        x = np.concatenate([rng.normal(size=(30, 3)), rng.normal(0.5, 1, (20, 3))])
        kernel = np.exp(-(((x[:, None] - x) ** 2).sum(axis=-1)))
        first = np.stack([np.arange(50) < 30, rng.permutation(50) < 30, rng.permutation(50) < 12], axis=1)

        def apart(rows, others):
            return np.mean([kernel[i, j] for i in rows for j in others if i != j])

        slow = [apart(a, a) + apart(b, b) - 2 * apart(a, b)
                for a, b in ((np.flatnonzero(z), np.flatnonzero(~z)) for z in first.T)]  # fmt: skip
        assert mmd2_of_divisions(kernel, first) == pytest.approx(slow, abs=1e-12)
