"""Config: presets, overrides that are checked, JSON that survives a round trip."""

import json
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecglib import Config
from ecglib.config import PRESETS
from ecglib.errors import InputError


@pytest.mark.parametrize("name", PRESETS)
def test_json_round_trip_and_id(name):
    config = Config.preset(name)
    assert Config.from_json(config.to_json()) == config
    assert config.id == Config.from_json(config.to_json()).id
    assert config.id != config.override({"seed": 1}).id


def test_override_leaves_the_original_alone():
    config = Config.preset("quick")
    changed = config.override({"diffusion.timesteps": 50, "training.learning_rate": 1, "mel.windows": [64, 32, 16],
                               "mel.n_mels": [16, 8, 4]})  # fmt: skip
    assert changed.diffusion.timesteps == 50 and config.diffusion.timesteps == 200
    assert changed.training.learning_rate == 1.0 and isinstance(changed.training.learning_rate, float)
    assert changed.mel.windows == (64, 32, 16)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"diffusion.timestep": 50}, "did you mean diffusion.timesteps"),
        ({"diffusion.timesteps": 50.0}, "expected int"),
        ({"diffusion.timesteps": True}, "expected int"),
        ({"diffusion.timesteps": "50"}, "expected int"),
        ({"training.standardise": 1}, "expected bool"),
        ({"mel.windows": (64, 32.0, 16)}, "tuple of int"),
        ({"mel.windows": ()}, "tuple of int"),
        ({"mel.windows": (64, 32)}, "differ in length"),
        ({"diffusion.schedule": "cosin"}, "did you mean cosine"),
        ({"training.learning_rate": float("nan")}, "out of range"),
        ({"cohort.n": 10**12}, "out of range"),
        ({"seed": -1}, "out of range"),
        ({"diffusion.target": "eps"}, "wiener"),
        ({"diffusion.target": "eps", "network.wiener": 0.0}, "patch"),
        ({"diffusion.timesteps": 20}, "more than diffusion.timesteps"),
        ({"mel.windows": (0, 0, 0)}, "at least 8 samples"),
        ({"network.heads": 3}, "does not divide"),
    ],
)
def test_wrong_overrides_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        Config.preset("quick").override(change)


@pytest.mark.parametrize(("schedule", "told"), [("cosine", 1), ("linear", 0)])
def test_eps_where_almost_no_signal_is_left_is_warned_of(schedule, told):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        Config.preset("quick").override({"diffusion.target": "eps", "diffusion.schedule": schedule,
                                         "network.wiener": 0.0, "network.patch": 1})  # fmt: skip
    assert len(caught) == told and all("schedule linear" in str(one.message) for one in caught)


def test_an_unknown_preset_names_the_nearest():
    with pytest.raises(InputError, match="did you mean quick"):
        Config.preset("quik")


@given(st.text(max_size=40))
def test_from_json_never_raises_anything_else(text):
    try:
        Config.from_json(text)
    except InputError:
        pass


LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
NAMES = st.sampled_from(["seed", "mel", "weight", "x"])


@given(st.recursive(LEAVES, lambda inner: st.dictionaries(NAMES, inner, max_size=3)))
def test_from_json_of_any_tree_is_a_config_or_an_input_error(tree):
    try:
        assert isinstance(Config.from_json(json.dumps(tree)), Config)
    except InputError:
        pass


def test_the_paper_preset_is_the_setting_of_ssd_ecgs_public_code():
    config = Config.preset("paper")
    assert (config.diffusion.timesteps, config.diffusion.schedule, config.diffusion.target) == (200, "linear", "eps")
    assert (config.network.channels, config.network.blocks, config.network.state) == (256, 36, 64)
    assert (config.training.steps, config.training.batch, config.training.learning_rate) == (100_000, 8, 2e-4)
    assert not config.training.standardise and config.mel.weight == 0 and config.sampling.sampler == "ddpm"


@pytest.mark.parametrize("absent", ["seed", "diffusion.schedule", "sampling"])
def test_what_is_missing_is_no_default(absent):
    tree = json.loads(Config.preset("quick").to_json())
    group, _, leaf = absent.partition(".")
    (tree[group] if leaf else tree).pop(leaf or group)
    with pytest.raises(InputError, match=f"config lacks {absent}"):
        Config.from_json(json.dumps(tree))


def test_numbers_of_numpy_are_numbers():
    config = Config.preset("smoke").override({"seed": np.int64(3), "conditions.drop": np.float32(0.5)})
    assert config == Config.from_json(config.to_json()) and config.seed == 3 and type(config.seed) is int
    with pytest.raises(InputError, match="seed"):
        Config.preset("smoke").override({"seed": np.float64(3)})
