"""The second paper's question: sinus rhythm against atrial fibrillation, as published and as we would ask it."""

from ecglib.evaluation.sr_af.better import better_features
from ecglib.evaluation.sr_af.defects import (
    MIMIC_LEADS,
    at_wrong_rate,
    leak_of_scaling,
    limb_lead_error,
    min_max,
    read_by_position,
)
from ecglib.evaluation.sr_af.entropy import entropy_coefficient, sample_entropy
from ecglib.evaluation.sr_af.groups import af_of, balanced, sr_or_af
from ecglib.evaluation.sr_af.published import published_features, select_as_published
from ecglib.evaluation.sr_af.transfer import (
    DIRECTIONS,
    MODELS,
    betrayals,
    model_named,
    scores,
    source_patients,
    transfer_table,
)

__all__ = [
    "DIRECTIONS", "MIMIC_LEADS", "MODELS", "af_of", "at_wrong_rate", "balanced", "betrayals", "better_features",
    "entropy_coefficient", "leak_of_scaling", "limb_lead_error", "min_max", "model_named",
    "published_features", "read_by_position", "sample_entropy", "scores", "select_as_published", "source_patients",
    "sr_or_af", "transfer_table",
]  # fmt: skip
