"""The page's parts in Python: the graph equals the network, noise is noise, and what is missing is said in words."""

import shutil
import sys
from copy import deepcopy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from test_training import TINY, tiny_cohort

from ecglib import Config
from ecglib.diffusion import Conditions, Denoiser, Generator, Schedule, SignalInfo, network_of, train
from ecglib.errors import InputError
from ecglib.signals import LEADS_8
from ecglib.study import Study
from ecglib.web import CounterNoise, Evaluation, PageGenerator, build_page, export_onnx
from ecglib.web.build import BUNDLER, LIMIT, PAGE, RUNTIME, generator_script, onnx_bytes
from ecglib.web.describe import FEWEST, describe
from ecglib.web.graph import DFT, Slow
from ecglib.web.noise import mix

WEB = TINY.override({"network.blocks": 2, "training.learning_rate": 5e-3})  # the second block has attention
PLAIN = {"network.patch": 1, "network.self_conditioning": False, "network.clock": False, "network.heads": 0,
         "network.wiener": 0.0, "network.kernel": "nplr", "mel.weight": 0.0}  # fmt: skip
N_TIMES = 200


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return train(WEB, tiny_cohort(), tmp_path_factory.mktemp("web") / "run", progress=False)


def shaken(config: Config) -> torch.nn.Module:
    """A network all of whose weights matter: those that start at zero, too."""
    network = network_of(config, 8, N_TIMES).eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(0)
    for parameter in network.parameters():
        parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    if network.wiener is not None:
        network.wiener.fit(torch.randn(60, 8, N_TIMES, generator=generator).cumsum(-1) / 10)
    return network


def inputs_of(network, schedule: Schedule, t: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(t)
    draw = {name: torch.randn(1, rows, N_TIMES, generator=generator) for name, rows in
            {"x_t": 8, "previous": 8, "clock": 9}.items()}  # fmt: skip
    conditions = torch.rand(1, sum(network.condition_groups), generator=generator)
    return {**draw, "t": torch.tensor([t]), "conditions": conditions}


# ---- the graph


@settings(max_examples=25, deadline=None)
@given(half=st.integers(1, 40), kept=st.integers(1, 80), low=st.integers(1, 41), ortho=st.booleans())
def test_two_products_are_the_fourier_transform_and_back(half, kept, low, ortho):
    size, length, bins = 2 * half, min(kept, 2 * half), min(low, half + 1)
    dft, norm = DFT(size, length, bins, ortho), "ortho" if ortho else "backward"
    x = torch.randn(3, length, 2, generator=torch.Generator().manual_seed(0))
    z = torch.fft.rfft(x, n=size, dim=1, norm=norm)[:, :bins]
    assert torch.allclose(dft(x), torch.cat([z.real, z.imag], dim=1), atol=1e-4)
    back = torch.fft.irfft(z, n=size, dim=1, norm=norm)[:, :length]
    assert torch.allclose(dft.inverse(dft(x)), back, atol=1e-5)


@pytest.mark.parametrize("groups", [1, 3])
def test_the_slow_part_equals_the_wiener_filter(groups):
    network = shaken(WEB.override({"network.wiener_groups": groups, "network.wiener": 5.0}))
    for alpha_bar in (0.999, 0.5, 1e-4):
        share, x = torch.tensor([alpha_bar]), torch.randn(1, 8, N_TIMES)
        assert torch.allclose(Slow(network.wiener)(x, share), network.wiener(x, share), atol=1e-5)


@pytest.mark.parametrize("changes", [
    {}, PLAIN | {"diffusion.target": "eps", "diffusion.schedule": "linear"}, PLAIN | {"diffusion.target": "v"},
    {"network.wiener_groups": 2}, {"network.heads": 0}, {"network.clock": False}, {"network.self_conditioning": False},
    {"conditions.groups": ("statements",)},
])  # fmt: skip
def test_an_evaluation_equals_the_networks_own(changes):
    config = WEB.override(changes)
    network, schedule = shaken(config), Schedule.named(config.diffusion.schedule, config.diffusion.timesteps)
    evaluation = Evaluation(network, schedule, config.diffusion.target, N_TIMES)
    for t in (0, 7, len(schedule) - 1):
        given = inputs_of(network, schedule, t)
        clock = given["clock"] if config.network.clock else None
        denoise = Denoiser(network, schedule, config.diffusion.target, given["conditions"], clock=clock)
        denoise.previous = given["previous"] if config.network.self_conditioning else None
        ours, theirs = evaluation(*(given[name] for name in evaluation.inputs)), denoise(given["x_t"], t)
        assert (ours - theirs).abs().max() < 1e-5 * max(1.0, theirs.abs().max())


def test_the_rhythm_network_equals_its_own():
    rhythm = shaken(WEB).rhythm
    evaluation = Evaluation(rhythm.network, rhythm.schedule, "v", rhythm.length)
    assert evaluation.inputs == ["x_t", "t", "conditions"]
    x, conditions = torch.randn(1, 1, rhythm.length), torch.rand(1, sum(rhythm.network.condition_groups))
    for t in (0, 100, 199):
        denoise = Denoiser(rhythm.network, rhythm.schedule, "v", conditions)
        assert torch.allclose(evaluation(x, torch.tensor([t]), conditions), denoise(x, t), atol=1e-5)


@pytest.mark.parametrize(("half", "near"), [(False, 1e-5), (True, 5e-3)])
def test_the_exported_graph_equals_pytorch(half, near, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: no graph is run")
    network, schedule = shaken(WEB), Schedule.cosine(20)
    evaluation = Evaluation(network, schedule, "x0", N_TIMES)
    export_onnx(evaluation, tmp_path / "graph.onnx", half=half)
    session = onnxruntime.InferenceSession(tmp_path / "graph.onnx")
    assert {i.name for i in session.get_inputs()} == set(evaluation.inputs)
    for t in (0, 7, 19):
        given = {name: inputs_of(network, schedule, t)[name] for name in evaluation.inputs}
        (ours,) = session.run(["x0_hat"], {name: value.numpy() for name, value in given.items()})
        assert np.abs(ours - evaluation(*given.values()).numpy()).max() < near


def test_the_graph_names_no_place_on_this_machine_and_half_the_weights_take_less_room():
    evaluation = Evaluation(shaken(WEB), Schedule.cosine(20), "x0", N_TIMES)
    whole, half = onnx_bytes(evaluation), onnx_bytes(evaluation, half=True)
    assert str(PAGE.parent).encode() not in whole and b"site-packages" not in whole
    assert whole == onnx_bytes(deepcopy(evaluation)), "the same weights give the same file"
    assert len(half) < len(whole)


# ---- the noise


def slow_mix(k: int) -> int:
    """h with Python's own whole numbers."""
    k = (k ^ (k >> 16)) * 0x85EBCA6B % 2**32
    k = (k ^ (k >> 13)) * 0xC2B2AE35 % 2**32
    return k ^ (k >> 16)


@given(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=20))
def test_the_hash_is_that_of_whole_numbers_without_wrapping(numbers):
    assert mix(np.array(numbers)).tolist() == [slow_mix(k) for k in numbers]


def test_the_noise_is_standard_normal_and_seeds_share_nothing():
    draws = np.stack([CounterNoise(seed, 1, (8, 1000))().numpy().ravel() for seed in range(50)])
    assert stats.kstest(draws.ravel(), "norm").pvalue > 1e-3
    assert abs(draws.mean()) < 0.01 and abs(draws.std() - 1) < 0.01
    lags = [np.corrcoef(draws[:, k:].ravel(), draws[:, : 8000 - k].ravel())[0, 1] for k in (1, 2, 1000)]
    between = np.corrcoef(draws)[np.triu_indices(50, 1)]
    assert np.abs(lags).max() < 4 / np.sqrt(draws.size) and np.abs(between).max() < 5 / np.sqrt(8000)


def test_records_asked_for_with_one_seed_start_from_the_same_noise(run):
    generator = PageGenerator.of(Generator.load(run))
    table = tiny_cohort().table.iloc[[0, 0, 1]].assign(ecg_id=[1, 2, 3])  # the last is of the other sex
    x = generator.sample(table, seed=4).x
    assert np.abs(x[0] - x[1]).max() < 1e-5 and np.abs(x[0] - x[2]).max() > 1e-4
    assert np.abs(generator.sample(table, seed=5).x - x).max() > 1e-3
    with pytest.raises(InputError, match="copies would be alike"):
        generator.sample(table, copies=2)
    private = PageGenerator.of(Generator(generator.config, generator.signals, generator.network, privacy="epsilon 1"))
    assert private.sample(table).notes["epsilon"] == "epsilon 1"


# ---- what the page is told


def test_what_few_training_records_have_is_not_told(run):
    cohort = tiny_cohort()
    codes = [{"NORM": 100.0, "SR": 0.0}] * 30 + [{"AFIB": 100.0}] * 10  # 8 of these train
    cohort.table["scp_codes"] = codes
    about = describe(Generator.load(run), "smoke", {"n_train": 32, "versions": {"commit": "abc"}}, cohort, False)
    assert {one["code"] for one in about["statements"]} == {"NORM", "SR"} and FEWEST > 8
    assert about["combinations"] == {"NORM SR": 24}
    assert "not for clinical use" in about["facts"] and "records of patients" in about["facts"]


def test_a_smaller_room_takes_float16_and_a_still_smaller_one_is_refused(run):
    whole = generator_script(run, tiny_cohort(), "smoke", LIMIT)
    half = generator_script(run, tiny_cohort(), "smoke", len(whole) - 1)
    assert len(half) < len(whole) and "16 bits" in half and "16 bits" not in whole
    for room in (len(half) - 1, 1000):
        with pytest.raises(InputError, match="there is room for"):
            generator_script(run, tiny_cohort(), "smoke", room)


def test_the_default_network_fits_into_the_page_in_float32(tmp_path):
    from ecglib.diffusion.model import save_description, save_tensors
    from ecglib.runs import sha256_of, write_manifest

    config = Config.preset("quick")
    save_description(tmp_path, config, SignalInfo(LEADS_8, 100, 1000, (0.0,) * 8, (1.0,) * 8))
    network = network_of(config, 8, 1000)
    save_tensors(tmp_path / "model.safetensors", network.state_dict())
    digests = {name: sha256_of(tmp_path / name) for name in ("config.json", "model.safetensors")}
    write_manifest(tmp_path, "run", n_train=1, sha256=digests)
    runtime = 5_000_000
    assert "16 bits" not in generator_script(tmp_path, tiny_cohort(), "quick", LIMIT - runtime)


# ---- what is missing


@pytest.fixture
def no_npm(tmp_path, monkeypatch):
    """A machine on which nothing was fetched yet, without npm."""
    monkeypatch.setenv("ECGLIB_WORK", str(tmp_path / "work"))
    monkeypatch.setenv("PATH", str(tmp_path))


def words(folder) -> str:
    return (folder / "generator.js").read_text(encoding="utf-8")


def test_without_npm_the_page_says_so_and_the_build_goes_on(no_npm, tmp_path, capsys):
    why = build_page(Study(), tmp_path / "play")
    assert "npm is not installed" in why and RUNTIME in why and why in words(tmp_path / "play")
    assert "the page Play says" in capsys.readouterr().err
    assert (tmp_path / "play" / "play.js").exists() and not (tmp_path / "play" / "runtime.js").exists()


@pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not installed")
def test_an_npm_without_a_network_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("ECGLIB_WORK", str(tmp_path / "work"))
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:9")  # where nobody answers
    monkeypatch.setenv("npm_config_cache", str(tmp_path / "cache"))
    why = build_page(Study(), tmp_path / "play")
    assert "npm could not bring the runtime" in why and why in words(tmp_path / "play")
    assert list((tmp_path / "work" / "web").iterdir()) == []


def with_runtime(folder) -> None:
    """Leave a runtime where a build would have left it: no npm is asked then."""
    (folder / "work" / "web").mkdir(parents=True)
    first_line = f"// {RUNTIME} (Microsoft, MIT licence), bundled by {BUNDLER}\n"
    (folder / "work" / "web" / "runtime.js").write_text(first_line)


def test_without_a_trained_generator_the_page_says_what_makes_one(no_npm, tmp_path):
    with_runtime(tmp_path)
    why = build_page(Study(preset="smoke", seed=3), tmp_path / "play")
    assert "not trained yet; run `make book PRESET=smoke SEED=3`" in why and why in words(tmp_path / "play")


def test_without_onnx_the_remedy_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(InputError, match="onnx is not installed; run `make setup`"):
        export_onnx(Evaluation(shaken(WEB), Schedule.cosine(20), "x0", N_TIMES), tmp_path / "graph.onnx")
    assert not (tmp_path / "graph.onnx").exists()


def test_the_vocabulary_the_page_encodes_is_that_of_all_groups():
    from ecglib.diffusion import GROUPS
    from ecglib.web.describe import describe_groups

    groups = describe_groups(Conditions(GROUPS).vocabulary)
    assert {group["column"] for group in groups} == {"scp_codes", "age", "sex", "height", "weight", "bmi", "heart_rate"}
