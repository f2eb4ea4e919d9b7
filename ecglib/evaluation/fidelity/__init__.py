"""Fidelity: do synthetic records have the structure between leads, the spectrum and the beats of real ones?

Each metric compares what is *shared* by records, so each has blind spots: its response card
(`ecglib.evaluation.response`) shows them. `feature_metrics(classifier)` adds distances in a classifier's features.
"""

from ecglib.evaluation.fidelity.beats import template_snr, template_snr_db
from ecglib.evaluation.fidelity.features import feature_metrics, frechet_distance, kid, mmd, prdc
from ecglib.evaluation.fidelity.interlead import (
    INDEPENDENT,
    PAIRS,
    correlations,
    ilce,
    ilce_by_class,
    ilce_distributional,
    ilce_paired,
)
from ecglib.evaluation.fidelity.pairs import paired_measures, ssim
from ecglib.evaluation.fidelity.spectra import BAND_HZ, NPERSEG, log_spectral_distance, power_spectra
from ecglib.evaluation.fidelity.telling_apart import FEATURES, giveaways, record_features, two_sample

METRICS = (ilce, ilce_distributional, ilce_by_class, ilce_paired, log_spectral_distance, template_snr, two_sample,
           paired_measures)  # fmt: skip

__all__ = [
    "BAND_HZ", "FEATURES", "INDEPENDENT", "METRICS", "NPERSEG", "PAIRS", "correlations", "feature_metrics",
    "frechet_distance", "giveaways", "ilce", "ilce_by_class", "ilce_distributional", "ilce_paired", "kid",
    "log_spectral_distance", "mmd", "paired_measures", "power_spectra", "prdc", "record_features", "ssim",
    "template_snr", "template_snr_db", "two_sample",
]  # fmt: skip
