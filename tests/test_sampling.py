"""The generator's promises about seeds, batches, requests and damaged runs."""

import math
import resource
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from test_checkpoint import in_child
from test_training import TINY, tiny_cohort

from ecglib.diffusion import Generator, clock, train
from ecglib.diffusion.model import Denoiser, SignalInfo, load_tensors, network_of, save_tensors
from ecglib.diffusion.samplers import spaced_steps
from ecglib.errors import InputError
from ecglib.signals import LEADS_8, LEADS_12, Cohort, einthoven_residual


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    config = TINY.override({"training.steps": 60, "training.learning_rate": 5e-3})
    return train(config, tiny_cohort(), tmp_path_factory.mktemp("sampling") / "run", progress=False)


@pytest.fixture(scope="module")
def generator(run):
    return Generator.load(run)


def asked(n: int = 6) -> pd.DataFrame:
    return tiny_cohort().table.head(n)


@pytest.mark.parametrize("sampler", ["ddpm", "ddim", "dpmpp", "dpmpp-sde"])
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


def test_ids_that_would_share_or_lose_their_noise_are_refused(generator):
    twice = asked(1)
    with pytest.raises(InputError, match=r"twice with the same wishes.*copies=2"):
        generator.sample(pd.concat([twice, twice]))
    other = twice.assign(age=twice["age"] + 5)
    assert len(generator.sample(pd.concat([twice, other]))) == 2, "the same noise for two wishes is of use"
    for wrong in (1.5, -3, np.nan, "A1"):
        with pytest.raises(InputError, match=r"ecg_id=.*whole numbers from 0"):
            generator.sample(asked(2).assign(ecg_id=pd.Series([1, wrong], dtype=object).to_numpy()))


def test_samples_are_a_cohort_of_twelve_leads_that_obey_einthoven(generator):
    samples = generator.sample(asked())
    assert samples.leads == LEADS_12 and samples.fs == 100 and samples.source == "synthetic"
    assert np.abs(einthoven_residual(samples.x.astype(np.float64))).max() < 1e-5


def test_the_beats_drawn_are_those_the_signal_is_made_of(generator, monkeypatch):
    seen = []

    def watched(beats, *size):
        seen.extend(beats)
        return clock(beats, *size)

    monkeypatch.setattr("ecglib.diffusion.sampling.clock", watched)
    generator.sample(asked(3), copies=2, seed=4, batch=4)
    drawn = generator.draw_beats(asked(3), copies=2, seed=4)
    assert len(drawn) == len(seen) == 6
    for ours, theirs in zip(drawn, seen, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
    assert not np.allclose(drawn[0], generator.draw_beats(asked(1), seed=5)[0])


def test_a_generator_without_a_clock_draws_no_beats():
    config = TINY.override({"network.clock": False})
    network = network_of(config, 8, 200)
    signals = SignalInfo(LEADS_8, 100, 200, (0.0,) * 8, (1.0,) * 8)
    with pytest.raises(InputError, match=r"network\.clock=False"):
        Generator(config, signals, network).draw_beats(asked(1))


def test_a_changed_sex_changes_the_sample(generator):
    male, female = (generator.sample(asked(1).assign(sex=sex)).x for sex in (0.0, 1.0))
    assert np.abs(male - female).max() > 1e-4


def test_guidance_is_the_formula_and_one_is_none(generator):
    x = torch.randn(2, 8, 200, generator=torch.Generator().manual_seed(0))
    conditions, unknown = generator.conditions.encode(asked(2)), generator.conditions.unknown(2)
    ticks = clock([np.arange(0.3, 2, 0.8)] * 2, 200, 100)

    def estimate(c, guidance=1.0):
        with torch.no_grad():
            return Denoiser(generator.network, generator.schedule, "x0", c, unknown, guidance, ticks)(x, 5)

    given, free = estimate(conditions), estimate(unknown)
    assert torch.allclose(estimate(conditions, 3.0), free + 3 * (given - free), atol=1e-5)
    assert torch.allclose(estimate(conditions, 0.0), free, atol=1e-6)


@pytest.mark.parametrize(
    ("argument", "value"),
    [("guidance", math.nan), ("guidance", -1.0), ("guidance", math.inf), *((name, value) for value in (0, -1, 10**12)
     for name in ("steps", "copies", "batch")), ("sampler", "euler"), ("spacing", "odd"), ("seed", -1), ("seed", 0.5),
     ("batch", 2.5), ("batch", "a"), ("batch", True), ("steps", True), ("guidance", "2"), ("copies", 1.5)],
)  # fmt: skip
def test_impossible_arguments_are_refused_by_name(generator, argument, value):  # fault 45
    with pytest.raises(InputError, match=argument):
        generator.sample(asked(), **{argument: value}, on_step=lambda *step: pytest.fail("it sampled"))


def test_numbers_of_numpy_are_numbers(generator, tmp_path):
    table = asked(1).assign(ecg_id="5")
    samples = generator.sample(table, steps=np.int64(2), guidance=np.float32(1), batch=np.int32(1), seed=np.int64(3))
    samples.save(tmp_path / "samples")  # JSON takes what is noted of them
    assert Cohort.load(tmp_path / "samples").notes["seed"] == 3 and samples.table["source_ecg_id"].tolist() == [5]
    with pytest.raises(InputError, match="seed"):
        generator.draw_beats(table, seed=2.5)


def test_guidance_without_training_for_it_is_warned_of(generator):
    config = generator.config.override({"conditions.drop": 0.0})
    never = Generator(config, generator.signals, generator.network)
    with pytest.warns(UserWarning, match="never dropped conditions"):
        never.sample(asked(1), guidance=2.0, steps=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        never.sample(asked(1), guidance=1.0, steps=1)
        generator.sample(asked(1), guidance=2.0, steps=1)


def test_what_is_no_table_is_refused(generator):
    for table in (None, {"ecg_id": [1]}, pd.concat([asked(1), asked(1)[["age"]]], axis=1)):
        with pytest.raises(InputError, match=r"expected a pandas\.DataFrame"):
            generator.sample(table)


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


def test_samples_say_how_they_were_made(generator):
    notes = generator.sample(asked(1), sampler="ddim", steps=3, spacing="log-snr", guidance=2.0, seed=7).notes
    how = {"sampler": "ddim", "steps": 3, "spacing": "log-snr", "guidance": 2.0, "seed": 7}
    assert notes == notes | how | {"preset": TINY.name}
    default = generator.sample(asked(1)).notes
    assert default == default | {"steps": TINY.sampling.steps, "spacing": TINY.sampling.spacing}


def test_spacing_reaches_the_sampler(generator):
    seen = {"even": [], "log-snr": []}
    for name, times in seen.items():
        generator.sample(asked(1), steps=6, spacing=name, on_step=lambda t, x, x0, times=times: times.append(t))
    assert seen == {name: spaced_steps(generator.schedule, 6, name) for name in seen}
    assert seen["even"] != seen["log-snr"]


def test_bf16_is_for_gpus_and_changes_little(run, generator, monkeypatch):
    half = Generator(TINY.override({"training.precision": "bf16"}), generator.signals, generator.network)
    on_cpu, full = half.sample(asked()).x, generator.sample(asked()).x
    assert np.array_equal(on_cpu, full)
    denoise = Denoiser.__init__
    monkeypatch.setattr(Denoiser, "__init__", lambda self, *given: denoise(self, *given[:-1], True))
    as_on_a_gpu = half.sample(asked()).x
    assert 0 < np.abs(as_on_a_gpu - full).max() < 0.1 and as_on_a_gpu.dtype == np.float32


def sample_with_little_memory(run, n, batch) -> int:
    generator, table = Generator.load(run), pd.concat([asked(1)] * n).assign(ecg_id=np.arange(n))
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 2**27, used + 2**27))  # 128 MiB more
    return len(generator.sample(table, batch=batch, steps=2))


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="asks Linux how much memory is used")
def test_out_of_memory_names_the_batch_and_a_smaller_one_works(run):  # fault 42
    assert in_child(sample_with_little_memory, run, 3000, 3000)[1].startswith(
        "InputError: memory does not suffice for 3000 records at once (batch=3000); try batch=750")
    assert in_child(sample_with_little_memory, run, 3000, 50) == (0, "3000")
