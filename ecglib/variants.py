"""Named variants: what each changes in a configuration, as one plain table.

>>> from ecglib.config import Config
>>> Config.preset("paper").override(variant("mel-v6")).mel.windows
(64,)

Mel losses ``v5``, ``v6`` and ``x0`` are those of the public code of MIDT-ECG's authors (which of them made the
published tables is not known); ``weighted`` is this book's, ``stft`` the same without filters, ``none`` the baseline.
``differences`` is the presets' mel loss (one short window), of the leads and of all their differences. A mel variant
sets every value of the mel loss, so that two of them differ in nothing but what is written here.

Conditioning variants go from SSSD-ECG's 71 labels to one embedding a group, at the authors' widths. The width with both
age and sex beside the labels is inferred. ``target-…`` read every sample, as SSSD-ECG does; ``target-eps`` on its
linear schedule, since at the noisy end of the preset's, x0 = (x_t − σ eps) / α divides by almost nothing, and samples
of a short training reach volts. ``sssd-ecg`` is that model at this preset's width and depth, and ``sssd-mel-…`` the
same with a mel loss: MIDT-ECG's own comparison; ``sssd-2x…`` and ``sssd-4x…`` train both for twice and four times as
many steps. ``plain-…`` are state space layers alone: the preset without what this
book adds to them (beats drawn first, attention, the Wiener filter, self-conditioning, Muon), without a mel loss and
with one; a poor baseline that is quick to train.

``fault-…`` switch on one defect of a published code each: embeddings of groups that are never trained (compare with
``groups``), and a mel loss of the posterior mean (compare with ``mel-weighted``).

Source: SSSD-ECG and MIDT-ECG, from their public code.
"""

from typing import Any

from ecglib.errors import choose
from ecglib.presets import SHORT_MEL

_LABELS: dict[str, Any] = {"conditions.groups": ("statements",), "conditions.widths": (128,)}
_GROUPS: dict[str, Any] = {"conditions.groups": ("diagnosis", "form", "rhythm", "age", "sex"),
                           "conditions.widths": (32,)}  # fmt: skip
_AUTHORS: dict[str, Any] = {"mel.filters": "mel", "mel.floor": 1e-5, "mel.weighting": "none"}
_WEIGHTED: dict[str, Any] = {"mel.weight": 0.02, "mel.estimate": "x0", "mel.filters": "mel", "mel.floor": 1e-2,
                             "mel.windows": (512, 256, 64), "mel.n_mels": (128, 64, 16),
                             "mel.weighting": "alpha_bar"}  # fmt: skip

_SHORT: dict[str, Any] = {**_WEIGHTED, **SHORT_MEL}  # what presets are trained with

_EVERY_SAMPLE: dict[str, Any] = {  # eps and v need every sample: an eighth of the steps takes about as long
    "network.patch": 1, "network.wiener": 0.0, "training.steps": 225, "training.warmup": 25,
    "training.validate_every": 75, "training.save_every": 75,
}  # fmt: skip

_X0: dict[str, Any] = {**_AUTHORS, "mel.weight": 0.02, "mel.estimate": "x0", "mel.windows": (512, 256),
                       "mel.n_mels": (64, 128)}  # fmt: skip
_SSSD: dict[str, Any] = {
    **_EVERY_SAMPLE, **_LABELS, "diffusion.target": "eps", "diffusion.schedule": "linear",
    "network.kernel": "nplr", "network.self_conditioning": False, "network.clock": False,
    "network.heads": 0, "mel.weight": 0.0, "conditions.drop": 0.0, "training.optimiser": "adamw",
    "training.learning_rate": 2e-4, "training.warmup": 0, "training.decay": False, "training.clip": 0.0,
    "training.ema": 0.0, "training.standardise": False, "sampling.sampler": "ddpm",
    "sampling.steps": 200, "sampling.spacing": "even",
}  # fmt: skip
_2X: dict[str, Any] = {"training.steps": 450, "training.validate_every": 150, "training.save_every": 150}
_4X: dict[str, Any] = {"training.steps": 900, "training.validate_every": 300, "training.save_every": 300}

_PLAIN: dict[str, Any] = {"network.self_conditioning": False, "network.clock": False, "network.heads": 0,
                          "network.wiener": 0.0, "training.optimiser": "adamw"}  # fmt: skip

VARIANTS: dict[str, dict[str, Any]] = {
    "default": {},
    "mel-none": {**_WEIGHTED, "mel.weight": 0.0},
    "mel-v5": {**_AUTHORS, "mel.weight": 0.2, "mel.estimate": "posterior", "mel.windows": (32, 64),
               "mel.n_mels": (10, 40)},
    "mel-v6": {**_AUTHORS, "mel.weight": 0.02, "mel.estimate": "posterior", "mel.windows": (64,), "mel.n_mels": (16,)},
    "mel-x0": _X0,
    "mel-weighted": _WEIGHTED,
    "mel-differences": {**_SHORT, "mel.estimate": "differences"},
    "mel-stft": {**_WEIGHTED, "mel.filters": "none"},
    "mel-weighted-0.2": {**_WEIGHTED, "mel.weight": 0.2},
    "mel-weighted-1": {**_WEIGHTED, "mel.weight": 1.0},
    "labels": _LABELS,
    "labels-age": {**_LABELS, "conditions.groups": ("statements", "age"), "conditions.widths": (96, 32)},
    "labels-sex": {**_LABELS, "conditions.groups": ("statements", "sex"), "conditions.widths": (96, 32)},
    "labels-age-sex": {**_LABELS, "conditions.groups": ("statements", "age", "sex"),
                       "conditions.widths": (96, 32, 32)},
    "groups": _GROUPS,
    "groups-body": {**_GROUPS, "conditions.groups": (*_GROUPS["conditions.groups"], "weight", "height", "bmi",
                                                     "heart_rate")},
    "guidance-2": {"sampling.guidance": 2.0},
    "kernel-nplr": {"network.kernel": "nplr"},
    "kernel-dilated": {"network.kernel": "dilated"},
    "target-x0": {**_EVERY_SAMPLE, "diffusion.target": "x0"},
    "target-v": {**_EVERY_SAMPLE, "diffusion.target": "v"},
    "target-eps": {**_EVERY_SAMPLE, "diffusion.target": "eps", "diffusion.schedule": "linear"},
    "sssd-ecg": _SSSD,
    "sssd-mel-x0": {**_SSSD, **_X0},
    "sssd-2x": {**_SSSD, **_2X},
    "sssd-2x-mel-x0": {**_SSSD, **_2X, **_X0},
    "sssd-4x": {**_SSSD, **_4X},
    "sssd-4x-mel-x0": {**_SSSD, **_4X, **_X0},
    "plain-none": {**_PLAIN, **_WEIGHTED, "mel.weight": 0.0},
    "plain-mel-short": {**_PLAIN, **_SHORT},
    "plain-mel-differences": {**_PLAIN, **_SHORT, "mel.estimate": "differences"},
    "plain-mel-differences-0.5": {**_PLAIN, **_SHORT, "mel.estimate": "differences", "mel.weight": 0.5},
    "plain-mel-weighted": {**_PLAIN, **_WEIGHTED},
    "fault-untrained": {**_GROUPS, "conditions.learn": False},
    "fault-posterior": {**_WEIGHTED, "mel.estimate": "posterior", "mel.weighting": "none"},
}  # fmt: skip


def variant(name: str) -> dict[str, Any]:
    """Return what the variant called `name` changes, for `Config.override`.

    Raises
    ------
    InputError
        If there is no such variant; the message names the nearest.
    """
    return dict(VARIANTS[choose("variant", name, VARIANTS)])
