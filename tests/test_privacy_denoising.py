"""White-box attacks: a memorising model is caught, fresh patients are not; scores follow the formulas."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from ecglib import Config
from ecglib.diffusion import Generator, Schedule, train
from ecglib.diffusion.seeds import seeded
from ecglib.evaluation import Comparison, NotComputable, evaluate
from ecglib.evaluation.privacy import CopyMachine, scores_of, white_box
from ecglib.evaluation.privacy.denoising import LOSS_AT, loss_scores, pia_scores, record_scores, secmi_scores, steps_at
from ecglib.signals import Cohort, load_cohort

N_MEMBERS, STEPS = 50, 250
CHANGES = {"training.steps": STEPS, "training.validate_every": STEPS, "training.save_every": STEPS, "training.ema": 0.9,
           "training.batch": 16, "conditions.drop": 0.0, "mel.weight": 0.0, "network.channels": 64, "network.blocks": 1,
           "network.patch": 20, "network.heads": 0, "network.clock": False, "network.self_conditioning": False,
           "network.wiener": 0.0}  # fmt: skip
SCHEDULE = Schedule.cosine(200)


def patients(n: int, seed: int, first: int) -> Cohort:
    cohort = load_cohort("virtual", n=n, seed=seed, population="teaching", workers=1)
    table = cohort.table.assign(ecg_id=cohort.table["ecg_id"] + first, patient_id=cohort.table["patient_id"] + first)
    return replace(cohort, table=table, waves=None)


@pytest.fixture(scope="module")
def members() -> Cohort:
    return patients(N_MEMBERS, 11, 0)


@pytest.fixture(scope="module")
def others() -> Cohort:
    return patients(160, 12, 1000)


@pytest.fixture(scope="module")
def overfitted(members, others, tmp_path_factory) -> Generator:
    """A small network that has seen 50 records eighty times each."""
    fold = np.repeat([1, 9, 10], [len(members), 10, 10])
    x = np.concatenate([members.x[:], others.x[-20:]])
    tables = [members.table, others.table.tail(20)]
    joined = pd.concat(tables, ignore_index=True).assign(strat_fold=fold, patient_id=np.arange(len(fold)))
    config = Config.preset("smoke").override(CHANGES)
    run = train(config, Cohort(x, members.fs, members.leads, joined), tmp_path_factory.mktemp("run"), progress=False)
    return Generator.load(run)


@pytest.fixture(scope="module")
def attacked(members, others, overfitted) -> Comparison:
    never = others.select(np.arange(140))  # the last 20 chose the weights: not quite strangers
    return Comparison(never, never.select(range(10)), train=members, generator=overfitted)


def test_a_small_model_that_overfitted_50_records_is_caught(attacked):
    table = evaluate(attacked, [white_box], resamples=50, floor=False).set_index("key")
    area = table.loc["auc SecMI"]
    assert area.value > 0.7 and area.ci_low > 0.6
    assert table.loc["auc loss", "value"] > 0.5


def test_fresh_patients_in_the_members_place_are_not(attacked, others):
    fresh = patients(60, 13, 5000)
    table = evaluate(attacked.instead(train=fresh), [white_box], resamples=50, floor=False).set_index("key")
    for key in ("auc loss", "auc SecMI", "auc PIA"):
        assert table.loc[key, "ci_low"] < 0.5 + 0.03 and abs(table.loc[key, "value"] - 0.5) < 0.15


def test_a_copy_machine_is_caught_by_loss_and_pia(attacked, members):
    machine = CopyMachine.of(members, attacked.generator)
    values = white_box(attacked.instead(generator=machine))
    assert values["auc loss"] > 0.99 and values["auc PIA"] > 0.99


def test_scores_depend_neither_on_order_nor_on_batch(overfitted, others, monkeypatch):
    some = others.select(range(20))
    scores = record_scores(overfitted, some)
    assert scores.shape == (20, len(LOSS_AT) + 2) and np.isfinite(scores).all()
    order = np.random.default_rng(0).permutation(20)
    monkeypatch.setattr("ecglib.evaluation.privacy.denoising.BATCH", 7)
    np.testing.assert_allclose(record_scores(overfitted, some.select(order)), scores[order], atol=1e-3)


def test_the_members_that_are_asked_are_spread_over_all(attacked, monkeypatch):
    monkeypatch.setattr("ecglib.evaluation.privacy.denoising.MOST_MEMBERS", 10)
    other = attacked.instead(generator=CopyMachine.of(attacked.train, attacked.generator))
    asked = np.isfinite(scores_of(other)["loss"]["train"])
    assert asked.sum() == 10 and np.diff(np.flatnonzero(asked)).max() < 15


def test_as_many_records_of_a_member_are_asked_as_of_every_other(attacked):
    twice = attacked.train.table.assign(patient_id=np.arange(len(attacked.train)) // 2)
    pairs = replace(attacked.train, table=twice)
    machine = CopyMachine.of(attacked.train, attacked.generator)
    found = scores_of(attacked.instead(train=pairs, generator=machine))["loss"]["train"]
    each = record_scores(machine, pairs)[:, : len(LOSS_AT)].mean(axis=1)
    first = ~pairs.table["patient_id"].duplicated().to_numpy()
    np.testing.assert_allclose(found[first], each[first], atol=1e-3)
    assert np.isnan(found[~first]).all(), "some of the others have one record only"


# ---- what the scores are, on denoisers that are known


def shrink(x_t: torch.Tensor, t: int) -> torch.Tensor:
    """The best denoiser of white noise of variance 1."""
    return SCHEDULE.alpha_bar[t].sqrt().to(x_t) * x_t


def test_loss_is_the_error_at_fixed_noise():
    x0 = torch.randn(3, 8, 50, generator=seeded(1, "test", 0))
    scores = loss_scores(lambda: shrink, SCHEDULE, x0)
    for k, t in enumerate(steps_at(SCHEDULE, LOSS_AT)):
        eps = torch.randn(8, 50, generator=seeded(0, "white-box", t))
        a = float(SCHEDULE.alpha_bar[t])
        for row in range(3):
            x_t = a**0.5 * x0[row] + (1 - a) ** 0.5 * eps
            error = float(((a**0.5 * x_t - x0[row]) ** 2).mean())
            assert float(scores[row, k]) == pytest.approx(-np.log(error), abs=1e-4)


def test_secmi_finds_no_error_where_the_way_back_leads_home():
    def constant(x_t, t):
        return torch.zeros_like(x_t)

    x0 = torch.randn(4, 8, 50, generator=seeded(1, "test", 1))
    assert (secmi_scores(constant, SCHEDULE, x0, constant(x0, 0)) > 20).all()  # the error is cut at 1e-12
    assert (secmi_scores(shrink, SCHEDULE, x0, shrink(x0, 0)) < 20).all()


def test_pia_is_the_distance_of_the_noise_found_twice():
    x0, (t,) = torch.randn(2, 8, 50, generator=seeded(1, "test", 2)), steps_at(SCHEDULE, (0.6,))
    a0, a = float(SCHEDULE.alpha_bar[0]), float(SCHEDULE.alpha_bar[t])
    first = (x0 - a0**0.5 * a0**0.5 * x0) / (1 - a0) ** 0.5
    first = first / (first**2).mean(dim=(1, 2), keepdim=True) ** 0.5
    x_t = a**0.5 * x0 + (1 - a) ** 0.5 * first
    again = (x_t - a**0.5 * a**0.5 * x_t) / (1 - a) ** 0.5
    expected = -torch.log(((first - again) ** 4).sum(dim=(1, 2)) ** 0.25)
    torch.testing.assert_close(pia_scores(shrink, SCHEDULE, x0, shrink(x0, 0)), expected, atol=1e-3, rtol=1e-3)


def test_steps_are_shares_of_the_schedule():
    assert steps_at(SCHEDULE, (0.0, 0.1, 1.0)) == (1, 20, 199)


def test_refusals(attacked, members, others):
    with pytest.raises(NotComputable, match="needs the generator itself"):
        white_box(Comparison(others, others, train=members))
    with pytest.raises(NotComputable, match="role train"):
        white_box(Comparison(others, others, generator=attacked.generator))
    seen = load_cohort("virtual", n=20, seed=14, population="teaching", workers=1)
    with pytest.raises(NotComputable, match="only one of them has waves"):
        white_box(attacked.instead(train=seen))
    few = Comparison(others.select(range(6)), others, train=members, generator=attacked.generator)
    with pytest.raises(NotComputable, match="at least 8 patients"):
        white_box(few)
