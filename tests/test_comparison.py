"""Comparison and evaluate: what is refused, what is computed once, and what interval and reason say."""

import json
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest
from cohorts import random_cohort

from ecglib.errors import InputError
from ecglib.evaluation import Comparison, NotComputable, evaluate, interval
from ecglib.evaluation.measure import COLUMNS, resampled_rows
from ecglib.signals import LEADS_8, LEADS_12


def amplitude(cohort):
    return cohort.x[:].std(axis=(1, 2)).astype(float)


def amplitude_gap(c):
    """Difference of mean amplitudes, real less synthetic."""
    return {"mean": c.terms("real", amplitude).mean() - c.terms("synthetic", amplitude).mean()}


def with_source(cohort, source):
    return replace(cohort, table=cohort.table.assign(source_ecg_id=np.asarray(source)))


@pytest.fixture(scope="module")
def real():
    return random_cohort(40)


@pytest.fixture(scope="module")
def synthetic(real):
    return with_source(random_cohort(40, seed=1, first_id=1001), real.table["ecg_id"])


class TestRefusals:
    @pytest.mark.parametrize(
        ("other", "message"),
        [
            ({"fs": 500}, "fs=500 Hz and real has fs=100"),
            ({"n_times": 400}, "400 samples a record and real has 500"),
            ({"leads": LEADS_8}, "complete eight to twelve"),
        ],
    )
    def test_unlike_cohorts(self, real, other, message):
        with pytest.raises(InputError, match=message):
            Comparison(real, random_cohort(10, **other))
        with pytest.raises(InputError, match="held_out"):
            Comparison(real, real, held_out=random_cohort(10, **other))

    def test_leads_in_another_order_by_name(self, real):
        order = [0, 1, 2, 3, 5, 4, *range(6, 12)]
        swapped = replace(real, x=real.x[:, order], leads=tuple(LEADS_12[k] for k in order))
        with pytest.raises(InputError, match="one order"):
            Comparison(real, swapped)

    def test_leads_in_another_order_under_wrong_names(self, real):
        swapped = replace(real, x=real.x[:, [0, 1, 2, 3, 5, 4, *range(6, 12)]])  # MIMIC-IV-ECG's order
        with pytest.raises(InputError, match="aVR, aVF, aVL"):
            Comparison(real, swapped)

    def test_scaled_leads(self, real):
        x = real.x
        z = (x - x.mean(-1, keepdims=True)) / x.std(-1, keepdims=True)
        with pytest.raises(InputError, match="synthetic looks z-scored"):
            Comparison(real, replace(real, x=z))
        unit = (x - x.min(-1, keepdims=True)) / np.ptp(x, axis=-1, keepdims=True)
        with pytest.raises(InputError, match="min–max"):
            Comparison(real, replace(real, x=unit))

    def test_empty_or_no_cohort(self, real):
        with pytest.raises(InputError, match="synthetic holds no records"):
            Comparison(real, real.select([]))
        with pytest.raises(InputError, match="train is a ndarray"):
            Comparison(real, real, train=real.x)

    def test_nan_is_refused(self, real):
        x = real.x.copy()
        x[3, 2, 100] = np.nan
        with pytest.raises(InputError, match="NaN"):
            Comparison(real, replace(real, x=x))

    @pytest.mark.parametrize("metrics", [[], amplitude_gap, ["ilce"], [amplitude_gap, partial(amplitude_gap)]])
    def test_metrics(self, real, metrics):
        with pytest.raises(InputError, match="metrics"):
            evaluate(Comparison(real, real), metrics)

    def test_what_a_metric_gives(self, real):
        with pytest.raises(InputError, match="expected a dict"):
            evaluate(Comparison(real, real), [lambda c: 3.0])
        with pytest.raises(InputError, match="n_records on the first axis"):
            evaluate(Comparison(real, real), [lambda c: {"a": c.terms("real", lambda cohort: np.zeros(3))}])


class TestTerms:
    def test_computed_once(self, real, synthetic):
        calls = []

        def counted(cohort):
            calls.append(len(cohort))
            return amplitude(cohort)

        def gap(c):
            return {"mean": c.terms("real", counted).mean() - c.terms("synthetic", counted).mean()}

        evaluate(Comparison(real, synthetic), [gap], resamples=50)
        assert calls == [40, 40]  # 50 draws and 10 halvings asked for no more

    def test_rows_and_tables_agree(self, real, synthetic):
        view = Comparison(real, synthetic).resampled({"real": np.array([5, 5, 2])})
        assert view.n("real") == 3 and view.n("synthetic") == 40
        np.testing.assert_array_equal(view.terms("real", amplitude), amplitude(real)[[5, 5, 2]])
        assert view.table("real")["ecg_id"].tolist() == [6, 6, 3]

    def test_pairs_follow_the_source(self, real, synthetic):
        shuffled = synthetic.select(np.random.default_rng(0).permutation(40))
        first, second = Comparison(real, shuffled).paired_terms(amplitude)
        back = np.argsort(shuffled.table["source_ecg_id"])
        np.testing.assert_array_equal(first[back], amplitude(real))
        np.testing.assert_array_equal(second[back], amplitude(synthetic))

    def test_pairs_without_a_partner_are_left_out(self, real, synthetic):
        partly = with_source(synthetic, [np.nan, 9999, *range(3, 41)])
        assert len(Comparison(real, partly).paired_terms(amplitude)[0]) == 38

    def test_unknown_role(self, real):
        with pytest.raises(InputError, match="held_out"):
            Comparison(real, real).terms("heldout", amplitude)


class TestRows:
    def test_missing_role_gives_a_reason(self, real):
        def leak(c):
            return {"mean": c.terms("train", amplitude).mean()}

        table = evaluate(Comparison(real, real), [leak, amplitude_gap], resamples=5)
        assert list(table.columns) == COLUMNS
        assert np.isnan(table.value[0]) and np.isnan(table.floor[0])
        assert table.reason[0] == "not computed because it needs the role train, which this comparison does not have"
        assert table.value[1] == 0

    def test_nan_stays_nan(self, real):
        table = evaluate(Comparison(real, real), [lambda c: {"a": np.nan, "b": 1.0}], resamples=0)
        assert np.isnan(table.value[0]) and "not computed because" in table.reason[0]
        assert table.value[1] == 1

    def test_too_small_n(self, real):
        def greedy(c):
            c.at_least(1000)
            return {}

        reason = evaluate(Comparison(real, real), [greedy]).reason[0]
        assert reason == "not computed because it needs at least 1000 records and real has 40"

    def test_notes_and_counts(self, real):
        def per_class(c):
            c.note("3 records left out", n={"NORM": 26})
            return {"NORM": float(c.n("real")), "IMI": 2.0}

        table = evaluate(Comparison(real, real), [per_class], resamples=0).set_index("key")
        assert table.n.to_dict() == {"NORM": 26, "IMI": 40}
        assert table.reason.str.startswith("3 records left out").all()

    def test_unequal_n_is_said(self, real, synthetic):
        table = evaluate(Comparison(real, synthetic.select(range(20))), [amplitude_gap], resamples=0)
        assert table.n[0] == 20 and "40 real against 20 synthetic records" in table.reason[0]


class TestOtherRoles:
    """`instead` changes a role and keeps what does not depend on it."""

    def test_terms_are_kept_and_what_depends_on_the_role_is_not(self, real, synthetic):
        calls = []

        def counted(cohort):
            calls.append(len(cohort))
            return amplitude(cohort)

        def of_train(c):
            return {"real": c.terms("real", counted) + c.terms("train", counted).mean()}

        def of_real_alone(c):
            calls.append("alone")
            return {"real": c.terms("real", counted)}

        first = Comparison(real, synthetic, train=random_cohort(30, seed=2, first_id=2001))
        other = first.instead(train=random_cohort(30, seed=3, first_id=3001))
        values = [c.once(of_train)["real"] for c in (first, other, first)]
        assert calls == [40, 30, 30]  # real once, each train once
        assert (values[0] == values[2]).all() and not np.allclose(values[0], values[1])
        assert [len(c.once(of_real_alone, "real")["real"]) for c in (first, other)] == [40, 40]
        assert calls.count("alone") == 1
        assert other.generator is None and first.instead(generator="g").generator == "g"

    def test_the_other_cohort_is_checked(self, real, synthetic):
        with pytest.raises(InputError, match="fs=500"):
            Comparison(real, synthetic).instead(train=random_cohort(10, fs=500))


def test_a_metric_may_refuse_a_key_and_know_an_exact_interval(real, synthetic):
    def partly(c):
        c.note(refused={"lost": "nobody was asked"}, exact={"share": (0.25, 0.75)}, n={"share": 12})
        return {"share": 0.5, "lost": np.nan, "plain": 1.0 + 0 * c.n("real")}

    table = evaluate(Comparison(real, synthetic), [partly], resamples=10).set_index("key")
    assert table.loc["share", ["ci_low", "ci_high", "n"]].tolist() == [0.25, 0.75, 12]
    assert np.isnan(table.loc["lost", "value"])
    assert table.loc["lost", "reason"] == "not computed because nobody was asked"
    assert table.loc["plain", "ci_low"] == 1


class TestInterval:
    def test_same_seed_same_table(self, real, synthetic):
        first, again = (evaluate(Comparison(real, synthetic), [amplitude_gap], seed=3) for _ in range(2))
        pd.testing.assert_frame_equal(first, again)
        other = evaluate(Comparison(real, synthetic), [amplitude_gap], seed=4)
        assert other.ci_low[0] != first.ci_low[0] and other.value[0] == first.value[0]

    def test_other_metrics_change_nothing(self, real, synthetic):
        def other(c):
            return {"n": float(c.n("real"))}

        alone = evaluate(Comparison(real, synthetic), [amplitude_gap])
        beside = evaluate(Comparison(real, synthetic), [other, amplitude_gap])
        pd.testing.assert_frame_equal(alone, beside.iloc[[1]].reset_index(drop=True))

    def test_width_of_a_mean_is_that_of_theory(self):
        real, fake = random_cohort(200, n_times=50), random_cohort(200, seed=1, n_times=50, first_id=1001)
        row = evaluate(Comparison(real, fake), [amplitude_gap], resamples=1000).iloc[0]
        error = np.sqrt(amplitude(real).var() / 200 + amplitude(fake).var() / 200)
        assert row.ci_high - row.ci_low == pytest.approx(2 * 1.96 * error, rel=0.1)
        assert row.ci_low < row.value < row.ci_high

    def test_half_samples_have_the_same_width(self):
        def by_halves(c):
            return amplitude_gap(c)

        def whole_cohorts(c):  # reads no terms: repeated rows would not reach it
            return {"mean": float(amplitude(c.real).mean() - amplitude(c.synthetic).mean())}

        by_halves.interval = "subsample"
        comparison = Comparison(random_cohort(200, n_times=50), random_cohort(200, seed=1, n_times=50, first_id=1001))
        table = evaluate(comparison, [amplitude_gap, by_halves], resamples=400)
        width = table.ci_high - table.ci_low
        assert width[1] == pytest.approx(width[0], rel=0.15)
        table = evaluate(comparison, [by_halves, whole_cohorts], resamples=30)
        numbers = ["value", "ci_low", "ci_high", "floor"]
        np.testing.assert_allclose(table[numbers].iloc[0].astype(float), table[numbers].iloc[1].astype(float))

    def test_patients_are_the_unit(self):
        def doubled(cohort, patients):  # every record twice; two records of one patient, or of two
            table = pd.concat([cohort.table, cohort.table], ignore_index=True)
            table = table.assign(ecg_id=table["ecg_id"] + 500 * (np.arange(len(table)) >= len(cohort)))
            table["patient_id"] = table["patient_id"] if patients else table["ecg_id"]
            return replace(cohort, x=np.concatenate([cohort.x, cohort.x]), table=table)

        real, fake = random_cohort(60), random_cohort(60, seed=1, first_id=2001)
        tables = [evaluate(Comparison(doubled(real, by), doubled(fake, by)), [amplitude_gap]) for by in (True, False)]
        by_patient, by_record = (float((table.ci_high - table.ci_low).iloc[0]) for table in tables)
        assert by_patient == pytest.approx(by_record * np.sqrt(2), rel=0.2)

    def test_synthetic_records_go_with_their_source(self, real, synthetic):
        patients = Comparison(real, synthetic).patients()
        np.testing.assert_array_equal(patients["real"], patients["synthetic"])
        for rows in resampled_rows(patients, "bootstrap", 0, 3):
            np.testing.assert_array_equal(rows["real"], rows["synthetic"])
        identity = evaluate(Comparison(real, with_source(real, real.table["ecg_id"])), [amplitude_gap])
        assert identity.ci_low[0] == identity.ci_high[0] == 0  # a copy's error is 0 for every draw of patients

    def test_copies_of_a_source_go_together(self, real):
        train = random_cohort(40, per_patient=2, first_id=501)
        copies = with_source(random_cohort(8, first_id=1001), [1, 1, 501, 502, 503, 9999, 9999, np.nan])
        patients = Comparison(real, copies, train=train).patients()
        assert (patients["synthetic"][:2] == patients["real"][0]).all()
        np.testing.assert_array_equal(patients["synthetic"][2:5], patients["train"][:3])
        unknown = patients["synthetic"][5:]
        assert unknown[0] == unknown[1] != unknown[2] and not set(unknown) & {*patients["real"], *patients["train"]}

    def test_sizes_are_kept_where_patients_differ(self):
        for how, sizes in (("bootstrap", (30, 50)), ("subsample", (15, 25))):
            for rows in resampled_rows({"real": np.arange(30), "synthetic": np.arange(30, 80)}, how, 0, 3):
                assert (len(rows["real"]), len(rows["synthetic"])) == sizes

    def test_few_patients_give_no_interval(self):
        few = random_cohort(40, per_patient=10)
        row = evaluate(Comparison(few, random_cohort(40, first_id=101)), [amplitude_gap]).iloc[0]
        assert np.isnan(row.ci_low) and "no interval: 4 patients" in row.reason

    def test_key_absent_in_most_draws(self, real):
        def sometimes(c):
            return {"whole": 1.0} if len(np.unique(c.table("real")["ecg_id"])) == 40 else {"other": 1.0}

        row = evaluate(Comparison(real, real), [sometimes], resamples=20).iloc[0]
        assert row.value == 1 and np.isnan(row.ci_low) and "too few draws" in row.reason

    def test_around_the_value(self):
        draws = np.array([4.0, 5.0, 6.0])
        assert interval(1.0, draws) == pytest.approx((0.05, 1.95))
        assert interval(0.5, draws) == pytest.approx((0.0, 1.45))  # never negative: cut at 0
        assert np.isnan(interval(1.0, np.array([1.0, np.nan]))).all()


def test_folder_holds_table_and_manifest(real, synthetic, tmp_path):
    table = evaluate(Comparison(real, synthetic), [amplitude_gap], seed=7, resamples=20, folder=tmp_path / "e")
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "e" / "evaluation.csv", keep_default_na=True), table)
    manifest = json.loads((tmp_path / "e" / "manifest.json").read_text())
    assert manifest["kind"] == "evaluation" and manifest["seed"] == 7 and manifest["resamples"] == 20
    assert manifest["definitions"] == {"amplitude_gap": "Difference of mean amplitudes, real less synthetic."}
    assert manifest["cohorts"]["synthetic"]["n_records"] == 40 and len(manifest["cohorts"]["real"]["sha256"]) == 64


def test_not_computable_is_no_input_error():
    assert not issubclass(NotComputable, InputError)  # a bad argument stops; a metric without its role does not
