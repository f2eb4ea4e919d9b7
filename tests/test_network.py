"""The SSSD network: shapes, folding, conditions that matter, the size of SSSD-ECG."""


import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file

from ecglib.config import Config, NetworkConfig
from ecglib.diffusion import Conditions, clock, network_of
from ecglib.diffusion.network import Attention, Convolution3, build_network, step_embedding
from ecglib.diffusion.state_space import KERNELS
from ecglib.errors import InputError
from tests.obvious_network import ObviousSSSD

PLAIN = {"patch": 1, "self_conditioning": False, "clock": False, "heads": 0}
OPTIONS = {"patch": 4, "self_conditioning": True, "clock": True, "heads": 2}
SMALL = NetworkConfig(channels=8, blocks=2, state=8, patch=4, heads=2)


def small(config: NetworkConfig = SMALL, groups=(4, 3), seed: int = 0):
    network = build_network(config, 8, groups, (5,), seed)
    torch.nn.init.normal_(network.leave.weight, generator=torch.Generator().manual_seed(1))
    return network


def relative(a: torch.Tensor, b: torch.Tensor) -> float:
    """Return the largest difference over the largest value."""
    return float((a - b).detach().abs().max() / b.detach().abs().max())


def inputs(batch: int = 2, length: int = 80):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(batch, 8, length, generator=generator)
    return x, torch.arange(batch) + 3, torch.eye(7)[:batch].clone()


def test_a_new_network_answers_zero_as_ssd_ecg_does():
    network = build_network(SMALL, 8, (4, 3), (5,), 0)
    assert torch.equal(network(*inputs()), torch.zeros(2, 8, 80))


def test_unfold_undoes_fold_and_keeps_neighbours_together():
    network, x = small(), inputs()[0]
    folded = network.fold(x)
    assert folded.shape == (2, 20, 32)
    assert torch.equal(network.unfold(folded), x)
    assert torch.equal(folded[0, 3, :4], x[0, 0, 12:16])


def test_convolution_of_neighbours_equals_conv1d():
    ours = Convolution3(5, 7)
    theirs = torch.nn.Conv1d(5, 7, 3, padding=1)
    with torch.no_grad():
        theirs.weight.copy_(ours.weight.view(7, 3, 5).transpose(1, 2))
        theirs.bias.copy_(ours.bias)
    x = torch.randn(2, 11, 5)
    assert torch.allclose(ours(x), theirs(x.transpose(1, 2)).transpose(1, 2), atol=1e-6)


def test_attention_is_the_formula_slowly():
    attention = Attention(6, 2)
    h = torch.randn(1, 5, 6)
    q, k, v = attention.look(h)[0].chunk(3, dim=-1)  # (5, 6) each
    seen = []
    for head in (slice(0, 3), slice(3, 6)):
        weight = torch.softmax(q[:, head] @ k[:, head].T / 3**0.5, dim=-1)
        seen.append(weight @ v[:, head])
    assert torch.allclose(attention(h)[0], h[0] + attention.mix(torch.cat(seen, dim=-1)), atol=1e-6)


def test_step_conditions_and_previous_all_change_the_answer():
    network, (x, t, c) = small(), inputs()
    base = network(x, t, c)
    assert (network(x, t + 50, c) - base).abs().max() > 1e-4
    assert (network(x, t, c.flip(0)) - base).abs().max() > 1e-4
    assert (network(x, t, c, x) - base).abs().max() > 1e-4
    ticks = clock([np.arange(0.5, 8, 0.9)] * 2, 80, 10)
    assert (network(x, t, c, None, ticks) - base).abs().max() > 1e-4
    with pytest.raises(InputError, match=r"clock has shape \(2, 8, 80\); expected \(2, 9, 80\)"):
        network(x, t, c, None, x)
    assert torch.equal(network(x, t, c, torch.zeros_like(x)), base)


def test_the_answer_for_a_record_does_not_depend_on_its_batch():
    network, (x, t, c) = small(), inputs(batch=5)
    with torch.no_grad():
        together = network(x, t, c)
        alone = torch.cat([network(x[k : k + 1], t[k : k + 1], c[k : k + 1]) for k in range(5)])
    assert (together - alone).abs().max() < 1e-5


def test_every_parameter_gets_a_gradient():
    network = small()
    x = inputs(batch=7)[0]
    network(x, torch.arange(7), torch.cat([torch.eye(4).repeat(2, 1)[:7], torch.eye(3).repeat(3, 1)[:7]], dim=1),
            x, clock([np.arange(0.5, 8, 0.9)] * 7, 80, 10)).square().sum().backward()  # fmt: skip
    without = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    # The last block's residual goes nowhere: half of its output matrix is used, so its gradient is not zero either.
    assert without == []


def test_the_same_seed_gives_the_same_weights_and_leaves_the_global_generator_alone():
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    a, b, c = (build_network(SMALL, 8, (4, 3), (5,), seed) for seed in (0, 0, 1))
    assert torch.equal(torch.rand(2), expected)
    assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))
    assert any(not torch.equal(p, q) for p, q in zip(a.parameters(), c.parameters(), strict=True))


def size_of_ssd_ecg(h: int, blocks: int, n: int, leads: int, tokens: int, width: int) -> int:
    """Weights of SSSD-ECG: residual channels H, state N, and an embedding of that width."""

    def linear(inputs: int, outputs: int) -> int:
        return inputs * outputs + outputs

    step = linear(128, 512) + linear(512, 512) + blocks * linear(512, h)
    label = tokens * width + blocks * linear(width, 2 * h)
    state_space = 2 * 2 * h * n + 2 * h + linear(2 * h, 2 * h) + 2 * 2 * h  # C of two directions, D, mix, norm
    block = linear(3 * h, 2 * h) + 2 * state_space + linear(h, 2 * h)
    return linear(leads, h) + step + label + blocks * block + linear(h, h) + linear(h, leads)


def test_the_paper_preset_has_the_size_of_ssd_ecg_and_takes_a_step():
    config = Config.preset("paper")
    network = network_of(config, 8)
    expected = size_of_ssd_ecg(h=256, blocks=36, n=64, leads=8, tokens=71 + 1, width=128)  # 71 labels, unknown
    assert sum(p.numel() for p in network.parameters()) == expected == 50_165_256
    optimiser = torch.optim.AdamW(network.parameters(), lr=config.training.learning_rate)
    conditions = Conditions(config.conditions.groups).unknown(1)
    x = torch.randn(1, 8, 200)  # a shorter record: the same weights, less waiting
    before = network.leave.weight.detach().clone()
    (network(x, torch.tensor([10]), conditions) - x).square().mean().backward()
    optimiser.step()
    assert not torch.equal(before, network.leave.weight)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("options", [PLAIN, OPTIONS])
def test_answers_and_gradients_equal_those_of_the_obvious_network(kernel, options):
    fast = small(NetworkConfig(channels=8, blocks=3, state=16, kernel=kernel, wiener=0.0, **options))
    obvious, (x, t, c) = ObviousSSSD(fast), inputs(batch=3)
    beats = [np.arange(0.3, x.shape[2] / 10, gap) for gap in (0.8, 0.9, 1.1)]
    seen = (x.flip(0), clock(beats, x.shape[2], 10)) if fast.config.clock else ()
    assert relative(fast(x, t, c, *seen), obvious(x, t, c, *seen)) < 1e-4
    for network in (fast, obvious):
        (network(x, t, c, *seen) - x).square().mean().backward()
    for ours, theirs in zip(fast.blocks, obvious.blocks, strict=True):
        for layer in ("first", "second"):
            c_, d_ = getattr(ours, layer).c.grad, getattr(ours, layer).d.grad
            assert relative(c_, getattr(theirs, layer).c.grad) < 1e-4
            assert relative(d_, getattr(theirs, layer).d.grad) < 1e-4
    assert relative(fast.enter.bias.grad, obvious.enter.bias.grad) < 1e-4
    with torch.no_grad():
        assert relative(fast(x, t, c, *seen), obvious(x, t, c, *seen)) < 1e-4  # with spectra that are kept


def test_a_changed_age_changes_the_answer():
    conditions = Conditions(("diagnosis", "age", "sex"))
    network = small(groups=conditions.sizes)
    x, t, _ = inputs(batch=2)
    table = pd.DataFrame({"ecg_id": [1, 2], "scp_codes": [{"NORM": 100.0}] * 2, "age": [25.0, 70.0], "sex": [0, 0]})
    young_and_old, same = conditions.encode(table), conditions.encode(table.assign(age=25.0))
    answers = network(x[:1].expand(2, -1, -1), t[:1].expand(2), young_and_old)
    assert (answers[0] - answers[1]).abs().max() > 1e-3
    answers = network(x[:1].expand(2, -1, -1), t[:1].expand(2), same)
    assert (answers[0] - answers[1]).abs().max() < 1e-6


def test_every_embedding_gets_a_gradient_and_survives_a_reload(tmp_path):
    groups = ("diagnosis", "form", "rhythm", "age", "sex", "weight", "height", "bmi", "rate")
    conditions = Conditions(groups)
    network = small(groups=conditions.sizes)
    x, t, c = torch.randn(1, 8, 80), torch.tensor([5]), conditions.unknown(1)
    assert len(network.embeddings) == len(groups)
    network(x, t, c).square().sum().backward()
    for embedding in network.embeddings:
        assert embedding.weight.grad.abs().sum() > 0
    save_file(network.state_dict(), tmp_path / "model.safetensors")
    other = small(groups=conditions.sizes, seed=1)
    for ours, theirs in zip(network.embeddings, other.embeddings, strict=True):
        assert not torch.equal(ours.weight, theirs.weight)
    other.load_state_dict(load_file(tmp_path / "model.safetensors"))
    for ours, theirs in zip(network.embeddings, other.embeddings, strict=True):
        assert torch.equal(ours.weight, theirs.weight)
    assert torch.equal(network(x, t, c), other(x, t, c))


def test_bfloat16_products_change_the_answer_little_and_leave_it_in_float32():
    network, (x, t, c) = small(NetworkConfig(channels=32, blocks=6, patch=4, wiener=0.0, heads=2)), inputs(batch=4)
    exact = network(x, t, c)
    with torch.autocast("cpu", torch.bfloat16):
        half = network(x, t, c)
    assert half.dtype == torch.float32
    assert 1e-5 < (half - exact).std() / exact.std() < 0.02
    half.square().mean().backward()
    assert all(p.grad.dtype == torch.float32 for p in network.parameters())


def test_a_compiled_network_gives_the_same_answers_and_follows_its_weights():
    network, (x, t, c) = small(), inputs()
    compiled = torch.compile(network, backend="aot_eager")  # traced and split as ever, but no kernels are written
    assert relative(compiled(x, t, c), network(x, t, c)) < 1e-5
    with torch.no_grad():
        before = compiled(x, t, c)
        network.blocks[0].first.c.mul_(2)
        assert relative(compiled(x, t, c), network(x, t, c)) < 1e-5
        assert relative(compiled(x, t, c), before) > 1e-3


@pytest.mark.parametrize("shape", [(2, 8, 81), (2, 12, 80), (8, 80)])
def test_a_signal_that_does_not_fit_is_refused(shape):
    network = small()
    with pytest.raises(InputError, match="expected \\(B, 8, L\\)"):
        network(torch.zeros(shape), torch.zeros(2, dtype=torch.int64), torch.zeros(2, 7))


def test_missing_conditions_are_refused():
    x, t, _ = inputs()
    with pytest.raises(InputError, match="conditions has shape None"):
        small()(x, t)


def test_step_embedding_tells_every_step_apart():
    embedded = step_embedding(torch.arange(200))
    distance = torch.cdist(embedded, embedded) + 10 * torch.eye(200)
    assert distance.min() > 0.1
