"""The optimiser: which weights are whose, Muon's orthogonal steps, and a state that goes on bit for bit."""

import copy
from dataclasses import replace

import pytest
import torch

from ecglib.config import Config, NetworkConfig
from ecglib.diffusion.network import build_network
from ecglib.diffusion.optimiser import Optimiser

SMALL = NetworkConfig(channels=8, blocks=2, state=8, patch=4, heads=2, wiener=0.0)


def network():
    return build_network(SMALL, 8, (4, 3), (5,), 0)


def settings(name: str):
    return Config().override({"training.optimiser": name}).training


def teach(model, optimiser, steps: int, seed: int = 0) -> None:
    for k in range(steps):
        x = torch.randn(2, 8, 40, generator=torch.Generator().manual_seed(seed + k))
        model.zero_grad(set_to_none=True)
        (model(x, torch.tensor([3, 5]), torch.eye(7)[:2], x) - x).square().mean().backward()
        optimiser.step(1e-2)


def test_every_weight_belongs_to_one_optimiser_and_matrices_of_the_blocks_to_muon():
    model = network()
    whose = {id(p): i for i, part in enumerate(Optimiser(model, settings("muon")).parts)
             for group in part.param_groups for p in group["params"]}  # fmt: skip
    assert len(whose) == len(list(model.parameters()))
    inner = {name for name, p in model.named_parameters() if whose[id(p)] == 1}
    assert "blocks.0.first.mix.weight" in inner and "blocks.1.widen.weight" in inner
    assert all(name.startswith("blocks.") and name.endswith("weight") and "norm" not in name for name in inner)
    assert len(Optimiser(model, settings("adamw")).parts) == 1


def test_a_step_of_muon_moves_a_matrix_by_nearly_an_orthogonal_one():
    model = network()
    optimiser = Optimiser(model, settings("muon"))
    teach(model, optimiser, 1)  # the head is zero at first, so that only now gradients reach the blocks
    weight = model.blocks[0].first.mix.weight
    before = weight.detach().clone()
    teach(model, optimiser, 1, seed=1)
    values = torch.linalg.svdvals(weight.detach() - before)
    assert values.max() / values.median() < 2.5  # of a gradient the largest stands out by far
    gradient = torch.linalg.svdvals(weight.grad)
    assert gradient.max() / gradient.median() > 5


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_a_restored_optimiser_goes_on_bit_for_bit(name):
    model = network()
    optimiser = Optimiser(model, settings(name))
    teach(model, optimiser, 3)
    other = copy.deepcopy(model)
    again = Optimiser(other, settings(name))
    assert again.restore({key: value.clone() for key, value in optimiser.state().items()})
    teach(model, optimiser, 3, seed=9)
    teach(other, again, 3, seed=9)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))


def test_the_state_of_another_optimiser_or_network_is_not_taken():
    model = network()
    optimiser = Optimiser(model, settings("muon"))
    teach(model, optimiser, 1)
    state = optimiser.state()
    assert not Optimiser(network(), settings("adamw")).restore(state)
    assert not Optimiser(network(), settings("muon")).restore({})
    assert not Optimiser(network(), settings("muon")).restore({k: v for k, v in state.items() if k.startswith("0.")})
    wider = build_network(replace(SMALL, channels=16), 8, (4, 3), (5,), 0)
    assert not Optimiser(wider, settings("muon")).restore(state)
