"""Samplers against a Gaussian whose exact denoiser is known; the generator's promises about seeds and batches."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from test_training import TINY, tiny_cohort

from ecglib.diffusion import SAMPLERS, Generator, Schedule, clock, ddim, ddpm, dpmpp_2m, train
from ecglib.diffusion.model import Denoiser, load_tensors, save_tensors
from ecglib.diffusion.samplers import spaced_steps
from ecglib.errors import InputError
from ecglib.signals import LEADS_12, einthoven_residual

MEAN, STD = 1.5, 0.5


def exact_denoiser(schedule: Schedule):
    """E[x0 | x_t] for x0 ~ N(1.5, 0.5²): linear in x_t."""

    def denoise(x_t, t):
        alpha_bar = float(schedule.alpha_bar[t])
        gain = alpha_bar**0.5 * STD**2 / (alpha_bar * STD**2 + 1 - alpha_bar)
        return MEAN + gain * (x_t - alpha_bar**0.5 * MEAN)

    return denoise


@pytest.mark.parametrize(
    ("sampler", "steps", "tolerance"),
    [("ddpm", 200, 0.01), ("ddpm", 50, 0.02), ("ddim", 200, 0.01), ("ddim", 50, 0.02), ("dpmpp", 50, 0.02)],
)
def test_samplers_draw_from_a_known_gaussian(sampler, steps, tolerance):
    schedule = Schedule.cosine(200)
    generator = torch.Generator().manual_seed(0)

    def noise():
        return torch.randn(100_000, 1, generator=generator)

    x = SAMPLERS[sampler](exact_denoiser(schedule), noise(), schedule, steps=steps, noise=noise)
    assert float(x.mean()) == pytest.approx(MEAN, abs=tolerance)
    assert float(x.std()) == pytest.approx(STD, abs=2 * tolerance)


def test_second_order_is_nearer_than_first_order():
    schedule = Schedule.linear(1000)
    start = torch.randn(20_000, 1, generator=torch.Generator().manual_seed(0))
    exact = ddim(exact_denoiser(schedule), start, schedule, steps=1000)
    first = ddim(exact_denoiser(schedule), start, schedule, steps=20)
    second = dpmpp_2m(exact_denoiser(schedule), start, schedule, steps=20)
    assert (second - exact).abs().mean() < 0.5 * (first - exact).abs().mean()


def test_ddim_with_the_true_signal_returns_it_exactly():
    schedule = Schedule.linear(200)
    truth = torch.randn(2, 8, 10)
    for sampler in (ddim, dpmpp_2m):
        assert torch.equal(sampler(lambda x, t: truth, torch.randn(2, 8, 10), schedule, steps=7), truth)
    assert torch.allclose(ddpm(lambda x, t: truth, truth, schedule, noise=lambda: torch.randn(2, 8, 10)), truth)


def test_every_step_is_shown_once_from_noisy_to_clean():
    seen = []
    schedule = Schedule.cosine(50)
    ddim(exact_denoiser(schedule), torch.randn(3, 1), schedule, steps=5, on_step=lambda t, x, x0: seen.append(t))
    assert seen == [49, 37, 24, 12, 0]


@pytest.mark.parametrize("steps", [0, -1, 51, 10**12])
def test_too_few_or_too_many_steps_are_refused(steps):
    with pytest.raises(InputError, match="steps="):
        spaced_steps(50, steps)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    config = TINY.override({"training.steps": 60, "training.learning_rate": 5e-3})
    return train(config, tiny_cohort(), tmp_path_factory.mktemp("sampling") / "run", progress=False)


@pytest.fixture(scope="module")
def generator(run):
    return Generator.load(run)


def asked(n: int = 6) -> pd.DataFrame:
    return tiny_cohort().table.head(n)


@pytest.mark.parametrize("sampler", ["ddpm", "ddim", "dpmpp"])
def test_samples_do_not_depend_on_the_batch_or_on_the_other_records(generator, sampler):
    whole = generator.sample(asked(), sampler=sampler, steps=10, batch=6)
    parts = generator.sample(asked(), sampler=sampler, steps=10, batch=4)
    alone = generator.sample(asked().tail(1), sampler=sampler, steps=10)
    assert np.abs(whole.x - parts.x).max() < 1e-5
    assert np.abs(whole.x[-1] - alone.x[0]).max() < 1e-5


def test_the_same_seed_gives_the_same_bits_and_another_seed_other_records(generator):
    first, again, other = (generator.sample(asked(), seed=seed).x for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert np.abs(first - other).max() > 1e-3


def test_copies_are_different_records_of_the_same_request(generator):
    samples = generator.sample(asked(2), copies=3)
    assert samples.table["ecg_id"].tolist() == [1, 2, 3, 4, 5, 6]
    assert samples.table["source_ecg_id"].tolist() == [1, 1, 1, 2, 2, 2]
    assert samples.table["copy"].tolist() == [0, 1, 2, 0, 1, 2]
    assert len({record.tobytes() for record in samples.x}) == 6


def test_samples_are_a_cohort_of_twelve_leads_that_obey_einthoven(generator):
    samples = generator.sample(asked())
    assert samples.leads == LEADS_12 and samples.fs == 100 and samples.source == "synthetic"
    assert np.abs(einthoven_residual(samples.x.astype(np.float64))).max() < 1e-5


def test_a_changed_sex_changes_the_sample(generator):
    male, female = (generator.sample(asked(1).assign(sex=sex)).x for sex in (0.0, 1.0))
    assert np.abs(male - female).max() > 1e-4


def test_guidance_is_the_formula_and_one_is_none(generator):
    x = torch.randn(2, 8, 200, generator=torch.Generator().manual_seed(0))
    conditions, unknown = generator.conditions.encode(asked(2)), generator.conditions.unknown(2)
    ticks = clock(generator.conditions.rate(conditions), torch.zeros(2), 200, 100)

    def estimate(c, guidance=1.0):
        with torch.no_grad():
            return Denoiser(generator.network, generator.schedule, "x0", c, unknown, guidance, ticks)(x, 5)

    given, free = estimate(conditions), estimate(unknown)
    assert torch.allclose(estimate(conditions, 3.0), free + 3 * (given - free), atol=1e-5)
    assert torch.allclose(estimate(conditions, 0.0), free, atol=1e-6)


@pytest.mark.parametrize(
    ("argument", "value"),
    [("guidance", math.nan), ("guidance", -1.0), ("steps", 0), ("steps", 10**12), ("copies", 0), ("batch", 0),
     ("sampler", "euler"), ("seed", -1), ("seed", 0.5)],
)  # fmt: skip
def test_impossible_arguments_are_refused_by_name(generator, argument, value):
    with pytest.raises(InputError, match=argument):
        generator.sample(asked(), **{argument: value})


def test_an_empty_or_incomplete_table_is_refused(generator):
    with pytest.raises(InputError, match="at least one row"):
        generator.sample(asked(0))
    with pytest.raises(InputError, match="scp_codes"):
        generator.sample(asked().drop(columns="scp_codes"))


@pytest.mark.parametrize(
    ("column", "value"), [("scp_codes", {"AFBI": 0.0}), ("sex", -1.0), ("age", 200.0), ("heart_rate", "fast")]
)
def test_a_misspelt_or_impossible_request_is_refused_before_sampling(generator, column, value):
    with pytest.raises(InputError, match=column):
        generator.sample(asked(1).assign(**{column: [value]}), on_step=lambda *step: pytest.fail("it sampled"))


def test_what_was_not_asked_for_is_not_copied_into_the_synthetic_table(generator):
    table = asked(2).assign(report="Mrs Example, ward 3", device="X", recording_date="1984-11-09", pr_ms=160.0)
    assert not {"report", "device", "recording_date", "pr_ms"} & set(generator.sample(table).table)


def test_weights_that_do_not_fit_are_refused(run, tmp_path):
    import shutil

    copy = shutil.copytree(run, tmp_path / "copy")
    weights = load_tensors(copy / "model.safetensors")
    weights["leave.bias"] = torch.zeros(3)
    save_tensors(copy / "model.safetensors", weights)
    with pytest.raises(InputError, match=r"does not fit.*leave\.bias"):
        Generator.load(copy)


def test_another_vocabulary_is_refused(run, tmp_path):
    import shutil

    copy = shutil.copytree(run, tmp_path / "copy")
    text = (copy / "model.json").read_text()
    (copy / "model.json").write_text(text.replace('"NORM"', '"NORMAL"'))
    with pytest.raises(InputError, match="another vocabulary"):
        Generator.load(copy)


def test_an_unfinished_run_is_refused(tmp_path):
    train(TINY, tiny_cohort(), tmp_path / "run", progress=False, stop_after=4)
    with pytest.raises(InputError, match="did not finish"):
        Generator.load(tmp_path / "run")
