"""Sinus rhythm against fibrillation: groups, published rules, entropies by hand, features of known hearts, faults."""

import sys
from dataclasses import replace
from itertools import combinations

import mimic_tree
import numpy as np
import pandas as pd
import pytest
from cohorts import SHARED, random_cohort

from ecglib.errors import InputError
from ecglib.evaluation.sr_af import (
    MIMIC_LEADS,
    af_of,
    at_wrong_rate,
    balanced,
    betrayals,
    better_features,
    entropy_coefficient,
    leak_of_scaling,
    limb_lead_error,
    min_max,
    model_named,
    published_features,
    read_by_position,
    sample_entropy,
    scores,
    select_as_published,
    source_patients,
    sr_or_af,
    transfer_table,
)
from ecglib.signals import LEADS_8, LEADS_12, Cohort, load_cohort, to_eight_leads


@pytest.fixture(scope="module")
def hearts():
    return sr_or_af(load_cohort("virtual", n=260, seed=11, population="teaching", workers=1))


class TestGroups:
    def test_each_record_is_of_one_group(self, hearts):
        af = af_of(hearts)
        assert (hearts.has("AFIB") == (af == 1)).all() and (hearts.has("SR") == (af == 0)).all()
        assert sum(hearts.notes["groups"].values()) == 260

    def test_normal_demands_norm(self):
        codes = [{"SR": 0.0}, {"SR": 0.0, "NORM": 100.0}, {"AFIB": 0.0}, {"AFIB": 0.0, "SR": 0.0}]
        cohort = random_cohort(4, scp_codes=codes)
        assert sr_or_af(cohort).table["ecg_id"].tolist() == [1, 2, 3]
        assert sr_or_af(cohort, normal=True).table["ecg_id"].tolist() == [2, 3]
        assert sr_or_af(cohort).notes["groups"] == {"SR": 2, "AF": 1, "both": 1, "neither": 0}

    def test_one_group_is_refused(self):
        with pytest.raises(InputError, match="0 of atrial fibrillation"):
            sr_or_af(random_cohort(3, scp_codes=[{"SR": 0.0}] * 3))

    def test_balanced(self, hearts):
        af = af_of(balanced(hearts, 1))
        assert af.sum() * 2 == len(af) == 2 * af_of(hearts).sum()
        assert af_of(balanced(hearts, 1, 5)).sum() == 5 and len(balanced(hearts, 1, 5)) == 10
        with pytest.raises(InputError, match="per_group=0"):
            balanced(hearts, 1, 0)

    def test_without_groups(self):
        with pytest.raises(InputError, match="sr_or_af"):
            balanced(random_cohort(3))

    def test_from_mimic(self, tmp_path):
        hearts = load_cohort("virtual", n=120, seed=2, fs=500, population="teaching", workers=1)
        mimic_tree.write_mimic(tmp_path, hearts)
        found = sr_or_af(load_cohort("mimic-iv-ecg", root=tmp_path, fs=500))
        expected = sr_or_af(hearts)
        af = dict(zip(40_000_000 + expected.table["ecg_id"], expected.table["af"], strict=True))
        assert dict(zip(found.table["ecg_id"], found.table["af"], strict=True)) == af
        aside = hearts.table["ecg_id"].to_numpy() + 40_000_000
        row = int(np.flatnonzero(aside == found.table["ecg_id"].iloc[0])[0])
        assert np.abs(found.x[0] - hearts.x[row]).max() < 0.006  # by name, whatever the order on disk

    @pytest.mark.skipif(not SHARED.is_dir(), reason="shared records are not at hand")
    def test_ludb(self):
        groups = sr_or_af(load_cohort("ludb", root=SHARED / "data" / "ludb", workers=1)).notes["groups"]
        assert (groups["SR"], groups["AF"]) == (143, 15)


class TestEntropy:
    @pytest.mark.parametrize("m", [1, 2])
    def test_slow_form(self, m):
        x = np.random.default_rng(m).normal(size=60)
        close = {}
        for length in (m, m + 1):
            pairs = combinations(range(len(x) - m), 2)
            close[length] = sum(all(abs(x[i + k] - x[j + k]) <= 0.2 * x.std() for k in range(length)) for i, j in pairs)
        assert sample_entropy(x, m) == pytest.approx(-np.log(close[m + 1] / close[m]))

    def test_a_wave_repeats_and_noise_does_not(self):
        noise = np.random.default_rng(0).normal(size=1000)
        assert sample_entropy(np.sin(np.arange(1000) / 10)) < 0.3 < 1.8 < sample_entropy(noise)

    def test_flat_has_none(self):
        assert np.isnan(sample_entropy(np.ones(100)))

    @pytest.mark.parametrize("x", [[], [1.0], [1.0, 2.0], [1.0, 2.0, 3.0]])
    def test_too_few_samples_have_none(self, x):
        assert np.isnan(sample_entropy(np.array(x)))

    def test_coefficient(self):
        rng = np.random.default_rng(0)
        sinus, fibrillation = 0.8 + 0.02 * rng.normal(size=(20, 12)), 0.7 + 0.15 * rng.normal(size=(20, 12))
        low, high = (np.array([entropy_coefficient(rr) for rr in rhythm]) for rhythm in (sinus, fibrillation))
        assert np.mean(low[:, None] < high) > 0.97
        assert np.isnan(entropy_coefficient(np.full(5, 0.8)))


class TestPublishedRules:
    def test_counts_are_those_of_the_rules(self, hearts):
        kept, counts = select_as_published(hearts)
        every = counts[counts["rule"] == "all"].set_index("group")
        assert every.loc["AF", "asked"] == af_of(hearts).sum()
        assert every.loc["AF", "kept"] == af_of(kept).sum()
        assert every["kept"].sum() == len(kept)
        assert (counts["kept"] <= counts["asked"]).all()

    def test_regular_fibrillation_is_lost(self, hearts):
        sinus = hearts.select(af_of(hearts) == 0)
        mislabelled = replace(sinus, table=sinus.table.assign(af=1))
        try:
            kept, _ = select_as_published(mislabelled)
        except InputError:
            return
        assert len(kept) < 0.2 * len(sinus)

    def test_no_lead_ii(self, hearts):
        eight = replace(hearts, x=to_eight_leads(hearts.x), leads=LEADS_8)
        with pytest.raises(InputError, match="lead II"):
            select_as_published(eight)

    def test_features_of_hearts_and_of_a_flat_line(self, hearts):
        pytest.importorskip("neurokit2", reason="NeuroKit2 is not installed: pip install 'ecglib[second-paper]'")
        few = balanced(hearts).select(np.arange(4))
        x = few.x.copy()
        x[3] = 0
        found = published_features(replace(few, x=x), workers=1)
        truth = few.table["heart_rate"].to_numpy()
        assert found["heart_rate"][:3].to_numpy() == pytest.approx(truth[:3], rel=0.15)
        assert found.iloc[3].isna().all()

    def test_without_neurokit(self, hearts, monkeypatch):
        monkeypatch.setitem(sys.modules, "neurokit2", None)
        with pytest.raises(InputError, match=r"second-paper"):
            published_features(hearts)


class TestBetterFeatures:
    def test_each_tells_fibrillation(self, hearts):
        table, af = better_features(hearts), af_of(hearts).astype(bool)
        medians = table[af].median() - table[~af].median()
        assert (medians[["rr_cv", "rmssd_over_rr", "entropy", "f_power"]] > 0).all() and medians["p_alike"] < -0.3

    def test_eight_leads_and_flat(self, hearts):
        few = hearts.select(np.arange(3))
        eight = replace(few, x=to_eight_leads(few.x), leads=LEADS_8)
        assert better_features(eight).to_numpy() == pytest.approx(better_features(few).to_numpy(), rel=1e-3)
        assert better_features(replace(few, x=np.zeros_like(few.x))).isna().all().all()


class TestTransfer:
    @pytest.fixture(scope="class")
    @staticmethod
    def sets(hearts):
        af = np.flatnonzero(af_of(hearts))
        sr = np.flatnonzero(1 - af_of(hearts))
        part = [np.concatenate([af[k::3], sr[k : 60 : 3]]) for k in range(3)]
        names = ("real_train", "real_test", "synthetic")
        sets = {name: hearts.select(rows) for name, rows in zip(names, part, strict=True)}
        test = sets["real_test"]
        apart = ~test.table["patient_id"].isin(sets["real_train"].table["patient_id"])
        return sets | {"real_test": test.select(apart)}

    def test_real_hearts_stand_in_for_synthetic_ones(self, sets):
        table = transfer_table(sets, {"better": better_features})
        assert set(table["direction"]) == {"TRTR", "TSTR", "TRTS"} and len(table) == 12
        assert (table["macro_f1"] > 0.9).all()
        assert table["macro_f1"].between(table["macro_f1_low"], table["macro_f1_high"]).all()

    def test_intervals_of_trts_are_over_patients_asked_for(self, sets):
        """Forty copies of the wishes of six patients are six patients, not 240."""
        test = sets["synthetic"]
        few = [*np.flatnonzero(af_of(test))[:3], *np.flatnonzero(1 - af_of(test))[:3]]
        asked, again = test.select(few), np.repeat(np.arange(6), 40)
        wishes = asked.table.iloc[again].reset_index(drop=True)
        wishes = wishes.assign(source_ecg_id=wishes["ecg_id"], ecg_id=np.arange(240), patient_id=np.arange(240))
        many = Cohort(asked.x[:][again], asked.fs, asked.leads, wishes)
        people = source_patients(many, asked)
        assert set(people) == set(asked.table["patient_id"].astype(str)) and len(people) == 240
        assert len(set(source_patients(many, None))) == 6 and source_patients(many, None)[0].startswith("source ")
        strange = wishes.assign(source_ecg_id=[-1, *wishes["source_ecg_id"][1:]])
        numbered = source_patients(replace(many, table=strange), asked)  # one unknown source changes no other
        assert set(numbered) - {"source -1"} <= set(asked.table["patient_id"].astype(str))
        untold = source_patients(replace(many, table=wishes.drop(columns="source_ecg_id")), asked)
        assert all(who.startswith("source ") for who in untold)  # their own numbers are no patients'
        truth = af_of(many)
        called = np.where(again == 1, 1 - truth, truth)  # one patient's are all wrong
        widths = [scores(truth, called, who)["macro_f1_high"] - scores(truth, called, who)["macro_f1_low"]
                  for who in (people, np.arange(240))]
        assert widths[0] > 3 * widths[1]

    def test_labels_at_random_teach_nothing(self, sets):
        rng = np.random.default_rng(0)
        wrong = sets["synthetic"]
        wrong = replace(wrong, table=wrong.table.assign(af=rng.permutation(wrong.table["af"].to_numpy())))
        table = transfer_table(sets | {"synthetic": wrong}, {"better": better_features})
        assert table[table["direction"] == "TSTR"]["macro_f1"].median() < 0.75

    def test_shared_patients_are_refused(self, sets):
        with pytest.raises(InputError, match="patients are in real_train and in real_test"):
            transfer_table(sets | {"real_test": sets["real_train"]}, {"better": better_features})

    def test_missing_set_and_small_set(self, sets):
        with pytest.raises(InputError, match="no synthetic"):
            transfer_table({k: v for k, v in sets.items() if k != "synthetic"}, {"better": better_features})
        with pytest.raises(InputError, match="at least 5 of each"):
            transfer_table(sets | {"synthetic": sets["synthetic"].select([0, 1])}, {"better": better_features})

    def test_scores_by_hand(self):
        truth, found = np.array([1, 1, 0, 0, 0]), np.array([1, 0, 0, 0, 1])
        result = scores(truth, found, np.arange(5))
        assert result["af_f1"] == pytest.approx(0.5)
        assert result["macro_f1"] == pytest.approx((0.5 + 2 / 3) / 2)

    def test_interval_is_over_patients(self):
        rng = np.random.default_rng(0)
        truth, wrong = np.arange(200) % 2, rng.random(200) < 0.2
        alone = scores(truth, np.where(wrong, 1 - truth, truth), np.arange(200))
        ten = np.repeat(np.arange(20), 10)  # ten equal records a patient say no more than one
        first = np.repeat(np.arange(20) * 9, 10)
        clustered = scores(truth[first], np.where(wrong, 1 - truth, truth)[first], ten)
        width = [one["macro_f1_high"] - one["macro_f1_low"] for one in (alone, clustered)]
        assert width[1] > 2 * width[0]

    def test_real_against_real_is_not_betrayed_and_noise_is(self, sets):
        one, other = sets["real_train"], sets["synthetic"]
        auroc, _ = betrayals(one, other, better_features)
        assert auroc < 0.75
        rng = np.random.default_rng(0)
        noisy = replace(other, x=other.x + rng.normal(0, 0.1, other.x.shape).astype(np.float32))
        auroc, importance = betrayals(one, noisy, better_features)
        assert auroc > 0.8 and set(importance.index[:2]) & {"f_power", "p_alike"}

    def test_fewer_patients_than_folds(self, hearts):
        two = replace(hearts, table=hearts.table.assign(patient_id=np.arange(len(hearts)) % 2)).select(np.arange(10))
        made = replace(two, table=two.table.assign(source_ecg_id=two.table["ecg_id"], ecg_id=np.arange(10) + 10**6))
        with pytest.raises(InputError, match="folds=5 with records of 2 patients"):
            betrayals(two, made, better_features)

    def test_unknown_model(self):
        with pytest.raises(InputError, match="random forest"):
            model_named("random tree")


class TestDefects:
    def test_order_of_mimic(self, hearts):
        wrong = read_by_position(np.asarray(hearts.x[:5]))
        assert np.array_equal(wrong[:, LEADS_12.index("aVL")], hearts.x[:5, LEADS_12.index("aVF")])
        assert np.array_equal(read_by_position(wrong), hearts.x[:5]) and set(MIMIC_LEADS) == set(LEADS_12)
        assert limb_lead_error(np.asarray(hearts.x[:5])) < 1e-3 < 0.3 < limb_lead_error(wrong)

    def test_min_max(self, hearts):
        scaled = min_max(np.asarray(hearts.x[:5]))
        assert scaled.min() == 0 and scaled.max() == 1
        assert limb_lead_error(scaled) > 0.1
        assert np.array_equal(min_max(np.ones((1, 2, 5))), np.zeros((1, 2, 5)))

    def test_wrong_rate(self):
        right = pd.DataFrame({"qt_ms": [400.0], "heart_rate": [60.0], "p_mv": [0.1]})
        wrong = at_wrong_rate(right, 100, 500)
        assert wrong.iloc[0].tolist() == pytest.approx([80, 300, 0.1])
        assert right["qt_ms"].iloc[0] == 400

    def test_leak(self):
        rng = np.random.default_rng(0)
        truth = np.arange(60) % 2
        values = rng.normal(size=(60, 3)) + truth[:, None]
        found = leak_of_scaling(values, truth, np.arange(60), n_train=20, rounds=20)
        assert found.shape == (20, 2) and np.isfinite(found).all() and ((found >= 0) & (found <= 1)).all()
        assert (found[:, 0] != found[:, 1]).any()
        for n_train in (4, 60):  # fewer than five have no five neighbours; with all, nobody is left to test
            with pytest.raises(InputError, match=f"n_train={n_train} "):
                leak_of_scaling(values, truth, np.arange(60), n_train=n_train)
