"""Utility: does a classifier learn from synthetic ECGs what it would have learnt from real ones?"""

from ecglib.evaluation.utility.curation import RocketClassifier, faithful, nearest_auc
from ecglib.evaluation.utility.grid import (
    FRACTIONS,
    METHODS,
    RATIOS,
    Cell,
    Features,
    augmented,
    copy_features,
    draw_fraction,
    features_of,
    run_cell,
)
from ecglib.evaluation.utility.linear import Linear, macro_auroc
from ecglib.evaluation.utility.rocket import Rocket
from ecglib.evaluation.utility.scores import (
    MARGIN,
    calibration_curve,
    draw_weights,
    macro_draws,
    paired_difference,
    scores,
    verdict,
    with_interval,
)

__all__ = [
    "FRACTIONS", "MARGIN", "METHODS", "RATIOS", "Cell", "Features", "Linear", "Rocket", "RocketClassifier",
    "augmented", "calibration_curve", "copy_features", "draw_fraction", "draw_weights", "faithful", "features_of",
    "macro_auroc", "macro_draws", "nearest_auc", "paired_difference", "run_cell", "scores", "verdict",
    "with_interval",
]  # fmt: skip
