"""MiniRocket, curation, xresnet1d: features are what the formula says, verdicts are compared with what was asked."""

import subprocess
import sys
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

from ecglib.errors import InputError
from ecglib.evaluation.classifier import CLASSES, targets
from ecglib.evaluation.utility import Rocket, RocketClassifier, copy_features, faithful, features_of, nearest_auc
from ecglib.evaluation.utility.linear import macro_auroc
from ecglib.evaluation.utility.xresnet import XResNet1d, train_xresnet
from ecglib.signals import LEADS_8, Cohort, load_cohort, superclasses, to_eight_leads

sktime = pytest.importorskip("sktime", reason="the extra ecglib[utility] is not installed")


@cache
def cohort() -> Cohort:
    return load_cohort("virtual", n=320, seed=4, population="teaching", workers=1)


@cache
def rocket() -> Rocket:
    return Rocket(cohort().split()[1], n_kernels=168)


class TestRocket:
    def test_features_are_shares_of_time_and_do_not_depend_on_neighbours(self):
        some = cohort().select(np.arange(6))
        x = rocket().features(some)
        assert x.dtype == np.float32 and x.shape == (6, 168) and 0 <= x.min() and x.max() <= 1
        assert np.array_equal(rocket().features(some.select([3]))[0], x[3])

    def test_ppv_is_the_share_of_time_above_the_threshold(self):
        """The first kernel, slowly: weights −1 but for three 2s, at its dilation, of its leads, padded or not."""
        some = cohort().select(np.arange(4))
        channels, which, dilations, _, biases = (np.asarray(p) for p in rocket()._transform.parameters[:5])
        x = np.asarray(some.x[:], np.float32)[:, [LEADS.index(name) for name in LEADS_8]]
        x = (x - x.mean(axis=-1, keepdims=True))[:, which[: channels[0]]].sum(axis=1)
        weights, dilation = np.full(9, -1.0), int(dilations[0])
        weights[:3] = 2  # the first of 84 ways to choose three of nine
        padded = np.pad(x, ((0, 0), (4 * dilation, 4 * dilation)))
        answer = sum(w * padded[:, k * dilation : k * dilation + x.shape[1]] for k, w in enumerate(weights))
        assert rocket().features(some)[:, 0] == pytest.approx((answer > biases[0]).mean(axis=1), abs=0.003)

    def test_eight_and_twelve_leads_and_a_shifted_level_are_the_same(self):
        some = cohort().select(np.arange(5))
        eight = replace(some, x=np.ascontiguousarray(to_eight_leads(np.asarray(some.x[:]))), leads=LEADS_8)
        lifted = replace(eight, x=eight.x + np.float32(0.25))
        first = rocket().features(some)
        assert rocket().features(eight) == pytest.approx(first, abs=0.01)
        assert rocket().features(lifted) == pytest.approx(first, abs=0.01)

    def test_a_seed_repeats(self):
        _, fold9, test = cohort().split()
        again, other = (Rocket(fold9, seed, n_kernels=168).features(test) for seed in (0, 1))
        assert np.array_equal(again, rocket().features(test)) and not np.array_equal(again, other)

    def test_bad_input_is_refused(self):
        with pytest.raises(InputError, match="at least 84"):
            Rocket(cohort(), n_kernels=10)
        with pytest.raises(InputError, match="resample"):
            rocket().features(replace(cohort(), fs=200))

    def test_without_sktime_the_message_says_what_to_install(self):
        code = ("import sys; sys.modules['sktime.transformations.rocket'] = None\n"
                "from ecglib.evaluation.utility.rocket import _sktime\n_sktime()")  # fmt: skip
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.returncode and "ecglib[utility]" in done.stderr


LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", *(f"V{k}" for k in range(1, 7)))


class TestFeaturesOfACohort:
    def test_folds_and_copies_are_where_they_belong(self):
        train, fold9, test = cohort().split()
        table = train.table.assign(source_ecg_id=train.table["ecg_id"], ecg_id=np.arange(1, len(train) + 1))
        mixed = replace(train, table=table, waves=None).select(np.random.default_rng(0).permutation(len(train))[:100])
        data = features_of(cohort(), rocket(), synthetic=[mixed], augment=1)
        made = ~np.isnan(data.synthetic[0]).any(axis=1)
        assert made.sum() == 100 and np.array_equal(data.synthetic[0][made], data.train[made])
        assert [len(part) for part in (data.train, data.fold9, data.test)] == [len(train), len(fold9), len(test)]
        assert not set(data.table["patient_id"]) & set(data.patients_test)
        assert data.augmented[0].shape == data.train.shape and not np.isnan(data.augmented[0]).any()

    def test_records_asked_for_with_test_patients_are_refused(self):
        train, _, test = cohort().split()
        table = test.table.assign(source_ecg_id=test.table["ecg_id"])
        with pytest.raises(InputError, match="no training record"):
            copy_features(rocket(), replace(test, table=table, waves=None), train)

    def test_records_that_tell_no_source_are_refused(self):
        train, _, test = cohort().split()
        with pytest.raises(InputError, match="has no column source_ecg_id"):
            copy_features(rocket(), test, train)

    def test_a_patient_in_two_folds_is_refused(self):
        table = cohort().table.copy()
        table.loc[table["strat_fold"] == 10, "patient_id"] = table.loc[table["strat_fold"] == 1, "patient_id"].iloc[0]
        with pytest.raises(InputError, match="two folds"):
            features_of(replace(cohort(), table=table), rocket(), synthetic=[])


@cache
def trained() -> RocketClassifier:
    train, fold9, _ = cohort().split()
    return RocketClassifier.train(train, fold9)


class TestCuration:
    def test_it_learns(self):
        test = cohort().split()[2]
        assert macro_auroc(targets(test), trained().probabilities(test)) > 0.8

    def test_kept_is_what_is_found_as_asked(self):
        test = cohort().split()[2]
        kept, found = faithful(test, trained()), trained().found(test)
        assert kept.tolist() == [each == superclasses(codes)
                                 for each, codes in zip(found, test.table["scp_codes"], strict=True)]  # fmt: skip
        assert 0 < kept.mean() < 1

    def test_wrong_statements_are_thrown_away(self):
        test = cohort().split()[2]
        sets = [superclasses(codes) for codes in test.table["scp_codes"]]
        wrong = [{"NORM": 100.0} if "MI" in each else {"IMI": 100.0} for each in sets]
        other = replace(test, table=test.table.assign(scp_codes=wrong))
        assert faithful(other, trained()).mean() < faithful(test, trained()).mean() / 2


class TestNearest:
    def test_copies_of_members_are_betrayed_and_strangers_are_not(self):
        rng = np.random.default_rng(0)
        members, others, strangers = (rng.standard_normal((200, 6)) for _ in range(3))
        copies = members + 0.01 * rng.standard_normal(members.shape)
        assert nearest_auc(members, others, copies) > 0.99
        assert nearest_auc(members, others, strangers) == pytest.approx(0.5, abs=0.08)

    def test_it_is_the_loop(self):
        rng = np.random.default_rng(1)
        members, others, made = (rng.standard_normal((n, 3)) for n in (9, 7, 5))
        real = np.concatenate([members, others])
        z, s = ((each - real.mean(axis=0)) / real.std(axis=0) for each in (real, made))
        near = [min(np.linalg.norm(a - b) for b in s) for a in z]
        wins = np.mean([near[i] < near[9 + j] for i in range(9) for j in range(7)])
        assert nearest_auc(members, others, made) == pytest.approx(wins)

    def test_an_empty_set_is_refused(self):
        with pytest.raises(InputError, match="0 synthetic"):
            nearest_auc(np.ones((2, 2)), np.ones((2, 2)), np.ones((0, 2)))


class TestXResNet:
    @pytest.mark.parametrize(("depth", "n_convolutions"), [(18, 3 + 8 * 3 + 4), (50, 3 + 16 * 3 + 4),
                                                           (101, 3 + 33 * 3 + 4)])  # fmt: skip
    def test_shapes_and_depth(self, depth, n_convolutions):
        network = XResNet1d(depth, n_classes=7, width=8).eval()
        assert sum(isinstance(layer, torch.nn.Conv1d) for layer in network.modules()) == n_convolutions
        for length in (1000, 333):
            assert network(torch.randn(2, 8, length)).shape == (2, 7)
        assert network.body(network.enter(torch.randn(1, 8, 1000))).shape[-1] == 32  # 1000 / 32, rounded up each time

    def test_it_learns_a_toy_problem(self):
        """HYP where the voltage is high, MI where lead I hangs below the line; NORM else."""
        rng = np.random.default_rng(0)
        base = load_cohort("virtual", n=240, seed=6, population="teaching", workers=1)
        x = 0.05 * rng.standard_normal((240, 12, 1000)).astype(np.float32)
        kind = rng.integers(0, 3, 240)
        x[kind == 1] *= 8
        x[kind == 2, :, ::50] -= 1.5
        codes = [({"NORM": 100.0}, {"LVH": 100.0}, {"IMI": 100.0})[k] for k in kind]
        toy = replace(base, x=x, table=base.table.assign(scp_codes=codes), waves=None)
        train, test = toy.select(np.arange(160)), toy.select(np.arange(160, 240))
        trained = train_xresnet(train, test, depth=18, width=8, epochs=6, batch=32, progress=False)
        truth, chance = targets(test), trained.probabilities(test)
        assert macro_auroc(truth, chance) > 0.95
        assert np.mean([found == superclasses(c) for found, c in
                        zip(trained.found(test), test.table["scp_codes"], strict=True)]) > 0.8  # fmt: skip
        assert len(trained.thresholds) == len(CLASSES)

    def test_refusals(self):
        with pytest.raises(InputError, match="depth=34"):
            XResNet1d(34)
        with pytest.raises(InputError, match="at least two"):
            train_xresnet(cohort().select([0]), cohort(), depth=18, progress=False)

    @pytest.mark.parametrize(("name", "value"), [("epochs", 0), ("epochs", 1.5), ("batch", 0), ("batch", 1)])
    def test_no_epochs_and_batches_of_one_are_refused(self, name, value):
        few = cohort().select(np.arange(6))
        with pytest.raises(InputError, match=f"{name}={value}; expected a whole number from"):
            train_xresnet(few, few, depth=18, progress=False, **{name: value})
