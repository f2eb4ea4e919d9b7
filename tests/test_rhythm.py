"""The rhythm model: what a series is, that training teaches it rhythms, and that a record's beats are its own."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ecglib.diffusion.rhythm import DRAWS, EXTREME, TIMESTEPS, RhythmModel, series
from ecglib.diffusion.seeds import RecordNoise

REGULAR, IRREGULAR = torch.eye(2)


def noise(keys):
    return RecordNoise(keys, (8, 100), torch.device("cpu"))


def drawn(model, conditions, keys):
    source = noise(keys)
    return model.sample(conditions, source, source.uniform())


def loss(model, intervals, conditions, seed):
    generator = torch.Generator().manual_seed(seed)
    eps = torch.randn((len(intervals), DRAWS, intervals.shape[1]), generator=generator)
    return model.loss(intervals, conditions, eps, torch.randint(TIMESTEPS, eps.shape[:2], generator=generator))


@given(st.lists(st.floats(0.25, 2.0), min_size=1, max_size=60))
def test_a_series_holds_the_intervals_then_runs_back(intervals):
    beats = np.concatenate([[0.1], 0.1 + np.cumsum(intervals)])
    row = series([beats], 10.0)[0].double().exp().numpy()
    there_and_back = [*intervals, *intervals[::-1]] * 40
    assert len(row) == 40
    np.testing.assert_allclose(row, there_and_back[:40], rtol=1e-4)


def test_fewer_than_two_beats_are_no_series():
    rows = series([np.array([]), np.array([3.0]), np.array([1.0, 2.0])], 10.0)
    assert rows[:2].isnan().all() and torch.allclose(rows[2], torch.zeros(40), atol=1e-6)


def test_a_record_without_beats_teaches_nothing():
    model = RhythmModel(10.0, (2,), seed=0)
    torch.nn.init.normal_(model.network.leave.weight)  # zeros at first, and then nothing upstream learns
    some = series([np.arange(0, 10, 0.8), np.array([])], 10.0)
    model.fit(some)
    both = loss(model, some, torch.stack([REGULAR, IRREGULAR]), 0)
    both.backward()
    assert torch.isfinite(both) and model.network.embeddings[0].weight.grad[:, 1].abs().max() == 0
    assert model.network.embeddings[0].weight.grad[:, 0].abs().max() > 0
    assert float(model.mean) == pytest.approx(np.log(0.8), abs=1e-5)


@pytest.fixture(scope="module")
def taught():
    """Regular hearts of 40 to 120/min, and irregular ones."""
    rng = np.random.default_rng(0)
    beats, irregular = [], rng.random(600) < 0.5
    for wild in irregular:
        rr = rng.uniform(0.5, 1.5) * np.exp(rng.normal(0, 0.25 if wild else 0.02, 60))
        beats.append(np.cumsum(rr)[np.cumsum(rr) < 10])
    conditions = torch.where(torch.from_numpy(irregular)[:, None], IRREGULAR, REGULAR)
    model = RhythmModel(10.0, (2,), seed=0)
    intervals = series(beats, 10.0)
    model.fit(intervals)
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for step in range(300):
        rows = torch.from_numpy(rng.integers(0, 600, 32))
        optimiser.zero_grad()
        loss(model, intervals[rows], conditions[rows], step).backward()
        optimiser.step()
    return model.eval()


def test_it_learns_which_rhythm_is_regular(taught):
    keys = [(0, i, 0) for i in range(80)]
    spread = {}
    for name, one in (("regular", REGULAR), ("irregular", IRREGULAR)):
        rr = [np.diff(b[(b >= 0) & (b < 10)]) for b in drawn(taught, one.expand(80, 2), keys)]
        spread[name] = np.median([r.std() / r.mean() for r in rr])
    assert spread["regular"] < 0.05  # 0.02 in what it was shown
    assert 0.17 < spread["irregular"] < 0.35  # 0.25


def test_beats_cover_the_record_and_depend_on_its_own_key_alone(taught):
    keys = [(5, i, 0) for i in range(6)]
    together = drawn(taught, IRREGULAR.expand(6, 2), keys)
    alone = drawn(taught, IRREGULAR.expand(1, 2), keys[3:4])[0]
    np.testing.assert_allclose(alone, together[3], rtol=0, atol=1e-10)
    for beats in together:
        assert beats[0] <= 0 and beats[-1] >= 10 * EXTREME[0] / 0.25
        assert ((np.diff(beats) >= EXTREME[0]) & (np.diff(beats) <= EXTREME[1])).all()
    assert not np.allclose(together[0], drawn(taught, IRREGULAR.expand(6, 2), [(6, i, 0) for i in range(6)])[0])
