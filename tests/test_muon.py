"""Muon: orthogonal directions with the gradient's own singular vectors, and PyTorch's steps but for bfloat16."""

import pytest
import torch

from ecglib.diffusion.muon import Muon, orthogonal


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(8, 8), (24, 8), (8, 24), (1, 5)])
def test_directions_keep_singular_vectors_and_level_the_values(shape):
    g = random(2, *shape) @ torch.diag(torch.logspace(0, -1, shape[1]))  # one direction ten times another
    for one, direction in zip(g, orthogonal(g), strict=True):
        u, values, v = torch.linalg.svd(one, full_matrices=False)
        levelled = torch.diagonal(u.T @ direction @ v.T)
        torch.testing.assert_close((u * levelled) @ v, direction, atol=1e-4, rtol=0)
        assert levelled.min() > 0.6 and levelled.max() < 1.25, values


def test_matrices_of_a_batch_do_not_touch_each_other():
    g = random(3, 6, 10)
    torch.testing.assert_close(orthogonal(g)[1], orthogonal(g[1:2])[0])


def test_a_zero_gradient_stays_where_it_is():
    assert orthogonal(torch.zeros(1, 3, 4)).eq(0).all()


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_steps_are_pytorchs_but_for_bfloat16(decay):
    ours = [torch.nn.Parameter(random(*shape)) for shape in ((6, 10), (6, 10), (16, 4))]
    theirs = [torch.nn.Parameter(p.detach().clone()) for p in ours]
    one = Muon(ours, lr=0.02, weight_decay=decay)
    other = torch.optim.Muon(theirs, lr=0.02, weight_decay=decay, adjust_lr_fn="match_rms_adamw")
    start = [p.detach().clone() for p in ours]
    for step in range(4):
        for k, (p, q) in enumerate(zip(ours, theirs, strict=True)):
            p.grad = random(*p.shape, seed=10 * step + k)
            q.grad = p.grad.clone()
        one.step()
        other.step()
    for p, q, before in zip(ours, theirs, start, strict=True):
        moved = (q - before).norm()
        assert moved > 0.05 and (p - q).norm() < 0.03 * moved  # bfloat16 has eight bits


def test_a_parameter_without_a_gradient_stays():
    weight = torch.nn.Parameter(random(3, 3))
    before = weight.detach().clone()
    Muon([weight], lr=0.1, weight_decay=0.5).step()
    assert torch.equal(weight, before)
