"""One battery over every METRICS tuple: what a metric promises whatever it measures."""

from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest

from ecglib import Config
from ecglib.diffusion import Generator, network_of
from ecglib.diffusion.batches import describe_signals
from ecglib.errors import InputError
from ecglib.evaluation import CORRUPTIONS, Comparison, clinical, evaluate, fidelity, privacy, response_card, rhythm
from ecglib.evaluation.classifier import Classifier, train_classifier
from ecglib.evaluation.measure import name_of
from ecglib.signals import LEADS_8, Cohort, load_cohort, to_eight_leads

FEW, MANY = 110, 244  # enough for all metrics but those of features, which want ten records a feature
OF_FEATURES = ("frechet_distance", "kid", "mmd", "prdc")


@cache
def virtual(name: str = "") -> tuple[Cohort, Cohort]:
    """Two sets of records of different patients, and of equal size, as large as a metric needs."""
    if name not in OF_FEATURES:
        return tuple(cohort.select(np.arange(FEW)) for cohort in virtual("kid"))
    both = load_cohort("virtual", n=2 * MANY + 60, seed=5, fs=100)
    patients = both.table["patient_id"].to_numpy()
    cut = np.searchsorted(patients, patients[MANY], side="left")  # patients are whole, and in order
    return both.select(np.arange(cut)), both.select(np.arange(len(both) - cut, len(both)))


@cache
def classifier() -> Classifier:
    real, other = virtual("kid")
    return train_classifier(other, real, epochs=1, progress=False)


@cache
def metrics() -> dict:
    every = (*fidelity.METRICS, *fidelity.feature_metrics(classifier()), *rhythm.METRICS, *clinical.METRICS)
    return {name_of(metric): metric for metric in every}


NAMES = sorted(name_of(metric) for metric in (*fidelity.METRICS, *rhythm.METRICS, *clinical.METRICS))
NAMES += OF_FEATURES


def paired(real: Cohort, synthetic: Cohort) -> Cohort:
    source = np.resize(real.table["ecg_id"].to_numpy(), len(synthetic))
    return replace(synthetic, table=synthetic.table.assign(source_ecg_id=source))


def compare(metric, real: Cohort, synthetic: Cohort) -> dict[str, float]:
    return metric(Comparison(real, synthetic))


# what real records against themselves give: key → value, or a range
IDENTITY = {
    "paired_measures": {"snr_db": (90, 100), "rmse_mv": 0, "abs_pearson": 1, "ssim": 1, "mel_l1": 0},
    "two_sample": {"auc": (0.0, 0.6)}, "kid": {"kid": (-0.1, 0)}, "mmd": {"mmd2": (-0.1, 0), "p": (0.5, 1)},
    "prdc": {"precision": 1, "recall": 1, "density": (1, 1.5), "coverage": 1},
    "asked_rate": {"mae": (0, 5), "bias": (-3, 3)}, "kept_promises": {"SR": (0.9, 1)},
    "age_and_sex": {"age_mae": (0, 15), "sex_auc": (0.6, 1)},
}  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_identity(name):
    real, _ = virtual(name)
    values = compare(metrics()[name], real, paired(real, real))
    expected = IDENTITY.get(name, dict.fromkeys(values, 0))
    for key, value in expected.items():
        low, high = value if isinstance(value, tuple) else (value, value)
        assert low - 1e-6 <= values[key] <= high + 1e-6, (key, values[key])


@pytest.mark.parametrize("name", NAMES)
def test_order_of_records_is_nothing(name):
    real, other = virtual(name)
    other = paired(real, other)
    rng = np.random.default_rng(0)
    metric = metrics()[name]
    values = compare(metric, real, other)
    drawn = name in ("two_sample", "mmd")  # folds and permutations are drawn along the order: nearly the same
    tolerance = 0.1 if drawn else 1e-6
    shuffled = compare(metric, real.select(rng.permutation(len(real))), other.select(rng.permutation(len(other))))
    assert shuffled == pytest.approx(values, abs=tolerance, nan_ok=True)


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_gives_the_same_table(name):
    real, other = virtual(name)
    comparison = Comparison(real, paired(real, other))
    first, second = (evaluate(comparison, [metrics()[name]], seed=3, resamples=3) for _ in range(2))
    assert first.equals(second)


@pytest.mark.parametrize("name", NAMES)
def test_few_records_are_refused_with_a_reason(name):
    real, other = (cohort.select(np.arange(6)) for cohort in virtual())
    table = evaluate(Comparison(real, paired(real, other)), [metrics()[name]], resamples=0)
    assert table["value"].isna().all()
    assert table["reason"].str.startswith("not computed because").all()


@pytest.mark.parametrize("name", NAMES)
def test_every_value_has_n_and_a_documented_key(name):
    real, other = virtual(name)
    table = evaluate(Comparison(real, paired(real, other)), [metrics()[name]], resamples=0)
    assert np.isfinite(table["value"]).all()
    assert (table["n"] >= 8).all() and (table["n"] <= len(real)).all()
    assert (metrics()[name].__doc__ or "").strip()


@cache
def audited(n: int = 60) -> Comparison:
    """Members, strangers, reference and released records, all of different patients, and an untrained generator."""
    members = load_cohort("virtual", n=n, seed=5, population="teaching", workers=1)
    real, held_out, other = (privacy.more_patients(members, n, seed, first_id=1000 * seed) for seed in (6, 7, 8))
    source = np.concatenate([members.table["ecg_id"][: n // 2], real.table["ecg_id"][: n // 2]])
    released = replace(other, table=other.table.assign(source_ecg_id=np.resize(source, n)))
    config = Config.preset("smoke").override({"network.wiener": 0.0, "network.clock": False})
    generator = Generator(config, describe_signals(config, members), network_of(config, 8))
    return Comparison(real, released, train=members, held_out=held_out, generator=generator)


@pytest.mark.parametrize("metric", privacy.METRICS, ids=name_of)
class TestPrivacy:
    """The same promises of metrics that need members, strangers and a reference."""

    def test_order_of_records_is_nothing(self, metric):
        c, rng = audited(), np.random.default_rng(0)
        mixed = {role: getattr(c, role).select(rng.permutation(len(getattr(c, role))))
                 for role in ("real", "synthetic", "train")}  # fmt: skip
        again = metric(Comparison(**mixed, held_out=c.held_out, generator=c.generator))
        assert again == pytest.approx(metric(c), abs=2e-3, nan_ok=True)  # a network's batches differ in the last digit

    def test_the_same_seed_gives_the_same_table(self, metric):
        first, second = (evaluate(audited(), [metric], seed=3, resamples=3, floor=False) for _ in range(2))
        assert first.equals(second)

    def test_every_value_has_n_or_a_reason(self, metric):
        table = evaluate(audited(), [metric], resamples=0, floor=False)
        known = table["value"].notna()
        assert known.any() and (table.loc[known, "n"] >= 8).all()
        assert table.loc[~known, "reason"].str.startswith("not computed because").all()
        assert (metric.__doc__ or "").strip() and metric.interval == "subsample"

    def test_missing_roles_and_few_records_are_refused_with_a_reason(self, metric):
        c = audited()
        few = {role: getattr(c, role).select(np.arange(5)) for role in ("real", "synthetic", "train", "held_out")}
        for comparison in (Comparison(c.real, c.synthetic), Comparison(**few, generator=c.generator)):
            table = evaluate(comparison, [metric], resamples=0)
            known = table[table["value"].notna()]
            assert known["key"].isin(["largest"]).all()  # a correlation is one, however few there are
            assert table.loc[table["value"].isna(), "reason"].str.startswith("not computed because").all()

    def test_the_floor_between_real_records_is_refused_not_invented(self, metric):
        table = evaluate(audited(), [metric], resamples=0)
        assert table["floor"].isna().all()
        assert table.loc[table["value"].notna(), "reason"].str.contains("floor not computed because").all()


class TestRefusals:
    """A comparison refuses these before any metric sees them (faults 48)."""

    def test_nan(self):
        real, other = virtual()
        x = np.array(other.x[:])
        x[3, 2, 10] = np.nan
        with pytest.raises(InputError, match=r"finite|NaN"):
            Comparison(real, replace(other, x=x))

    def test_another_sampling_rate(self):
        real, other = virtual()
        with pytest.raises(InputError, match="fs=200 Hz and real has fs=100 Hz"):
            Comparison(real, replace(other, fs=200))

    def test_other_leads(self):
        real, other = virtual()
        eight = replace(other, x=to_eight_leads(np.asarray(other.x[:])), leads=LEADS_8)
        with pytest.raises(InputError, match="leads"):
            Comparison(real, eight)

    def test_leads_in_another_order(self):
        real, other = virtual()
        swapped = np.asarray(other.x[:])[:, [0, 1, 2, 3, 5, 4, *range(6, 12)]]
        with pytest.raises(InputError, match="reorder"):
            Comparison(real, replace(other, x=np.ascontiguousarray(swapped)))

    def test_z_scored(self):
        real, other = virtual()
        x = np.asarray(other.x[:], np.float64)
        x = (x - x.mean(axis=-1, keepdims=True)) / x.std(axis=-1, keepdims=True)
        with pytest.raises(InputError, match="z-scored"):
            Comparison(real, replace(other, x=x.astype(np.float32)))


@cache
def card() -> dict[tuple[str, str, str], tuple[float, float]]:
    """(corruption, metric, key) → (value, floor)."""
    few = ("ilce", "ilce_distributional", "log_spectral_distance", "template_snr", "two_sample", "interval_shifts",
           "implausibility")  # fmt: skip
    tables = [response_card(virtual(names[0])[0], [metrics()[name] for name in names])
              for names in (few, ("kid", "prdc"))]  # fmt: skip
    rows = pd.concat(tables).itertuples()
    return {(row.corruption, row.metric, row.key): (row.value, row.floor) for row in rows}


class TestResponseCard:
    """What each metric sees, and what it cannot: the signs of its card."""

    def test_every_corruption_is_on_it(self):
        assert {key[0] for key in card()} == {corrupt.__name__ for corrupt in CORRUPTIONS}

    @pytest.mark.parametrize(("corruption", "metric", "key"), [
        ("white_noise", "log_spectral_distance", "mean"), ("smoothing_90_ms", "log_spectral_distance", "mean"),
        ("gain_2", "log_spectral_distance", "mean"), ("near_zeros", "log_spectral_distance", "mean"),
        ("leads_mixed", "ilce", "mean"), ("ra_la_swap", "ilce", "mean"), ("leads_mixed", "ilce_distributional", "mean"),
        ("mode_collapse", "ilce_distributional", "mean"), ("smoothing_90_ms", "interval_shifts", "qrs_ms"),
        ("gain_2", "interval_shifts", "r_mv"), ("white_noise", "two_sample", "auc"), ("gain_2", "two_sample", "auc"),
        ("smoothing_90_ms", "two_sample", "auc"), ("time_reversal", "two_sample", "auc"),
        ("smoothing_90_ms", "implausibility", "soft"), ("gain_2", "kid", "kid"), ("mode_collapse", "kid", "kid"),
    ])  # fmt: skip
    def test_is_seen(self, corruption, metric, key):
        value, floor = card()[corruption, metric, key]
        assert value > 1.5 * max(np.nan_to_num(floor), 0)  # no floor for features: half of the records are too few

    @pytest.mark.parametrize(("corruption", "metric", "key"), [
        ("gain_2", "ilce", "mean"), ("time_reversal", "ilce", "mean"), ("phase_randomisation", "ilce", "mean"),
        ("time_reversal", "log_spectral_distance", "mean"), ("leads_mixed", "log_spectral_distance", "mean"),
        ("gain_2", "template_snr", "distance"),
    ])  # fmt: skip
    def test_is_not_seen(self, corruption, metric, key):
        value, floor = card()[corruption, metric, key]
        assert value <= floor

    def test_noise_lowers_template_snr(self):
        assert card()["white_noise", "template_snr", "difference"][0] < -3

    def test_collapse_takes_recall_and_coverage(self):
        assert card()["mode_collapse", "prdc", "coverage"][0] < 0.1
        assert card()["exact_copies", "prdc", "coverage"][0] == 1
