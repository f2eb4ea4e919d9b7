"""Controls: the copy machine is the best denoiser of its records, sets hold what they say, more patients are others."""

import numpy as np
import pytest
import torch
from cohorts import random_cohort

from ecglib import Config
from ecglib.diffusion import Generator, Schedule, network_of
from ecglib.diffusion.batches import describe_signals
from ecglib.errors import InputError
from ecglib.evaluation import Comparison, NotComputable
from ecglib.evaluation.privacy import CONTROLS, CopyMachine, control_sets, more_patients
from ecglib.signals import load_cohort


@pytest.fixture(scope="module")
def generator() -> Generator:
    """An untrained one: a schedule, a unit and conditions."""
    config = Config.preset("smoke").override({"network.wiener": 0.0, "network.clock": False})
    return Generator(config, describe_signals(config, random_cohort(20, n_times=1000)), network_of(config, 8))


@pytest.fixture(scope="module")
def compared() -> Comparison:
    real, train = random_cohort(40, n_times=500), random_cohort(80, seed=1, n_times=500, first_id=1001)
    released = random_cohort(40, seed=2, n_times=500, first_id=5001)
    source = np.concatenate([1001 + np.arange(20), 1 + np.arange(20)])
    asked = np.concatenate([train.table["scp_codes"][:20], real.table["scp_codes"][:20]])
    table = released.table.assign(source_ecg_id=source, scp_codes=asked)
    return Comparison(real, type(released)(released.x, 100, released.leads, table), train=train)


def test_the_machine_is_the_slow_posterior_mean(generator):
    cohort = random_cohort(6, n_times=1000)
    machine = CopyMachine.of(cohort, generator)
    x_t = torch.randn(3, 8, 1000, generator=torch.Generator().manual_seed(0))
    for t in (5, 100, 198):
        a = float(generator.schedule.alpha_bar[t])
        found = machine.denoise(x_t, t)
        for row in range(3):
            x = machine.records.double()
            squares = ((x_t[row].flatten().double() - a**0.5 * x) ** 2).sum(dim=1) / (2 * (1 - a))
            weights = torch.softmax(-squares, dim=0)
            expected = (weights @ x).reshape(8, 1000).float()
            torch.testing.assert_close(found[row], expected, atol=2e-2, rtol=1e-2)


def test_sampling_with_the_machine_ends_on_its_records(generator):
    from ecglib.diffusion import ddim

    machine = CopyMachine.of(random_cohort(5, n_times=1000), generator)
    noise = torch.randn(4, 8, 1000, generator=torch.Generator().manual_seed(1))
    samples = ddim(machine.denoiser(torch.zeros(4, 1)), noise, machine.schedule, steps=20, spacing="even",
                   noise=lambda: torch.randn_like(noise))  # fmt: skip
    distance = torch.cdist(samples.flatten(1), machine.records).min(dim=1).values
    assert (distance / machine.records.norm(dim=1).mean() < 0.05).all()


def test_a_machine_has_its_likes_schedule_and_nothing_else(generator):
    machine = CopyMachine.of(random_cohort(3, n_times=1000), generator)
    assert machine.schedule is generator.schedule and isinstance(machine.schedule, Schedule)
    with pytest.raises(AttributeError):
        machine.sample  # noqa: B018


def test_sets_hold_what_they_say(compared):
    fresh = random_cohort(60, seed=3, n_times=500, first_id=9001)
    sets = control_sets(compared, fresh)
    assert tuple(sets) == CONTROLS
    from_train = {name: [any(np.array_equal(x, y) for y in compared.train.x) for x in c.x] for name, c in sets.items()}
    from_fresh = {name: [any(np.array_equal(x, y) for y in fresh.x) for x in c.x] for name, c in sets.items()}
    assert all(from_train["copies"]) and not any(from_train["fresh"]) and all(from_fresh["fresh"])
    assert sum(from_train["copies_5_percent"]) == 2 and sum(from_fresh["copies_5_percent"]) == 38
    for cohort in sets.values():
        assert len(cohort) == 40
        assert cohort.table["source_ecg_id"].tolist() == compared.synthetic.table["source_ecg_id"].tolist()


def test_a_members_request_is_answered_with_that_member_and_each_once(compared):
    copied = control_sets(compared, random_cohort(60, seed=3, n_times=500, first_id=9001))["copies"]
    np.testing.assert_array_equal(copied.x[:20], compared.train.x[:20])
    assert len(np.unique(copied.x[:, 0, 0])) == 40
    same = [a == b for a, b in zip(copied.table["scp_codes"], compared.synthetic.table["scp_codes"], strict=True)]
    assert np.mean(same) > 0.9


def test_sets_refuse_what_is_too_small(compared):
    with pytest.raises(NotComputable, match="held_out offers 39"):
        control_sets(compared, random_cohort(39, seed=3, n_times=500, first_id=9001))
    with pytest.raises(NotComputable, match="role train"):
        control_sets(Comparison(compared.real, compared.synthetic), compared.real)


def test_more_patients_are_others_of_the_same_population():
    cohort = load_cohort("virtual", n=40, seed=3, population="teaching", workers=1)
    more = more_patients(cohort, 60, 4, first_id=1000)
    assert more.notes["population"] == "teaching" and len(more) == 60
    assert not set(more.table["patient_id"]) & set(cohort.table["patient_id"])
    assert more.table["ecg_id"].min() == 1001 and set(more.waves["ecg_id"]) <= set(more.table["ecg_id"])
    microvolts = more.x[:].astype(np.float64) * 1000
    assert np.abs(microvolts - np.rint(microvolts)).max() < 1e-2
    with pytest.raises(InputError, match="seed=3 is the cohort's own"):
        more_patients(cohort, 10, 3, first_id=1000)
    with pytest.raises(InputError, match="only of virtual patients"):
        more_patients(random_cohort(10), 10, 4, first_id=1000)
