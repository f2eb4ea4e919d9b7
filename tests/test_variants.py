"""Variants: what the table pins is what paper.md pins, and each of them takes a training step on a real ECG."""

import pytest
import torch

from ecglib.config import Config
from ecglib.diffusion import Conditions, MelLoss, Schedule, network_of, predict_x0, q_sample, target_of
from ecglib.diffusion.mel import mel_estimate
from ecglib.errors import InputError
from ecglib.presets import PRESETS
from ecglib.signals import to_eight_leads
from ecglib.signals.virtual import virtual_cohort
from ecglib.variants import VARIANTS, variant

TINY = {"network.channels": 8, "network.blocks": 1, "network.state": 8}
PUBLISHED = {  # name: windows, mels, λ, compared, floor, weighting over t
    "mel-v5": ((32, 64), (10, 40), 0.2, "posterior", 1e-5, "none"),
    "mel-v6": ((64,), (16,), 0.02, "posterior", 1e-5, "none"),
    "mel-x0": ((512, 256), (64, 128), 0.02, "x0", 1e-5, "none"),
}
WIDTHS = {"labels": [128], "labels-age": [96, 32], "labels-sex": [96, 32], "labels-age-sex": [96, 32, 32],
          "groups": [32] * 5, "groups-body": [32] * 9}  # fmt: skip


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_authors_mel_losses_are_as_their_code_has_them(name):
    mel = Config().override(variant(name)).mel
    came = (mel.windows, mel.n_mels, mel.weight, mel.estimate, mel.floor, mel.weighting)
    assert came == PUBLISHED[name] and mel.filters == "mel"


def test_this_books_mel_loss_is_the_default_and_its_relatives_differ_in_one_thing():
    weighted = Config().override(variant("mel-weighted"))
    assert weighted == Config()
    assert Config().override(variant("mel-stft")) == weighted.override({"mel.filters": "none"})
    assert Config().override(variant("mel-none")) == weighted.override({"mel.weight": 0.0})


@pytest.mark.parametrize("name", [name for name in VARIANTS if name.startswith("mel-")])
@pytest.mark.parametrize("before", ["mel-v5", "mel-stft"])
def test_a_mel_variant_leaves_nothing_of_another_one(before, name):
    assert Config().override(variant(before)).override(variant(name)).mel == Config().override(variant(name)).mel


@pytest.mark.parametrize("name", WIDTHS)
def test_the_embeddings_of_groups_have_the_authors_widths(name):
    network = network_of(Config.preset("smoke").override(variant(name) | TINY), 8)
    assert [embedding.out_features for embedding in network.embeddings] == WIDTHS[name]


@pytest.mark.parametrize("preset", PRESETS)
def test_every_variant_fits_every_preset(preset):
    for name in VARIANTS:
        Config.preset(preset).override(variant(name))


def test_an_unknown_variant_names_the_nearest_and_the_table_cannot_be_spoilt():
    with pytest.raises(InputError, match="did you mean mel-v6"):
        variant("mel-v66")
    variant("mel-v6")["mel.weight"] = 9.0
    assert VARIANTS["mel-v6"]["mel.weight"] == 0.02


@pytest.fixture(scope="module")
def patient():
    """One virtual patient: standardised leads (1, 8, 1000), and the table's row."""
    cohort = virtual_cohort(1, seed=0)
    x = torch.from_numpy(to_eight_leads(cohort.x)).float()
    return (x - x.mean(dim=2, keepdim=True)) / x.std(dim=2, keepdim=True), cohort.table


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("base", [{}, {"diffusion.target": "eps", "diffusion.schedule": "linear", "network.patch": 1,
                                        "network.wiener": 0.0}])
def test_a_training_step_has_finite_gradients_at_both_ends_and_changes_the_network(base, name, patient):
    config = Config.preset("smoke").override(TINY | base).override(variant(name))
    network, schedule = network_of(config, 8), Schedule.named(config.diffusion.schedule, 200)
    mel, target = MelLoss(config.mel, 100), config.diffusion.target
    x0, encoded = patient[0].expand(3, -1, -1), Conditions(config.conditions.groups).encode(patient[1]).expand(3, -1)
    t = torch.tensor([0, 100, 199])
    eps = torch.randn(x0.shape, generator=torch.Generator().manual_seed(0))
    x_t = q_sample(schedule, x0, t, eps)
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-3)
    losses = []
    for _ in range(3):  # the last layer starts at zero: what lies before it learns from the second step on
        output = network(x_t, t, encoded)
        x0_hat = predict_x0(schedule, target, x_t, t, output)
        spectral = mel(mel_estimate(config.mel, schedule, x_t, t, x0_hat), x0, schedule.alpha_bar[t])
        loss = (output - target_of(schedule, target, x0, t, eps)).square().mean() + config.mel.weight * spectral
        optimiser.zero_grad()
        loss.backward()
        gradients = [p.grad for p in network.parameters() if p.grad is not None]
        assert all(torch.isfinite(gradient).all() for gradient in gradients)
        assert network.leave.weight.grad.abs().sum() > 0
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[2] < losses[0]
    gradients = [embedding.weight.grad for embedding in network.embeddings]
    learnt = [gradient is not None and bool(gradient.any()) for gradient in gradients]
    assert learnt == [config.conditions.learn] * len(learnt)
