"""Privacy: what the released records, and the generator itself, give away about those it was trained on.

Roles of a `Comparison`: ``train`` are members, ``real`` patients that the generator never saw, ``held_out`` yet other
patients for reference and controls. The patient is the unit. `audit` runs every attack beside its controls; what it
finds is *empirical risk under the named attacks*, and no attack's silence proves anything of attacks not named.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from ecglib.evaluation.comparison import Comparison
from ecglib.evaluation.privacy.auditing import OF_FEATURES, alarms, audit
from ecglib.evaluation.privacy.controls import CONTROLS, CopyMachine, control_sets, more_patients
from ecglib.evaluation.privacy.correlation import copies, suspects
from ecglib.evaluation.privacy.denoising import scores_of, white_box
from ecglib.evaluation.privacy.inference import attribute_inference, linkage
from ecglib.evaluation.privacy.membership import distance_attack, mir
from ecglib.evaluation.privacy.neighbours import adversarial_accuracy, dcr, nnaa
from ecglib.evaluation.privacy.scores import auc, clopper_pearson, roc, true_positives
from ecglib.evaluation.privacy.spaces import BEATS, Space, nearest, typical_beats

if TYPE_CHECKING:
    from ecglib.evaluation.classifier import Classifier

METRICS = (mir, nnaa, dcr, copies, distance_attack, white_box, attribute_inference, linkage)


def feature_metrics(classifier: Classifier) -> tuple[Callable[[Comparison], dict[str, float]], ...]:
    """Return `mir`, `nnaa`, `dcr`, `distance_attack`, `attribute_inference` and `linkage` on a classifier's features.

    Their names end in ``_of_features``. Train the classifier on patients in no other role: trained on members, it would
    look at them with other eyes itself.
    """
    space = Space("features", classifier.features)
    return tuple(_bound(metric, space)
                 for metric in (mir, nnaa, dcr, distance_attack, attribute_inference, linkage))  # fmt: skip


def _bound(metric: Any, space: Space) -> Callable[[Comparison], dict[str, float]]:
    metric_in_space: Any = partial(metric, space=space)
    metric_in_space.__name__, metric_in_space.__doc__ = metric.__name__ + OF_FEATURES, metric.__doc__
    metric_in_space.interval = metric.interval
    return metric_in_space


__all__ = [
    "BEATS", "CONTROLS", "METRICS", "CopyMachine", "Space", "adversarial_accuracy", "alarms", "attribute_inference",
    "auc", "audit", "clopper_pearson", "control_sets", "copies", "dcr", "distance_attack", "feature_metrics", "linkage",
    "mir", "more_patients", "nearest", "nnaa", "roc", "scores_of", "suspects", "true_positives", "typical_beats",
    "white_box",
]  # fmt: skip
